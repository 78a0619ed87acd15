package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// ropeTable is one row of angles. The frequencies are constants of the kernel.
func ropeTable(k *kernel.Kernel, p work.RopeTable) {
	cs, angle := angles(k, p)
	kernel.Each(k, k.Int(0), k.Int(int64(len(p.Freq))), 1, func(i kernel.I64) {
		cos, sin := angle(i)
		kernel.StoreF32(cs.At(i.Times(2)), cos)
		kernel.StoreF32(cs.At(i.Times(2)).Plus(1), sin)
	})
}

// angles are where a row of the table lies, and its i-th cosine and sine.
func angles(k *kernel.Kernel, p work.RopeTable) (cs kernel.Ptr[kernel.F32], angle func(i kernel.I64) (cos, sin kernel.F32)) {
	pos := kernel.LoadI32(kernel.Arg[kernel.I32](k, "pos").At(k.Item())).F32()
	scale := p.Scale
	if scale == 0 {
		scale = 1
	}
	freq := k.Data(p.Freq)
	return kernel.Arg[kernel.F32](k, "cs").At(k.Item().Times(int64(p.RotaryDim))), func(i kernel.I64) (cos, sin kernel.F32) {
		sin, cos = sincos(pos.Mul(kernel.LoadF32(freq.At(i))).F64(), k)
		return cos.Mul(k.Float(scale)), sin.Mul(k.Float(scale))
	}
}

// pair gives the two elements that rotate by angle i.
func pair(style work.Style, rotary int, i kernel.I64) (a, b kernel.I64) {
	if style == work.Adjacent {
		return i.Times(2), i.Times(2).Plus(1)
	}
	return i, i.Plus(int64(rotary / 2))
}

// rotateHead rotates the leading elements of one head in memory, x to y (which may be
// x). Elements that do not rotate are the caller's.
func rotateHead(k *kernel.Kernel, style work.Style, rotary int, x, y, cs kernel.Ptr[kernel.F32]) {
	switch {
	case k.Width() == 16 && style == work.Half && rotary%32 == 0:
		rotateHalves(k, rotary, x, y, cs)
		return
	case k.Width() == 16 && style == work.Adjacent && rotary%16 == 0:
		rotateNeighbours(k, rotary, x, y, cs)
		return
	}
	kernel.Each(k, k.Int(0), k.Int(int64(rotary/2)), 1, func(i kernel.I64) {
		ia, ib := pair(style, rotary, i)
		a, b := kernel.LoadF32(x.At(ia)), kernel.LoadF32(x.At(ib))
		cos, sin := kernel.LoadF32(cs.At(i.Times(2))), kernel.LoadF32(cs.At(i.Times(2)).Plus(1))
		kernel.StoreF32(y.At(ia), a.Mul(cos).Sub(b.Mul(sin)))
		kernel.StoreF32(y.At(ib), b.Mul(cos).Add(a.Mul(sin)))
	})
}

// spread lists the lanes of a shuffle.
func spread(f func(i int) int) []int {
	out := make([]int, 16)
	for i := range out {
		out[i] = f(i)
	}
	return out
}

// rotateHalves is 16 pairs at a time; the table's cosines and sines alternate.
func rotateHalves(k *kernel.Kernel, rotary int, x, y, cs kernel.Ptr[kernel.F32]) {
	half := int64(rotary / 2)
	kernel.Each(k, k.Int(0), k.Int(half), 16, func(i kernel.I64) {
		c0 := kernel.LoadVec(cs.At(i.Times(2)))
		c1 := kernel.LoadVec(cs.At(i.Times(2)).Plus(16))
		cos := c0.Shuffle(c1, spread(func(i int) int { return 2 * i })...)
		sin := c0.Shuffle(c1, spread(func(i int) int { return 2*i + 1 })...)
		a, b := kernel.LoadVec(x.At(i)), kernel.LoadVec(x.At(i).Plus(half))
		kernel.StoreVec(y.At(i), a.Mul(cos).Sub(b.Mul(sin)))
		kernel.StoreVec(y.At(i).Plus(half), b.Mul(cos).Add(a.Mul(sin)))
	})
}

// rotateNeighbours is 8 pairs at a time: x*cos + swapped x * (-sin, sin).
func rotateNeighbours(k *kernel.Kernel, rotary int, x, y, cs kernel.Ptr[kernel.F32]) {
	var signs [16]float32
	for i := range signs {
		signs[i] = float32(2*(i%2) - 1)
	}
	sign := k.X86().Table(signs)
	kernel.Each(k, k.Int(0), k.Int(int64(rotary)), 16, func(i kernel.I64) {
		c, v := kernel.LoadVec(cs.At(i)), kernel.LoadVec(x.At(i))
		cos := c.Shuffle(c, spread(func(i int) int { return i / 2 * 2 })...)
		sin := c.Shuffle(c, spread(func(i int) int { return i/2*2 + 1 })...).Mul(sign)
		swapped := v.Shuffle(v, spread(func(i int) int { return i ^ 1 })...)
		kernel.StoreVec(y.At(i), v.Mul(cos).Add(swapped.Mul(sin)))
	})
}

// rope rotates all heads of a row.
func rope(k *kernel.Kernel, p work.Rope) {
	row := int64(p.Heads * p.Dim)
	x, y := kernel.Arg[kernel.F32](k, "x").At(k.Item().Times(row)), kernel.Arg[kernel.F32](k, "y").At(k.Item().Times(row))
	cs := kernel.Arg[kernel.F32](k, "cs").At(k.Item().Times(int64(p.RotaryDim)))
	kernel.Each(k, k.Int(0), k.Int(int64(p.Heads)), 1, func(h kernel.I64) {
		at := h.Times(int64(p.Dim))
		rotateHead(k, p.Style, p.RotaryDim, x.At(at), y.At(at), cs)
		kernel.Each(k, k.Int(int64(p.RotaryDim)), k.Int(int64(p.Dim)), 1, func(i kernel.I64) {
			kernel.StoreF32(y.At(at.Add(i)), kernel.LoadF32(x.At(at.Add(i))))
		})
	})
}
