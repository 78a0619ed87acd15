package kernels

import (
	"math"
	"testing"

	"quire/ir/types/layout"
	"quire/ir/work"
)

// pairs counts what the compiled kernel attends to, query by query: all scores are 0 and
// token 0, which every query sees, has the only value, 1, so that a row's output is one over
// the number of tokens that it sees. slot has cached tokens before its rows.
func pairs(t *testing.T, l lib, p work.Attention, slot slotRows) int64 {
	t.Helper()
	d := work.Dims{N: int64(slot.rows), S: 1, C: int64(slot.cached + slot.rows)}
	d.P = (d.C + int64(p.Page) - 1) / int64(p.Page)
	stride := work.PageStride(p.KVHeads, p.Dim, p.Page, p.Summary, p.CacheEnc)
	cache := alloc[byte](t, int(d.P*stride))
	value := cache[work.PageBytes(p.KVHeads, p.Dim, p.Page, p.CacheEnc)/2:]
	value[1] = 0x3c // 1 in float16
	pages, rowSlot, start, before := alloc[int32](t, int(d.P)), alloc[int32](t, slot.rows), alloc[int32](t, 1), alloc[int32](t, 1)
	for i := range pages {
		pages[i] = int32(i)
	}
	before[0] = int32(slot.cached)
	q, o := alloc[float32](t, slot.rows*p.Dim), poison(alloc[float32](t, slot.rows*p.Dim))
	l.bind(t, 0, p, d, map[string]uintptr{"q": addr(q), "o": addr(o), "cache": addr(cache), "row_slot": addr(rowSlot),
		"slot_start": addr(start), "slot_len": addr(before), "pages": addr(pages)}).run(1)
	sum := int64(0)
	for i := range slot.rows {
		n := 1 / float64(o[i*p.Dim])
		if !(math.Abs(n-math.Round(n)) < 0.1) {
			t.Fatalf("%v: row %d sees %v tokens, expected a whole number", slot, i, n)
		}
		sum += int64(math.Round(n))
	}
	return sum
}

// Case 27 of DuoAttention, counted in the compiled kernel: prompts read in chunks by a
// streaming head with a sink of 128 and 256 recent tokens have 0.1069 of a dense head's pairs
// (100K tokens, chunks of 10K) and 0.1022 (320K by 32K). All chunks but the first see alike,
// so that of the longer prompt the first and the last are counted. The dense kernel is counted
// where that is quick.
func TestCase27Pairs(t *testing.T) {
	tgt := targets(t)[0]
	p := work.Attention{Phase: work.Prefill, Heads: 1, KVHeads: 1, Dim: 16, Scale: 1, CacheEnc: layout.F16, Page: 64}
	if n, got := 3000, pairs(t, open(t, tgt, p), p, slotRows{0, 3000}); got != int64(n*(n+1)/2) {
		t.Errorf("dense: %d pairs of %d tokens, expected %d", got, n, n*(n+1)/2)
	}
	p.Sink, p.Window, p.Chunked = 128, 257, true
	l := open(t, tgt, p)
	for _, c := range []struct {
		tokens, chunk int
		every         bool
		want          float64
	}{{100_000, 10_000, true, 0.1069}, {320_000, 32_000, false, 0.1022}} {
		first := pairs(t, l, p, slotRows{0, c.chunk})
		last := pairs(t, l, p, slotRows{c.tokens - c.chunk, c.chunk})
		sum := first + int64(c.tokens/c.chunk-1)*last
		for at := c.chunk; c.every && at < c.tokens-c.chunk; at += c.chunk {
			if got := pairs(t, l, p, slotRows{at, c.chunk}); got != last {
				t.Errorf("chunk at %d: %d pairs, the last one %d", at, got, last)
			}
		}
		dense := float64(c.tokens) * float64(c.tokens+1) / 2
		if got := float64(sum) / dense; math.Abs(got-c.want) > 5e-5 {
			t.Errorf("%d tokens in chunks of %d: %.5f of dense, expected %v", c.tokens, c.chunk, got, c.want)
		}
	}
}
