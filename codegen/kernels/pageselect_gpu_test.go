package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"quire/ir/target"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// selectedGPU runs a selection and returns its lists.
func (s *kvStep) selectedGPU(t *testing.T, l lib, i int, p work.PageSelectGPU) func(n, l int) []int32 {
	pick := alloc[int32](t, int(s.d.N)*p.Lists()*p.Budget)
	for j := range pick {
		pick[j] = math.MinInt32
	}
	ops := s.operands()
	ops["pick"] = addr(pick)
	l.bind(t, i, p, s.d, ops).run(1)
	return func(n, l int) []int32 { return pick[(n*p.Lists()+l)*p.Budget:][:p.Budget] }
}

func TestPageSelectGPU(t *testing.T) {
	parallel(t)
	for _, tgt := range gpus(t) {
		for _, p := range append(slices.Clone(paged), work.Attention{Heads: 32, KVHeads: 2, Dim: 256, CacheEnc: layout.F16, Page: 256, Summary: 16, Budget: 2}) {
			if p.CacheEnc == layout.F32 {
				continue
			}
			p.Scale = float32(1 / math.Sqrt(float64(p.Dim)))
			long := [][]slotRows{{{5000, 1}}}
			all := append([][]slotRows{{{0, 1}}, {{63, 1}, {0, 1}, {64, 1}, {700, 1}}, {{64, 1}, {0, 40}, {577, 1}}, {{640, 1}, {128, 1}}}, long...)
			for keys, batches := range map[int][][]slotRows{100: all, 8: long, 0: long} { // some slots have more pages, or tiles
				testPageSelectGPU(t, tgt, p, work.PageSelectGPU{PageSelect: selectorOf(p, 0), Blocks: 8, Keys: keys}, batches)
			}
		}
	}
}

func testPageSelectGPU(t *testing.T, tgt target.Target, p work.Attention, sel work.PageSelectGPU, batches [][]slotRows) {
	t.Helper()
	l := open(t, tgt, sel)
	for _, b := range batches {
		s := newKVStepGPU(t, p, b)
		s.forget()
		lists := s.selectedGPU(t, l, 0, sel)
		for n := range int(s.d.N) {
			for li := range sel.Lists() {
				if s.fresh[s.rowSlot[n]] == 1 {
					s.checkList(t, sel.PageSelect, n, li, lists(n, li))
				}
			}
		}
	}
}

// forget spoils the summaries of pages that the rows before closed: the selection itself
// makes them.
func (s *kvStep) forget() {
	p := s.p
	stride, keys := int(work.PageStride(p.KVHeads, p.Dim, p.Page, p.Summary, p.CacheEnc)), int(work.PageBytes(p.KVHeads, p.Dim, p.Page, p.CacheEnc))
	for slot, r := range s.slots {
		if r.rows == 1 && r.cached > 0 && r.cached%p.Page == 0 {
			page := s.cache[int(s.page[slot*int(s.d.P)+r.cached/p.Page-1])*stride:][:stride]
			for j := keys; j < stride; j++ {
				page[j] = 0xff
			}
		}
	}
}

// Ties go to the lower page, as TestPickTies has them, whether tiles are picked first (of 16
// pages here) or not.
func TestPickTiesGPU(t *testing.T) {
	p := work.Attention{Heads: 2, KVHeads: 1, Dim: 16, CacheEnc: layout.F16, Page: 16, Summary: 16, Budget: 4, Scale: 1}
	for _, tgt := range gpus(t) {
		for _, c := range []struct {
			keys, tokens int
			alike        int // neighbouring pages that are
			want         map[float32][]int32
		}{
			{16, 165, 4, map[float32][]int32{1: {4, 8, 9, 10}, -1: {0, 1, 2, 10}}},
			{64, 165, 4, map[float32][]int32{1: {4, 8, 9, 10}, -1: {0, 1, 2, 10}}},
			{64, 805, 20, map[float32][]int32{1: {40, 41, 42, 50}, -1: {0, 1, 2, 50}}},
			{64, 805, 24, map[float32][]int32{1: {24, 48, 49, 50}, -1: {0, 1, 2, 50}}},
			{64, 805, 50, map[float32][]int32{1: {0, 1, 2, 50}, -1: {0, 1, 2, 50}}},
		} {
			sel := work.PageSelectGPU{PageSelect: selectorOf(p, 0), Blocks: 3, Keys: c.keys}
			l := open(t, tgt, sel)
			s := newKVStepGPU(t, p, []slotRows{{c.tokens, 1}})
			for i := range s.keys[0] {
				s.keys[0][i] = float64(i / (16 * 16) / c.alike)
			}
			s.summarise(0)
			for sign, want := range c.want {
				for i := range s.q {
					s.q[i] = sign
				}
				if got := s.selectedGPU(t, l, 0, sel)(0, 0); !slices.Equal(got, want) {
					t.Errorf("%s %+v: pages %v, expected %v", tgt.Name, c, got, want)
				}
			}
		}
	}
}

