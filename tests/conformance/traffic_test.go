package conformance

import (
	"fmt"
	"strings"
	"testing"

	"quire/ir"
	"quire/ir/target"
	"quire/ir/work"
	"quire/passes/duo"
	"quire/passes/pipeline"
	"quire/passes/quest"
	"quire/runtime/program"
)

// Case 14 of Quest for whole programs: what the launches of a decode step report that they
// read of the caches is the formula's for the layers that select and what dense attention
// has to read for the first, which does not; with DuoAttention under it, for the heads that
// retrieve, and for the others what sink and window leave. Sizes are counted by hand: a
// key or value of 32 dims, with its scale and zero, and the largest and the least of a summary.
func TestCase14Programs(t *testing.T) {
	const layers, kvHeads, group, dim, sink, recent = 2, 2, 2, 32, 3, 40
	sizes := map[string]struct{ token, summary float64 }{
		"f16":  {2 * 2 * dim, 2 * 2 * dim},
		"int8": {2 * (dim + 2 + 2), 2 * 2 * dim},
		"int4": {2 * (dim/2 + 2 + 2), 2 * 2 * dim},
	}
	host, err := target.Host()
	if err != nil {
		t.Fatal(err)
	}
	gpu, err := target.Parse("sm_90a")
	if err != nil {
		t.Fatal(err)
	}
	for kv, z := range sizes {
		for _, tgt := range []target.Target{host, gpu} {
			for _, per := range []ir.Per{ir.PerGroup, ir.PerHead} {
				for _, split := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s %s per %d duo %v", kv, tgt.Arch, per, split), func(t *testing.T) {
						q := quest.Options{Budget: 128, Page: 16, PhysicalPage: 64, DenseLayers: 1, Per: per, Reselect: 1}
						o := pipeline.Options{Target: tgt, Quest: &q}
						full := [layers]float64{kvHeads, kvHeads} // heads that keep all
						if split {
							o.Duo = &duo.Options{Mask: duo.Mask{{true, true}, {false, true}}, Sink: sink, Recent: recent}
							full[1]--
						}
						_, p, err := compile(t, spec("llama", strings.Replace(small, "head_dim: 16", "head_dim: 32", 1), "page: 64", "kv: "+kv), o, true)
						if err != nil {
							t.Fatal(err)
						}
						for _, before := range []int{0, 43, 44, 127, 128, 192, 255, 319, 511} {
							want := quest.Dense(before+1, full[0]*z.token)
							want += q.Traffic(before+1, group, full[1]*z.token, full[1]*z.summary)
							if before >= q.Budget { // the last page has tokens to come, and its summaries are not read
								lists := full[1]
								if per == ir.PerHead {
									lists *= group
								}
								last := float64(before%64 + 1)
								want -= lists*(64-last)*z.token + full[1]*float64(before%64/16+1)*z.summary
								if per == ir.PerHead && group*q.Budget > before+1 { // lists are counted apart, though they share pages
									want += full[1] * float64(group*q.Budget-before-1) * z.token
								}
							}
							want += quest.Dense(min(before+1, sink+recent+1), (kvHeads-full[1])*z.token)
							steps := cacheReads(p, before)
							if len(steps) == 0 {
								t.Fatal("no step reads a cache")
							}
							for name, got := range steps {
								if got != want {
									t.Errorf("step %s: %v bytes of %d tokens, the formula has %v", name, got, before+1, want)
								}
							}
						}
					})
				}
			}
		}
	}
}

// cacheReads is what the launches of each step of a program report of the caches, for one
// row after so many tokens.
func cacheReads(p *program.Program, before int) map[string]float64 {
	out := map[string]float64{}
	for _, s := range p.Steps {
		for _, l := range s.Launch {
			if r, ok := p.Kernels[l.Kernel].Params.(work.Reader); ok {
				n, _ := r.Read(int64(before), 1)
				out[s.Name] += float64(n)
			}
		}
	}
	return out
}
