package runtime

import (
	"context"
	"errors"
	"strings"
	"testing"

	"quire/runtime/cuda/driver"
	fakegpu "quire/runtime/cuda/driver/fake"
)

func TestDevices(t *testing.T) {
	for _, c := range []struct {
		device  Device
		ordinal int
		ok      bool
	}{{CUDA, 0, true}, {"cuda:3", 3, true}, {CPU, 0, false}, {"cuda:", 0, false}, {"cuda3", 3, false}, {"cuda:-1", -1, false}, {"cuda:x", 0, false}, {"tpu", 0, false}} {
		if n, ok := c.device.ordinal(); ok != c.ok || ok && n != c.ordinal {
			t.Errorf("%s is GPU %d, %v, want %d, %v", c.device, n, ok, c.ordinal, c.ok)
		}
		_, err := Open(t.Context(), NewConfig().WithDevice(c.device))
		if !c.ok && c.device != CPU && !errors.Is(err, ErrNoDevice) {
			t.Errorf("open %s: %v", c.device, err)
		}
	}
}

// Without a GPU auto is the CPU, and cuda says what is missing.
func TestFindDevice(t *testing.T) {
	auto, err := Open(t.Context(), NewConfig().WithDevice(Auto))
	if err != nil {
		t.Fatal(err)
	}
	gpu, err := Open(t.Context(), NewConfig().WithDevice(CUDA))
	if _, none := driver.Open(); none == nil {
		if err != nil || auto.Machine().Device != "cuda:0" || gpu.Machine().Name == "" {
			t.Errorf("with a driver: auto is %v, cuda is an error: %v", auto.Machine(), err)
		}
		return
	}
	if auto.Machine().Device != CPU || auto.Machine().Target() != "native" {
		t.Errorf("auto is %v", auto.Machine())
	}
	if !errors.Is(err, ErrNoDevice) || !errors.Is(err, driver.ErrNoDriver) || !strings.Contains(err.Error(), "libcuda.so.1") {
		t.Errorf("cuda: %v", err)
	}
}

func TestInspect(t *testing.T) {
	for _, c := range []struct {
		sm     int
		target string
	}{{80, "sm_80"}, {89, "sm_80"}, {90, "sm_90a"}, {100, "sm_80"}} {
		m, err := inspect(&fakegpu.Driver{SM: c.sm}, 0)
		if err != nil || m.Target() != c.target {
			t.Errorf("sm_%d: target %s, %v, want %s", c.sm, m.Target(), err, c.target)
		}
	}
	if _, err := inspect(&fakegpu.Driver{SM: 75}, 0); err == nil || !strings.Contains(err.Error(), "Fake GPU is sm_75, expected sm_80 or newer") {
		t.Errorf("sm_75: %v", err)
	}
}

// A Program is bound to a GPU with the pages that its memory leaves room for.
func TestBindToGPU(t *testing.T) {
	d := &fakegpu.Driver{Memory: 4 << 30}
	m, err := inspect(d, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := fakeProgram(9)
	p.Steps[0].Results = nil
	p.Target = "sm_80"
	for i := range p.Caches {
		p.Caches[i].Heads, p.Caches[i].Dim, p.Caches[i].PageBytes = 1, 1, 1<<20
	}
	p.Slots = []string{"4*N"}
	for _, c := range []struct {
		config Config
		pages  int
	}{
		{NewConfig().WithMaxSessions(2).WithContext(400), 200}, // all that two sessions need
		{NewConfig().WithMaxSessions(2).WithCacheBytes(50 << 20).WithContext(400), 0},
	} {
		model, l, err := m.bind(context.Background(), binding{config: c.config, p: p})
		if err != nil {
			t.Fatal(err)
		}
		var want int64
		for i := range p.Caches {
			want += int64(l.pages[i]) * p.Caches[i].PageBytes
		}
		if got := model.Memory().Caches; got != want || c.pages > 0 && l.pages[0] != c.pages || want > 3<<30 {
			t.Errorf("%v pages, %d bytes", l.pages, got)
		}
		if err := model.Close(); err != nil {
			t.Error(err)
		}
	}
	p.Target = "x86-64-v3"
	if _, _, err := m.bind(context.Background(), binding{config: NewConfig(), p: p}); err == nil || !strings.Contains(err.Error(), "the program is for x86-64-v3") {
		t.Errorf("a CPU's program: %v", err)
	}
}
