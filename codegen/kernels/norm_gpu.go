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
	step := threads * int64(n.w)
	turns := (int64(n.p.Dim) + step - 1) / step
	v := normedVector{n: n, at: at, first: t.Times(int64(n.w)), step: step, block: threads > 32}
	if turns*int64(n.w) <= kept {
		v.x = make([][]kernel.F32, turns)
		for i := range v.x {
			v.x[i] = n.load(n.x, at, v.piece(i))
		}
	}
	from, change := n.x, func(_ kernel.I64, x []kernel.F32) []kernel.F32 { return x }
	if n.p.Join != nil {
		branch, before := v.inverse(n.p.Join.Eps, change), v.row("before")
		from = v.row("after")
		change = func(i kernel.I64, x []kernel.F32) []kernel.F32 { return n.joined(from, before, i, x, branch) }
	}
	inv := v.inverse(n.p.RMS.Eps, change)
	v.each(from, func(i kernel.I64, x []kernel.F32) { n.store(at, i, x, inv) })
}

// normedVector is a thread's pieces of a vector: kept in x, or read whenever they are wanted.
type normedVector struct {
	n         normer
	at, first kernel.I64
	step      int64
	block     bool // all threads share the vector
	x         [][]kernel.F32
}

func (v normedVector) piece(i int) kernel.I64 { return v.first.Plus(int64(i) * v.step) }

// row is this item's row of an operand.
func (v normedVector) row(name string) kernel.Ptr[kernel.F32] {
	k := v.n.k
	return kernel.Arg[kernel.F32](k, name).At(k.Item().Times(int64(v.n.p.Dim)))
}

// each gives the pieces, where they are not kept those at from.
func (v normedVector) each(from kernel.Ptr[kernel.F32], f func(i kernel.I64, x []kernel.F32)) {
	if v.x != nil {
		for i, x := range v.x {
			f(v.piece(i), x)
		}
		return
	}
	kernel.Each(v.n.k, v.first, v.n.k.Int(int64(v.n.p.Dim)), v.step, func(i kernel.I64) { f(i, kernel.LoadFloats(from.At(v.at.Add(i)), v.n.w)) })
}

// inverse is what the vector that change makes of x is scaled by.
func (v normedVector) inverse(eps float32, change func(i kernel.I64, x []kernel.F32) []kernel.F32) kernel.F32 {
	k, dim := v.n.k, int64(v.n.p.Dim)
	square := func(sum kernel.F32, x []kernel.F32) kernel.F32 {
		for _, e := range x {
			sum = e.FMA(e, sum)
		}
		return sum
	}
	sum := k.Float(0)
	for i := range v.x {
		v.x[i] = change(v.piece(i), v.x[i])
		sum = square(sum, v.x[i])
	}
	if v.x == nil {
		sum = kernel.For(k, v.first, k.Int(dim), v.step, []kernel.F32{sum}, func(i kernel.I64, c []kernel.F32) []kernel.F32 {
			return []kernel.F32{square(c[0], change(i, kernel.LoadFloats(v.n.x.At(v.at.Add(i)), v.n.w)))}
		})[0]
	}
	sum = v.n.total(sum, v.block)
	return k.Float(1).Div(sum.Div(k.Float(float32(dim))).Add(k.Float(eps)).Sqrt())
}

// joined is piece i of before plus the norm of x, zeros beyond the vector, and is kept in after.
func (n normer) joined(after, before kernel.Ptr[kernel.F32], i kernel.I64, x []kernel.F32, inv kernel.F32) []kernel.F32 {
	k := n.k
	return kernel.If(k, i.Lt(k.Int(int64(n.p.Dim))), x, func() []kernel.F32 {
		out := scaled(k, x, inv, kernel.LoadFloats(kernel.Arg[kernel.F32](k, "jg").At(i), n.w), n.p.Join.Offset)
		for j, r := range kernel.LoadFloats(before.At(i), n.w) {
			out[j] = r.Add(out[j])
		}
		kernel.StoreFloats(after.At(i), out)
		return out
	}, nil)
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
		out := scaled(k, x, inv, g, n.p.RMS.Offset)
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
