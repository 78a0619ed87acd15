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
)

// generation is a prompt and a run of 12 tokens.
func generation(t testing.TB, m *cuda.Model) error {
	t.Helper()
	p, s := &pool{}, &sequence{}
	if err := p.step(t, m, []*sequence{s}, [][]int32{{1, 2, 3}}); err != nil {
		return err
	}
	n := 0
	err := m.Run(p.batch([]*sequence{s}, [][]int32{{toyNext(s.tokens)}}), 12, func(token int32) bool {
		if want := toyNext(s.tokens); token != want {
			t.Fatalf("token %d of a run is %d, want %d", n, token, want)
		}
		s.tokens = append(s.tokens, token)
		n++
		return true
	})
	if err == nil && n != 12 {
		t.Errorf("a run of 12 gave %d tokens", n)
	}
	return err
}

// Whichever allocation or launch of a run fails, the run says so, and gives no wrong token before; where the device is not lost
// it may be tried again. A run that never ends is stopped.
func TestRunFails(t *testing.T) {
	for k := 1; ; k++ {
		d := &fake.Driver{Kernels: toyKernels}
		m, err := cuda.Load(t.Context(), toy(t), options(d))
		if err != nil {
			t.Fatal(err)
		}
		d.FailAt = d.Allocations() + k
		err = generation(t, m)
		var e *driver.Error
		if err != nil && (!errors.As(err, &e) || e.Code != driver.OutOfMemory || e.Sticky) {
			t.Fatalf("allocation %d: %v", k, err)
		}
		if again := generation(t, m); again != nil {
			t.Fatalf("allocation %d: the second try: %v", k, again)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		empty(t, d)
		if err == nil && k < 4 {
			t.Errorf("%d allocations of a run, expected more", k-1)
		}
		if err == nil {
			break
		}
	}
	for k := 1; ; k++ {
		d := &fake.Driver{Kernels: toyKernels, FaultAt: k}
		m, err := cuda.Load(t.Context(), toy(t), options(d))
		if err != nil {
			t.Fatal(err)
		}
		err = generation(t, m)
		if err != nil && (!lost(err) || !lost(generation(t, m))) {
			t.Fatalf("fault at launch %d: %v", k, err)
		}
		if e := m.Close(); (e == nil) != (err == nil) || m.Memory() != (device.Memory{}) {
			t.Errorf("fault at launch %d: close: %v, the ledger is %+v", k, e, m.Memory())
		}
		if err == nil && k < 40 {
			t.Errorf("%d launches of a run, expected more", k-1)
		}
		if err == nil {
			break
		}
	}
	d := &fake.Driver{Kernels: toyKernels}
	m, err := cuda.Load(t.Context(), toy(t), options(d))
	if err != nil {
		t.Fatal(err)
	}
	p, s := &pool{}, &sequence{}
	b := p.batch([]*sequence{s}, [][]int32{{4}})
	d.Hang = true
	time.AfterFunc(20*time.Millisecond, m.Stop)
	if err := m.Run(b, 5, func(int32) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that hangs: %v", err)
	}
	if err := m.Close(); err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("close: %v", err)
	}
}
