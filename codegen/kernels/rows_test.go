package kernels

import (
	"math"
	"math/rand/v2"
	"testing"

	"quire/ir/work"
)

func random(t testing.TB, n int, scale float64) []float32 {
	s := alloc[float32](t, n)
	for i := range s {
		s[i] = float32(rand.NormFloat64() * scale)
	}
	return s
}

func poison(s []float32) []float32 {
	for i := range s {
		s[i] = float32(math.NaN())
	}
	return s
}

// close32 compares with a tolerance relative to the greatest magnitude.
func close32(t *testing.T, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	worst, at, top := 0.0, 0, 1e-30
	for i := range want {
		top = max(top, math.Abs(want[i]))
	}
	for i := range want {
		d := math.Abs(float64(got[i]) - want[i])
		if !(d <= worst) {
			worst, at = d, i
		}
	}
	if !(worst <= tol*top) {
		t.Errorf("%s: element %d is %v, want %v (off by %.2g of the greatest, %.2g allowed)", what, at, got[at], want[at], worst/top, tol)
	}
}

func normRef(x, g []float32, eps, off float64) []float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	inv := 1 / math.Sqrt(s/float64(len(x))+eps)
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v) * inv * (float64(g[i]) + off)
	}
	return y
}

func TestNorm(t *testing.T) {
	for _, tgt := range everywhere(t) {
		for _, p := range []work.Norm{
			{Dim: 576, RMS: work.RMSNorm{Eps: 1e-5}},
			{Dim: 37, RMS: work.RMSNorm{Eps: 1e-6, Offset: 1}, Add: true},
			{Dim: 64, Per: 3, RMS: work.RMSNorm{Eps: 1e-6}},
			{Dim: 5, RMS: work.RMSNorm{Eps: 1e-6}, Gather: true},
		} {
			l := open(t, tgt, p)
			const n, m = 5, 3
			row := p.Dim * p.Vectors()
			x, g, res, y := random(t, n*row, 2), random(t, p.Dim, 1), random(t, n*row, 1), poison(alloc[float32](t, n*row))
			out := alloc[int32](t, m)
			out[0], out[1], out[2] = 4, 0, 3
			d := work.Dims{N: n, M: m}
			l.bind(t, 0, p, d, map[string]uintptr{"x": addr(x), "g": addr(g), "res": addr(res), "y": addr(y), "out": addr(out)}).run(2)
			for i := range int(p.Items(d)) {
				src := i
				if p.Gather {
					src = int(out[i])
				}
				for v := range p.Vectors() {
					at := v * p.Dim
					want := normRef(x[src*row+at:][:p.Dim], g, float64(p.RMS.Eps), float64(p.RMS.Offset))
					if p.Add {
						for j := range want {
							want[j] += float64(res[i*row+at+j])
						}
					}
					close32(t, tgt.Name+" "+p.Key(), y[i*row+at:][:p.Dim], want, 1e-6)
				}
			}
		}
	}
}
