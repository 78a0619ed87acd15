package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// round writes one row of activations as Linear reads it: 4 bytes in, 1 or 2 out a value.
//
//	bf16  bf16[Dim], to nearest even
//	i8    i8[Dim], codes c = x / s to nearest even; f32[Dim/32] scales s = max|x| / 127
//	      of each 32 values; i32[Dim/32] sums of their codes
//
// Bytes between Dim's end and the row's are left alone.
func round(k *kernel.Kernel, p work.Round) {
	n := int64(p.Dim)
	x := kernel.Arg[kernel.F32](k, "x").At(k.Item().Times(n))
	y := kernel.Arg[kernel.U8](k, "y").At(k.Item().Times(p.RowBytes()))
	if p.To == work.BF16 {
		kernel.Each(k, k.Int(0), k.Int(n), 32, func(i kernel.I64) {
			for j := range int64(2) {
				at := i.Plus(16 * j)
				kernel.StoreBF16s(kernel.As[kernel.BF16](y).At(at), kernel.LoadVec(x.At(at)))
			}
		})
		return
	}
	scales, sums := kernel.As[kernel.F32](y.Plus(n)), kernel.As[kernel.I32](y.Plus(n+n/8))
	kernel.Each(k, k.Int(0), k.Int(n/32), 1, func(b kernel.I64) {
		at := b.Times(32)
		lo, hi := kernel.LoadVec(x.At(at)), kernel.LoadVec(x.At(at).Plus(16))
		top := lo.Abs().Max(hi.Abs()).ReduceMax()
		some := top.Gt(k.Float(1e-30))
		up := kernel.Select(some, k.Float(127).Div(top), k.Float(0)).Splat()
		a, c := lo.Mul(up).Round().I32(), hi.Mul(up).Round().I32()
		kernel.StoreBytes(y.At(at), a)
		kernel.StoreBytes(y.At(at).Plus(16), c)
		kernel.StoreF32(scales.At(b), kernel.Select(some, top.Div(k.Float(127)), k.Float(0)))
		kernel.StoreI32(sums.At(b), a.Add(c).ReduceAdd())
	})
}
