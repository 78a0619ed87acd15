package conformance

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"quire/ir"
	"quire/passes/duo"
	"quire/passes/pipeline"
	"quire/passes/quest"
	"quire/runtime"
)

// What decoding takes of caches at its peak is the formula of DuoAttention's memory, case 26,
// in pages: scales and zeros of codes with their vectors, summaries of keys with the pages of
// the layers that select. The numbers here are counted from the sizes of the model by hand.
func TestCacheMemory(t *testing.T) {
	const (
		layers, kvHeads, dim = 2, 2, 32
		tokens               = 300
		sink, recent         = 3, 40
		page                 = 16
	)
	// of one head's key or value, and of a summary's largest or least: elements, scale and zero
	sizes := map[string]struct{ vector, summary int64 }{
		"f32":  {4 * dim, 4 * dim},
		"f16":  {2 * dim, 2 * dim},
		"int8": {dim + 2 + 2, 2 * dim},
		"int4": {dim/2 + 2 + 2, 2 * dim},
	}
	mask := duo.Mask{{true, false}, {false, true}}
	full := int64((tokens + page - 1) / page)
	ring := int64(1 + 3 + 1 + 1) // sink; 40 tokens; what the row's own page adds to them; slack
	for _, kv := range []string{"f32", "f16", "int8", "int4"} {
		for _, split := range []bool{false, true} {
			for _, selects := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s duo %v quest %v", kv, split, selects), func(t *testing.T) {
					o := pipeline.Options{}
					whole, stream := int64(layers*kvHeads), int64(0) // heads
					if split {
						o.Duo = &duo.Options{Mask: mask, Sink: sink, Recent: recent}
						whole, stream = 2, 2
					}
					var summary int64
					if selects {
						o.Quest = &quest.Options{Budget: 32, Page: page, PhysicalPage: page, Per: ir.PerGroup, Reselect: 1}
						summary = sizes[kv].summary
					}
					vector := sizes[kv].vector
					exact := 2 * vector * (whole*tokens + stream*(sink+recent))
					paged := 2 * (whole*full*(page*vector+summary) + stream*ring*page*vector)
					prog, _ := open(t, spec("llama", strings.Replace(small, "head_dim: 16", "head_dim: 32", 1), "page: 16", "kv: "+kv), o, 0)
					if e, p := prog.CacheNeed(tokens); e != exact || p != paged {
						t.Errorf("%d bytes by the formula and %d in pages, expected %d and %d", e, p, exact, paged)
					}
					if got := decodedPeak(t, prog, tokens); got != paged {
						t.Errorf("%d bytes at the peak of %d tokens, expected %d", got, tokens, paged)
					}
				})
			}
		}
	}
}

// decodedPeak is the most bytes of cache pages that n tokens, decoded one after the other, held.
func decodedPeak(t *testing.T, prog *runtime.Program, n int) int64 {
	t.Helper()
	ctx := context.Background()
	s, err := prog.NewSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	for _, tok := range draw(n) {
		if _, err := s.Decode(ctx, tok); err != nil {
			t.Fatal(err)
		}
	}
	st, err := prog.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return st.CachePeak
}
