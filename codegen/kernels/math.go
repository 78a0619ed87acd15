package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// exp is e^x to about one unit in the last place: x = n ln2 + r, a polynomial of degree 6
// (Cephes expf) times 2^n. Results below the smallest normal number are 0; above the
// greatest, infinity. NaN stays NaN.
func exp(x kernel.Vec, k *kernel.Kernel) kernel.Vec {
	c := x.Max(k.Vec(-104)).Min(k.Vec(89))
	n := c.Scale(1.44269504088896341).Round()
	r := n.FMA(k.Vec(-0.693359375), c)
	r = n.FMA(k.Vec(2.12194440e-4), r)
	p := k.Vec(1.9875691500e-4)
	for _, a := range []float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		p = p.FMA(r, k.Vec(a))
	}
	p = p.FMA(r.Mul(r), r).Add(k.Vec(1))
	// 2^n in two factors: n reaches 128, where one would overflow too early.
	half := n.I32().Sar(1)
	rest := n.I32().Sub(half)
	y := p.Mul(pow2(half, k)).Mul(pow2(rest, k))
	y = k.Vec(-87.336544).Gt(x).Select(k.Vec(0), y)
	return x.Eq(x).Select(y, x)
}

func pow2(n kernel.VecI, k *kernel.Kernel) kernel.Vec { return n.Add(k.VecI(127)).Shl(23).Float() }

// tanh is accurate to about two units in the last place: a polynomial near 0 (Cephes
// tanhf), else through exp(-2|x|).
func tanh(x kernel.Vec, k *kernel.Kernel) kernel.Vec {
	a := x.Abs()
	z := x.Mul(x)
	p := k.Vec(-5.70498872745e-3)
	for _, c := range []float32{2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1} {
		p = p.FMA(z, k.Vec(c))
	}
	small := p.Mul(z).FMA(x, x)
	e := exp(a.Scale(-2), k)
	big := k.Vec(1).Sub(e).Div(k.Vec(1).Add(e))
	sign := x.Bits().Mask(-1 << 31)
	big = big.Bits().Or(sign).Float()
	return a.Gt(k.Vec(0.625)).Select(big, small)
}

// erfc is the complementary error function of z >= 0 with a relative error near 1e-6
// (Numerical Recipes' erfcc, 1.2e-7 before rounding).
func erfc(z kernel.Vec, k *kernel.Kernel) kernel.Vec {
	t := k.Vec(1).Div(z.FMA(k.Vec(0.5), k.Vec(1)))
	p := k.Vec(0.17087277)
	for _, c := range []float32{-0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223} {
		p = p.FMA(t, k.Vec(c))
	}
	return t.Mul(exp(z.Neg().FMA(z, p), k))
}

func silu(x kernel.Vec, k *kernel.Kernel) kernel.Vec {
	return x.Div(k.Vec(1).Add(exp(x.Neg(), k)))
}

// gelu is x times the normal distribution function of x.
func gelu(x kernel.Vec, k *kernel.Kernel) kernel.Vec {
	tail := erfc(x.Abs().Scale(0.70710678118654752), k).Scale(0.5)
	return x.Mul(x.Gt(k.Vec(0)).Select(k.Vec(1).Sub(tail), tail))
}

// geluTanh is 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as x * sigmoid(2u): the
// sum 1 + tanh would cancel for negative x.
func geluTanh(x kernel.Vec, k *kernel.Kernel) kernel.Vec {
	u := x.Mul(x).FMA(k.Vec(0.044715), k.Vec(1)).Mul(x).Scale(0.79788456080286536)
	return x.Div(k.Vec(1).Add(exp(u.Scale(-2), k)))
}

func softcap(x kernel.Vec, limit float32, k *kernel.Kernel) kernel.Vec {
	return tanh(x.Div(k.Vec(limit)), k).Scale(limit)
}

func act(a work.Act, x kernel.Vec, k *kernel.Kernel) kernel.Vec {
	switch a {
	case work.SiLU:
		return silu(x, k)
	case work.GELUTanh:
		return geluTanh(x, k)
	case work.GELU:
		return gelu(x, k)
	}
	return x
}

// sincos is accurate to float32 for |a| up to 2^31: float64 reduction by pi/2 in three
// parts, then fdlibm's kernels.
func sincos(a kernel.F64, k *kernel.Kernel) (sin, cos kernel.F32) {
	n := a.Mul(k.Double(0.63661977236758134308)).Round()
	r := n.FMA(k.Double(-1.57079632673412561417e+00), a)
	r = n.FMA(k.Double(-6.07710050630396597660e-11), r)
	r = n.FMA(k.Double(-2.02226624879595063154e-21), r)
	z := r.Mul(r)
	poly := func(first float64, rest ...float64) kernel.F64 {
		p := k.Double(first)
		for _, c := range rest {
			p = p.FMA(z, k.Double(c))
		}
		return p
	}
	s := poly(1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06,
		-1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01)
	c := poly(-1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07,
		2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02, -0.5, 1)
	s = s.Mul(z).FMA(r, r)
	q := n.I64()
	odd := q.And(k.Int(1)).Eq(k.Int(1))
	sv, cv := kernel.Select(odd, c, s), kernel.Select(odd, s, c)
	sv = kernel.Select(q.And(k.Int(2)).Eq(k.Int(2)), sv.Neg(), sv)
	cv = kernel.Select(q.Plus(1).And(k.Int(2)).Eq(k.Int(2)), cv.Neg(), cv)
	return sv.F32(), cv.F32()
}
