package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// attentionsGPU are shapes that a GPU's attention is held to.
var attentionsGPU = []work.Attention{
	{Heads: 9, KVHeads: 3, Dim: 64, CacheEnc: layout.F16, Page: 64},
	{Heads: 4, KVHeads: 1, Dim: 128, CacheEnc: layout.BF16, Page: 64, Softcap: 5},
	{Heads: 7, KVHeads: 1, Dim: 80, CacheEnc: layout.F16, Page: 64, Window: 40, Sink: 3},
	{Heads: 16, KVHeads: 1, Dim: 48, CacheEnc: layout.F16, Page: 128, Window: 1},
	{Heads: 10, KVHeads: 2, Dim: 256, CacheEnc: layout.BF16, Page: 128, Window: 100, Sink: 64, Softcap: 30},
	{Heads: 4, KVHeads: 1, Dim: 128, CacheEnc: kvpage.Q4, Page: 64},
	{Heads: 4, KVHeads: 2, Dim: 128, CacheEnc: kvpage.Q8, Page: 64, Softcap: 5},
	{Heads: 7, KVHeads: 1, Dim: 80, CacheEnc: kvpage.Q4, Page: 64, Window: 40, Sink: 3},
	{Heads: 9, KVHeads: 3, Dim: 64, CacheEnc: kvpage.Q4, Page: 128},
	{Heads: 16, KVHeads: 1, Dim: 48, CacheEnc: kvpage.Q8, Page: 128, Window: 1},
	{Heads: 10, KVHeads: 2, Dim: 256, CacheEnc: kvpage.Q4, Page: 128, Window: 100, Sink: 64, Softcap: 30},
	{Heads: 2, KVHeads: 2, Dim: 256, CacheEnc: kvpage.Q8, Page: 64},
	{Heads: 4, KVHeads: 2, Dim: 7, CacheEnc: kvpage.Q4, Page: 64},
}

// tolGPU is what rounding queries and weights of softmax to the cache's encoding costs.
func tolGPU(p work.Attention) float64 {
	if p.CacheEnc == layout.BF16 {
		return 2e-2
	}
	if kvpage.Bits(p.CacheEnc) > 0 {
		return 6e-3 // and what is read back of codes
	}
	return 3e-3
}

func testAttentionGPU(t *testing.T, wrap func(work.Attention) work.Params, batches [][]slotRows) {
	t.Helper()
	for _, tgt := range gpus(t) {
		for _, p := range attentionsGPU {
			p.Scale = float32(1 / math.Sqrt(float64(p.Dim)))
			full := wrap(p)
			l := open(t, tgt, full)
			for _, b := range batches {
				s := newKVStepGPU(t, p, b)
				l.bind(t, 0, full, s.d, s.operands()).run(1)
				s.checkTo(t, tgt.Name, tolGPU(p))
			}
		}
	}
}

func TestDecodeGPU(t *testing.T) {
	testAttentionGPU(t, func(p work.Attention) work.Params {
		p.Phase, p.Split = work.Decode, 2*p.Page
		return work.DecodeGPU{Attention: p, Blocks: 12}
	}, [][]slotRows{
		{{0, 1}},
		{{63, 1}, {0, 1}, {64, 1}, {500, 1}},
	})
}

func TestPrefillGPU(t *testing.T) {
	parallel(t)
	testAttentionGPU(t, func(p work.Attention) work.Params {
		p.Phase = work.Prefill
		return work.PrefillGPU{Attention: p}
	}, [][]slotRows{
		{{0, 1}},
		{{0, 75}},
		{{130, 20}, {0, 1}, {64, 33}, {5, 1}},
	})
}

// In chunks all rows of a step have the window of their slot's first.
func TestPrefillGPUInChunks(t *testing.T) {
	parallel(t)
	for _, tgt := range gpus(t) {
		for _, p := range attentionsGPU {
			if p.Window == 0 {
				continue
			}
			p.Scale, p.Phase, p.Chunked = float32(1/math.Sqrt(float64(p.Dim))), work.Prefill, true
			full := work.PrefillGPU{Attention: p}
			l := open(t, tgt, full)
			s := newKVStepGPU(t, p, []slotRows{{230, 90}, {0, 1}, {64, 33}, {500, 1}})
			l.bind(t, 0, full, s.d, s.operands()).run(1)
			s.checkTo(t, tgt.Name, tolGPU(p))
		}
	}
}

