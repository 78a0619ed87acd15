package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// embed is y[n] = w[tok[n]] * scale: one lane of a tile of 16 rows. A line of memory
// holds all lanes, so a row of 4-bit codes touches 8 bytes a value: less than a layer's
// own reads by far, and only once a step.
//
// Numbers are scalars here, one row has one lane; they equal ggml's dequantisation bit
// for bit, as the columns of decode.go do.
func embed(k *kernel.Kernel, p work.Embed) {
	f, _ := layout.Of(p.Enc)
	row := kernel.LoadI32(kernel.Arg[kernel.I32](k, "tok").At(k.Item())).I64()
	tile := kernel.Arg[kernel.U8](k, "w").At(row.Over(layout.Lanes).Times(tileBytes(f, p.Dim)))
	y := kernel.Arg[kernel.F32](k, "y").At(k.Item().Times(int64(p.Dim)))
	lane := row.Modulo(layout.Lanes)
	put := func(i kernel.I64, v kernel.F32) {
		if p.Scale != 0 && p.Scale != 1 {
			v = v.Mul(k.Float(p.Scale))
		}
		kernel.StoreF32(y.At(i), v)
	}
	kernel.Each(k, k.Int(0), k.Int(int64(p.Dim/f.Block)), 1, func(b kernel.I64) {
		e := cell{k: k, f: f, p: tile.At(b.Times(int64(f.ColumnBytes()))), lane: lane}
		if f.Block == 1 {
			put(b, e.float())
			return
		}
		for sub := 0; sub < f.Block; sub += f.Sub {
			d, m := e.scales(sub)
			kernel.Each(k, k.Int(int64(sub)), k.Int(int64(sub+f.Sub)), 8, func(i kernel.I64) {
				for j := range 8 {
					put(b.Times(int64(f.Block)).Add(i).Plus(int64(j)), e.code(i, j).FMA(d, m))
				}
			})
		}
	})
}

// cell is one lane of a column: a block of one row.
type cell struct {
	k    *kernel.Kernel
	f    layout.Format
	p    kernel.Ptr[kernel.U8]
	lane kernel.I64
}

// float is the value of a plain float weight.
func (c cell) float() kernel.F32 {
	switch c.f.Enc {
	case layout.F16:
		return kernel.LoadF16(kernel.As[kernel.F16](c.p).At(c.lane))
	case layout.BF16:
		return kernel.LoadBF16(kernel.As[kernel.BF16](c.p).At(c.lane))
	}
	return kernel.LoadF32(kernel.As[kernel.F32](c.p).At(c.lane))
}

// byte is byte b of the lane's word, of 16 words from offset at.
func (c cell) byte(at kernel.I64, b int) kernel.I32 {
	return kernel.LoadU8(c.p.At(at.Add(c.lane.Times(4)).Plus(int64(b))))
}

// half is the lane's i-th float16 scale.
func (c cell) half(i int64) kernel.F32 {
	return kernel.LoadF16(kernel.As[kernel.F16](c.p.Plus(32 * i)).At(c.lane))
}

// small is the i-th of the K-quants' own scale bytes.
func (c cell) small(i int) kernel.I32 {
	return c.byte(c.k.Int(int64(32*c.f.Halfs+64*(i/4))), i%4)
}

// scales is the pair (d, m) of the values from index at on, a multiple of Sub.
func (c cell) scales(at int) (d, m kernel.F32) {
	k, d := c.k, c.half(0)
	switch c.f.Min {
	case layout.Added:
		return d, c.half(1)
	case layout.Zero:
		return d, c.half(1).Mul(d).Mul(k.Float(-1))
	case layout.KScales:
		sc, mn := c.sixBits(at / 32)
		return d.Mul(sc.F32()), c.half(1).Mul(mn.F32()).Mul(k.Float(-1))
	case layout.Scales8:
		d = d.Mul(c.small(at / 16).SignExtend8().F32())
	}
	return d, d.Mul(k.Float(float32(-offset(c.f))))
}

// sixBits is the j-th scale and min of a K-quant (ggml's get_scale_min_k4).
func (c cell) sixBits(j int) (sc, mn kernel.I32) {
	if j < 4 {
		return c.small(j).And(63), c.small(j + 4).And(63)
	}
	low := c.small(j + 4)
	return low.And(15).Or(c.small(j - 4).Shr(6).Shl(4)), low.Shr(4).Or(c.small(j).Shr(6).Shl(4))
}

// code is the stored code of value i + j; i is a multiple of 8, j is below 8.
func (c cell) code(i kernel.I64, j int) kernel.F32 {
	k := c.k
	plane := k.Int(int64(32*c.f.Halfs + 16*c.f.Bytes))
	if c.f.Bits == 8 {
		return c.byte(plane.Add(i.Times(16)).Plus(int64(64*(j/4))), j%4).F32()
	}
	low, high := c.f.Planes()
	q := c.field(plane, i, j, low)
	if high > 0 {
		q = q.Or(c.field(plane.Plus(int64(2*low*c.f.Block)), i, j, high).Shl(int32(low)))
	}
	if c.f.Min == layout.Table {
		return kernel.LoadF32(k.Data(iq4Codes()).At(q.I64()))
	}
	return q.F32()
}

// field is value i + j of a plane of width bits a code.
func (c cell) field(plane, i kernel.I64, j, width int) kernel.I32 {
	per := int64(8 / width) // codes of a byte
	b := c.byte(plane.Add(i.Over(4*per).Times(64)), j%4)
	mask := int32(1<<width - 1)
	if per == 2 { // i is a multiple of 8
		return b.Shr(int32(4 * (j / 4))).And(mask)
	}
	return b.ShrBy(i.Over(4).Plus(int64(j / 4)).Modulo(per).Times(int64(width)).I32()).And(mask)
}

// iq4Codes are iq4_nl's values plus 128, as decode.go's codes are.
func iq4Codes() []float32 {
	out := make([]float32, len(layout.IQ4Values))
	for i, v := range layout.IQ4Values {
		out[i] = float32(v) + 128
	}
	return out
}
