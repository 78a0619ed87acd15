package cuda_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"quire/runtime/cuda"
	"quire/runtime/cuda/driver"
	"quire/runtime/cuda/driver/fake"
	"quire/runtime/device"
	"quire/runtime/program"
)

// Whichever allocation fails, the error says so and everything is given back.
func TestOutOfMemory(t *testing.T) {
	for k := 1; ; k++ {
		d := &fake.Driver{Kernels: toyKernels, FailAt: k}
		m, err := cuda.Load(t.Context(), toy(t), options(d))
		if err == nil {
			err = chat(t, m)
			if e := m.Close(); e != nil {
				t.Fatalf("allocation %d: close: %v", k, e)
			}
		}
		empty(t, d)
		if err == nil {
			if d.Allocations() >= k {
				t.Errorf("allocation %d failed and nothing was said", k)
			}
			if k < 20 {
				t.Errorf("%d allocations, expected more", k)
			}
			return
		}
		var e *driver.Error
		if !errors.As(err, &e) || e.Code != driver.OutOfMemory || e.Sticky {
			t.Fatalf("allocation %d: %v", k, err)
		}
	}
}

// made makes a program and its kernels.
type made func(testing.TB) (*program.Program, map[string]fake.Kernel)

func toyMade(t testing.TB) (*program.Program, map[string]fake.Kernel) { return toy(t), toyKernels }

// eachAllocation has each allocation of some work fail once, of which there are at least so many: the work says so, and
// is done when it is tried again.
func eachAllocation(t *testing.T, make made, least int, work func(testing.TB, *cuda.Model) error) {
	t.Helper()
	for k := 1; ; k++ {
		p, kernels := make(t)
		d := &fake.Driver{Kernels: kernels}
		m, err := cuda.Load(t.Context(), p, options(d))
		if err != nil {
			t.Fatal(err)
		}
		d.FailAt = d.Allocations() + k
		err = work(t, m)
		var e *driver.Error
		if err != nil && (!errors.As(err, &e) || e.Code != driver.OutOfMemory || e.Sticky) {
			t.Fatalf("allocation %d: %v", k, err)
		}
		if err != nil {
			if again := work(t, m); again != nil {
				t.Fatalf("allocation %d: the second try: %v", k, again)
			}
		}
		if err := m.Close(); err != nil {
			t.Fatalf("allocation %d: close: %v", k, err)
		}
		empty(t, d)
		if err != nil {
			continue
		}
		if k <= least {
			t.Errorf("%d allocations, expected at least %d", k-1, least)
		}
		return
	}
}

// eachFault has each launch of some work fault, of which there are at least so many: the work says that the device is
// lost, again when it is tried again, and Close gives everything back. The race detector, to which nothing new
// happens, sees all of the first launches and fewer of the later ones.
func eachFault(t *testing.T, least int, work func(testing.TB, *cuda.Model) error) {
	t.Helper()
	for k := 1; ; k++ {
		if raced {
			k += k / 10
		}
		d := &fake.Driver{Kernels: toyKernels, FaultAt: k}
		m, err := cuda.Load(t.Context(), toy(t), options(d))
		if err != nil {
			t.Fatal(err)
		}
		err = work(t, m)
		if err != nil && (!lost(err) || !lost(work(t, m))) {
			t.Fatalf("fault at launch %d: %v", k, err)
		}
		if e := m.Close(); (e == nil) != (err == nil) || m.Memory() != (device.Memory{}) {
			t.Errorf("fault at launch %d: close: %v, the ledger is %+v", k, e, m.Memory())
		}
		if err != nil {
			continue
		}
		if k <= least {
			t.Errorf("%d launches, expected at least %d", k-1, least)
		}
		return
	}
}

// lost says that an error is a fault that lost the device, and names it.
func lost(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && e.Sticky && e.Name == "CUDA_ERROR_ILLEGAL_ADDRESS" && strings.Contains(err.Error(), "the device is lost")
}

// Whichever allocation or launch fails, steps and runs say so, and no wrong token comes before.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name                  string
		work                  func(testing.TB, *cuda.Model) error
		allocations, launches int
	}{{"steps", chat, 10, 100}, {"run", generation, 3, 39}} {
		t.Run(c.name+" out of memory", func(t *testing.T) { eachAllocation(t, toyMade, c.allocations, c.work) })
		t.Run(c.name+" with a fault", func(t *testing.T) { eachFault(t, c.launches, c.work) })
	}
}

// A stream that never ends: Stop makes the step return, and Close does not wait for ever.
func TestHang(t *testing.T) {
	d := &fake.Driver{Kernels: toyKernels}
	m, err := cuda.Load(t.Context(), toy(t), options(d))
	if err != nil {
		t.Fatal(err)
	}
	d.Hang = true
	time.AfterFunc(20*time.Millisecond, m.Stop)
	p := &pool{}
	if err := p.step(t, m, []*sequence{{}}, [][]int32{{1}}); !errors.Is(err, context.Canceled) {
		t.Errorf("step: %v", err)
	}
	if err := m.Close(); err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("close: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := cuda.Load(ctx, toy(t), options(&fake.Driver{Kernels: toyKernels, Hang: true})); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("load: %v", err)
	}
}
