package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// takeHeads copies the listed heads of a row.
func takeHeads(k *kernel.Kernel, p work.TakeHeads) {
	x := kernel.Arg[kernel.F32](k, "x").At(k.Item().Times(int64(p.Total * p.Dim)))
	y := kernel.Arg[kernel.F32](k, "y").At(k.Item().Times(int64(len(p.List) * p.Dim)))
	kernel.Each(k, k.Int(0), k.Int(int64(len(p.List))), 1, func(j kernel.I64) {
		copyHead(k, y.At(j.Times(int64(p.Dim))), x.At(listed(k, j).Times(int64(p.Dim))), p.Dim)
	})
}

// mergeHeads puts the heads of two rows where the list says.
func mergeHeads(k *kernel.Kernel, p work.MergeHeads) {
	n, dim := k.Item(), int64(p.Dim)
	a := kernel.Arg[kernel.F32](k, "a").At(n.Times(int64(p.A) * dim))
	b := kernel.Arg[kernel.F32](k, "b").At(n.Times(int64(p.B) * dim))
	y := kernel.Arg[kernel.F32](k, "y").At(n.Times(int64(p.A+p.B) * dim))
	kernel.Each(k, k.Int(0), k.Int(int64(p.A+p.B)), 1, func(h kernel.I64) {
		from, to := listed(k, h), y.At(h.Times(dim))
		inA := from.Lt(k.Int(int64(p.A)))
		kernel.When(k, inA, func() { copyHead(k, to, a.At(from.Times(dim)), p.Dim) })
		kernel.When(k, k.Int(int64(p.A-1)).Lt(from), func() { copyHead(k, to, b.At(from.Plus(int64(-p.A)).Times(dim)), p.Dim) })
	})
}

// listed is element i of the launch's list.
func listed(k *kernel.Kernel, i kernel.I64) kernel.I64 {
	return kernel.LoadI32(kernel.Arg[kernel.I32](k, "list").At(i)).I64()
}

func copyHead(k *kernel.Kernel, y, x kernel.Ptr[kernel.F32], dim int) {
	kernel.Row(k, dim, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
		l.Store(y, l.Load(x))
		return nil
	})
}
