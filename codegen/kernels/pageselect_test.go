package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// summarise writes the summaries of a slot's pages from its keys.
func (s *kvStep) summarise(slot int) {
	p := s.p
	if p.Summary == 0 {
		return
	}
	tokens := len(s.keys[slot]) / (p.KVHeads * p.Dim)
	for first := 0; first < tokens; first += p.Summary {
		page := s.physical(int(s.page[slot*int(s.d.P)+first/p.Page]))
		for h := range p.KVHeads {
			for x := range p.Pad() {
				hi, lo := s.bounds(slot, first, h, x)
				s.at.SetSummary(page, h, first%p.Page/p.Summary, x, float32(hi), float32(lo))
			}
		}
	}
}

// bounds are the largest and the least of a channel of the keys from a token on; 0 for
// channels of padding.
func (s *kvStep) bounds(slot, first, h, x int) (hi, lo float64) {
	p := s.p
	if x >= p.Dim {
		return 0, 0
	}
	hi, lo = math.Inf(-1), math.Inf(1)
	for j := first; j < min(first+p.Summary, len(s.keys[slot])/(p.KVHeads*p.Dim)); j++ {
		v := s.keys[slot][(j*p.KVHeads+h)*p.Dim+x]
		hi, lo = max(hi, v), min(lo, v)
	}
	if kvpage.Bits(p.CacheEnc) > 0 { // a summary is of float16
		v := []float32{float32(hi), float32(lo)}
		kvpage.Round(layout.F16, v)
		hi, lo = float64(v[0]), float64(v[1])
	}
	return hi, lo
}

// scoresOf are the scores of list l of a row.
func (s *kvStep) scoresOf(p work.PageSelect, n, l int) []float64 {
	slot := s.rowSlot[n]
	closed := int(s.l[slot]) / p.Page
	out := make([]float64, closed)
	for j := range out {
		out[j] = math.Inf(-1)
	}
	first, end := l, l+1
	if !p.PerHead {
		first, end = l*(p.Heads/p.KVHeads), (l+1)*(p.Heads/p.KVHeads)
	}
	for head := first; head < end; head++ {
		q := s.q[(n*p.Heads+head)*p.Dim:][:p.Dim]
		scores, top := make([]float64, closed), math.Inf(-1)
		for j := range scores {
			scores[j] = math.Inf(-1)
			for at := j * p.Page; at < (j+1)*p.Page; at += p.Summary {
				sum := 0.0
				for x, v := range q {
					hi, lo := s.bounds(int(slot), at, head/(p.Heads/p.KVHeads), x)
					sum += max(float64(v)*hi, float64(v)*lo)
				}
				scores[j] = max(scores[j], sum*float64(p.Scale))
			}
			top = max(top, scores[j])
		}
		if p.PerHead {
			return scores
		}
		for j := range out {
			out[j] = max(out[j], scores[j]-top)
		}
	}
	return out
}

// selector of the step's attention.
func (s *kvStep) selector(every int) work.PageSelect { return selectorOf(s.p, every) }

func selectorOf(p work.Attention, every int) work.PageSelect {
	return work.PageSelect{Heads: p.Heads, KVHeads: p.KVHeads, Dim: p.Dim, Scale: p.Scale, PerHead: p.PerHead,
		CacheEnc: p.CacheEnc, Page: p.Page, Summary: p.Summary, Budget: p.Budget, Every: every}
}

// checkList holds a list against the scores of its row: as many pages as there are or the
// budget has, ascending, the last among them, none that is left out clearly better.
func (s *kvStep) checkList(t *testing.T, p work.PageSelect, n, l int, list []int32) {
	t.Helper()
	slot := s.rowSlot[n]
	closed := int(s.l[slot]) / p.Page
	name := fmt.Sprintf("%s slots %v row %d list %d: %v", p.Key(), s.slots, n, l, list)
	list = list[:min(closed+1, p.Budget)]
	if list[len(list)-1] != int32(closed) || !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) || list[0] < 0 {
		t.Fatalf("%s: expected ascending pages, the last %d", name, closed)
	}
	scores, least := s.scoresOf(p, n, l), math.Inf(1)
	for _, page := range list[:len(list)-1] {
		least = min(least, scores[page])
	}
	for page, score := range scores {
		if !slices.Contains(list, int32(page)) && score > least+1e-4 {
			t.Fatalf("%s: page %d scores %v, one that is picked %v", name, page, score, least)
		}
	}
}

