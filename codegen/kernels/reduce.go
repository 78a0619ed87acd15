package kernels

import (
	"math"

	"quire/codegen/kernel"
	"quire/ir/work"
)

// reduce turns a row of logits into one number. It reads the row twice, 8 bytes a value;
// a row of 200 KB stays in the second cache.
func reduce(k *kernel.Kernel, p work.Reduce) {
	r := reducer{k: k, n: p.Vocab, x: kernel.Arg[kernel.F32](k, "x").At(k.Item().Times(int64(p.Vocab)))}
	top := r.maximum()
	if p.Op == work.ArgMax {
		if p.Vocab > 1<<24 {
			k.Errorf("argmax of %d values, expected at most 2^24: indices are exact floats", p.Vocab)
		}
		kernel.StoreI32(kernel.Arg[kernel.I32](k, "y").At(k.Item()), r.firstOf(top))
		return
	}
	kernel.StoreF32(kernel.Arg[kernel.F32](k, "y").At(k.Item()), r.logSumExp(top))
}

type reducer struct {
	k *kernel.Kernel
	n int
	x kernel.Ptr[kernel.F32]
}

// chains is the number of independent partial results of a pass: they hide latency, and
// keep the rounding of long sums short.
const chains = 4

// pass runs body over the row, and combines the chains' results in order.
func (r reducer) pass(init kernel.Vec, body func(l kernel.Lanes, v, acc kernel.Vec) kernel.Vec, combine func(a, b kernel.Vec) kernel.Vec) kernel.Vec {
	k, w := r.k, r.k.Width()
	whole := r.n / (chains * w) * (chains * w)
	acc := kernel.Range(k, 0, int64(whole), int64(chains*w), []kernel.Vec{init, init, init, init}, func(i kernel.I64, acc []kernel.Vec) []kernel.Vec {
		next := make([]kernel.Vec, chains)
		for j := range next {
			l := k.All(i.Plus(int64(j * w)))
			next[j] = body(l, l.Load(r.x), acc[j])
		}
		return next
	})
	for i := whole; i < r.n; i += w {
		l := k.Below(k.Int(int64(i)), k.Int(int64(r.n-i)))
		acc[i/w%chains] = body(l, l.Load(r.x), acc[i/w%chains])
	}
	return combine(combine(acc[0], acc[1]), combine(acc[2], acc[3]))
}

// maximum is the greatest value that is not NaN, minus infinity if there is none.
func (r reducer) maximum() kernel.F32 {
	low := r.k.Vec(float32(math.Inf(-1)))
	return r.pass(low, func(l kernel.Lanes, v, acc kernel.Vec) kernel.Vec {
		return l.Or(v, low).Max(acc)
	}, kernel.Vec.Max).ReduceMax()
}

// firstOf is the lowest index of a value, 0 if the row lacks it.
func (r reducer) firstOf(v kernel.F32) kernel.I32 {
	k, want := r.k, v.Splat()
	iota, none := k.Iota().F32(), k.Vec(float32(r.n))
	at := r.pass(none, func(l kernel.Lanes, v, acc kernel.Vec) kernel.Vec {
		i := l.I.F32().Splat().Add(iota)
		return l.Or(v.Eq(want).Select(i, none), none).Min(acc)
	}, kernel.Vec.Min).Neg().ReduceMax().Splat().Neg()
	return k.Vec(float32(r.n)).Gt(at).Select(at, k.Vec(0)).I32().Lane(0)
}

// logSumExp is top + ln(sum of exp(x - top)): minus infinity for a row of them, NaN if
// the row has one.
func (r reducer) logSumExp(top kernel.F32) kernel.F32 {
	k := r.k
	finite := top.Gt(k.Float(float32(math.Inf(-1))))
	shift := kernel.Select(finite, top, k.Float(0)).Splat()
	sum := r.pass(k.Vec(0), func(l kernel.Lanes, v, acc kernel.Vec) kernel.Vec {
		return acc.Add(l.Or(exp(v.Sub(shift), k), k.Vec(0)))
	}, kernel.Vec.Add).ReduceAdd()
	return kernel.Select(finite.Or(sum.Gt(k.Float(0))), top.Add(ln(sum, k)), kernel.Select(sum.Eq(sum), top, sum))
}

// ln is the natural logarithm of a normal number, to about one unit in the last place:
// x = 2^e m with m in [sqrt(1/2), sqrt(2)), then a polynomial (Cephes logf). NaN stays NaN.
func ln(x kernel.F32, k *kernel.Kernel) kernel.F32 {
	bits := x.Bits()
	e := bits.Shr(23).Sub(k.Int32(126)).F32()
	m := bits.And(0x007fffff).Or(k.Int32(0x3f000000)).Bits()
	small := k.Float(0.70710678118654752).Gt(m)
	e = kernel.Select(small, e.Sub(k.Float(1)), e)
	f := kernel.Select(small, m.Add(m), m).Sub(k.Float(1))
	p := k.Float(7.0376836292e-2)
	for _, c := range []float32{-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1} {
		p = p.FMA(f, k.Float(c))
	}
	z := f.Mul(f)
	y := p.Mul(f).Mul(z)
	y = e.FMA(k.Float(-2.12194440e-4), y)
	y = z.FMA(k.Float(-0.5), y)
	y = e.FMA(k.Float(0.693359375), f.Add(y))
	return kernel.Select(x.Eq(x), y, x)
}
