package cuda_test

import (
	"errors"
	"strings"
	"testing"

	"quire/ir/work"
	"quire/runtime/cuda"
	"quire/runtime/cuda/driver"
	"quire/runtime/cuda/driver/fake"
	"quire/runtime/program"
)

// sweeping is the toy with the kernel that ReadRate runs, and that kernel.
func sweeping(t testing.TB, read *int64) (*program.Program, map[string]fake.Kernel) {
	p := toy(t)
	p.Kernels = append(p.Kernels, program.Kernel{Symbol: "sweep", Params: work.Sweep{}})
	kernels := map[string]fake.Kernel{"sweep": {Params: 4, Run: func(l fake.Launch) {
		n := int(l.Words[2])
		x, y := fake.Slice[byte](l, l.Words[0], n*work.SweepBytes), fake.Slice[int32](l, l.Words[1], n)
		if l.Words[3] == l.Words[2] && len(y) == n {
			*read = int64(len(x))
		}
	}}}
	for name, k := range toyKernels {
		kernels[name] = k
	}
	return p, kernels
}

// The rate is bytes by the time between the events; memory of the measurement is given back.
func TestReadRate(t *testing.T) {
	var read int64
	p, kernels := sweeping(t, &read)
	d := &fake.Driver{Kernels: kernels, Memory: 64 << 20}
	m, err := cuda.Load(t.Context(), p, options(d))
	if err != nil {
		t.Fatal(err)
	}
	before, _, _, _ := d.Ledger()
	rate, err := m.ReadRate()
	if after, _, _, _ := d.Ledger(); err != nil || after != before {
		t.Errorf("error %v; the driver held %d bytes before, %d after", err, before, after)
	}
	if want := float64(read) / 0.5e-3; read < 16<<20 || rate != want { // an event of the fake is half a millisecond after the one before
		t.Errorf("%d bytes read, rate %v, want %v", read, rate, want)
	}
	if n := d.Counts[driver.LaunchKernelEx]; n != 30 {
		t.Errorf("%d launches, want 10 of 3 shapes", n)
	}
	if err := chat(t, m); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	empty(t, d)
	if _, err := m.ReadRate(); err == nil {
		t.Error("a closed model measures")
	}
}

func TestReadRateRefuses(t *testing.T) {
	d := &fake.Driver{Kernels: toyKernels}
	m := open(t, d, options(d))
	if _, err := m.ReadRate(); err == nil || !strings.Contains(err.Error(), "no kernel of family sweep") {
		t.Errorf("without the kernel: %v", err)
	}
	for k := 1; ; k++ {
		var read int64
		p, kernels := sweeping(t, &read)
		d := &fake.Driver{Kernels: kernels, Memory: 64 << 20}
		m, err := cuda.Load(t.Context(), p, options(d))
		if err != nil {
			t.Fatal(err)
		}
		d.FailAt = d.Allocations() + k
		_, err = m.ReadRate()
		if e := m.Close(); e != nil {
			t.Fatal(e)
		}
		empty(t, d)
		var e *driver.Error
		if err == nil {
			if k < 5 {
				t.Errorf("%d allocations, expected memory of two kinds and two events", k-1)
			}
			return
		}
		if !errors.As(err, &e) || e.Code != driver.OutOfMemory {
			t.Fatalf("allocation %d: %v", k, err)
		}
	}
}