// A kept list serves its stretch of tokens: a row that finds it makes none, one that opens
// a stretch does.
func TestKeptListsGPU(t *testing.T) {
	p := work.Attention{Heads: 4, KVHeads: 2, Dim: 32, CacheEnc: layout.F16, Page: 16, Summary: 16, Budget: 3, Scale: 0.2}
	sel := work.PageSelectGPU{PageSelect: selectorOf(p, 8), Blocks: 4, Keys: 4}
	for _, tgt := range gpus(t) {
		l := open(t, tgt, sel)
		for _, c := range []struct {
			cached int
			marked int32 // the stretch that memory says its list is of
			makes  bool
		}{{104, 13, true}, {107, 13, false}, {107, 12, true}} {
			s := newKVStepGPU(t, p, []slotRows{{c.cached, 1}})
			bytes := work.KeptBytes(sel.Lists(), p.Budget)
			pages := len(s.cache) / int(work.PageStride(p.KVHeads, p.Dim, p.Page, p.Summary, p.CacheEnc))
			kept := alloc[int32](t, pages*int(bytes)/4)
			at := func(l int) []int32 {
				return kept[int(s.page[c.cached/p.Page])*int(bytes)/4+l*(1+p.Budget):][:1+p.Budget]
			}
			for l := range sel.Lists() {
				copy(at(l), []int32{c.marked, -7, -7, -7})
			}
			ops := s.operands()
			ops["kept"] = addr(kept)
			l.bind(t, 0, sel, s.d, ops).run(1)
			for li := range sel.Lists() {
				list := at(li)
				if !c.makes && !slices.Equal(list, []int32{c.marked, -7, -7, -7}) || c.makes && list[0] != 13 {
					t.Fatalf("%s: %d tokens, list marked %d: %v", tgt.Name, c.cached, c.marked, list)
				}
				if c.makes {
					s.checkList(t, sel.PageSelect, 0, li, list[1:])
				}
			}
		}
	}
}

// Summaries on a GPU are those of the keys as stored, of appended rows in any cuts.
func TestSummariseGPU(t *testing.T) {
	parallel(t)
	for _, tgt := range gpus(t) {
		for _, c := range []struct {
			enc           layout.Enc
			kv, dim       int
			page, summary int
		}{{layout.F16, 3, 32, 64, 16}, {layout.BF16, 2, 24, 96, 48}, {layout.F16, 1, 7, 32, 32}, {kvpage.Q4, 3, 32, 64, 16}, {kvpage.Q8, 2, 24, 96, 48}, {kvpage.Q4, 1, 7, 32, 32}} {
			testSummariseGPU(t, tgt, cacheOf{enc: c.enc, kv: c.kv, dim: c.dim, page: c.page, summary: c.summary, gpu: true})
		}
	}
}

func testSummariseGPU(t *testing.T, tgt target.Target, shape cacheOf) {
	t.Helper()
	store := work.KVStore{KVHeads: shape.kv, Dim: shape.dim, CacheEnc: shape.enc, Page: shape.page, Summary: shape.summary}
	sums := work.Summarise{KVHeads: shape.kv, Dim: shape.dim, CacheEnc: shape.enc, Page: shape.page, Summary: shape.summary}
	l := open(t, tgt, store, sums)
	ones := func(before, n, after int) []int {
		return append(append([]int{before}, slices.Repeat([]int{1}, n)...), after)
	}
	for _, cuts := range [][]int{{130}, {2, 1, 13, 1, 47, 1, 31}, {15, 2, 64, 49}, ones(5, 22, 103), ones(20, shape.page-20, 130-shape.page)} {
		all := newCacheOf(t, shape, []int{0, 0}, []int{130, 129})
		done := []int{0, 0}
		for i, n := range cuts {
			news := []int{n, n}
			if i == 0 {
				news[1]--
			}
			step := newCacheOf(t, shape, done, news)
			step.bytes, step.pages, step.maxPages = all.bytes, all.pages, all.maxPages
			k, v := alloc[float32](t, max(1, step.rows*shape.kv*shape.dim)), random(t, max(1, step.rows*shape.kv*shape.dim), 1)
			for j := range k {
				k[j] = float32(rand.NormFloat64())
			}
			l.bind(t, 0, store, step.dims(), step.operands(map[string]uintptr{"k": addr(k), "v": addr(v)})).run(1)
			done = []int{done[0] + news[0], done[1] + news[1]}
			if n == 1 {
				continue // steps of single rows make none
			}
			l.bind(t, 1, sums, step.dims(), step.operands(map[string]uintptr{})).run(1)
			step.checkSummaries(t, fmt.Sprintf("%s %s cuts %v", tgt.Name, sums.Key(), cuts))
		}
	}
}
