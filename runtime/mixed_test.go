package runtime

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"quire/runtime/device"
	"quire/runtime/sample"
)

// job is a call of a session, and what it says as text: tokens or scores, then the error's kind.
type job struct {
	name string
	do   func(ctx context.Context, s *Session, prompt []int32) string
}

// outcome is the kind of an error, as far as a caller tells them apart.
func outcome(err error) string {
	for _, e := range []error{sample.ErrNotFinite, ErrContextFull, ErrBroken, ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return " " + e.Error()
		}
	}
	if err != nil {
		return " " + err.Error()
	}
	return ""
}

// jobs are one of each kind that shares steps with the others.
func jobs() []job {
	reply := func(name string, o sample.Options) job {
		return job{name, func(ctx context.Context, s *Session, prompt []int32) string {
			out, last, err := generate(ctx, s, GenerateOptions{Prompt: prompt, MaxTokens: 25, IgnoreEnd: true, Sample: o})
			return fmt.Sprint(out, last, outcome(err))
		}}
	}
	score := func(name string, o ScoreOptions) job {
		return job{name, func(ctx context.Context, s *Session, prompt []int32) string {
			out, err := s.Score(ctx, prompt, o)
			return fmt.Sprint(out, outcome(err))
		}}
	}
	return []job{
		reply("greedy", sample.Options{}),
		reply("drawn", sample.Options{Temperature: 1, Seed: 5}),
		reply("best", sample.Options{Temperature: 0.7, TopK: 5, TopP: 0.9, Seed: 6}),
		reply("one of the best", sample.Options{Temperature: 0.7, TopK: 1, Seed: 6}),
		reply("penalised", sample.Options{Repetition: 1.3, Frequency: 0.1}),
		reply("penalised draw", sample.Options{Temperature: 1, Presence: 0.5, MinP: 0.01, Seed: 7}),
		score("scores", ScoreOptions{Top: 2}),
		score("scores by step", ScoreOptions{Stepwise: true}),
		{"decode", func(ctx context.Context, s *Session, prompt []int32) string {
			logits, err := s.Prefill(ctx, prompt)
			var out []int32
			for range 20 {
				if err != nil {
					break
				}
				var top sample.Candidate
				if top, err = sample.Greatest(logits); err == nil {
					out = append(out, top.ID)
					logits, err = s.Decode(ctx, top.ID)
				}
			}
			return fmt.Sprint(out, outcome(err))
		}},
	}
}

func newFake(spoil int32) *fake {
	return &fake{p: fakeProgram(9), pages: []map[int32][]int32{{}, {}}, spoil: spoil}
}

// alone is what a job says by itself, on a device that chooses nothing.
func alone(t *testing.T, j job, prompt []int32, spoil int32) string {
	t.Helper()
	prog := newProgram(fakeProgram(9), nil, newFake(spoil), limits{context: 1000, pages: []int{1000, 1000}, slots: 1, chunk: 16})
	defer prog.Close(context.Background())
	return j.do(context.Background(), session(t, prog), prompt)
}

// Jobs of every kind beside each other, on devices that choose, run ahead or do neither: each says
// what it says alone, where logits are not finite too.
func TestMixed(t *testing.T) {
	for seed := range uint64(4) {
		for _, spoil := range []int32{0, 17} {
			for name, m := range map[string]device.Model{"plain": newFake(spoil), "running": &running{fake: newFake(spoil)}, "choosing": &choosing{running{fake: newFake(spoil)}}} {
				t.Run(fmt.Sprintf("%s/%d/%d", name, seed, spoil), func(t *testing.T) { mixed(t, m, seed, spoil) })
			}
		}
	}
}

func mixed(t *testing.T, m device.Model, seed uint64, spoil int32) {
	prog := newProgram(fakeProgram(9), nil, m, limits{context: 1000, pages: []int{400, 200}, slots: 4, chunk: 16})
	defer prog.Close(context.Background())
	r := rand.New(rand.NewPCG(seed, 9))
	var wg sync.WaitGroup
	all := jobs()
	for range 12 {
		j, in, pause := all[r.IntN(len(all))], prompt(r.IntN(100), 1+r.IntN(40)), time.Duration(r.IntN(3))*time.Millisecond
		wg.Go(func() {
			time.Sleep(pause)
			s := session(t, prog)
			defer s.Close(context.Background())
			if got, want := j.do(t.Context(), s, in), alone(t, j, in, spoil); got != want {
				t.Errorf("%s of %v:\n%s, alone\n%s", j.name, in, got, want)
			}
		})
	}
	wg.Wait()
}

// Calls that end at any moment, by their context or by their session's Close: what the session
// holds is what it was fed, it goes on from there, and nothing is left behind.
func TestMixedEndsAnywhere(t *testing.T) {
	for seed := range uint64(3) {
		m := &choosing{running{fake: newFake(0)}}
		m.delay = 30 * time.Microsecond
		prog := newProgram(fakeProgram(9), nil, m, limits{context: 1000, pages: []int{400, 200}, slots: 4, chunk: 16})
		r := rand.New(rand.NewPCG(seed, 10))
		var wg sync.WaitGroup
		all := jobs()
		for range 16 {
			j, in, after, closes := all[r.IntN(len(all))], prompt(r.IntN(100), 1+r.IntN(60)), time.Duration(r.IntN(5000))*time.Microsecond, r.IntN(3) == 0
			wg.Go(func() { endsAnywhere(t, prog, j, in, after, closes) })
		}
		wg.Wait()
		st, err := prog.Stats(t.Context())
		if err != nil || st.Sessions != 0 || st.CacheBytes != 0 || st.Waiting != 0 {
			t.Errorf("stats %+v (%v)", st, err)
		}
		if err := prog.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func endsAnywhere(t *testing.T, prog *Program, j job, in []int32, after time.Duration, closes bool) {
	s := session(t, prog)
	defer s.Close(context.Background())
	ctx, cancel := context.WithTimeout(t.Context(), after)
	defer cancel()
	if closes {
		end := time.AfterFunc(after/2, func() { s.Close(context.Background()) })
		defer end.Stop()
	}
	j.do(ctx, s, in)
	held := s.Tokens()
	if n := min(len(held), len(in)); !slices.Equal(held[:n], in[:n]) {
		t.Errorf("%s: the session holds %v, was fed %v", j.name, held, in)
	}
	got, _, err := generate(t.Context(), s, GenerateOptions{Prompt: []int32{7}, MaxTokens: 5, IgnoreEnd: true})
	if errors.Is(err, ErrClosed) && closes {
		return
	}
	if want := reference(append(held, 7), 5); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s ended after %v with %d tokens, and went on with %v (%v), want %v", j.name, after, len(held), got, err, want)
	}
}
