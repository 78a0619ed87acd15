package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"quire/ir/target"
	"quire/ir/types/block"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// weight makes a random weight of some segments: the packed bytes, and its values.
func weight(t testing.TB, e layout.Enc, rows []int, cols int) ([]byte, []float32) {
	t.Helper()
	f, err := layout.Of(e)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := block.Lookup(string(e))
	n, _ := b.RowBytes(int64(cols))
	size, total := 0, 0
	for _, r := range rows {
		size, total = size+f.Size(r, cols), total+r
	}
	packed, dense := alloc[byte](t, size), make([]float32, total*cols)
	scale := 1 / math.Sqrt(float64(cols))
	for i := range dense {
		dense[i] = float32(rand.NormFloat64() * scale)
	}
	at, row := 0, 0
	for _, r := range rows {
		raw := make([]byte, r*int(n))
		w := dense[row*cols : (row+r)*cols]
		for _, err := range []error{
			block.EncodeRows(string(e), cols, w, raw),
			block.DecodeRows(string(e), cols, raw, w),
			layout.Pack(packed[at:at+f.Size(r, cols)], e, r, cols, raw),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		at, row = at+f.Size(r, cols), row+r
	}
	return packed, dense
}

func actRef(a work.Act, x float64) float64 {
	switch a {
	case work.SiLU:
		return x / (1 + math.Exp(-x))
	case work.GELUTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case work.GELU:
		return 0.5 * x * (1 + math.Erf(x/math.Sqrt2))
	}
	return x
}

// linearRef computes all but QKV's head work: y[n][sum of rows], or GLU's y[n][F].
func linearRef(p work.Linear, n int, x, g, w, b, res []float32) []float64 {
	r, out := p.R(), []float64{}
	for i := range n {
		xi := make([]float64, p.Cols)
		for j := range xi {
			xi[j] = float64(x[i*p.Cols+j])
		}
		if p.Norm != nil {
			xi = normRef(x[i*p.Cols:][:p.Cols], g, float64(p.Norm.Eps), float64(p.Norm.Offset))
		}
		y := make([]float64, r)
		for j := range y {
			for k, v := range xi {
				y[j] += v * float64(w[j*p.Cols+k])
			}
			if p.Bias {
				y[j] += float64(b[j])
			}
		}
		switch p.Epilogue {
		case work.Add:
			for j := range y {
				y[j] += float64(res[i*r+j])
			}
		case work.GLU:
			f := p.Rows[0]
			for j := range f {
				y[j] = actRef(p.Act, y[j]) * y[f+j]
			}
			y = y[:f]
		case work.Store:
			for j := range y {
				y[j] = actRef(p.Act, y[j])
				if c := float64(p.Softcap); c > 0 {
					y[j] = c * math.Tanh(y[j]/c)
				}
			}
		}
		out = append(out, y...)
	}
	return out
}

func testLinear(t *testing.T, tgt target.Target, p work.Linear, tol float64, ns ...int) {
	t.Helper()
	l := open(t, tgt, p)
	packed, w := weight(t, p.Enc, p.Rows, p.Cols)
	g, b := random(t, p.Cols, 1), random(t, p.R(), 1)
	for _, n := range ns {
		x := random(t, n*p.Cols, 1)
		res := random(t, n*p.R(), 1)
		want := linearRef(p, n, x, g, w, b, res)
		y := poison(alloc[float32](t, len(want)+16))
		d := work.Dims{N: int64(n)}
		l.bind(t, 0, p, d, map[string]uintptr{"x": addr(x), "g": addr(g), "w": addr(packed), "b": addr(b), "res": addr(res), "y": addr(y)}).run(3)
		close32(t, fmt.Sprintf("%s n=%d %s", tgt.Name, n, p.Key()), y, want, tol)
		for _, v := range y[len(want):] {
			if v == v {
				t.Fatalf("%s: wrote beyond its rows", p.Key())
			}
		}
		if p.Epilogue == work.Add { // the residual's memory becomes the result's
			copy(y, res)
			l.bind(t, 0, p, d, map[string]uintptr{"x": addr(x), "g": addr(g), "w": addr(packed), "b": addr(b), "res": addr(y), "y": addr(y)}).run(3)
			close32(t, fmt.Sprintf("in place: %s n=%d %s", tgt.Name, n, p.Key()), y, want, tol)
		}
	}
}

func TestLinearOneEncodings(t *testing.T) {
	for _, tgt := range targets(t) {
		for _, e := range layout.Encs() {
			f, _ := layout.Of(e)
			cols := max(f.Block*2, 64) + f.Block
			testLinear(t, tgt, work.Linear{Enc: e, Rows: []int{35}, Cols: cols, Tokens: work.One, Dot: work.F32, Epilogue: work.Store}, 2e-6, 1)
		}
	}
}

func TestLinearOneEpilogues(t *testing.T) {
	rms := &work.RMSNorm{Eps: 1e-5, Offset: 1}
	for _, tgt := range targets(t) {
		for _, p := range []work.Linear{
			{Enc: layout.Q4_1, Rows: []int{48}, Cols: 64, Norm: rms, Epilogue: work.Add},
			{Enc: layout.Q8_0, Rows: []int{33, 20, 5}, Cols: 64, Bias: true, Epilogue: work.Store, Act: work.GELU, Softcap: 3},
			{Enc: layout.Q4_0, Rows: []int{40, 40}, Cols: 96, Norm: rms, Bias: true, Epilogue: work.GLU, Act: work.SiLU},
			{Enc: layout.F16, Rows: []int{16, 16}, Cols: 7, Norm: rms, Epilogue: work.GLU, Act: work.GELUTanh},
			{Enc: layout.F32, Rows: []int{5}, Cols: 3, Bias: true, Epilogue: work.Add},
		} {
			p.Tokens, p.Dot = work.One, work.F32
			testLinear(t, tgt, p, 2e-6, 1)
		}
	}
}

func TestLinearManyEncodings(t *testing.T) {
	for _, tgt := range targets(t) {
		for _, e := range layout.Encs() {
			f, _ := layout.Of(e)
			cols := max(f.Block*2, 64) + f.Block
			testLinear(t, tgt, work.Linear{Enc: e, Rows: []int{35}, Cols: cols, Tokens: work.Many, Dot: work.F32, Epilogue: work.Store}, 3e-6, 1, 19)
		}
	}
}

func TestLinearManyEpilogues(t *testing.T) {
	for _, tgt := range targets(t) {
		for _, p := range []work.Linear{
			{Enc: layout.Q4_1, Rows: []int{48}, Cols: 64, Epilogue: work.Add},
			{Enc: layout.Q8_0, Rows: []int{33, 20, 5, 64}, Cols: 64, Bias: true, Epilogue: work.Store, Act: work.GELU, Softcap: 3},
			{Enc: layout.Q4_0, Rows: []int{40, 40}, Cols: 96, Bias: true, Epilogue: work.GLU, Act: work.SiLU},
			{Enc: layout.F16, Rows: []int{16, 16}, Cols: 7, Epilogue: work.GLU, Act: work.GELUTanh},
			{Enc: layout.F32, Rows: []int{5}, Cols: 3, Bias: true, Epilogue: work.Add},
			{Enc: layout.Q8_0, Rows: []int{33}, Cols: 2*work.Wide + 64, Epilogue: work.Add},
		} {
			p.Tokens, p.Dot = work.Many, work.F32
			testLinear(t, tgt, p, 4e-6, 1, 5, 12, 17, work.Block+13)
		}
	}
}

// A row's result is the same bits alone and among others, in any group; the way of few
// tokens and that of many differ in rounding.
func TestLinearManyIgnoresCompany(t *testing.T) {
	for _, tgt := range targets(t) {
		p := work.Linear{Enc: layout.Q4_1, Rows: []int{40}, Cols: 96, Tokens: work.Many, Dot: work.F32, Epilogue: work.Store}
		one := p
		one.Tokens = work.One
		l := open(t, tgt, p, one)
		packed, _ := weight(t, p.Enc, p.Rows, p.Cols)
		const most = 31
		x := random(t, most*p.Cols, 1)
		first := poison(alloc[float32](t, 40))
		l.bind(t, 1, one, work.Dims{N: 1}, map[string]uintptr{"x": addr(x), "w": addr(packed), "y": addr(first)}).run(1)
		if !onBytes(p, mustFormat(t, p.Enc), tgt) {
			first = nil
		}
		for n := 1; n <= most; n++ {
			y := poison(alloc[float32](t, n*40))
			l.bind(t, 0, p, work.Dims{N: int64(n)}, map[string]uintptr{"x": addr(x), "w": addr(packed), "y": addr(y)}).run(1)
			if n == few+1 {
				first = nil
			}
			for i := range first {
				if y[i] != first[i] {
					t.Fatalf("%s: row %d is %v among %d rows, %v before", tgt.Name, i/40, y[i], n, first[i])
				}
			}
			first = y
		}
	}
}

func mustFormat(t testing.TB, e layout.Enc) layout.Format {
	f, err := layout.Of(e)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// roundRef rounds rows as a Dot says.
func roundRef(dot work.Dot, x []float32, cols int) []float32 {
	y := append([]float32(nil), x...)
	for i := 0; dot == work.I8 && i < len(y); i += 32 {
		top := float32(0)
		for _, v := range y[i : i+32] {
			top = max(top, float32(math.Abs(float64(v))))
		}
		for j, v := range y[i : i+32] {
			y[i+j] = float32(math.RoundToEven(float64(v*(127/top)))) * (top / 127)
		}
	}
	for i, v := range y {
		if dot == work.BF16 {
			b := math.Float32bits(v)
			y[i] = math.Float32frombits((b + b>>16&1 + 0x7fff) &^ 0xffff)
		}
	}
	return y
}

// With rounded activations the product is that of the rounded values: exactly where x is
// used as it is, to 16 bits on tile registers of bytes. Pairs of bfloat16 round the weight,
// too, and then are exact.
func TestLinearRounded(t *testing.T) {
	for _, tgt := range append(targets(t), pairTargets(t)...) {
		for _, dot := range []work.Dot{work.BF16, work.I8} {
			for _, e := range []layout.Enc{layout.F16, layout.BF16, layout.Q4_1, layout.Q8_0, layout.Q6_K, layout.IQ4_NL} {
				f, _ := layout.Of(e)
				p := work.Linear{Enc: e, Rows: []int{35}, Cols: max(f.Block, 32) * 3, Tokens: work.Many, Dot: dot, Epilogue: work.Store}
				tol := 3e-6
				if onTiles(p, tgt) && !onPairs(p, tgt) {
					tol = 2e-4
				}
				const n = 19
				r := work.Round{Dim: p.Cols, To: dot}
				q := p
				q.Tokens = work.One
				l := open(t, tgt, p, r, q)
				packed, w := weight(t, p.Enc, p.Rows, p.Cols)
				x, codes := random(t, n*p.Cols, 1), alloc[byte](t, n*int(r.RowBytes()))
				y, y1 := poison(alloc[float32](t, n*35)), poison(alloc[float32](t, 35))
				d := work.Dims{N: n}
				l.bind(t, 1, r, d, map[string]uintptr{"x": addr(x), "y": addr(codes)}).run(5)
				l.bind(t, 0, p, d, map[string]uintptr{"x": addr(codes), "w": addr(packed), "y": addr(y)}).run(1)
				l.bind(t, 2, q, work.Dims{N: 1}, map[string]uintptr{"x": addr(x), "w": addr(packed), "y": addr(y1)}).run(2)
				want := linearRef(p, n, roundRef(dot, x, p.Cols), nil, w, nil, nil)
				close32(t, tgt.Name+" "+q.Key(), y1, want[:35], 3e-6)
				if onPairs(p, tgt) {
					want = linearRef(p, n, roundRef(dot, x, p.Cols), nil, roundRef(dot, w, p.Cols), nil, nil)
				}
				close32(t, tgt.Name+" "+p.Key(), y, want, tol)
			}
		}
	}
}

// BenchmarkLinearMany is 512 tokens against one weight, on one core.
func BenchmarkLinearMany(b *testing.B) {
	for _, tgt := range append(targets(b), pairTargets(b)...) {
		for _, dot := range []work.Dot{work.F32, work.BF16, work.I8} {
			for _, s := range [][2]int{{576, 576}, {1536, 576}, {576, 1536}, {4096, 4096}} {
				for _, n := range []int{2, 8, 16, 512} {
					b.Run(fmt.Sprintf("%s/%s/%dx%d/n=%d", tgt.Name, dot, s[0], s[1], n), func(b *testing.B) {
						p := work.Linear{Enc: layout.Q4_1, Rows: []int{s[0]}, Cols: s[1], Tokens: work.Many, Dot: dot, Epilogue: work.Store}
						l := open(b, tgt, p)
						packed, _ := weight(b, p.Enc, p.Rows, p.Cols)
						x, y := random(b, n*p.Cols, 1), alloc[float32](b, n*p.R()+16)
						la := l.bind(b, 0, p, work.Dims{N: int64(n)}, map[string]uintptr{"x": addr(x), "w": addr(packed), "y": addr(y)})
						runtime.LockOSThread()
						defer runtime.UnlockOSThread()
						from := cpuTime(b)
						for b.Loop() {
							la.run(1 << 30)
						}
						b.ReportMetric(2e-9*float64(n*s[0]*s[1])*float64(b.N)/(cpuTime(b)-from), "GFLOP/s")
					})
				}
			}
		}
	}
}

func benchWeight(b *testing.B, p work.Linear, tgt target.Target) *launch {
	l := open(b, tgt, p)
	f, _ := layout.Of(p.Enc)
	size := 0
	for _, r := range p.Rows {
		size += f.Size(r, p.Cols)
	}
	w := alloc[byte](b, size)
	for i := range w {
		w[i] = byte(i*7) & 0x3b
	}
	x, y := random(b, p.Cols, 1), alloc[float32](b, p.R()+16)
	b.SetBytes(int64(size))
	return l.bind(b, 0, p, work.Dims{N: 1}, map[string]uintptr{"x": addr(x), "g": addr(x), "w": addr(w), "b": addr(y), "res": addr(y), "y": addr(y)})
}

// BenchmarkLinearOne streams a weight on one core, from the second cache (1 MB) and from
// memory (100 MB): MB/s of weight bytes.
func BenchmarkLinearOne(b *testing.B) {
	for _, tgt := range targets(b) {
		for _, e := range []layout.Enc{layout.Q4_1, layout.Q4_0, layout.Q8_0, layout.Q4_K, layout.Q6_K, layout.F16, layout.BF16} {
			for _, mb := range []int{1, 100} {
				b.Run(fmt.Sprintf("%.14s/%s/%dMB", tgt.Name, e, mb), func(b *testing.B) {
					f, _ := layout.Of(e)
					cols := 1536
					rows := mb << 20 / (f.Size(16, cols)) * 16
					p := work.Linear{Enc: e, Rows: []int{rows}, Cols: cols, Tokens: work.One, Dot: work.F32, Epilogue: work.Store}
					la := benchWeight(b, p, tgt)
					for b.Loop() {
						la.run(1 << 30)
					}
				})
			}
		}
	}
}
