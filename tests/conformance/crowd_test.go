package conformance

import (
	"math/rand/v2"
	"testing"

	"quire/ir/interp"
	machine "quire/ir/target"
)

// On a simulated GPU, steps of single rows of more sequences than one product has columns: they have kernels of
// their own, and launches that others do without.
func TestSimulatedCrowds(t *testing.T) {
	small := []string{"hidden: 64", "heads: 4", "kv_heads: 2", "head_dim: 32", "ffn: 128", "kv: f16"}
	for i, v := range []variant{
		{"llama q4g64", spec("llama", append(small, "quantisation: q4g64")...), 0, 5e-3, nil, nil},
		{"llama bf16", spec("llama", append(small, "quantisation: bf16")...), 0, 2e-2, nil, nil},
		{"qwen3 head norms", spec("qwen3", append(small, "quantisation: q8_0")...), 0, 5e-3, nil, nil},
		{"gemma3 branches normed", spec("gemma3", append(small, "window: 8", "quantisation: f16")...), 0, 5e-3, nil, nil},
	} {
		t.Run(v.name, func(t *testing.T) {
			tgt, err := machine.Parse([]string{"sm_90a", "sm_80"}[i%2])
			if err != nil {
				t.Fatal(err)
			}
			m, p := build(t, v.spec, v.options(tgt))
			s := newSubject(t, v, m, p, 33, 70)
			s.device = newSimulated(t, p, tgt, s.sizes())
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			step := func(n int, tokens func(slot int) int) {
				var turns []interp.Turn
				for slot := range n {
					turns = append(turns, interp.Turn{Slot: slot, Tokens: s.tokens(rng, tokens(slot)), Logits: 1})
				}
				s.run(n, turns...)
			}
			step(3, func(slot int) int { return 9 - 4*slot })
			for _, n := range []int{9, 5, 17, 33} {
				step(n, func(int) int { return 1 })
			}
		})
	}
}
