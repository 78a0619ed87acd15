package driver_test

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"quire/runtime/cuda/driver"
	"quire/runtime/cuda/driver/fake"
)

var kernels = map[string]fake.Kernel{
	"add": {Params: 3, Run: func(l fake.Launch) {
		n := int(l.Words[2])
		x, y := fake.Slice[int32](l, l.Words[0], n), fake.Slice[int32](l, l.Words[1], n)
		for i := range x {
			y[i] += x[i]
		}
	}},
}

// enter opens a driver's first device on this thread.
func enter(t testing.TB, l driver.Library) *driver.Device {
	t.Helper()
	d, err := driver.New(l, 0)
	if err != nil {
		t.Fatal(err)
	}
	leave, err := d.Enter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(leave)
	return d
}

func must[T any](t testing.TB) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestInfo(t *testing.T) {
	d := enter(t, &fake.Driver{})
	if got := d.Info.String(); got != "cuda:0 Fake GPU, sm_90, 4 multiprocessors, 1 GB" {
		t.Errorf("device %q", got)
	}
	if d.Driver != 12080 || d.SharedBytes != 227<<10 {
		t.Errorf("info %+v", d.Info)
	}
	if _, err := driver.New(&fake.Driver{}, 1); err == nil || !strings.Contains(err.Error(), "device 1, the driver shows 1") {
		t.Errorf("device 1: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// adder has what a launch of "add" needs: a stream, the module, x and y of 64 bytes on the
// device, and as many zeros on the host.
type adder struct {
	d    *driver.Device
	s    driver.Stream
	m    driver.Module
	x, y driver.Pointer
	host []byte
}

func newAdder(t testing.TB, f *fake.Driver) adder {
	t.Helper()
	a := adder{d: enter(t, f)}
	a.s = must[driver.Stream](t)(a.d.NewStream())
	m, _, err := a.d.LoadModule([]byte("code"))
	if err != nil {
		t.Fatal(err)
	}
	a.m = m
	a.x, a.y = must[driver.Pointer](t)(a.d.Alloc(64)), must[driver.Pointer](t)(a.d.Alloc(64))
	a.host = must[[]byte](t)(a.d.AllocHost(64))
	clear(a.host)
	return a
}

// y += x twice as launches, three times as a graph.
func TestGraph(t *testing.T) {
	a := newAdder(t, &fake.Driver{Kernels: kernels})
	d, s, m, x, y, host := a.d, a.s, a.m, a.x, a.y, a.host
	host[4] = 7
	k := must[driver.Kernel](t)(d.Kernel(m, "add", 100<<10))
	l := driver.NewLaunch(k, 128, 100<<10, 3)
	copy(l.Words(), []uint64{uint64(x), uint64(y), 16})
	l.Blocks(1)
	work := func() error { return d.Launch(s, l) }
	g := must[driver.Graph](t)(d.Capture(s, work))
	err := errors.Join(d.Upload(s, x, host), d.Zero(s, y, 64), work(), work(), d.LaunchGraph(s, g), d.LaunchGraph(s, g), d.LaunchGraph(s, g),
		d.Download(s, host, y), d.Wait(t.Context(), s))
	if err != nil {
		t.Fatal(err)
	}
	if host[4] != 35 || host[0] != 0 {
		t.Errorf("y is %v, want 35 in its second place", host)
	}
	dev, pinned, objects := d.Ledger()
	if dev != 128 || pinned != 64 || objects != 3 {
		t.Errorf("ledger of %d and %d bytes and %d objects", dev, pinned, objects)
	}
	err = errors.Join(d.CloseGraph(g), d.CloseModule(m), d.CloseStream(s), d.Free(x), d.FreeHost(host))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err == nil || !strings.Contains(err.Error(), "64 bytes of device memory, 0 of pinned memory and 0 objects are still held") {
		t.Errorf("close with y held: %v", err)
	}
}

// Memory of a pool is there until the stream comes to where it was given back.
func TestPool(t *testing.T) {
	f := &fake.Driver{Kernels: kernels}
	d := enter(t, f)
	s := must[driver.Stream](t)(d.NewStream())
	p := must[driver.Pool](t)(d.NewPool(1 << 20))
	x := must[driver.Pointer](t)(d.AllocIn(s, p, 64))
	if dev, _, objects := d.Ledger(); dev != 64 || objects != 2 {
		t.Errorf("ledger of %d bytes and %d objects", dev, objects)
	}
	if err := errors.Join(d.Zero(s, x, 64), d.FreeIn(s, x), d.Wait(t.Context(), s)); err != nil {
		t.Fatal(err)
	}
	if dev, _, _, _ := f.Ledger(); dev != 0 {
		t.Errorf("the driver holds %d bytes", dev)
	}
	if err := d.FreeIn(s, x); err == nil || err.Error() != "cuMemFreeAsync: CUDA_ERROR_INVALID_VALUE" {
		t.Errorf("given back twice: %v", err)
	}
	if _, err := d.AllocIn(s, p, 2<<30); err == nil || err.Error() != "cuMemAllocFromPoolAsync: CUDA_ERROR_OUT_OF_MEMORY (2147483648 bytes)" {
		t.Errorf("too much: %v", err)
	}
	y := must[driver.Pointer](t)(d.AllocIn(s, p, 64))
	if err := d.Free(y); err == nil {
		t.Error("memory of a pool was freed by itself")
	}
	if _, err := d.Capture(s, func() error { _, err := d.AllocIn(s, p, 64); return err }); err == nil {
		t.Error("memory became part of a graph")
	}
	if err := errors.Join(d.FreeIn(s, y), d.ClosePool(p), d.CloseStream(s), d.Close()); err != nil {
		t.Fatal(err)
	}
	d = enter(t, &fake.Driver{NoPools: true})
	if _, err := d.NewPool(0); err == nil || err.Error() != "cuda: Fake GPU has no memory pools" {
		t.Errorf("no pools: %v", err)
	}
}

// A graph that is updated does what was captured last; with another number of launches it stays.
func TestUpdate(t *testing.T) {
	f := &fake.Driver{Kernels: kernels}
	a := newAdder(t, f)
	d, s, m, x, y, host := a.d, a.s, a.m, a.x, a.y, a.host
	host[0], host[4] = 1, 10
	l := driver.NewLaunch(must[driver.Kernel](t)(d.Kernel(m, "add", 0)), 32, 0, 3)
	copy(l.Words(), []uint64{uint64(x), uint64(y), 1})
	l.Blocks(1)
	work := func() error { return d.Launch(s, l) }
	g := must[driver.Graph](t)(d.Capture(s, work))
	l.Words()[2] = 2
	err := errors.Join(d.Upload(s, x, host), d.Zero(s, y, 64), d.LaunchGraph(s, g), d.Update(s, g, work), d.LaunchGraph(s, g), d.Wait(t.Context(), s))
	if err != nil {
		t.Fatal(err)
	}
	err = d.Update(s, g, func() error { return errors.Join(work(), work()) })
	var e *driver.Error
	if !errors.As(err, &e) || e.Code != driver.NoUpdate || e.Sticky || e.What != "CUgraphExecUpdateResult 2" {
		t.Errorf("two launches in place of one: %v", err)
	}
	if err := errors.Join(d.LaunchGraph(s, g), d.Download(s, host, y), d.Wait(t.Context(), s)); err != nil {
		t.Fatal(err)
	}
	if host[0] != 3 || host[4] != 20 {
		t.Errorf("sums %d and %d, want 3 of all launches and 20 of the two after the update", host[0], host[4])
	}
	if err := errors.Join(d.CloseGraph(g), d.CloseModule(m), d.CloseStream(s), d.Free(x), d.Free(y), d.FreeHost(host), d.Close()); err != nil {
		t.Error(err)
	}
	if _, _, objects, _ := f.Ledger(); objects != 0 {
		t.Errorf("the driver holds %d objects", objects)
	}
}

// Attributes of a launch reach the driver, alone and together.
func TestAttributes(t *testing.T) {
	var got []fake.Launch
	f := &fake.Driver{Kernels: map[string]fake.Kernel{"k": {Run: func(l fake.Launch) { got = append(got, l) }}}}
	d := enter(t, f)
	s := must[driver.Stream](t)(d.NewStream())
	m, _, err := d.LoadModule([]byte("code"))
	if err != nil {
		t.Fatal(err)
	}
	l := driver.NewLaunch(must[driver.Kernel](t)(d.Kernel(m, "k", 0)), 32, 0, 0)
	l.Blocks(6)
	for _, c := range []struct {
		overlaps bool
		cluster  int
	}{{false, 1}, {true, 1}, {false, 2}, {true, 3}, {false, 1}} {
		l.Overlaps(c.overlaps)
		l.Clusters(c.cluster)
		if err := errors.Join(d.Launch(s, l), d.Wait(t.Context(), s)); err != nil {
			t.Fatal(err)
		}
		if last := got[len(got)-1]; last.Overlaps != c.overlaps || max(1, last.Cluster) != c.cluster {
			t.Errorf("%+v: launched as %+v", c, last)
		}
	}
	l.Clusters(4)
	want := "cuLaunchKernelEx: CUDA_ERROR_INVALID_VALUE (kernel k, 6 blocks of 32 threads, 0 bytes of shared memory, 32 registers, clusters of 4)"
	if err := d.Launch(s, l); err == nil || err.Error() != want {
		t.Errorf("6 blocks in clusters of 4: %v, want %s", err, want)
	}
	if err := errors.Join(d.CloseModule(m), d.CloseStream(s), d.Close()); err != nil {
		t.Error(err)
	}
}

// The fake keeps in a map what it was told.
func TestTensorMap(t *testing.T) {
	d := enter(t, &fake.Driver{})
	tiled := driver.Tiled{Type: driver.ElemF16, At: 4096, Dims: []uint64{64, 100}, Strides: []uint64{160}, Box: []uint32{32, 8}, Swizzle: driver.Swizzle64}
	m, err := d.NewTensorMap(tiled)
	if err != nil {
		t.Fatal(err)
	}
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(m[at:]) }
	if word(0) != 6 || word(8) != 4096 || word(16) != 64 || word(24) != 100 || word(56) != 160 || word(96) != 32|8<<32 {
		t.Errorf("map % x", m)
	}
	tiled.Strides[0] = 100
	if _, err := d.NewTensorMap(tiled); err == nil || err.Error() != "cuTensorMapEncodeTiled: CUDA_ERROR_INVALID_VALUE (dims [64 100], strides [100], box [32 8])" {
		t.Errorf("a stride of 100: %v", err)
	}
	tiled.Box = tiled.Box[:1]
	if _, err := d.NewTensorMap(tiled); err == nil || err.Error() != "cuda: tensor map of 2 dims, 1 strides and a box of 1, expected 1 to 5, one less and as many" {
		t.Errorf("a box of one dim: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	f := &fake.Driver{Kernels: kernels, FaultAt: 1, Refuse: "bad"}
	d := enter(t, f)
	s := must[driver.Stream](t)(d.NewStream())
	_, _, err := d.LoadModule([]byte("some bad code"))
	var jit *driver.JITError
	if !errors.As(err, &jit) || jit.Log != "ptxas: line 1: unexpected bad" {
		t.Errorf("module: %v", err)
	}
	m, _, err := d.LoadModule([]byte("code"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Kernel(m, "none", 0); err == nil || err.Error() != "cuModuleGetFunction: CUDA_ERROR_NOT_FOUND (none)" {
		t.Errorf("kernel: %v", err)
	}
	if _, err := d.Kernel(m, "add", 1<<20); err == nil || !strings.Contains(err.Error(), "needs 1048576 bytes of shared memory, a block of Fake GPU has 232448") {
		t.Errorf("kernel: %v", err)
	}
	if _, err := d.Alloc(2 << 30); err == nil || err.Error() != "cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY (2147483648 bytes)" {
		t.Errorf("memory: %v", err)
	}
	l := driver.NewLaunch(must[driver.Kernel](t)(d.Kernel(m, "add", 0)), 2048, 0, 3)
	l.Blocks(5)
	want := "cuLaunchKernelEx: CUDA_ERROR_INVALID_VALUE (kernel add, 5 blocks of 2048 threads, 0 bytes of shared memory, 32 registers)"
	if err := d.Launch(s, l); err == nil || err.Error() != want {
		t.Errorf("launch: %v, want %s", err, want)
	}
	l = driver.NewLaunch(must[driver.Kernel](t)(d.Kernel(m, "add", 0)), 32, 0, 3)
	l.Blocks(1)
	if err := d.Launch(s, l); err != nil {
		t.Fatal(err)
	}
	err = d.Wait(t.Context(), s)
	var e *driver.Error
	if !errors.As(err, &e) || !e.Sticky || d.Lost() == nil {
		t.Errorf("fault: %v", err)
	}
	if _, err := d.Alloc(64); !errors.Is(err, e) {
		t.Errorf("after the fault: %v", err)
	}
	if err := errors.Join(d.CloseModule(m), d.CloseStream(s), d.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, _, objects := d.Ledger(); objects != 0 {
		t.Errorf("%d objects after close", objects)
	}
}

// Contexts belong to threads.
func TestOtherThread(t *testing.T) {
	d := enter(t, &fake.Driver{})
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		_, err := d.NewStream()
		done <- err
	}()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "CUDA_ERROR_INVALID_CONTEXT") {
		t.Errorf("a call without a context: %v", err)
	}
}

func TestWaitIsCancelled(t *testing.T) {
	f := &fake.Driver{}
	d := enter(t, f)
	s := must[driver.Stream](t)(d.NewStream())
	p := must[driver.Pointer](t)(d.Alloc(64))
	f.Hang = true
	if err := d.Zero(s, p, 64); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := d.Wait(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait: %v", err)
	}
	d.Abandon()
	if err := errors.Join(d.Free(p), d.CloseStream(s), d.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
}
