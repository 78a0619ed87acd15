package runtime

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"quire/runtime/device"
	"quire/runtime/sample"
)

// running is the fake device, which goes on by itself; up to three steps more than asked.
type running struct {
	*fake
	runs, ran atomic.Int64
	failAt    int64
}

func (f *running) Runs() bool { return true }

func (f *running) Run(b *device.Batch, steps int, yield func(int32) bool) error {
	f.runs.Add(1)
	more, late := true, 3
	for range steps {
		if f.ran.Add(1) == f.failAt {
			return errors.New("device fault")
		}
		b.Want = device.ArgMax
		out, err := f.Step(b)
		if err != nil {
			return err
		}
		token := out.ArgMax[0]
		if more = yield(token) && more; !more {
			if late--; late < 0 {
				return nil
			}
		}
		b.Tok[0] = token
		b.Pos[0]++
		b.SlotLen[0]++
	}
	return nil
}

// openRunning is open with a device that goes on by itself.
func openRunning(t *testing.T, l limits) (*Program, *running) {
	t.Helper()
	p := fakeProgram(9)
	f := &running{fake: &fake{p: p, pages: []map[int32][]int32{{}, {}}}}
	prog := newProgram(p, nil, f, l)
	t.Cleanup(func() {
		if err := prog.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return prog, f
}

// What a device generates by itself is what steps generate, alone and beside others.
func TestRunAhead(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits limits
		tokens int
	}{
		{"plenty", limits{context: 1000, pages: []int{1000, 1000}, slots: 8, chunk: 16}, 300},
		{"few pages", limits{context: 1000, pages: []int{80, 20}, slots: 8, chunk: 16}, 300},
		{"the context's end", limits{context: 200, pages: []int{1000, 1000}, slots: 8, chunk: 16}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			prog, f := openRunning(t, c.limits)
			prompt := []int32{3, 1, 4, 1, 5}
			want := reference(prompt, 300)
			sess, err := prog.NewSession(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []int32
			for piece, err := range sess.Generate(t.Context(), GenerateOptions{Prompt: prompt, MaxTokens: c.tokens, IgnoreEnd: true}) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, piece.Token)
			}
			if len(got) < 150 || !slices.Equal(got, want[:len(got)]) {
				t.Errorf("%d tokens %v, want %v", len(got), got, want)
			}
			if held := sess.Tokens(); !slices.Equal(held, append(slices.Clone(prompt), got[:len(got)-1]...)) {
				t.Errorf("the session holds %d tokens", len(held))
			}
			if f.runs.Load() == 0 {
				t.Error("the device was never left alone")
			}
			if err := sess.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Samplers choose on the host, and two sessions share steps.
func TestNoRunAhead(t *testing.T) {
	prog, f := openRunning(t, limits{context: 1000, pages: []int{1000, 1000}, slots: 8, chunk: 16})
	sess, err := prog.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := GenerateOptions{Prompt: []int32{1}, MaxTokens: 20, IgnoreEnd: true, Sample: sample.Options{Temperature: 1, Seed: 1}}
	for _, err := range sess.Generate(t.Context(), o) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if f.runs.Load() != 0 {
		t.Error("the device chose tokens for a sampler")
	}
}

func TestRunAheadFails(t *testing.T) {
	prog, f := openRunning(t, limits{context: 1000, pages: []int{1000, 1000}, slots: 8, chunk: 16})
	f.failAt = 5
	sess, err := prog.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range sess.Generate(t.Context(), GenerateOptions{Prompt: []int32{1}, MaxTokens: 20, IgnoreEnd: true}) {
		last = err
	}
	if !errors.Is(last, ErrBroken) {
		t.Errorf("error %v, want %v", last, ErrBroken)
	}
}
