package kernels

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"quire/codegen/kernel"
	"quire/codegen/simt"
	"quire/ir/types/block"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// grouped are the encodings of integers in groups.
var grouped = []layout.Enc{layout.Q4G32, layout.Q4G128, layout.Q3G32, layout.Q3G128}

// rawGroups makes rows of grouped integers from their parts, as block.Encode lays them out.
func rawGroups(t testing.TB, e layout.Enc, rows, cols int, code, zero func(row, col int) int) []byte {
	t.Helper()
	b, _ := block.Lookup(string(e))
	n, err := b.RowBytes(int64(cols))
	if err != nil {
		t.Fatal(err)
	}
	scales, zeros, _ := b.Parts(cols)
	raw := make([]byte, rows*int(n))
	for r := range rows {
		row := raw[r*int(n):][:n]
		for c := range cols {
			for bit := range b.Bits {
				at := c*b.Bits + bit
				row[at/8] |= byte(code(r, c)>>bit&1) << (at % 8)
			}
		}
		for g := range cols / b.Group {
			binary.LittleEndian.PutUint16(row[int(scales)+2*g:], block.F32ToF16(float32(1+r%5)/32))
			row[int(zeros)+g] = byte(zero(r, g*b.Group))
		}
	}
	return raw
}

// onRaw makes y of x [n, cols] by a compiled linear of raw rows.
func onRaw(t testing.TB, l lib, p work.Linear, raw []byte, n int, x []float32) []float32 {
	t.Helper()
	f, err := layout.Of(p.Enc)
	if err != nil {
		t.Fatal(err)
	}
	w := alloc[byte](t, f.Size(p.Rows[0], p.Cols))
	if err := layout.Pack(w, p.Enc, p.Rows[0], p.Cols, raw); err != nil {
		t.Fatal(err)
	}
	y := poison(alloc[float32](t, n*p.Rows[0]))
	none := alloc[float32](t, 1)
	l.bind(t, 0, p, work.Dims{N: int64(n)}, map[string]uintptr{"x": addr(x), "g": addr(none), "w": addr(w), "b": addr(none), "res": addr(none), "y": addr(y)}).run(3)
	return y
}

func abs32(x float32) float32 { return float32(math.Abs(float64(x))) }

// tokensOf says which shape of kernel a number of rows takes.
func tokensOf(n int) work.Tokens {
	if n == 1 {
		return work.One
	}
	return work.Many
}

// Case 6.6 of AWQ, i and ii, on a CPU: a one-hot x returns its column of the dequantised weight,
// for every column, to the bit where x is multiplied as it is, and to 24 bits where it is cut into
// bytes; codes that are all their zero give 0 alike.
func TestCase66OneHot(t *testing.T) {
	for i, tgt := range targets(t) {
		bits := float32(0)
		if i > 0 {
			bits = 0x1p-22
		}
		for _, e := range grouped {
			b, _ := block.Lookup(string(e))
			rows, cols := 35, 2*b.Group+b.Group
			code := func(r, c int) int { return (7*r + 5*c + r*c/3) & (1<<b.Bits - 1) }
			zero := func(r, c int) int { return (3*r + c/b.Group + 1) & (1<<b.Bits - 1) }
			raw := rawGroups(t, e, rows, cols, code, zero)
			dense := make([]float32, rows*cols)
			if err := block.DecodeRows(string(e), cols, raw, dense); err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{1, cols} {
				p := work.Linear{Enc: e, Rows: []int{rows}, Cols: cols, Tokens: tokensOf(n), Dot: work.F32, Epilogue: work.Store}
				l := open(t, tgt, p)
				for first := 0; first < cols; first += n {
					x := alloc[float32](t, n*cols)
					for i := range n {
						x[i*cols+first+i] = 1
					}
					y := onRaw(t, l, p, raw, n, x)
					for i := range y {
						if want := dense[i%rows*cols+first+i/rows]; !(abs32(y[i]-want) <= bits*float32(1+i%rows%5)/2) { // of 16 steps of the row
							t.Fatalf("%s %s: row %d of column %d is %v, expected %v", tgt.Name, p.Key(), i%rows, first+i/rows, y[i], want)
						}
					}
				}
				x := alloc[float32](t, n*cols)
				for i := range x {
					x[i] = 1
				}
				for i, v := range onRaw(t, l, p, rawGroups(t, e, rows, cols, zero, zero), n, x) {
					if !(abs32(v) <= bits*float32(cols)) {
						t.Fatalf("%s %s: value %d of codes that are their zero is %v, expected 0", tgt.Name, p.Key(), i, v)
					}
				}
			}
		}
	}
}

