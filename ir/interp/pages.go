package interp

import (
	"cmp"
	"math"
	"slices"

	"quire/ir"
	"quire/ir/types"
)

// Summary is the least and the largest of each channel of some consecutive keys,
// as they are stored: [heads * dim].
type Summary struct {
	Tokens   int
	Max, Min []float64
}

// summarise returns sums with one more key, in a new summary every size tokens.
// The list may be written; the summaries in it are not.
func summarise(sums []Summary, size int, e Entry) []Summary {
	if size == 0 {
		return nil
	}
	if e.Index%size == 0 {
		return append(sums, Summary{1, slices.Clone(e.K), slices.Clone(e.K)})
	}
	last := sums[len(sums)-1]
	s := Summary{last.Tokens + 1, slices.Clone(last.Max), slices.Clone(last.Min)}
	for i, x := range e.K {
		s.Max[i], s.Min[i] = math.Max(s.Max[i], x), math.Min(s.Min[i], x)
	}
	sums[len(sums)-1] = s
	return sums
}

// inSummary is an entry as summaries take it: quantised keys are no float16 numbers, their
// summaries are.
func inSummary(e Entry, quantised bool) Entry {
	if quantised {
		e.K = slices.Clone(e.K)
		for i, x := range e.K {
			e.K[i] = Round(types.F16, x)
		}
	}
	return e
}

// bound is at least q.k for every summarised key: the sum over channels of
// max(q*max, q*min) (Quest, alg. 1). head is the offset of the KV head.
func (s Summary) bound(q []float64, head int) float64 {
	sum := 0.0
	for i, x := range q {
		sum += math.Max(x*s.Max[head+i], x*s.Min[head+i])
	}
	return sum
}

// pageScores scores pages of per summaries each: a page as its best summary.
func pageScores(sums []Summary, per int, q []float64, head int, scale float64) []float64 {
	out := make([]float64, len(sums)/per)
	for p := range out {
		best := math.Inf(-1)
		for _, s := range sums[p*per : (p+1)*per] {
			best = math.Max(best, scale*s.bound(q, head))
		}
		out[p] = best
	}
	return out
}

// shareScores gives a KV group one row of scores: each head's less its best, the
// largest of the heads.
func shareScores(group [][]float64) []float64 {
	out := make([]float64, len(group[0]))
	for p := range out {
		out[p] = math.Inf(-1)
	}
	for _, scores := range group {
		best := math.Inf(-1)
		for _, x := range scores {
			best = math.Max(best, x)
		}
		for p, x := range scores {
			out[p] = math.Max(out[p], x-best)
		}
	}
	return out
}

// pageEstimate: see the op's row. A decode row at index i sees i/page closed
// pages; the page of i itself, its last, is open.
func pageEstimate(c *call) any {
	q, kv, rows, a := c.tensor(0), c.cache(1), c.rows(2), c.v.Attrs.(ir.EstimateAttrs)
	decl := c.m.Cache(c.v.Args[1].Type.Cache)
	table := c.m.Table(decl.Table)
	heads, d, per := q.Shape[1], q.Shape[2], table.Page/table.Summary
	y := NewTensor(c.v.Type.Elem, c.shape(c.v.Type.Shape)...)
	for i := range y.Data {
		y.Data[i] = math.NaN()
	}
	for s, sl := range rows.Slots {
		if !sl.Decode() {
			continue
		}
		sums := kv.at(s).sums
		if n := sl.Before / table.Page * per; len(sums) < n {
			c.failf("slot %d has %d page summaries, expected %d", s, len(sums), n)
		} else {
			sums = sums[:n]
		}
		scores := make([][]float64, heads)
		for h := range heads {
			at := (sl.Start*heads + h) * d
			scores[h] = pageScores(sums, per, q.Data[at:at+d], h*decl.Heads/heads*d, a.Scale)
		}
		if g := heads / decl.Heads; a.Per == ir.PerGroup {
			for h := range decl.Heads {
				scores[h] = shareScores(scores[h*g : (h+1)*g])
			}
			scores = scores[:decl.Heads]
		}
		for h, row := range scores {
			out := y.Row(sl.Start*len(scores) + h)
			if len(row) > len(out) {
				c.failf("slot %d has %d closed pages, the type holds %d", s, len(row), len(out))
			}
			for p := copy(out, row); p < len(out); p++ {
				out[p] = math.Inf(-1)
			}
		}
	}
	return y
}

