package kernels

import (
	"math"

	"quire/codegen/kernel"
	"quire/ir/work"
)

// reduceGPU turns a row of logits into one number with a block of many warps. ArgMax reads
// the row once, LogSumExp too: each thread carries its maximum and the sum below it.
func reduceGPU(k *kernel.Kernel, p work.Reduce) {
	r := reducerGPU{rowGPU: newRowGPU(k, p), n: p.Vocab, w: width(p.Vocab),
		x: kernel.Arg[kernel.F32](k, "x").At(k.Item().Times(int64(p.Vocab)))}
	if p.Op == work.ArgMax {
		r.argMax()
		return
	}
	r.logSumExp()
}

type reducerGPU struct {
	rowGPU
	n, w int
	x    kernel.Ptr[kernel.F32]
}

// unrolled is the number of loads that a thread has under way.
const unrolledGPU = 8

// pass carries values over the thread's elements: groups of unrolled loads first, then the
// rest one by one.
func (r reducerGPU) pass(init []kernel.Value, f func(i kernel.I64, x kernel.F32, c []kernel.Value) []kernel.Value) []kernel.Value {
	k, step := r.k, r.threads()*int64(r.w)
	first := r.g.Thread().Times(int64(r.w))
	whole := int64(r.n) / (unrolledGPU * step) * (unrolledGPU * step)
	take := func(i kernel.I64, loads int, c []kernel.Value) []kernel.Value {
		x := make([][]kernel.F32, loads)
		for u := range x {
			x[u] = kernel.LoadFloats(r.x.At(i.Plus(int64(u)*step)), r.w)
		}
		for u := range x {
			for j, v := range x[u] {
				c = f(i.Plus(int64(u)*step+int64(j)), v, c)
			}
		}
		return c
	}
	if whole > 0 {
		init = kernel.For(k, first, k.Int(whole), unrolledGPU*step, init, func(i kernel.I64, c []kernel.Value) []kernel.Value { return take(i, unrolledGPU, c) })
	}
	if whole < int64(r.n) {
		init = kernel.For(k, first.Plus(whole), k.Int(int64(r.n)), step, init, func(i kernel.I64, c []kernel.Value) []kernel.Value { return take(i, 1, c) })
	}
	return init
}

// argMax is the lowest index of the greatest value; a NaN is never greatest, and a row of
// nothing else gives 0.
func (r reducerGPU) argMax() {
	k, g := r.k, r.g
	none := k.Int32(math.MaxInt32)
	c := r.pass([]kernel.Value{negInf(k), none}, func(i kernel.I64, x kernel.F32, c []kernel.Value) []kernel.Value {
		top, at := c[0].(kernel.F32), c[1].(kernel.I32)
		more := x.Gt(top).Or(at.Eq(none).And(x.Eq(x)))
		return []kernel.Value{kernel.Select(more, x, top), kernel.Select(more, i.I32(), at)}
	})
	top, at := c[0].(kernel.F32), c[1].(kernel.I32)
	better := func(x kernel.F32, i kernel.I32) {
		more := x.Gt(top).Or(x.Eq(top).And(i.Lt(at)))
		top, at = kernel.Select(more, x, top), kernel.Select(more, i, at)
	}
	for lanes := int64(16); lanes >= 1; lanes /= 2 {
		better(g.Xor(top, lanes), g.XorI(at, lanes))
	}
	all := kernel.SharedAt[kernel.F32](k, 0)
	g.Sync()
	kernel.When(k, g.Lane().Eq(k.Int(0)), func() {
		kernel.StoreFloats(all.At(g.Warp().Times(2)), []kernel.F32{top, at.Bits()})
	})
	g.Sync()
	kernel.When(k, g.Thread().Eq(k.Int(0)), func() {
		for w := range int64(r.warps) {
			v := kernel.LoadFloats(all.Plus(2*w), 2)
			better(v[0], v[1].Bits())
		}
		kernel.StoreI32(kernel.Arg[kernel.I32](k, "y").At(k.Item()), kernel.Select(at.Eq(none), k.Int32(0), at))
	})
}

// logSumExp is ln(sum of exp): minus infinity for a row of them, NaN if the row has one.
func (r reducerGPU) logSumExp() {
	k, g := r.k, r.g
	log2 := func(x kernel.F32) kernel.F32 { return x.Mul(k.Float(math.Log2E)) }
	add := func(top, sum, x, s kernel.F32) (kernel.F32, kernel.F32) {
		m := g.MaxF(top, x)
		return m, sum.Mul(g.Exp2F(log2(top.Sub(m)))).Add(s.Mul(g.Exp2F(log2(x.Sub(m)))))
	}
	low := k.Float(-3e38)
	c := r.pass([]kernel.Value{low, k.Float(0)}, func(_ kernel.I64, x kernel.F32, c []kernel.Value) []kernel.Value {
		top, sum := add(c[0].(kernel.F32), c[1].(kernel.F32), x, k.Float(1))
		return []kernel.Value{top, sum}
	})
	top, sum := c[0].(kernel.F32), c[1].(kernel.F32)
	for lanes := int64(16); lanes >= 1; lanes /= 2 {
		top, sum = add(top, sum, g.Xor(top, lanes), g.Xor(sum, lanes))
	}
	all := kernel.SharedAt[kernel.F32](k, 0)
	g.Sync()
	kernel.When(k, g.Lane().Eq(k.Int(0)), func() {
		kernel.StoreFloats(all.At(g.Warp().Times(2)), []kernel.F32{top, sum})
	})
	g.Sync()
	kernel.When(k, g.Thread().Eq(k.Int(0)), func() {
		top, sum := low, k.Float(0)
		for w := range int64(r.warps) {
			v := kernel.LoadFloats(all.Plus(2*w), 2)
			top, sum = add(top, sum, v[0], v[1])
		}
		some := sum.Gt(k.Float(0))
		out := kernel.Select(some, top.Add(ln(sum, k)), kernel.Select(sum.Eq(sum), negInf(k), sum))
		kernel.StoreF32(kernel.Arg[kernel.F32](k, "y").At(k.Item()), out)
	})
}
