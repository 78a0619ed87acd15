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

// Gather and slice copy what they are told to, of rows of any length, and nothing else.
func TestCopies(t *testing.T) {
	const n, m = 6, 4
	for _, tgt := range everywhere(t) {
		for _, dim := range []int{1, 7, 64, 1030} {
			gather := work.Gather{Dim: dim}
			slices := []work.Slice{{Dim: dim, Count: dim}, {Dim: dim, First: dim / 3, Count: (dim + 1) / 2}, {Dim: dim, First: dim - 1, Count: 1}}
			l := open(t, tgt, gather, slices[0], slices[1], slices[2])
			x := random(t, n*dim, 1)
			out := alloc[int32](t, m)
			copy(out, []int32{5, 0, 0, 3})
			y := poison(alloc[float32](t, m*dim))
			l.bind(t, 0, gather, work.Dims{N: n, M: m}, map[string]uintptr{"x": addr(x), "out": addr(out), "y": addr(y)}).run(3)
			for i := range m {
				same(t, tgt.Name+" "+gather.Key(), y[i*dim:][:dim], x[int(out[i])*dim:][:dim])
			}
			for i, p := range slices {
				y := poison(alloc[float32](t, n*p.Count))
				l.bind(t, 1+i, p, work.Dims{N: n}, map[string]uintptr{"x": addr(x), "y": addr(y)}).run(4)
				for r := range n {
					same(t, tgt.Name+" "+p.Key(), y[r*p.Count:][:p.Count], x[r*dim+p.First:][:p.Count])
				}
			}
		}
	}
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i, w := range want {
		if got[i] != w {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], w)
		}
	}
}