// blind makes pages that no list of a slot's row names unreadable: not numbers, and -1 in
// the page table.
func (s *kvStep) blind(lists func(n, l int) []int32, per int) {
	stride := int(work.PageStride(s.p.KVHeads, s.p.Dim, s.p.Page, s.p.Summary, s.p.CacheEnc))
	for slot, r := range s.slots {
		if r.rows != 1 {
			continue
		}
		table := s.page[slot*int(s.d.P):][:s.d.P]
		for i, page := range table {
			used := false
			for l := range per {
				used = used || slices.Contains(lists(int(s.start[slot]), l), int32(i))
			}
			if page >= 0 && !used {
				for j := range stride {
					s.cache[int(page)*stride+j] = 0xff
				}
				table[i] = -1
			}
		}
	}
}

// paged are attentions over picked pages.
var paged = []work.Attention{
	{Heads: 9, KVHeads: 3, Dim: 64, CacheEnc: layout.F16, Page: 64, Summary: 16, Budget: 3},
	{Heads: 9, KVHeads: 3, Dim: 64, CacheEnc: layout.F32, Page: 16, Summary: 16, Budget: 5, PerHead: true},
	{Heads: 4, KVHeads: 1, Dim: 128, CacheEnc: layout.BF16, Page: 64, Summary: 32, Budget: 1, Softcap: 5},
	{Heads: 7, KVHeads: 1, Dim: 80, CacheEnc: layout.F16, Page: 32, Summary: 16, Budget: 4, PerHead: true},
	{Heads: 10, KVHeads: 2, Dim: 24, CacheEnc: layout.F16, Page: 128, Summary: 64, Budget: 2},
	{Heads: 3, KVHeads: 3, Dim: 10, CacheEnc: layout.F32, Page: 16, Summary: 16, Budget: 9},
	{Heads: 5, KVHeads: 1, Dim: 7, CacheEnc: layout.BF16, Page: 16, Summary: 16, Budget: 2},
	{Heads: 2, KVHeads: 1, Dim: 16, CacheEnc: layout.F32, Page: 16, Summary: 16, Budget: 40},
	{Heads: 6, KVHeads: 2, Dim: 64, CacheEnc: kvpage.Q4, Page: 64, Summary: 16, Budget: 4},
	{Heads: 4, KVHeads: 2, Dim: 40, CacheEnc: kvpage.Q8, Page: 32, Summary: 32, Budget: 3, PerHead: true},
}

// selected runs a selection and returns its lists.
func (s *kvStep) selected(t *testing.T, l lib, i int, p work.PageSelect) func(n, l int) []int32 {
	pick := alloc[int32](t, int(s.d.N)*p.Lists()*p.Budget)
	for j := range pick {
		pick[j] = math.MinInt32
	}
	ops := s.operands()
	ops["pick"] = addr(pick)
	l.bind(t, i, p, s.d, ops).run(3)
	return func(n, l int) []int32 { return pick[(n*p.Lists()+l)*p.Budget:][:p.Budget] }
}