// Rows that read the pages of a list read no other: those are made unreadable.
func TestDecodeGPUOverPickedPages(t *testing.T) {
	for _, tgt := range gpus(t) {
		for _, p := range []work.Attention{
			{Heads: 8, KVHeads: 2, Dim: 64, CacheEnc: layout.F16, Page: 64, Summary: 16, Budget: 3},
			{Heads: 4, KVHeads: 2, Dim: 48, CacheEnc: layout.BF16, Page: 128, Summary: 32, Budget: 2, PerHead: true},
			{Heads: 9, KVHeads: 1, Dim: 128, CacheEnc: layout.F16, Page: 64, Summary: 64, Budget: 1, Softcap: 5},
		} {
			p.Scale, p.Phase, p.Split = float32(1/math.Sqrt(float64(p.Dim))), work.Decode, p.Page
			full := work.DecodeGPU{Attention: p, Blocks: 12}
			l := open(t, tgt, full)
			for _, b := range [][]slotRows{{{0, 1}}, {{63, 1}, {400, 1}, {64, 1}, {129, 1}}} {
				s := newKVStepGPU(t, p, b)
				pick := s.randomLists(t)
				lists := func(n, l int) []int32 { return pick[(n*p.Lists()+l)*p.Budget:][:p.Budget] }
				s.pages = func(n, head int) []int {
					closed := int(s.l[s.rowSlot[n]]) / p.Page
					var out []int
					for _, page := range lists(n, head/(p.Heads/p.Lists()))[:min(closed+1, p.Budget)] {
						out = append(out, int(page))
					}
					return out
				}
				s.blind(lists, p.Lists())
				ops := s.operands()
				ops["pick"] = addr(pick)
				l.bind(t, 0, full, s.d, ops).run(1)
				s.checkTo(t, tgt.Name, tolGPU(p))
			}
		}
	}
}

// Both classes of heads in one launch are what each is alone, where they stand.
func TestHeadGroupsGPU(t *testing.T) {
	stream := work.Attention{Heads: 6, KVHeads: 2, Dim: 64, CacheEnc: layout.F16, Page: 64, Window: 70, Sink: 3}
	list := []int{1, 2, 4, 0, 3}
	for _, tgt := range gpus(t) {
		for _, full := range []work.Attention{
			{Heads: 9, KVHeads: 3, Dim: 64, CacheEnc: layout.F16, Page: 64},
			{Heads: 9, KVHeads: 3, Dim: 64, CacheEnc: layout.F16, Page: 64, Summary: 16, Budget: 3},
			{Heads: 9, KVHeads: 3, Dim: 64, CacheEnc: layout.F16, Page: 64, Summary: 16, Budget: 2, PerHead: true},
		} {
			g := work.HeadGroupsGPU{HeadGroups: work.HeadGroups{Full: full, Stream: stream, List: list}, Blocks: 24}
			for _, a := range []*work.Attention{&g.Full, &g.Stream} {
				a.Scale, a.Phase, a.Split = 0.125, work.Decode, a.Page
			}
			l := open(t, tgt, g)
			for _, b := range [][]slotRows{{{0, 1}}, {{63, 1}, {400, 1}, {64, 1}, {129, 1}}} {
				testGroupsGPU(t, l, tgt.Name, g, b)
			}
		}
	}
}

