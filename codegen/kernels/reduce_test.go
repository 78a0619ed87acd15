package kernels

import (
	"math"
	"math/rand/v2"
	"testing"

	"quire/ir/work"
)

func argMaxRef(x []float32) int32 {
	best, at := math.Inf(-1), -1
	for i, v := range x {
		if float64(v) > best || at < 0 && v == v {
			best, at = float64(v), i
		}
	}
	return int32(max(at, 0))
}

func logSumExpRef(x []float32) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, float64(v))
	}
	if math.IsInf(top, -1) || math.IsNaN(top) {
		return top
	}
	s := 0.0
	for _, v := range x {
		s += math.Exp(float64(v) - top)
	}
	return top + math.Log(s)
}

// logitRows are rows with what a reduction may stumble over.
func logitRows(t testing.TB, n int) []float32 {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	const rows = 8
	x := random(t, rows*n, 8)
	row := func(i int) []float32 { return x[i*n : (i+1)*n] }
	fill := func(s []float32, v float32) {
		for i := range s {
			s[i] = v
		}
	}
	fill(row(1), -3) // all equal
	a, b := rand.IntN(n), rand.IntN(n)
	row(2)[a], row(2)[b] = 90, 90
	row(3)[a] = nan
	fill(row(4), -inf)
	row(4)[a] = -1e30
	fill(row(5), nan)
	row(5)[b] = -inf
	fill(row(6), -inf)
	for i := range row(7) {
		row(7)[i] *= 100
	}
	return x
}

func TestReduce(t *testing.T) {
	for _, tgt := range everywhere(t) {
		for _, n := range []int{1, 15, 16, 64, 67, 1000, 4099} {
			am, ls := work.Reduce{Vocab: n, Op: work.ArgMax}, work.Reduce{Vocab: n, Op: work.LogSumExp}
			l := open(t, tgt, am, ls)
			x := logitRows(t, n)
			m := len(x) / n
			d := work.Dims{M: int64(m)}
			yi, yf := alloc[int32](t, m), poison(alloc[float32](t, m))
			l.bind(t, 0, am, d, map[string]uintptr{"x": addr(x), "y": addr(yi)}).run(3)
			l.bind(t, 1, ls, d, map[string]uintptr{"x": addr(x), "y": addr(yf)}).run(3)
			for i := range m {
				row := x[i*n:][:n]
				if want := argMaxRef(row); yi[i] != want {
					t.Errorf("%s n=%d row %d: argmax %d (%v), want %d (%v)", tgt.Name, n, i, yi[i], row[yi[i]], want, row[want])
				}
				want, got := logSumExpRef(row), float64(yf[i])
				if same := math.IsNaN(want) && math.IsNaN(got) || want == got; !same && !(math.Abs(got-want) <= 1e-6*max(1, math.Abs(want))) {
					t.Errorf("%s n=%d row %d: logsumexp %v, want %v", tgt.Name, n, i, got, want)
				}
			}
		}
	}
}

func BenchmarkReduce(b *testing.B) {
	for _, tgt := range targets(b) {
		for _, op := range []work.Reduction{work.ArgMax, work.LogSumExp} {
			b.Run(tgt.Name+"/"+string(op), func(b *testing.B) {
				p := work.Reduce{Vocab: 49152, Op: op}
				x, y := random(b, p.Vocab, 5), alloc[float32](b, 16)
				la := open(b, tgt, p).bind(b, 0, p, work.Dims{M: 1}, map[string]uintptr{"x": addr(x), "y": addr(y)})
				b.SetBytes(int64(4 * p.Vocab))
				for b.Loop() {
					la.run(1)
				}
			})
		}
	}
}
