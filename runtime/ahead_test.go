package runtime

import (
	"context"
	"errors"
	"slices"
	"sync"
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
		b.Want = device.ArgMax | device.Logits
		out, err := f.Step(b)
		if err != nil {
			return err
		}
		token := out.ArgMax[0]
		if l := out.Logits[token]; l != l {
			token = -1
		}
		if more = yield(token) && more; !more {
			if late--; late < 0 {
				return nil
			}
		}
		b.Tok[0] = max(token, 0)
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

// choosing is a device that chooses tokens itself, in steps and in runs.
type choosing struct{ running }

func (f *choosing) Chooses() bool { return true }

func (f *choosing) Step(b *device.Batch) (device.Output, error) { return f.choose(b, 0) }

func (f *choosing) choose(b *device.Batch, turn int) (device.Output, error) {
	want := b.Want
	b.Want |= device.Logits
	out, err := f.fake.Step(b)
	b.Want = want
	if want&device.Chosen == 0 || err != nil {
		return out, err
	}
	for i, c := range b.Choices {
		s, err := sample.New(sample.Options{Temperature: c.Temperature, TopK: c.TopK, TopP: c.TopP, MinP: c.MinP})
		if err != nil {
			return out, err
		}
		u := 0.0
		if c.Draw() {
			u = c.Draws[turn]
		}
		id, err := s.Choose(out.Logits[i*fakeVocab:][:fakeVocab], u)
		if err != nil {
			id = -1
		}
		out.Chosen = append(out.Chosen, id)
	}
	if want&device.Logits == 0 {
		out.Logits = nil
	}
	return out, nil
}

func (f *choosing) Run(b *device.Batch, steps int, yield func(int32) bool) error {
	f.runs.Add(1)
	late := 3
	for turn, more := 0, true; turn < steps && (more || late > 0); turn++ {
		if !more {
			late--
		}
		b.Want = device.Chosen
		out, err := f.choose(b, turn)
		if err != nil {
			return err
		}
		token := out.Chosen[0]
		more = yield(token) && more
		b.Tok[0] = max(token, 0)
		b.Pos[0]++
		b.SlotLen[0]++
	}
	return nil
}

// generated is the reply that a device gives to a prompt, alone or beside a greedy session.
func generated(t *testing.T, m device.Model, o sample.Options, beside bool) []int32 {
	t.Helper()
	prog := newProgram(fakeProgram(9), nil, m, limits{context: 1000, pages: []int{1000, 1000}, slots: 8, chunk: 16})
	defer prog.Close(t.Context())
	one := func(o sample.Options) []int32 {
		sess, err := prog.NewSession(t.Context())
		if err != nil {
			t.Error(err)
			return nil
		}
		defer sess.Close(t.Context())
		var out []int32
		for piece, err := range sess.Generate(t.Context(), GenerateOptions{Prompt: []int32{3, 1, 4}, MaxTokens: 150, IgnoreEnd: true, Sample: o}) {
			if err != nil {
				t.Error(err)
				return nil
			}
			out = append(out, piece.Token)
		}
		return out
	}
	if !beside {
		return one(o)
	}
	var wg sync.WaitGroup
	wg.Go(func() { one(sample.Options{}) })
	out := one(o)
	wg.Wait()
	return out
}

// A device that chooses gives the tokens that are chosen on the host, by the same numbers: alone,
// where it runs ahead, and beside others. Penalties are the host's.
func TestChosenOnTheDevice(t *testing.T) {
	for _, o := range []sample.Options{
		{}, {Temperature: 1, Seed: 5}, {Temperature: 0.7, TopK: 5, TopP: 0.9, Seed: 6}, {Temperature: 1, MinP: 0.1, Seed: 7}, {Temperature: 1, Repetition: 1.2, Seed: 8},
	} {
		want := generated(t, &fake{p: fakeProgram(9), pages: []map[int32][]int32{{}, {}}}, o, false)
		for _, beside := range []bool{false, true} {
			f := &choosing{running{fake: &fake{p: fakeProgram(9), pages: []map[int32][]int32{{}, {}}}}}
			if got := generated(t, f, o, beside); len(got) != 150 || !slices.Equal(got, want) {
				t.Errorf("%+v, beside another %v: %v, want %v", o, beside, got, want)
			}
			if ran := f.runs.Load() > 0; !beside && ran == o.Penalises() {
				t.Errorf("%+v: the device ran ahead: %v", o, ran)
			}
		}
	}
}