func testGroupsGPU(t *testing.T, l lib, name string, g work.HeadGroupsGPU, b []slotRows) {
	t.Helper()
	full, stream := newKVStepGPU(t, g.Full, b), newKVStepGPU(t, g.Stream, b)
	all := full.operands()
	all["stream"], all["stream_pages"] = addr(stream.cache), addr(stream.page)
	if g.Full.Budget > 0 {
		pick := full.randomLists(t)
		lists := func(n, l int) []int32 { return pick[(n*g.Full.Lists()+l)*g.Full.Budget:][:g.Full.Budget] }
		full.blind(lists, g.Full.Lists())
		full.pages = func(n, head int) []int {
			var out []int
			for _, page := range lists(n, head/(g.Full.Heads/g.Full.Lists())) {
				out = append(out, int(page))
			}
			return out
		}
		all["pick"] = addr(pick)
	}
	places := alloc[int32](t, len(g.List))
	copy(places, g.Constant("list"))
	group, rows := g.Full.Heads/g.Full.KVHeads, int(full.d.N)
	size := group * g.Full.Dim
	q, o := alloc[float32](t, rows*len(g.List)*size), poison(alloc[float32](t, rows*len(g.List)*size))
	// A class's heads of a kv head, in a tensor of both.
	each := func(f func(alone, among func(x []float32) []float32, s *kvStep)) {
		for n := range rows {
			for i, kv := range g.List {
				s, j := full, i
				if i >= g.Full.KVHeads {
					s, j = stream, i-g.Full.KVHeads
				}
				f(func(x []float32) []float32 { return x[(n*s.p.KVHeads+j)*size:][:size] },
					func(x []float32) []float32 { return x[(n*len(g.List)+kv)*size:][:size] }, s)
			}
		}
	}
	each(func(alone, among func([]float32) []float32, s *kvStep) { copy(among(q), alone(s.q)) })
	all["q"], all["o"], all["list"] = addr(q), addr(o), addr(places)
	l.bind(t, 0, g, full.d, all).run(2)
	each(func(alone, among func([]float32) []float32, s *kvStep) { copy(alone(s.o), among(o)) })
	full.checkTo(t, name, tolGPU(g.Full))
	stream.checkTo(t, name, tolGPU(g.Full))
}

// A slot's only row reads its lists in the company of prompts, too.
func TestPrefillGPUOverPickedPages(t *testing.T) {
	parallel(t)
	for _, tgt := range gpus(t) {
		for _, p := range []work.Attention{
			{Heads: 8, KVHeads: 2, Dim: 64, CacheEnc: layout.F16, Page: 64, Summary: 16, Budget: 3},
			{Heads: 6, KVHeads: 2, Dim: 48, CacheEnc: layout.BF16, Page: 128, Summary: 32, Budget: 2, PerHead: true},
			{Heads: 4, KVHeads: 2, Dim: 128, CacheEnc: layout.F16, Page: 64, Summary: 64, Budget: 2, PerHead: true}, // eight warps from here on
			{Heads: 5, KVHeads: 1, Dim: 112, CacheEnc: layout.BF16, Page: 64, Summary: 16, Budget: 1, Softcap: 5},
			{Heads: 3, KVHeads: 1, Dim: 256, CacheEnc: layout.F16, Page: 64, Summary: 16, Budget: 2},
			{Heads: 4, KVHeads: 2, Dim: 96, CacheEnc: kvpage.Q4, Page: 64, Summary: 16, Budget: 2},
			{Heads: 2, KVHeads: 1, Dim: 128, CacheEnc: kvpage.Q8, Page: 64, Summary: 16, Budget: 3, PerHead: true},
		} {
			p.Scale, p.Phase = float32(1/math.Sqrt(float64(p.Dim))), work.Prefill
			full := work.PrefillGPU{Attention: p}
			l := open(t, tgt, full)
			s := newKVStepGPU(t, p, []slotRows{{64, 1}, {0, 40}, {577, 1}, {300, 2}, {130, 1}})
			pick := s.randomLists(t)
			lists := func(n, l int) []int32 { return pick[(n*p.Lists()+l)*p.Budget:][:p.Budget] }
			s.blind(lists, p.Lists())
			s.pages = func(n, head int) []int {
				slot := s.rowSlot[n]
				var out []int
				for j := 0; j*p.Page < int(s.l[slot]+s.fresh[slot]); j++ {
					if s.fresh[slot] != 1 || slices.Contains(lists(n, head*p.Lists()/p.Heads), int32(j)) {
						out = append(out, j)
					}
				}
				return out
			}
			ops := s.operands()
			ops["pick"] = addr(pick)
			l.bind(t, 0, full, s.d, ops).run(1)
			s.checkTo(t, tgt.Name, tolGPU(p))
		}
	}
}

// randomLists are lists of pages that the step's rows may read.
func (s *kvStep) randomLists(t *testing.T) []int32 {
	p := s.p
	pick := alloc[int32](t, int(s.d.N)*p.Lists()*p.Budget)
	for n := range int(s.d.N) {
		closed := int(s.l[s.rowSlot[n]]) / p.Page
		for l := range p.Lists() {
			list := pick[(n*p.Lists()+l)*p.Budget:][:p.Budget]
			for j := range list {
				list[j] = math.MinInt32
			}
			count := min(closed+1, p.Budget)
			some := rand.Perm(closed)[:count-1]
			slices.Sort(some)
			for j, page := range append(some, closed) {
				list[j] = int32(page)
			}
		}
	}
	return pick
}