// summarised: a version always has its summaries here.
func summarised(c *call) any { return c.cache(0) }

// picks is a value of type pick[N, H, K]: the pages of each row and head,
// ascending, or nil for all.
type picks struct {
	heads int
	pages [][]int
}

// topPages is the last of n pages and the budget-1 best of the others, ties to the
// lower; nil when the budget covers all.
func topPages(scores []float64, n, budget int) []int {
	if n <= budget {
		return nil
	}
	order := make([]int, n-1)
	for p := range order {
		order[p] = p
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	out := append(order[:budget-1:budget-1], n-1)
	slices.Sort(out)
	return out
}

func pageTopK(c *call) any {
	scores, rows, a := c.tensor(0), c.rows(1), c.v.Attrs.(ir.TopKAttrs)
	heads := scores.Shape[1]
	p := &picks{heads, make([][]int, rows.N*heads)}
	for _, sl := range rows.Slots {
		if !sl.Decode() {
			continue
		}
		for h := range heads {
			at := sl.Start*heads + h
			p.pages[at] = topPages(scores.Row(at), sl.Before/a.Page+1, a.Budget)
		}
	}
	return p
}

// held is the pick that a sequence keeps, by head, and for which stretch of tokens.
type held struct {
	stretch int
	pages   [][]int
}

// pageKeep: the version of a cache of picks is also the pick of this step's rows.
func pageKeep(c *call) any {
	p, rows, every := c.picks(1), c.rows(2), c.v.Attrs.(ir.KeepAttrs).Every
	next := &version{seqs: slices.Clone(c.cache(0).seqs)}
	for len(next.seqs) < len(rows.Slots) {
		next.seqs = append(next.seqs, sequence{})
	}
	for s, sl := range rows.Slots {
		stretch := sl.Before / every
		switch h := next.seqs[s].held; {
		case sl.New == 0:
		case !sl.Decode():
			next.seqs[s].held = nil
		case h == nil || h.stretch != stretch:
			next.seqs[s].held = &held{stretch, p.pages[sl.Start*p.heads : (sl.Start+1)*p.heads]}
		}
	}
	return next
}

// picks returns argument i, a pick or a version of a cache of picks.
func (c *call) picks(i int) *picks {
	switch x := c.args[i].(type) {
	case *picks:
		return x
	case *version:
		rows, heads := c.rows(2), c.m.Cache(c.v.Args[i].Type.Cache).Heads
		p := &picks{heads, make([][]int, rows.N*heads)}
		for s, sl := range rows.Slots {
			if h := x.at(s).held; h != nil && sl.Decode() {
				copy(p.pages[sl.Start*heads:], h.pages)
			}
		}
		return p
	}
	c.failf("arg %d is no pick", i+1)
	return nil
}

func attentionPaged(c *call) any {
	p, rows := c.picks(3), c.rows(2)
	heads := c.tensor(0).Shape[1]
	page := c.m.Table(c.m.Cache(c.v.Args[1].Type.Cache).Table).Page
	for s, sl := range rows.Slots {
		if !sl.Decode() {
			continue
		}
		for _, pages := range p.pages[sl.Start*p.heads : (sl.Start+1)*p.heads] {
			if pages != nil && pages[len(pages)-1] != sl.Before/page {
				c.failf("slot %d reads pages %v, expected the last to be %d", s, pages, sl.Before/page)
			}
		}
	}
	return c.attendRows(func(row, head int, kept []Entry) []Entry {
		pages := p.pages[row*p.heads+head*p.heads/heads]
		if pages == nil {
			return kept
		}
		var out []Entry
		for _, e := range kept {
			if _, in := slices.BinarySearch(pages, e.Index/page); in {
				out = append(out, e)
			}
		}
		return out
	})
}
