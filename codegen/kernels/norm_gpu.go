package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// normGPU is norm with a block a row. A row that is one vector is shared by all threads,
// which keep their parts in registers between the two passes; of a row of heads each warp
// takes its own vectors.
func normGPU(k *kernel.Kernel, p work.Norm) {
	row := int64(p.Dim * p.Vectors())
	from := k.Item()
	if p.Gather {
		from = kernel.LoadI32(kernel.Arg[kernel.I32](k, "out").At(k.Item())).I64()
	}
	n := normer{rowGPU: newRowGPU(k, p), p: p, x: kernel.Arg[kernel.F32](k, "x").At(from.Times(row)), w: width(p.Dim)}
	if p.Round != nil {
		n.codes = newRounded(k, *p.Round, k.Item())
	} else {
		n.y = kernel.Arg[kernel.F32](k, "y").At(k.Item().Times(row))
	}
	if p.Add {
		n.res = kernel.Arg[kernel.F32](k, "res").At(k.Item().Times(row))
	}
	if p.Vectors() == 1 {
		n.vector(k.Int(0), n.g.Thread(), n.threads())
		return
	}
	kernel.Each(k, n.g.Warp(), k.Int(int64(p.Vectors())), int64(n.warps), func(v kernel.I64) {
		n.vector(v.Times(int64(p.Dim)), n.g.Lane(), 32)
	})
}

type normer struct {
	rowGPU
	p         work.Norm
	x, y, res kernel.Ptr[kernel.F32]
	codes     rounded // instead of y, with Round
	w         int     // neighbours that a thread loads at once
}

// kept is the most floats of a row that a thread keeps in registers.
const kept = 32

// vector normalises the vector at an offset, of which this is thread t of several.
func (n normer) vector(at, t kernel.I64, threads int64) {
	k, step := n.k, threads*int64(n.w)
	turns := (int64(n.p.Dim) + step - 1) / step
	first := t.Times(int64(n.w))
	sum := k.Float(0)
	keep := turns*int64(n.w) <= kept
	x := make([][]kernel.F32, turns)
	square := func(sum kernel.F32, v []kernel.F32) kernel.F32 {
		for _, e := range v {
			sum = e.FMA(e, sum)
		}
		return sum
	}
	if keep {
		for i := range x {
			x[i] = n.load(n.x, at, first.Plus(int64(i)*step))
		}
		for i := range x {
			sum = square(sum, x[i])
		}
	} else {
		sum = kernel.For(k, first, k.Int(int64(n.p.Dim)), step, []kernel.F32{sum}, func(i kernel.I64, c []kernel.F32) []kernel.F32 {
			return []kernel.F32{square(c[0], kernel.LoadFloats(n.x.At(at.Add(i)), n.w))}
		})[0]
	}
	sum = n.total(sum, threads > 32)
	inv := k.Float(1).Div(sum.Div(k.Float(float32(n.p.Dim))).Add(k.Float(n.p.RMS.Eps)).Sqrt())
	if keep {
		for i := range x {
			n.store(at, first.Plus(int64(i)*step), x[i], inv)
		}
		return
	}
	kernel.Each(k, first, k.Int(int64(n.p.Dim)), step, func(i kernel.I64) {
		n.store(at, i, kernel.LoadFloats(n.x.At(at.Add(i)), n.w), inv)
	})
}

// load gives zeros beyond the vector.
func (n normer) load(p kernel.Ptr[kernel.F32], at, i kernel.I64) []kernel.F32 {
	zeros := make([]kernel.F32, n.w)
	for j := range zeros {
		zeros[j] = n.k.Float(0)
	}
	return kernel.If(n.k, i.Lt(n.k.Int(int64(n.p.Dim))), zeros, func() []kernel.F32 { return kernel.LoadFloats(p.At(at.Add(i)), n.w) }, nil)
}

func (n normer) store(at, i kernel.I64, x []kernel.F32, inv kernel.F32) {
	k := n.k
	kernel.When(k, i.Lt(k.Int(int64(n.p.Dim))), func() {
		g := kernel.LoadFloats(kernel.Arg[kernel.F32](k, "g").At(i), n.w)
		out := make([]kernel.F32, n.w)
		for j := range out {
			gain := g[j]
			if n.p.RMS.Offset != 0 {
				gain = gain.Add(k.Float(n.p.RMS.Offset))
			}
			out[j] = x[j].Mul(inv).Mul(gain)
		}
		if n.p.Add {
			for j, r := range kernel.LoadFloats(n.res.At(at.Add(i)), n.w) {
				out[j] = out[j].Add(r)
			}
		}
		if n.p.Round != nil {
			n.codes.four(i, out)
			return
		}
		kernel.StoreFloats(n.y.At(at.Add(i)), out)
	})
}

// total is the sum of a value over the warp, or over the block's warps in their order.
func (r rowGPU) total(x kernel.F32, block bool) kernel.F32 {
	return r.combine(x, block, kernel.F32.Add)
}

// combine reduces a value over the warp, or over the block, with the bits the same in all
// threads.
func (r rowGPU) combine(x kernel.F32, block bool, op func(a, b kernel.F32) kernel.F32) kernel.F32 {
	k, g := r.k, r.g
	for lanes := int64(16); lanes >= 1; lanes /= 2 {
		x = op(x, g.Xor(x, lanes))
	}
	if !block || r.warps == 1 {
		return x
	}
	all := kernel.SharedAt[kernel.F32](k, 0)
	g.Sync() // the memory may still be read from before
	kernel.When(k, g.Lane().Eq(k.Int(0)), func() { kernel.StoreF32(all.At(g.Warp()), x) })
	g.Sync()
	x = kernel.LoadF32(all)
	for w := range int64(r.warps - 1) {
		x = op(x, kernel.LoadF32(all.Plus(w+1)))
	}
	return x
}
