package runtime

import (
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/runtime/kv"
	"quire/runtime/program"
)

// CacheNeed is the memory of keys and values of one sequence of n tokens in bytes: exact,
// where each table keeps but sink and recent tokens of it (DuoAttention's formula: 2 * size *
// dim * (n * full heads + (sink + recent) * streaming heads), and of quantised caches the scale
// and the zero of each vector), and in whole pages with their summaries, as decoding holds
// them. A prompt's steps hold their own tokens besides.
func CacheNeed(p *program.Program, n int) (exact, paged int64) {
	tables := tablesOf(p)
	for _, c := range p.Caches {
		t := tables[c.Table]
		paged += int64(t.Most(n)) * c.PageBytes
		if c.Elem == program.Picks {
			continue // no keys and values
		}
		kept := n
		if t.Recent != nil {
			kept = min(n, t.Sink+*t.Recent)
		}
		exact += int64(c.Heads) * kvpage.TokenBytes(layout.Enc(c.Elem), c.Dim) * int64(kept)
	}
	return exact, paged
}

// tablesOf is a Program's tables.
func tablesOf(p *program.Program) []kv.Table {
	out := make([]kv.Table, len(p.Tables))
	for i, t := range p.Tables {
		out[i] = kv.Table{Page: t.Page, Sink: t.Sink, Recent: t.Recent}
	}
	return out
}
