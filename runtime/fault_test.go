package runtime

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"quire/runtime/device"
)

func TestCancelMidPrefill(t *testing.T) {
	p, f := open(t, limits{chunk: 10})
	ctx, cancel := context.WithCancel(t.Context())
	f.hook = func(*device.Batch) {
		if f.steps.Load() == 3 {
			cancel()
		}
	}
	s, in := session(t, p), prompt(3, 100)
	if _, err := s.Prefill(ctx, in); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
	if n := s.Len(); n != 30 {
		t.Errorf("the session was fed %d tokens, want the 30 of three chunks", n)
	}
	f.hook = nil
	got, _, err := generate(t.Context(), s, GenerateOptions{Prompt: in[30:], MaxTokens: 5, IgnoreEnd: true})
	if want := reference(in, 5); err != nil || !slices.Equal(got, want) {
		t.Errorf("it goes on with %v (%v), want %v", got, err, want)
	}
}

func TestCloseWhileDecoding(t *testing.T) {
	p, f := open(t, limits{})
	f.delay = time.Millisecond
	s := session(t, p)
	errs := make(chan error)
	go func() {
		_, _, err := generate(context.Background(), s, GenerateOptions{Prompt: prompt(1, 5), IgnoreEnd: true})
		errs <- err
	}()
	for f.steps.Load() < 5 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-errs; !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want %v", err, ErrClosed)
	}
	if st, err := p.Stats(t.Context()); err != nil || st.Sessions != 0 || st.CacheBytes != 0 {
		t.Errorf("stats %+v (%v)", st, err)
	}
	if _, err := s.Decode(t.Context(), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want %v", err, ErrClosed)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Closing the Program ends calls, and neither waits for ever.
func TestCloseProgramWhileBusy(t *testing.T) {
	p, f := open(t, limits{})
	f.delay = time.Millisecond
	var wg sync.WaitGroup
	for i := range 8 {
		s := session(t, p)
		wg.Go(func() {
			_, _, err := generate(context.Background(), s, GenerateOptions{Prompt: prompt(i, 3), IgnoreEnd: true})
			if !errors.Is(err, ErrClosed) {
				t.Errorf("error %v, want %v", err, ErrClosed)
			}
			if err := s.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	for f.steps.Load() < 5 {
		time.Sleep(time.Millisecond)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Close(done); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	wg.Wait()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := p.NewSession(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want %v", err, ErrClosed)
	}
	if _, err := p.Stats(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want %v", err, ErrClosed)
	}
}

// Calls that are cancelled at any moment leave nothing behind.
func TestCancelAnywhere(t *testing.T) {
	p, f := open(t, limits{chunk: 4, slots: 8})
	f.delay = 50 * time.Microsecond
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
			defer cancel()
			s, err := p.NewSession(ctx)
			if err != nil {
				return
			}
			defer s.Close(context.Background())
			for range s.Generate(ctx, GenerateOptions{Prompt: prompt(i, 30), IgnoreEnd: true}) {
			}
			if f, err := s.Fork(ctx); err == nil {
				f.Close(ctx)
			}
		})
	}
	wg.Wait()
	st, err := p.Stats(t.Context())
	if err != nil || st.Sessions != 0 || st.CacheBytes != 0 || st.Waiting != 0 {
		t.Errorf("stats %+v (%v)", st, err)
	}
}

func TestDeviceFault(t *testing.T) {
	p, f := open(t, limits{})
	s, other := session(t, p), session(t, p)
	if _, err := other.Prefill(t.Context(), prompt(1, 5)); err != nil {
		t.Fatal(err)
	}
	f.fail.Store(1)
	_, err := s.Prefill(t.Context(), prompt(1, 5))
	if !errors.Is(err, ErrBroken) || err.Error() != "runtime: the session was in a step that failed: device fault" {
		t.Errorf("error %v", err)
	}
	if _, err := s.Decode(t.Context(), 1); !errors.Is(err, ErrBroken) {
		t.Errorf("error %v, want %v", err, ErrBroken)
	}
	if _, err := other.Decode(t.Context(), 1); err != nil {
		t.Errorf("a session that was not in the step: %v", err)
	}
}
