package conformance

import (
	"context"
	"math/rand/v2"
	"testing"

	"quire/ir"
	"quire/ir/interp"
	"quire/passes/pipeline"
	"quire/passes/quest"
	"quire/runtime"
)

// selectingProgram compiles a small model that selects pages.
func selectingProgram(t *testing.T, o quest.Options) *runtime.Program {
	t.Helper()
	prog, _ := open(t, spec("llama", small, "kv: f16"), pipeline.Options{Quest: &o}, 0)
	return prog
}

// told feeds a session a prompt and then tokens one by one; the last logits.
func told(t *testing.T, s *runtime.Session, prompt, tokens []int32) []float64 {
	t.Helper()
	ctx := context.Background()
	if len(prompt) > 0 {
		if _, err := s.Prefill(ctx, prompt); err != nil {
			t.Fatal(err)
		}
	}
	var row []float64
	for _, tok := range tokens {
		got, err := s.Decode(ctx, tok)
		if err != nil {
			t.Fatal(err)
		}
		row = row[:0]
		for _, x := range got {
			row = append(row, float64(x))
		}
	}
	return row
}

// A fork has the summaries and picks of the pages that it shares and of the one that it
// copies; what a sequence forgets is in no summary: both go on as a sequence of their
// own that was told the same does.
func TestForksAndTruncationsSelect(t *testing.T) {
	ctx := context.Background()
	for _, every := range []int{1, 8} {
		prog := selectingProgram(t, quest.Options{Budget: 32, Page: 16, PhysicalPage: 16, Per: ir.PerGroup, Reselect: every})
		open := func() *runtime.Session {
			s, err := prog.NewSession(ctx)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close(ctx) })
			return s
		}
		rng := rand.New(rand.NewPCG(4, 4))
		draw := func(n int) []int32 {
			out := make([]int32, n)
			for i := range out {
				out[i] = rng.Int32N(83)
			}
			return out
		}
		prompt, first, a, b := draw(101), draw(4), draw(25), draw(25)
		same := func(what string, got []float64, then []int32) {
			t.Helper()
			want := told(t, open(), prompt, append(append([]int32(nil), first...), then...))
			if d := interp.RelL2(got, want); d > 1e-6 {
				t.Errorf("reselect %d, %s: %.3g from a sequence that was told the same", every, what, d)
			}
		}
		s := open()
		told(t, s, prompt, first)
		f, err := s.Fork(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close(ctx) })
		same("the fork", told(t, f, nil, a), a)
		same("the original", told(t, s, nil, b), b)
		if every > 1 {
			continue // a truncation may select sooner than the text before it did
		}
		if err := s.Truncate(ctx, 105); err != nil {
			t.Fatal(err)
		}
		same("after a truncation", told(t, s, nil, a), a)
	}
}
