package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// embedGPU is y[n] = w[tok[n]] * scale, a block a row of w in the frag layout: four lanes
// of a product hold one row of a unit, and a thread stands for one of them.
func embedGPU(k *kernel.Kernel, p work.Embed) {
	f, err := layout.FragOf(p.Enc, p.Dim)
	if err != nil {
		k.Errorf("embed: %v", err)
		return
	}
	g := k.GPU()
	row := kernel.LoadI32(kernel.Arg[kernel.I32](k, "tok").At(k.Item())).I64()
	r := row.Modulo(layout.Lanes)
	units := int64(p.Dim / f.Unit)
	tile := kernel.Arg[kernel.U8](k, "w").At(row.Over(layout.Lanes).Times(units * int64(f.UnitBytes())))
	y := kernel.Arg[kernel.F32](k, "y").At(k.Item().Times(int64(p.Dim)))
	high := k.Int(7).Lt(r) // rows 8 to 15 are in the other registers
	pick := func(v [2]kernel.F32) kernel.F32 { return kernel.Select(high, v[1], v[0]) }
	ms := masks(g)
	kernel.Each(k, g.Thread(), k.Int(4*units), int64(32*work.GridOf(p).Warps), func(i kernel.I64) {
		u, q := i.Shr(2), i.And(k.Int(3))
		w := openUnit(k, f, tile.At(u.Times(int64(f.UnitBytes()))), r.And(k.Int(7)).Times(4).Add(q), ms)
		to := y.At(u.Times(int64(f.Unit)).Add(q.Times(int64(f.Span / 4))))
		for c := range f.Unit / f.Chunk {
			for j := range f.Products() {
				first := c*f.Chunk + j/(f.Span/16)*f.Span
				v := fragRow(w, c, j, first/groupColumns(f), high, pick)
				if p.Scale != 0 && p.Scale != 1 {
					for e := range v {
						v[e] = v[e].Mul(k.Float(p.Scale))
					}
				}
				kernel.StoreFloats(to.Plus(int64(first+j%(f.Span/16)*4)), v)
			}
		}
	})
}

// fragRow is the four values that a lane holds of its row r, or r+8 where high says so, in
// a product.
func fragRow(w *fragUnit, chunk, j, group int, high kernel.Bool, pick func([2]kernel.F32) kernel.F32) []kernel.F32 {
	k, g, f := w.k, w.g, w.f
	half := kernel.Float16
	if f.Enc == layout.BF16 {
		half = kernel.BFloat16
	}
	var v []kernel.F32
	regs := w.product(chunk, j)
	for i := range 2 {
		pair := kernel.Select(high, regs[2*i+1], regs[2*i])
		v = append(v, g.Low(half, pair), g.High(half, pair))
	}
	if f.Block == 1 {
		return v
	}
	base := bases(f)
	s := [2]groupScale{w.group(group, 0), w.group(group, 1)}
	off := pick([2]kernel.F32{s[0].zero.Add(k.Float(base[0])), s[1].zero.Add(k.Float(base[1]))})
	mul := pick([2]kernel.F32{s[0].mul, s[1].mul})
	for e := range v {
		v[e] = v[e].Sub(off).Mul(mul)
		if s[0].add != nil {
			v[e] = v[e].Add(pick([2]kernel.F32{*s[0].add, *s[1].add}))
		}
	}
	return v
}
