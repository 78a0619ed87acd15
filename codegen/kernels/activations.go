package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// A matrix-vector product wants x prepared once: normed where the kernel has a norm, and
// beside it what the inner loop would repeat for every tile of rows.
//
// With byte dot products (VNNI) a block of 32 values becomes three planes of signed
// base-256 digits of round(x / s), s = max|x| / 8355000: 24 bits, as exact as a float32
// sum of the block. With Dot i8 it is one plane, s = max|x| / 127. A record of 128 bytes:
//
//	  0  digits, the most significant plane first: 3 x 32 bytes
//	 96  s, then the sums of x over 32, the first 16 and the last 16: f32
//	112  for each plane -offset * (sum of its digits): i32
//
// Without them x stays float32, followed by its sums over every 16 values.
const (
	record    = 128
	recScale  = 96
	recSum    = 100
	recOffset = 112
	digitTop  = 8355000
)

// form is how the inner product of a kernel runs on a target.
type form int

const (
	inFloats form = iota // float32 multiply-add
	inDigits             // exact x, byte dot products
	inBytes              // x rounded to 8 bits, byte dot products
)

func formOf(k *kernel.Kernel, p work.Linear, f layout.Format) form {
	if f.Block < 32 || p.Cols%32 != 0 || !k.X86().HasDot() {
		return inFloats
	}
	if p.Dot == work.I8 {
		return inBytes
	}
	return inDigits
}

func (f form) planes() int {
	if f == inBytes {
		return 1
	}
	return 3
}

// prepare is the Prep of a matrix-vector product.
func prepare(k *kernel.Kernel, p work.Linear, f layout.Format) {
	x := kernel.Arg[kernel.F32](k, "x")
	inv := k.Vec(1)
	if p.Norm != nil {
		inv = rsqrtMean(k, x, p.Cols, p.Norm.Eps).Splat()
	}
	value := func(l kernel.Lanes) kernel.Vec {
		v := l.Load(x)
		if p.Norm != nil {
			v = v.Mul(inv).Mul(gain(k, l.Load(kernel.Arg[kernel.F32](k, "g")), p.Norm.Offset))
		}
		return v
	}
	if p.Dot == work.BF16 {
		exact := value
		value = func(l kernel.Lanes) kernel.Vec { return exact(l).RoundBF16() }
	}
	if onePairs(k, p) {
		preparePairs(k, p, value)
		return
	}
	how := formOf(k, p, f)
	if how == inFloats {
		prepareFloats(k, p, f, value)
		return
	}
	kernel.Each(k, k.Int(0), k.Int(int64(p.Cols)), 32, func(i kernel.I64) {
		lo, hi := value(k.All(i)), value(k.All(i.Plus(16)))
		rec := kernel.Scratch[kernel.U8](k, 0).At(i.Times(record / 32))
		digits(k, how, offset(f), lo, hi, rec)
	})
}

// prepareFloats stores x (through 8-bit codes, with Dot i8) and, for a quantised weight, its sums.
func prepareFloats(k *kernel.Kernel, p work.Linear, f layout.Format, value func(kernel.Lanes) kernel.Vec) {
	if f.Block == 1 && p.Norm == nil && p.Dot == work.F32 {
		return
	}
	y := kernel.Scratch[kernel.F32](k, 0)
	sums := kernel.Scratch[kernel.F32](k, int64(4*p.Cols))
	if p.Dot == work.I8 {
		kernel.Each(k, k.Int(0), k.Int(int64(p.Cols)), 32, func(i kernel.I64) {
			lo, hi := value(k.All(i)), value(k.All(i.Plus(16)))
			up, s := toBytes(k, 127, lo, hi)
			for j, v := range []kernel.Vec{lo, hi} {
				v = v.Mul(up.Splat()).Round().Mul(s.Splat())
				kernel.StoreVec(y.At(i).Plus(int64(16*j)), v)
				kernel.StoreF32(sums.At(i.Over(16)).Plus(int64(j)), v.ReduceAdd())
			}
		})
		return
	}
	kernel.Row(k, p.Cols, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
		v := value(l)
		l.Store(y, v)
		if f.Block > 1 {
			kernel.StoreF32(sums.At(l.I.Over(16)), v.ReduceAdd())
		}
		return nil
	})
}

// toBytes is the factor that brings the greatest of 32 values to the limit, and the scale
// that brings it back; both 0 where all are next to nothing.
func toBytes(k *kernel.Kernel, limit float32, lo, hi kernel.Vec) (up, s kernel.F32) {
	top := lo.Abs().Max(hi.Abs()).ReduceMax()
	some := top.Gt(k.Float(1e-30))
	return kernel.Select(some, k.Float(limit).Div(top), k.Float(0)), kernel.Select(some, top.Div(k.Float(limit)), k.Float(0))
}

// digits writes the record of 32 values.
func digits(k *kernel.Kernel, how form, off int, lo, hi kernel.Vec, rec kernel.Ptr[kernel.U8]) {
	limit := float32(digitTop)
	if how == inBytes {
		limit = 127
	}
	up, s := toBytes(k, limit, lo, hi)
	a, b := lo.Mul(up.Splat()).Round().I32(), hi.Mul(up.Splat()).Round().I32()
	fs := kernel.As[kernel.F32](rec)
	kernel.StoreF32(fs.Plus(recScale/4), s)
	sa, sb := a.ReduceAdd(), b.ReduceAdd()
	for i, sum := range []kernel.I32{sa.Add(sb), sa, sb} {
		kernel.StoreF32(fs.Plus(recSum/4+int64(i)), sum.F32().Mul(s))
	}
	for plane := how.planes() - 1; plane >= 0; plane-- {
		da, db := a, b
		if plane > 0 {
			da, db = a.Shl(24).Sar(24), b.Shl(24).Sar(24)
			a, b = a.Sub(da).Sar(8), b.Sub(db).Sar(8)
		}
		kernel.StoreBytes(rec.Plus(int64(32*plane)), da)
		kernel.StoreBytes(rec.Plus(int64(32*plane+16)), db)
		if off != 0 {
			sum := da.Add(db).ReduceAdd().Mul(k.Int32(int32(-off)))
			kernel.StoreI32(kernel.As[kernel.I32](rec).Plus(recOffset/4+int64(plane)), sum)
		}
	}
}
