package cuda_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"quire/runtime/cuda"
	"quire/runtime/cuda/driver/fake"
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

// A run that never ends is stopped.
func TestRunHangs(t *testing.T) {
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