// Case 6.6, iii to v and vii: sizes of rows, outputs and columns each along its own list; the
// relative Frobenius error against float64; the same bits again; NaN behind the rows of x.
func TestCase66Sizes(t *testing.T) {
	type size struct{ m, n, k int }
	var sizes []size
	for _, m := range []int{1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 127, 129, 255, 257, 1024} {
		sizes = append(sizes, size{m, 64, 128})
	}
	for _, n := range []int{192, 1024, 6144, 28672} {
		sizes = append(sizes, size{1, n, 128}, size{5, n, 128})
	}
	for _, k := range []int{4096, 11008, 14336, 18944} {
		sizes = append(sizes, size{1, 64, k}, size{9, 64, k})
	}
	tgt := targets(t)[0]
	for i, s := range sizes {
		for _, e := range []layout.Enc{layout.Q4G128, layout.Q3G128}[i%2:][:1] {
			bits := map[layout.Enc]int{layout.Q4G128: 4, layout.Q3G128: 3}[e]
			rng := rand.New(rand.NewPCG(uint64(i), 66))
			draw := func(int, int) int { return rng.IntN(1 << bits) }
			raw := rawGroups(t, e, s.n, s.k, draw, draw)
			w := make([]float32, s.n*s.k)
			if err := block.DecodeRows(string(e), s.k, raw, w); err != nil {
				t.Fatal(err)
			}
			x := alloc[float32](t, (s.m+3)*s.k)
			for j := range x {
				x[j] = float32(math.NaN())
				if j < s.m*s.k {
					x[j] = float32(rng.NormFloat64())
				}
			}
			p := work.Linear{Enc: e, Rows: []int{s.n}, Cols: s.k, Tokens: tokensOf(s.m), Dot: work.F32, Epilogue: work.Store}
			l := open(t, tgt, p)
			y, again := onRaw(t, l, p, raw, s.m, x), onRaw(t, l, p, raw, s.m, x)
			var off, all float64
			for j, v := range y {
				want := 0.0
				for c := range s.k {
					want += float64(w[j%s.n*s.k+c]) * float64(x[j/s.n*s.k+c])
				}
				off, all = off+(float64(v)-want)*(float64(v)-want), all+want*want
				if math.Float32bits(v) != math.Float32bits(again[j]) {
					t.Fatalf("%s %v: value %d is %v, then %v", e, s, j, v, again[j])
				}
			}
			if rel := math.Sqrt(off / all); !(rel < 1e-5) { // the published bound is for 16-bit results: 1e-3
				t.Errorf("%s %v: relative error %.2g, expected less than 1e-5", e, s, rel)
			}
		}
	}
}

