package kernels

import (
	"math"
	"testing"

	"quire/ir/work"
)

// Every function of Map against math, over its whole range: the error in units in the
// last place of the exact result where it is a normal number.
func TestFunctions(t *testing.T) {
	for _, c := range []struct {
		op   work.MapOp
		f    func(x float64) float64
		lo   float64
		hi   float64
		ulps float64
	}{
		{work.MapExp, math.Exp, -87, 88.7, 2},
		{work.MapTanh, math.Tanh, -12, 12, 3},
		{work.MapSiLU, func(x float64) float64 { return x / (1 + math.Exp(-x)) }, -80, 80, 4},
		{work.MapGELUTanh, func(x float64) float64 {
			return x / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}, -4, 30, 40},
		{work.MapGELU, func(x float64) float64 { return x * 0.5 * math.Erfc(-x/math.Sqrt2) }, -5, 30, 60},
	} {
		for _, tgt := range everywhere(t) {
			const n, dim = 64, 333
			p := work.Map{Dim: dim, Expr: []work.MapStep{{Op: work.MapIn}, {Op: c.op}}}
			x, y := alloc[float32](t, n*dim), poison(alloc[float32](t, n*dim))
			for i := range x {
				x[i] = float32(c.lo + (c.hi-c.lo)*float64(i)/float64(len(x)-1))
			}
			open(t, tgt, p).bind(t, 0, p, work.Dims{N: n}, map[string]uintptr{"a0": addr(x), "y": addr(y)}).run(8)
			worst, at := 0.0, 0
			for i := range x {
				want := c.f(float64(x[i]))
				if math.Abs(want) < 1.2e-38 {
					continue
				}
				ulp := math.Abs(float64(math.Nextafter32(float32(want), 1e30)) - float64(float32(want)))
				if d := math.Abs(float64(y[i])-want) / ulp; !(d <= worst) {
					worst, at = d, i
				}
			}
			if !(worst <= c.ulps) {
				t.Errorf("%s %s(%v) is %v, want %v: %.1f units off, %v allowed", tgt.Name, c.op, x[at], y[at], c.f(float64(x[at])), worst, c.ulps)
			}
		}
	}
}

func TestFunctionEdges(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, tgt := range everywhere(t) {
		for _, c := range []struct {
			op      work.MapOp
			x, want float32
		}{
			{work.MapExp, -inf, 0}, {work.MapExp, inf, inf}, {work.MapExp, -1000, 0}, {work.MapExp, 0, 1}, {work.MapExp, 89, inf},
			{work.MapTanh, inf, 1}, {work.MapTanh, -inf, -1}, {work.MapTanh, 0, 0}, {work.MapSiLU, -200, 0}, {work.MapSiLU, 200, 200},
			{work.MapGELU, 100, 100}, {work.MapGELUTanh, 100, 100},
		} {
			p := work.Map{Dim: 1, Expr: []work.MapStep{{Op: work.MapIn}, {Op: c.op}}}
			x, y := alloc[float32](t, 1), alloc[float32](t, 1)
			x[0] = c.x
			l := open(t, tgt, p).bind(t, 0, p, work.Dims{N: 1}, map[string]uintptr{"a0": addr(x), "y": addr(y)})
			l.run(1)
			if y[0] != c.want && math.Abs(float64(y[0]-c.want)) > 1e-30 {
				t.Errorf("%s %s(%v) is %v, want %v", tgt.Name, c.op, c.x, y[0], c.want)
			}
			x[0] = float32(math.NaN())
			if l.run(1); y[0] == y[0] {
				t.Errorf("%s %s(NaN) is %v", tgt.Name, c.op, y[0])
			}
		}
	}
}

func TestMapExpressions(t *testing.T) {
	const n, dim = 3, 21
	p := work.Map{Dim: dim, Expr: []work.MapStep{{Op: work.MapIn}, {Op: work.MapSiLU}, {Op: work.MapIn, Arg: 1}, {Op: work.MapMul},
		{Op: work.MapVec, Arg: 2}, {Op: work.MapAdd}, {Op: work.MapScale, Value: 3}, {Op: work.MapSoftcap, Value: 5}, {Op: work.MapConst, Value: 2}, {Op: work.MapDiv}}}
	for _, tgt := range everywhere(t) {
		a, b, v, y := random(t, n*dim, 1), random(t, n*dim, 1), random(t, dim, 1), poison(alloc[float32](t, n*dim))
		open(t, tgt, p).bind(t, 0, p, work.Dims{N: n}, map[string]uintptr{"a0": addr(a), "a1": addr(b), "a2": addr(v), "y": addr(y)}).run(2)
		want := make([]float64, n*dim)
		for i := range want {
			x := float64(a[i])
			x = 3 * (x/(1+math.Exp(-x))*float64(b[i]) + float64(v[i%dim]))
			want[i] = 5 * math.Tanh(x/5) / 2
		}
		close32(t, tgt.Name, y, want, 1e-6)
	}
}

// Angles are exact at positions that float32 reduction would lose.
func TestRopeTable(t *testing.T) {
	freq := make([]float32, 32)
	for i := range freq {
		freq[i] = float32(math.Pow(1e5, -float64(i)/32))
	}
	p := work.RopeTable{RotaryDim: 64, Freq: freq, Scale: 1.5}
	pos := []int32{0, 1, 2, 511, 8191, 131071, 1000000, 16777215}
	for _, tgt := range everywhere(t) {
		in, cs := alloc[int32](t, len(pos)), poison(alloc[float32](t, len(pos)*64))
		copy(in, pos)
		open(t, tgt, p).bind(t, 0, p, work.Dims{N: int64(len(pos))}, map[string]uintptr{"pos": addr(in), "cs": addr(cs)}).run(3)
		var want []float64
		for _, x := range pos {
			for _, f := range freq {
				angle := float64(float32(x) * f)
				want = append(want, 1.5*math.Cos(angle), 1.5*math.Sin(angle))
			}
		}
		close32(t, tgt.Name, cs, want, 1e-7)
	}
}
