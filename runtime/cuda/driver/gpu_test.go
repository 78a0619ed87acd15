package driver_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"quire/runtime/cuda/driver"
)

// count adds 1 to *p; wild writes where nothing is. Both wait for what they follow.
const gpuCode = `
.version 7.8
.target sm_90
.address_size 64
.visible .entry count(.param .u64 p) {
	.reg .u64 %rd<3>;
	.reg .u32 %r<3>;
	griddepcontrol.launch_dependents;
	griddepcontrol.wait;
	ld.param.u64 %rd1, [p];
	ld.global.u32 %r1, [%rd1];
	add.u32 %r2, %r1, 1;
	st.global.u32 [%rd1], %r2;
	ret;
}
.visible .entry wild(.param .u64 p) {
	.reg .u64 %rd<2>;
	ld.param.u64 %rd1, [p];
	st.global.u32 [%rd1], 1;
	ret;
}
`

// onGPU is this machine's first GPU, entered on this thread: one that runs the tests' code.
func onGPU(t *testing.T) *driver.Device {
	t.Helper()
	lib, err := driver.Open()
	if err != nil {
		t.Skip("no GPU: ", err)
	}
	d := enter(t, lib)
	if d.SM() < 90 {
		t.Skip("no GPU: the test's code is for sm_90, the device is ", d.Info)
	}
	return d
}

// On a GPU: launches, graphs with and without overlap, the log of refused code, a fault.
func TestGPU(t *testing.T) {
	d := onGPU(t)
	t.Logf("%s; driver %d, %d KiB of shared memory, %d MiB of L2", d.Info, d.Driver, d.SharedBytes>>10, d.L2Bytes>>20)
	_, _, err := d.LoadModule([]byte(strings.Replace(gpuCode, "add.u32", "adder.u32", 1)))
	var jit *driver.JITError
	if !errors.As(err, &jit) || !strings.Contains(jit.Log, "adder") {
		t.Errorf("refused code: %v", err)
	}
	start := time.Now()
	m, _, err := d.LoadModule([]byte(gpuCode))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("module loaded in %v", time.Since(start))
	s := must[driver.Stream](t)(d.NewStream())
	p := must[driver.Pointer](t)(d.Alloc(256))
	host := must[[]byte](t)(d.AllocHost(256))
	k := must[driver.Kernel](t)(d.Kernel(m, "count", 0))
	l := driver.NewLaunch(k, 32, 0, 1)
	l.Words()[0] = uint64(p)
	l.Blocks(1)
	if err := errors.Join(d.Zero(s, p, 256), d.Wait(t.Context(), s)); err != nil {
		t.Fatal(err)
	}
	want := uint32(0)
	read := func() uint32 {
		if err := errors.Join(d.Download(s, host, p), d.Wait(t.Context(), s)); err != nil {
			t.Fatal(err)
		}
		return *(*uint32)(unsafe.Pointer(&host[0]))
	}
	const n = 200
	chain := func() error {
		for range n {
			if err := d.Launch(s, l); err != nil {
				return err
			}
		}
		return nil
	}
	for _, overlaps := range []bool{false, true} {
		l.Overlaps(overlaps)
		g := must[driver.Graph](t)(d.Capture(s, chain))
		for _, way := range []struct {
			name string
			run  func() error
		}{{"launches", chain}, {"graph", func() error { return d.LaunchGraph(s, g) }}} {
			var took []time.Duration
			var put time.Duration
			for range 60 {
				start := time.Now()
				if err := way.run(); err != nil {
					t.Fatal(err)
				}
				put += time.Since(start)
				if err := d.Wait(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				took = append(took, time.Since(start))
				want += n
			}
			slices.Sort(took)
			t.Logf("%d kernels, overlap %v, %s: %v each, %v to put all into the stream", n, overlaps, way.name, took[len(took)/2]/n, put/60)
			if got := read(); got != want {
				t.Errorf("overlap %v, %s: %d additions, want %d", overlaps, way.name, got, want)
			}
		}
		if err := d.CloseGraph(g); err != nil {
			t.Error(err)
		}
	}
	allocs := testing.AllocsPerRun(100, func() {
		if err := errors.Join(d.Launch(s, l), d.Wait(t.Context(), s)); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%v allocations a launch and wait", allocs)
	if allocs > 1 { // errors.Join's list
		t.Errorf("%v allocations a launch and wait", allocs)
	}
	wild := driver.NewLaunch(must[driver.Kernel](t)(d.Kernel(m, "wild", 0)), 32, 0, 1)
	wild.Words()[0] = 64
	wild.Blocks(1)
	err = errors.Join(d.Launch(s, wild), d.Wait(t.Context(), s))
	var e *driver.Error
	if !errors.As(err, &e) || !e.Sticky {
		t.Errorf("a wild write: %v", err)
	}
	if _, err := d.Alloc(64); !errors.Is(err, e) {
		t.Errorf("after it: %v", err)
	}
	t.Log(err)
	if err := errors.Join(d.CloseModule(m), d.CloseStream(s), d.Free(p), d.FreeHost(host), d.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
}