// Cases 6.1.3 and 6.6, i, on simulated GPUs: whatever constants a code's bits are joined to, all
// 16 (or 8) codes under all places of a word come out exactly, for every column.
func TestCase613Codes(t *testing.T) {
	for i, e := range grouped {
		b, _ := block.Lookup(string(e))
		const n, cols = 8, 256
		l := work.Linear{Enc: e, Rows: []int{32}, Cols: cols, Tokens: work.One, Dot: work.F16, Epilogue: work.Store}
		p := work.GEMV{Linear: l, Columns: n}
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		raw := rawGroups(t, e, 32, cols, func(r, c int) int { return (r + c) & (1<<b.Bits - 1) }, func(r, c int) int { return (r + c/b.Group) & (1<<b.Bits - 1) })
		dense := make([]float32, 32*cols)
		if err := block.DecodeRows(string(e), cols, raw, dense); err != nil {
			t.Fatal(err)
		}
		size, err := layout.Bytes("frag", e, 32, cols)
		if err != nil {
			t.Fatal(err)
		}
		w := make([]byte, size)
		if err := layout.PackFrag(w, e, 32, cols, raw); err != nil {
			t.Fatal(err)
		}
		for first := 0; first < cols; first += n {
			x := make([]float32, n*cols)
			for j := range n {
				x[j*cols+first+j] = 1
			}
			c := &fewRows{p: p, l: l, n: n, bytes: map[string][]byte{"x": bytesOf(x), "w": w, "y": make([]byte, 4*n*32), "g": bytesOf(make([]float32, cols)), "b": bytesOf(make([]float32, 32)), "res": bytesOf(make([]float32, 32*n))}}
			c.simulate(t, gpus(t)[i%2], 2)
			for j := range n * 32 {
				got := math.Float32frombits(binary.LittleEndian.Uint32(c.bytes["y"][4*j:]))
				if want := dense[j%32*cols+first+j/32]; got != want {
					t.Fatalf("%s: row %d of column %d is %v, expected %v", e, j%32, first+j/32, got, want)
				}
			}
		}
	}
}

// Case 6.1.3, where it is met: codes of a cache become float16 by its words and constants, on
// simulated GPUs, and all 16 codes under both masks, at all places of a word, exactly.
func TestCase613Words(t *testing.T) {
	for _, c := range []struct{ got, want uint16 }{{f16Int(1024), 0x6400}, {f16Int(1032), 0x6408}, {f16Bits(-64), 0xd400}, {f16Bits(-72), 0xd480}, {f16Bits(1.0 / 16), 0x2c00}} {
		if c.got != c.want {
			t.Errorf("float16 %04x, expected %04x", c.got, c.want)
		}
	}
	words := []uint32{0x75316420}
	for place := range 8 {
		for code := range uint32(16) {
			words = append(words, code<<(4*place)|0x75316420&^(15<<(4*place)))
		}
	}
	for _, tgt := range gpus(t) {
		m := kernel.NewModule(tgt).Trace()
		m.Define("k", []kernel.Operand{{Name: "x"}, {Name: "y"}}, kernel.Body{Main: func(k *kernel.Kernel) {
			a := attnGPU{k: k, g: k.GPU(), bits: 4}
			x, y := kernel.Arg[kernel.U8](k, "x"), kernel.Arg[kernel.U8](k, "y")
			kernel.Each(k, k.GPU().Lane(), k.Int(int64(len(words))), 32, func(i kernel.I64) {
				w := kernel.LoadWords(x.At(i.Times(4)), 1)[0]
				next := w.Shr(8)
				kernel.StoreWords(y.At(i.Times(32)), []kernel.I32{lowCodes(k, w), highCodes(k, w), lowCodes(k, next), highCodes(k, next)})
				kernel.StoreWords(y.At(i.Times(32)).Plus(16), a.vectorPairs(w, k.Twice(f16Bits(1)), k.Int32(0)))
			})
		}})
		sim, err := simt.Compile(m)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, 32*len(words))
		err = sim.Launch(simt.Launch{Kernel: "k", Blocks: 1, Warps: 1, Args: []simt.Arg{
			{Buffer: &simt.Buffer{Name: "x", Bytes: bytesOf(words)}}, {Buffer: &simt.Buffer{Name: "y", Bytes: out, Mode: simt.Output}}, {Value: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []uint32{0x64016400, 0x64306420, 0x64056404, 0x64706460} {
			if got := binary.LittleEndian.Uint32(out[4*i:]); got != want {
				t.Errorf("%s: word %d of 0x75316420 is %08x, expected %08x", tgt.Name, i, got, want)
			}
		}
		for i, w := range words {
			for c := range 8 { // an even channel is the high nibble of its byte
				got := block.F16ToF32(binary.LittleEndian.Uint16(out[32*i+16+2*c:]))
				if want := float32(w >> (4 * (c ^ 1)) & 15); got != want {
					t.Errorf("%s: channel %d of %08x is %v, expected %v", tgt.Name, c, w, got, want)
				}
			}
		}
	}
}