// Selection and attention over what it picked, of rows alone, in batches and in company of
// prompts. Pages that are not picked cannot be read: attention reads none of them (the
// traffic of case 14).
func TestPagedAttention(t *testing.T) {
	for _, tgt := range targets(t) {
		var ps []work.Params
		for _, p := range paged {
			p.Scale = float32(1 / math.Sqrt(float64(p.Dim)))
			ps = append(ps, selectorOf(p, 0))
			p.Phase, p.Split = work.Decode, 2*p.Page
			ps = append(ps, p)
			p.Phase, p.Split = work.Prefill, 0
			ps = append(ps, p)
		}
		l := open(t, tgt, ps...)
		for i := 0; i < len(ps); i += 3 {
			for _, c := range []struct {
				slots  []slotRows
				prompt bool
			}{{slots: []slotRows{{0, 1}}}, {slots: []slotRows{{63, 1}, {0, 1}, {64, 1}, {700, 1}}}, {slots: []slotRows{{2200, 1}}},
				{[]slotRows{{64, 1}, {0, 40}, {577, 1}, {300, 2}, {130, 1}}, true}} {
				k := i + 1
				if c.prompt {
					k = i + 2
				}
				p := ps[k].(work.Attention)
				s := newKVStep(t, p, c.slots)
				sel := ps[i].(work.PageSelect)
				lists := s.selected(t, l, i, sel)
				for n := range int(s.d.N) {
					for li := range sel.Lists() {
						if s.fresh[s.rowSlot[n]] == 1 {
							s.checkList(t, sel, n, li, lists(n, li))
						}
					}
				}
				s.blind(lists, sel.Lists())
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
				ops["pick"] = addr(lists(0, 0))
				la := l.bind(t, k, p, s.d, ops)
				la.run(2)
				s.check(t, tgt.Name)
			}
		}
	}
}

// Ties go to the lower page; K counts the last page (cases 8 and 10).
func TestPickTies(t *testing.T) {
	p := work.Attention{Heads: 2, KVHeads: 1, Dim: 16, CacheEnc: layout.F32, Page: 16, Summary: 16, Budget: 4, Scale: 1}
	for _, tgt := range targets(t) {
		l := open(t, tgt, selectorOf(p, 0))
		s := newKVStep(t, p, []slotRows{{160, 1}})
		for i := range s.keys[0] {
			s.keys[0][i] = float64(i / (16 * 16) / 4) // pages 0 to 3, 4 to 7, 8 and 9 are alike
		}
		s.summarise(0)
		for i := range s.q {
			s.q[i] = 1
		}
		got := s.selected(t, l, 0, selectorOf(p, 0))(0, 0)
		if want := []int32{4, 8, 9, 10}; !slices.Equal(got, want) {
			t.Errorf("%s: pages %v, expected %v", tgt.Name, got, want)
		}
		for i := range s.q {
			s.q[i] = -1
		}
		got = s.selected(t, l, 0, selectorOf(p, 0))(0, 0)
		if want := []int32{0, 1, 2, 10}; !slices.Equal(got, want) {
			t.Errorf("%s: pages %v, expected %v", tgt.Name, got, want)
		}
	}
}

// Case 13: shuffled physical pages and a positive factor on the queries change no list.
func TestPicksInvariant(t *testing.T) {
	p := work.Attention{Heads: 6, KVHeads: 2, Dim: 32, CacheEnc: layout.F16, Page: 32, Summary: 16, Budget: 5, Scale: 0.25}
	for _, tgt := range targets(t) {
		l := open(t, tgt, selectorOf(p, 0))
		s := newKVStep(t, p, []slotRows{{1000, 1}})
		before := slices.Clone(s.selected(t, l, 0, selectorOf(p, 0))(0, 0))
		stride := int(work.PageStride(p.KVHeads, p.Dim, p.Page, p.Summary, p.CacheEnc))
		for range 50 {
			a, b := rand.IntN(30), rand.IntN(30)
			x, y := s.cache[int(s.page[a])*stride:][:stride], s.cache[int(s.page[b])*stride:][:stride]
			for j := range x {
				x[j], y[j] = y[j], x[j]
			}
			s.page[a], s.page[b] = s.page[b], s.page[a]
		}
		for i := range s.q {
			s.q[i] *= 4
		}
		if got := s.selected(t, l, 0, selectorOf(p, 0))(0, 0); !slices.Equal(got, before) {
			t.Errorf("%s: pages %v, then %v", tgt.Name, before, got)
		}
	}
}

