package duo

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Mask says of each layer and KV head whether it is a retrieval head.
type Mask [][]bool

// BySparsity keeps exactly round((1-sparsity) * heads) retrieval heads over all
// layers: those with the largest gates, ties to the lower layer and then head.
func (g Gates) BySparsity(sparsity float64) (Mask, error) {
	if !(sparsity >= 0 && sparsity <= 1) {
		return nil, fmt.Errorf("sparsity is %v, expected 0 to 1", sparsity)
	}
	type place struct{ layer, head int }
	var order []place
	m := make(Mask, len(g))
	for l, row := range g {
		m[l] = make([]bool, len(row))
		for h := range row {
			order = append(order, place{l, h})
		}
	}
	slices.SortStableFunc(order, func(a, b place) int {
		return cmp.Compare(clamp(g[b.layer][b.head]), clamp(g[a.layer][a.head]))
	})
	for _, p := range order[:int(math.Round((1-sparsity)*float64(len(order))))] {
		m[p.layer][p.head] = true
	}
	return m, nil
}

// ByThreshold keeps the heads with gates of at least t.
func (g Gates) ByThreshold(t float64) (Mask, error) {
	if math.IsNaN(t) {
		return nil, fmt.Errorf("threshold is %v, expected a number", t)
	}
	m := make(Mask, len(g))
	for l, row := range g {
		m[l] = make([]bool, len(row))
		for h, x := range row {
			m[l][h] = clamp(x) >= t
		}
	}
	return m, nil
}

// clamp is the gate that a value stands for.
func clamp(x float64) float64 { return min(max(x, 0), 1) }

// Alternating is a mask without gates, for tests: every other head, beginning with
// a retrieval head in even layers.
func Alternating(layers, heads int) Mask {
	m := make(Mask, layers)
	for l := range m {
		m[l] = make([]bool, heads)
		for h := range heads {
			m[l][h] = (l+h)%2 == 0
		}
	}
	return m
}

// Retrieval counts the retrieval heads, Streaming the others.
func (m Mask) Retrieval() int {
	n := 0
	for l := range m {
		n += len(m.list(l, true))
	}
	return n
}

// Streaming counts the streaming heads.
func (m Mask) Streaming() int {
	n := 0
	for l := range m {
		n += len(m.list(l, false))
	}
	return n
}

// list is the KV heads of one class in a layer, ascending.
func (m Mask) list(layer int, retrieval bool) []int {
	var out []int
	for h, r := range m[layer] {
		if r == retrieval {
			out = append(out, h)
		}
	}
	return out
}
