package driver_test

import (
	"context"
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

// enter opens the fake's device on this thread.
func enter(t testing.TB, f *fake.Driver) *driver.Device {
	t.Helper()
	d, err := driver.New(f, 0)
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

// y += x twice as launches, three times as a graph.
func TestGraph(t *testing.T) {
	f := &fake.Driver{Kernels: kernels}
	d := enter(t, f)
	s := must[driver.Stream](t)(d.NewStream())
	m, _, err := d.LoadModule([]byte("code"))
	if err != nil {
		t.Fatal(err)
	}
	x, y := must[driver.Pointer](t)(d.Alloc(64)), must[driver.Pointer](t)(d.Alloc(64))
	host := must[[]byte](t)(d.AllocHost(64))
	for i := range host {
		host[i] = 0
	}
	host[4] = 7
	k := must[driver.Kernel](t)(d.Kernel(m, "add", 100<<10))
	l := driver.NewLaunch(k, 128, 100<<10, 3)
	copy(l.Words(), []uint64{uint64(x), uint64(y), 16})
	l.Blocks(1)
	work := func() error { return d.Launch(s, l) }
	g := must[driver.Graph](t)(d.Capture(s, work))
	err = errors.Join(d.Upload(s, x, host), d.Zero(s, y, 64), work(), work(), d.LaunchGraph(s, g), d.LaunchGraph(s, g), d.LaunchGraph(s, g),
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