// BenchmarkPaged selects among 125 pages and attends to 8 of them, in as many layers as
// fill 1.5 GB (of which they read a tenth), on two cores: microseconds a layer.
func BenchmarkPaged(b *testing.B) {
	tgts := targets(b)
	p := work.Attention{Heads: 9, KVHeads: 3, Dim: 64, Scale: 0.125, Page: 64, Summary: 16, CacheEnc: layout.F16, Budget: 8, Phase: work.Decode, Split: 256}
	const cached = 7999
	layers := int(1500e6 / (125 * work.PageStride(p.KVHeads, p.Dim, p.Page, p.Summary, p.CacheEnc)))
	for _, part := range []string{"select", "attend"} {
		b.Run(part, func(b *testing.B) {
			sel := selectorOf(p, 0)
			var k work.Params = sel
			if part == "attend" {
				k = p
			}
			l := openWithDriver(b, tgts[len(tgts)-1], k)
			var las []*launch
			for range layers {
				las = append(las, pagedBench(b, l, p, k, cached))
			}
			st := newStep(b, l, las, 2, func(n int64) int64 { return max(1, (n+31)/32) })
			for b.Loop() {
				st.once()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*layers), "us/layer")
		})
	}
}

// pagedBench is a step of one new row on pages in random places.
func pagedBench(b *testing.B, l lib, p work.Attention, k work.Params, cached int) *launch {
	d := work.Dims{N: 1, S: 1, C: int64(cached + 1)}
	d.P = (d.C + int64(p.Page) - 1) / int64(p.Page)
	cache := huge(b, int(d.P*work.PageStride(p.KVHeads, p.Dim, p.Page, p.Summary, p.CacheEnc)))
	for j := 1; j < len(cache); j += 2 {
		cache[j] = 0x30 + byte(rand.IntN(8))
	}
	pages, zero, fresh, length := alloc[int32](b, int(d.P)), alloc[int32](b, 1), alloc[int32](b, 1), alloc[int32](b, 1)
	for j, q := range rand.Perm(int(d.P)) {
		pages[j] = int32(q)
	}
	fresh[0], length[0] = 1, int32(cached)
	pick := alloc[int32](b, p.Lists()*p.Budget)
	for j := range pick {
		pick[j] = int32(int(d.P)-1) - int32(14*(p.Budget-1-j%p.Budget))
	}
	q, o := random(b, p.Heads*p.Dim, 1), alloc[float32](b, p.Heads*p.Dim)
	return l.bind(b, 0, k, d, map[string]uintptr{"q": addr(q), "o": addr(o), "cache": addr(cache), "row_slot": addr(zero), "slot_new": addr(fresh),
		"slot_start": addr(zero), "slot_len": addr(length), "pages": addr(pages), "pick": addr(pick)})
}

// Case 7, compiled: with a budget that covers a context of any length, whole pages or not, what
// is picked and attended to is all of it.
func TestCase7Lengths(t *testing.T) {
	tgt := targets(t)[0]
	var ps []work.Params
	lengths := []int{27, 50, 61, 113, 482, 577, 1011, 1541, 3330}
	for _, n := range lengths {
		p := work.Attention{Phase: work.Decode, Heads: 2, KVHeads: 1, Dim: 16, Scale: 0.25, CacheEnc: layout.F32, Page: 16, Summary: 16, Split: 128, Budget: (n + 15) / 16}
		ps = append(ps, selectorOf(p, 0), p)
	}
	l := open(t, tgt, ps...)
	for i, n := range lengths {
		p := ps[2*i+1].(work.Attention)
		s := newKVStep(t, p, []slotRows{{n - 1, 1}})
		list := s.selected(t, l, 2*i, selectorOf(p, 0))(0, 0)
		for j, page := range list {
			if int(page) != j {
				t.Errorf("%d tokens: pages %v, expected all", n, list)
				break
			}
		}
		ops := s.operands()
		ops["pick"] = addr(list)
		l.bind(t, 2*i+1, p, s.d, ops).run(2)
		s.check(t, tgt.Name) // against all pages
	}
}
