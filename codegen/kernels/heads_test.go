package kernels

import (
	"fmt"
	"testing"

	"quire/ir/work"
)

// Heads taken and merged back are the heads that were there.
func TestHeads(t *testing.T) {
	const n, total, dim = 5, 6, 24
	take := []work.TakeHeads{
		{Total: total, Dim: dim, List: []int{0, 3, 4}},
		{Total: total, Dim: dim, List: []int{1, 2, 5}},
	}
	merge := work.MergeHeads{A: 3, B: 3, Dim: dim, List: []int{0, 3, 4, 1, 2, 5}}
	for _, tgt := range everywhere(t) {
		l := open(t, tgt, take[0], merge)
		x := random(t, n*total*dim, 1)
		parts := make([][]float32, 2)
		for i, p := range take {
			list := alloc[int32](t, len(p.List))
			copy(list, p.Constant("list"))
			parts[i] = poison(alloc[float32](t, n*len(p.List)*dim))
			l.bind(t, 0, p, work.Dims{N: n}, map[string]uintptr{"x": addr(x), "list": addr(list), "y": addr(parts[i])}).run(2)
			for r := range n {
				for j, h := range p.List {
					var want []float64
					for _, v := range x[(r*total+h)*dim:][:dim] {
						want = append(want, float64(v))
					}
					close32(t, fmt.Sprintf("%s: row %d, head %d", tgt.Name, r, h), parts[i][(r*len(p.List)+j)*dim:][:dim], want, 0)
				}
			}
		}
		list := alloc[int32](t, total)
		copy(list, merge.Constant("list"))
		y, want := poison(alloc[float32](t, n*total*dim)), make([]float64, n*total*dim)
		for i, v := range x {
			want[i] = float64(v)
		}
		l.bind(t, 1, merge, work.Dims{N: n}, map[string]uintptr{"a": addr(parts[0]), "b": addr(parts[1]), "list": addr(list), "y": addr(y)}).run(2)
		close32(t, tgt.Name+": merged", y, want, 0)
	}
}
