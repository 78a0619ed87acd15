package interp

import (
	"fmt"
	"math"
	"slices"

	"quire/ir"
)

// Kept says which tokens the heads of a decode row read.
type Kept struct {
	Streams      []bool // KV heads that read sink, recent tokens and the row's own; nil: none
	Sink, Recent int

	Budget        int // pages that the other heads read; 0: all
	Page, Summary int // tokens of a page, and of a summary
	Per           ir.Per
}

// MassKept is the part of each query head's attention that the tokens it reads have, of all
// that the layer lets it see: 1 where nothing is left out. The row is the last of the keys k,
// [n, kv heads, d], as they are attended; q is [heads * d], rotated; a says how the layer
// attends. It is what DuoAttention and Quest leave of a softmax (facts of a row, before values).
func MassKept(q []float64, k *Tensor, a ir.AttentionAttrs, s Kept) ([]float64, error) {
	if len(k.Shape) != 3 || k.Shape[0] == 0 || len(q)%(k.Shape[1]*k.Shape[2]) != 0 {
		return nil, fmt.Errorf("a query of %d over keys %v, expected heads over a divisor of the heads", len(q), k.Shape)
	}
	if s.Streams != nil && len(s.Streams) != k.Shape[1] || s.Budget > 0 && (s.Summary <= 0 || s.Page%s.Summary != 0) {
		return nil, fmt.Errorf("%d classes of %d KV heads, pages of %d in summaries of %d", len(s.Streams), k.Shape[1], s.Page, s.Summary)
	}
	n, kv, d := k.Shape[0], k.Shape[1], k.Shape[2]
	heads := len(q) / d
	picked := s.picks(q, k, a)
	mass, scores := make([]float64, heads), make([]float64, n)
	for h := range heads {
		top := math.Inf(-1)
		for j := range n {
			scores[j] = math.Inf(-1)
			if visible(a, n-1, j) {
				scores[j] = score(q[h*d:(h+1)*d], k.Row(j*kv+h*kv/heads), a)
			}
			top = max(top, scores[j])
		}
		var all, kept float64
		for j, x := range scores {
			w := math.Exp(x - top)
			if all += w; s.reads(h*kv/heads, picked[h], n-1, j) {
				kept += w
			}
		}
		mass[h] = kept / all
	}
	return mass, nil
}

// reads says whether a query at index i reads index j, given its head's pages.
func (s Kept) reads(kv int, pages []int, i, j int) bool {
	if s.Streams != nil && s.Streams[kv] {
		return j < s.Sink || i-j <= s.Recent
	}
	if pages == nil {
		return true
	}
	_, in := slices.BinarySearch(pages, j/s.Page)
	return in
}

// picks are the pages of each query head, nil for all.
func (s Kept) picks(q []float64, k *Tensor, a ir.AttentionAttrs) [][]int {
	n, kv, d := k.Shape[0], k.Shape[1], k.Shape[2]
	heads := len(q) / d
	out := make([][]int, heads)
	closed := (n - 1) / max(1, s.Page)
	if s.Budget == 0 || closed < s.Budget || a.Recent != nil {
		return out
	}
	var sums []Summary
	for j := range closed * s.Page {
		row := k.Data[j*kv*d : (j+1)*kv*d]
		if j%s.Summary == 0 {
			sums = append(sums, Summary{1, slices.Clone(row), slices.Clone(row)})
			continue
		}
		last := sums[len(sums)-1]
		for i, x := range row {
			last.Max[i], last.Min[i] = max(last.Max[i], x), min(last.Min[i], x)
		}
	}
	group := heads / kv
	for h := range kv {
		var scores [][]float64
		for i := range group {
			at := (h*group + i) * d
			scores = append(scores, pageScores(sums, s.Page/s.Summary, q[at:at+d], h*d, a.Scale))
		}
		if s.Per == ir.PerGroup {
			scores = slices.Repeat([][]float64{shareScores(scores)}, group)
		}
		for i, x := range scores {
			out[h*group+i] = topPages(x, closed+1, s.Budget)
		}
	}
	return out
}
