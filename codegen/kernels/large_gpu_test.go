package kernels

import (
	"math"
	"testing"

	"quire/ir/target"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// large says whether a GPU runs a test's steps, which are too large to simulate. Where there is none, their kernel
// is compiled into the bundle, if there is one to fill, under the name that its launch gives it.
func large(t *testing.T, tgt target.Target, name string, p work.Params) bool {
	t.Helper()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	if *device == "cuda" {
		return true
	}
	if *bundle != "" {
		launched.add(t.Name(), tgt, p)
		pack(t, tgt, p, name)
	}
	return false
}

// ragged are slots of one row each, of every length up to most.
func ragged(slots, most int) []slotRows {
	out := make([]slotRows, slots)
	for i := range out {
		out[i] = slotRows{(i*i*37 + i) % most, 1}
	}
	return out
}

// Decode attention of long caches, up to 128K tokens, and of 64 sequences at once.
func TestLargeDecodeGPU(t *testing.T) {
	for _, tgt := range gpus(t) {
		for _, c := range []struct {
			p     work.Attention
			steps [][]slotRows
		}{
			{work.Attention{Heads: 4, KVHeads: 1, Dim: 128, CacheEnc: layout.F16, Page: 64},
				[][]slotRows{{{131071, 1}}, {{32767, 1}, {4095, 1}, {8000, 1}}, ragged(64, 700)}},
			{work.Attention{Heads: 7, KVHeads: 1, Dim: 80, CacheEnc: layout.BF16, Page: 64, Softcap: 30},
				[][]slotRows{{{131000, 1}}, ragged(17, 3000)}},
			{work.Attention{Heads: 8, KVHeads: 2, Dim: 64, CacheEnc: layout.F16, Page: 64, Window: 4096, Sink: 64},
				[][]slotRows{{{131071, 1}, {20000, 1}}, ragged(33, 6000)}},
			{work.Attention{Heads: 4, KVHeads: 2, Dim: 256, CacheEnc: layout.F16, Page: 128},
				[][]slotRows{{{33000, 1}}, ragged(5, 2000)}},
			{work.Attention{Heads: 4, KVHeads: 1, Dim: 128, CacheEnc: kvpage.Q4, Page: 64},
				[][]slotRows{{{131071, 1}}, ragged(64, 700)}},
			{work.Attention{Heads: 9, KVHeads: 3, Dim: 64, CacheEnc: kvpage.Q8, Page: 64},
				[][]slotRows{{{131071, 1}, {70, 1}}, ragged(33, 900)}},
		} {
			c.p.Scale, c.p.Phase, c.p.Split = float32(1/math.Sqrt(float64(c.p.Dim))), work.Decode, 128
			full := work.DecodeGPU{Attention: c.p, Blocks: 264}
			if !large(t, tgt, "k0", full) {
				continue
			}
			l := open(t, tgt, full)
			for _, b := range c.steps {
				s := newKVStepGPU(t, c.p, b)
				l.bind(t, 0, full, s.d, s.operands()).run(1)
				s.checkTo(t, tgt.Name, 2*tolGPU(c.p))
			}
		}
	}
}

// Prefill attention of rows that follow a long cache.
func TestLargePrefillGPU(t *testing.T) {
	for _, tgt := range gpus(t) {
		for _, p := range []work.Attention{
			{Heads: 4, KVHeads: 1, Dim: 128, CacheEnc: layout.F16, Page: 64},
			{Heads: 3, KVHeads: 1, Dim: 64, CacheEnc: layout.BF16, Page: 64, Window: 1000, Sink: 64},
			{Heads: 4, KVHeads: 1, Dim: 128, CacheEnc: kvpage.Q4, Page: 64},
		} {
			p.Scale, p.Phase = float32(1/math.Sqrt(float64(p.Dim))), work.Prefill
			full := work.PrefillGPU{Attention: p}
			if !large(t, tgt, "k0", full) {
				continue
			}
			l := open(t, tgt, full)
			for _, b := range [][]slotRows{{{131000, 40}}, {{0, 700}, {9000, 1}, {3000, 150}}} {
				s := newKVStepGPU(t, p, b)
				l.bind(t, 0, full, s.d, s.operands()).run(1)
				s.checkTo(t, tgt.Name, 2*tolGPU(p))
			}
		}
	}
}

// Pages picked of 128K tokens, and for 64 sequences.
func TestLargePageSelectGPU(t *testing.T) {
	p := work.Attention{Heads: 4, KVHeads: 1, Dim: 128, CacheEnc: layout.F16, Page: 64, Summary: 16, Budget: 64, Scale: 0.1}
	for _, tgt := range gpus(t) {
		for _, keys := range []int{0, 1 << 12} {
			sel := work.PageSelectGPU{PageSelect: selectorOf(p, 0), Blocks: 264, Keys: keys}
			if large(t, tgt, "k0", sel) {
				testPageSelectGPU(t, tgt, p, sel, [][]slotRows{{{131071, 1}}, ragged(64, 9000)})
			}
		}
	}
}

// Products of every number of rows from 1 to 64, and of some more: the kernels that a step of so many rows is
// lowered to.
func TestLargeBatchesGPU(t *testing.T) {
	for _, tgt := range gpus(t) {
		for _, enc := range []layout.Enc{layout.Q4G128, layout.BF16} {
			l := work.Linear{Enc: enc, Rows: []int{250}, Cols: 1024, Tokens: work.Many, Dot: work.F16, Epilogue: work.Add}
			bound := 1.5e-3
			if enc == layout.BF16 {
				l.Dot, bound = work.BF16, 8e-3
			}
			one := l // whose rows are floats
			one.Tokens = work.One
			for _, c := range []struct {
				p        work.Params
				l        work.Linear
				from, to int
			}{
				{work.GEMV{Linear: one, Columns: 1}, one, 1, 1},
				{work.GEMV{Linear: one, Columns: 8}, one, 1, 8},
				{work.GEMV{Linear: l, Columns: 16}, l, 1, 16},
				{work.GEMV{Linear: l, Columns: 32}, l, 17, 32},
				{work.GEMV{Linear: l, Columns: 64}, l, 33, 64},
				{work.GEMM{Linear: l, RowWarps: 2, Block: 64}, l, 60, 70},
				{work.GEMM{Linear: l, RowWarps: 4, Block: 128}, l, 126, 130},
				{work.GEMM{Linear: l, RowWarps: 4, Block: 128}, l, 1001, 1001},
			} {
				if !large(t, tgt, "k", c.p) {
					continue
				}
				for n := c.from; n <= c.to; n++ {
					x := newFewRows(t, c.p, c.l, n)
					if c.l.Tokens == work.Many {
						x.codes()
					}
					x.check(t, tgt, 2, bound)
				}
			}
		}
	}
}
