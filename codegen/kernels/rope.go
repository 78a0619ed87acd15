package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// ropeTable is one row of angles. The frequencies are constants of the kernel.
func ropeTable(k *kernel.Kernel, p work.RopeTable) {
	pos := kernel.LoadI32(kernel.Arg[kernel.I32](k, "pos").At(k.Item())).F32()
	cs := kernel.Arg[kernel.F32](k, "cs").At(k.Item().Times(int64(p.RotaryDim)))
	scale := p.Scale
	if scale == 0 {
		scale = 1
	}
	freq := k.Data(p.Freq)
	kernel.Each(k, k.Int(0), k.Int(int64(len(p.Freq))), 1, func(i kernel.I64) {
		sin, cos := sincos(pos.Mul(kernel.LoadF32(freq.At(i))).F64(), k)
		kernel.StoreF32(cs.At(i.Times(2)), cos.Mul(k.Float(scale)))
		kernel.StoreF32(cs.At(i.Times(2)).Plus(1), sin.Mul(k.Float(scale)))
	})
}

// pair gives the two elements that rotate by angle i.
func pair(style work.Style, rotary int, i kernel.I64) (a, b kernel.I64) {
	if style == work.Adjacent {
		return i.Times(2), i.Times(2).Plus(1)
	}
	return i, i.Plus(int64(rotary / 2))
}

// rotateHead rotates the leading elements of one head in memory, x to y. Elements that
// do not rotate are the caller's.
func rotateHead(k *kernel.Kernel, style work.Style, rotary int, x, y, cs kernel.Ptr[kernel.F32]) {
	kernel.Each(k, k.Int(0), k.Int(int64(rotary/2)), 1, func(i kernel.I64) {
		ia, ib := pair(style, rotary, i)
		a, b := kernel.LoadF32(x.At(ia)), kernel.LoadF32(x.At(ib))
		cos, sin := kernel.LoadF32(cs.At(i.Times(2))), kernel.LoadF32(cs.At(i.Times(2)).Plus(1))
		kernel.StoreF32(y.At(ia), a.Mul(cos).Sub(b.Mul(sin)))
		kernel.StoreF32(y.At(ib), b.Mul(cos).Add(a.Mul(sin)))
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
