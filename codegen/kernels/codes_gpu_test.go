package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"quire/ir/target"
	"quire/ir/types/block"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// onRawGPU makes y of the first n rows of x by a linear of raw rows, on a simulated GPU of few
// multiprocessors; what x has behind them lies there for a kernel to trip over. x is float32 for few rows, else float16.
func onRawGPU(t *testing.T, tgt target.Target, p work.Params, l work.Linear, raw []byte, n int, x []float32, few int) []float32 {
	t.Helper()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	size, err := layout.Bytes("frag", l.Enc, l.Rows[0], l.Cols)
	if err != nil {
		t.Fatal(err)
	}
	w := make([]byte, size)
	if err := layout.PackFrag(w, l.Enc, l.Rows[0], l.Cols, raw); err != nil {
		t.Fatal(err)
	}
	c := &fewRows{p: p, l: l, n: len(x) / l.Cols, x: x, bytes: map[string][]byte{"x": bytesOf(x), "w": w, "g": bytesOf(make([]float32, l.Cols)), "b": bytesOf(make([]float32, l.Rows[0])), "res": bytesOf(make([]float32, n*l.Rows[0]))}}
	if l.Tokens == work.Many {
		c.codes()
	}
	c.n, c.bytes["y"] = n, slices.Repeat([]byte{0xff}, 4*n*l.Rows[0])
	if n := p.Temp(work.Dims{N: int64(n)}); n > 0 {
		c.bytes["sums"] = append(make([]byte, work.CounterBytes), slices.Repeat([]byte{0xff}, int(n-work.CounterBytes))...)
	}
	c.simulate(t, tgt, few)
	y := make([]float32, n*l.Rows[0])
	for i := range y {
		y[i] = math.Float32frombits(binary.LittleEndian.Uint32(c.bytes["y"][4*i:]))
	}
	if i := slices.IndexFunc(c.bytes["sums"][:min(work.CounterBytes, len(c.bytes["sums"]))], func(b byte) bool { return b != 0 }); i >= 0 {
		t.Errorf("%s %s: leaves the counter at byte %d, expected zeros (case 6.6, vi)", tgt, p.Key(), i)
	}
	return y
}

// linearGPU is the kernel of a number of rows.
func linearGPU(e layout.Enc, m, n, k int) (work.Params, work.Linear) {
	l := work.Linear{Enc: e, Rows: []int{n}, Cols: k, Tokens: tokensOf(m), Dot: work.F16, Epilogue: work.Store}
	switch {
	case m <= 8:
		l.Tokens = work.One
		return work.GEMV{Linear: l, Columns: 8}, l
	case m <= 32:
		p := work.GEMV{Linear: l, Columns: 16 << (m / 17)}
		if !p.Crowded() {
			return p, l
		}
	}
	return work.GEMM{Linear: l, RowWarps: 4, Block: 64 << (m % 2)}, l
}

// Case 6.6, i and ii, of products of many rows: one-hot rows give the columns of the dequantised
// weight, each exactly, and codes that are all their zero give 0 exactly.
func TestCase66OneHotGPU(t *testing.T) {
	const rows, cols = 64, 256
	for i, e := range grouped {
		b, _ := block.Lookup(string(e))
		code := func(r, c int) int { return (7*r + 5*c + r*c/3) & (1<<b.Bits - 1) }
		zero := func(r, c int) int { return (3*r + c/b.Group + 1) & (1<<b.Bits - 1) }
		raw, none := rawGroups(t, e, rows, cols, code, zero), rawGroups(t, e, rows, cols, zero, zero)
		dense := make([]float32, rows*cols)
		if err := block.DecodeRows(string(e), cols, raw, dense); err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{16, 32, cols} {
			p, l := linearGPU(e, n, rows, cols)
			tgt := gpus(t)[(i+n/32)%2]
			for first := 0; first < cols; first += n {
				x := make([]float32, n*cols)
				for j := range n {
					x[j*cols+first+j] = 1
				}
				for j, v := range onRawGPU(t, tgt, p, l, raw, n, x, 2) {
					if want := dense[j%rows*cols+first+j/rows]; v != want {
						t.Fatalf("%s %s: row %d of column %d is %v, expected %v", tgt, p.Key(), j%rows, first+j/rows, v, want)
					}
				}
			}
			for j, v := range onRawGPU(t, tgt, p, l, none, n, slices.Repeat([]float32{1}, n*cols), 2) {
				if v != 0 {
					t.Fatalf("%s %s: value %d of codes that are their zero is %v, expected 0", tgt, p.Key(), j, v)
				}
			}
		}
	}
}

// Case 6.6, iii to vii, on simulated GPUs: numbers of rows, outputs and columns each along its own
// list; the relative Frobenius error against float64 below 1e-3; the same bits again, by other numbers of
// blocks too; counters left as they were found; NaN behind the rows of x.
func TestCase66SizesGPU(t *testing.T) {
	parallel(t)
	type size struct{ m, n, k int }
	var sizes []size
	for _, m := range []int{1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 127, 129, 255, 257, 1024} {
		sizes = append(sizes, size{m, 64, 128})
	}
	for _, n := range []int{192, 1024, 6144, 28672} {
		sizes = append(sizes, size{1, n, 128})
	}
	for _, k := range []int{4096, 11008, 14336, 18944} {
		sizes = append(sizes, size{1, 64, k}, size{9, 64, k})
	}
	sizes = append(sizes, size{33, 192, 128}, size{33, 1024, 128}, size{33, 64, 4096}) // of a GEMM, which takes longer
	for i, s := range sizes {
		e := []layout.Enc{layout.Q4G128, layout.Q3G128}[i%2]
		b, _ := block.Lookup(string(e))
		rng := rand.New(rand.NewPCG(uint64(i), 66))
		draw := func(int, int) int { return rng.IntN(1 << b.Bits) }
		raw, w := rawGroups(t, e, s.n, s.k, draw, draw), make([]float32, s.n*s.k)
		if err := block.DecodeRows(string(e), s.k, raw, w); err != nil {
			t.Fatal(err)
		}
		x := slices.Repeat([]float32{float32(math.NaN())}, (s.m+3)*s.k)
		for j := range s.m * s.k {
			x[j] = float32(rng.NormFloat64())
		}
		p, l := linearGPU(e, s.m, s.n, s.k)
		tgt := gpus(t)[i/2%2]
		what := fmt.Sprintf("%s %s, %d rows", tgt, p.Key(), s.m)
		y, again := onRawGPU(t, tgt, p, l, raw, s.m, x, 2), onRawGPU(t, tgt, p, l, raw, s.m, x, 5)
		var off, all float64
		for j, v := range y {
			want := 0.0
			for c := range s.k {
				want += float64(w[j%s.n*s.k+c]) * float64(x[j/s.n*s.k+c])
			}
			off, all = off+(float64(v)-want)*(float64(v)-want), all+want*want
			if math.Float32bits(v) != math.Float32bits(again[j]) {
				t.Fatalf("%s: value %d is %v, then %v", what, j, v, again[j])
			}
		}
		if rel := math.Sqrt(off / all); !(rel < 1e-3) {
			t.Errorf("%s: relative error %.2g, expected less than 1e-3", what, rel)
		}
	}
}
