package e2e

import (
	"context"
	"testing"

	"quire/frontends/spec"
	"quire/passes/duo"
	"quire/passes/quest"
)

// said is the logits after a prompt, and after each of some tokens that follow.
func said(t *testing.T, h how, ids []int32, prompt int) [][]float32 {
	t.Helper()
	s := session(t, open(t, smollm2(t), h))
	row, err := s.Prefill(context.Background(), ids[:prompt])
	var out [][]float32
	for at := prompt; ; at++ {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, append([]float32(nil), row...))
		if at == len(ids) {
			return out
		}
		row, err = s.Decode(context.Background(), ids[at])
	}
}

// On real weights, as on tiny ones: heads that are split with a window over the whole text and
// pages that are picked with a budget for all of it are the model without either, of the same
// weights and caches; with less they are another.
func TestSmolLM2Composed(t *testing.T) {
	var ids []int32
	for _, r := range replies(t) {
		ids = append(append(ids, r.PromptIDs...), r.Greedy...)
	}
	ids = ids[:420]
	const prompt = 412
	mask := duo.Alternating(30, 3)
	for _, c := range []struct {
		name  string
		base  how
		bound float64
	}{
		{"plain", how{threads: 2}, 1e-5},
		{"awq, int8", how{threads: 2, kv: "int8", awq: &spec.AWQ{Bits: 4, Group: 32}}, 1e-2}, // codes at a border fall to either side
	} {
		want := said(t, c.base, ids, prompt)
		all, few := c.base, c.base
		all.duo, all.quest = &duo.Options{Mask: mask, Sink: 4, Recent: 500}, &quest.Options{Budget: 512, Page: 16, PhysicalPage: 64, Reselect: 1}
		few.duo, few.quest = &duo.Options{Mask: mask, Sink: 4, Recent: 60}, &quest.Options{Budget: 128, Page: 16, PhysicalPage: 64, Reselect: 1}
		for i, row := range said(t, all, ids, prompt) {
			if d := relL2(row, want[i]); !(d <= c.bound) {
				t.Errorf("%s: logits %d are %.3g from those of the model, expected at most %g", c.name, i, d, c.bound)
			}
		}
		most := 0.0
		for i, row := range said(t, few, ids, prompt) {
			most = max(most, relL2(row, want[i]))
		}
		t.Logf("%s: with little %.3g", c.name, most)
		if !(most > 10*c.bound && most < 2) {
			t.Errorf("%s: with little memory %.3g from the model, expected another result", c.name, most)
		}
	}
}
