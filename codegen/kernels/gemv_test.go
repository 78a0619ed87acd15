package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"quire/codegen/simt"
	"quire/ir/target"
	"quire/ir/types/block"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// fewRows is a launch of a GEMV or GEMM with random operands, and its result by plain
// loops over the decoded weights.
type fewRows struct {
	p      work.Params
	l      work.Linear
	n      int
	bytes  map[string][]byte // operands as laid out, by name
	x, g   []float32
	w      [][]float64 // rows, decoded
	b      []float32
	res    []float32
	cs     []float32
	qn     []float32 // gains of heads
	kn     []float32
	jg     []float32 // of a branch that joins
	before []float32
	r      *rand.Rand
}

func bytesOf[T any](v []T) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if err != nil {
		panic(err)
	}
	return b
}

func (c *fewRows) normal(n int, std float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(c.r.NormFloat64() * std)
	}
	return x
}

func newFewRows(t *testing.T, p work.Params, l work.Linear, n int) *fewRows {
	t.Helper()
	c := &fewRows{p: p, l: l, n: n, r: rand.New(rand.NewPCG(7, uint64(n))), bytes: map[string][]byte{}}
	c.x = c.normal(n*l.Cols, 1)
	c.g = c.normal(l.Cols, 1)
	c.b, c.res = c.normal(l.R(), 1), c.normal(n*l.R(), 1)
	c.bytes["x"], c.bytes["g"], c.bytes["b"], c.bytes["res"] = bytesOf(c.x), bytesOf(c.g), bytesOf(c.b), bytesOf(c.res)
	c.jg, c.before = c.normal(l.Cols, 1), c.normal(n*l.Cols, 1)
	c.bytes["jg"], c.bytes["before"], c.bytes["after"] = bytesOf(c.jg), bytesOf(c.before), make([]byte, 4*n*l.Cols)
	var packed []byte
	for _, rows := range l.Rows {
		w := c.normal(rows*l.Cols, 0.05)
		e, _ := block.Lookup(string(l.Enc))
		size, err := e.RowBytes(int64(l.Cols))
		if err != nil {
			t.Fatal(err)
		}
		raw := make([]byte, rows*int(size))
		if err := block.EncodeRows(string(l.Enc), l.Cols, w, raw); err != nil {
			t.Fatal(err)
		}
		if err := block.DecodeRows(string(l.Enc), l.Cols, raw, w); err != nil {
			t.Fatal(err)
		}
		for r := range rows {
			row := make([]float64, l.Cols)
			for k := range row {
				row[k] = float64(w[r*l.Cols+k])
			}
			c.w = append(c.w, row)
		}
		size, err = layout.Bytes("frag", l.Enc, rows, l.Cols)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]byte, size)
		if err := layout.PackFrag(dst, l.Enc, rows, l.Cols, raw); err != nil {
			t.Fatal(err)
		}
		packed = append(packed, dst...)
	}
	c.bytes["w"] = packed
	if h := l.QKV; h != nil {
		c.cs = make([]float32, n*h.RotaryDim)
		for i := 0; i < len(c.cs); i += 2 {
			a := c.r.Float64() * 6
			c.cs[i], c.cs[i+1] = float32(math.Cos(a)), float32(math.Sin(a))
		}
		c.bytes["cs"] = bytesOf(c.cs)
		c.qn, c.kn = c.normal(h.Dim, 1), c.normal(h.Dim, 1)
		c.bytes["qn"], c.bytes["kn"] = bytesOf(c.qn), bytesOf(c.kn)
	}
	return c
}

// row is row n of x, joined to what came before if it is a branch.
func (c *fewRows) row(n int) []float64 {
	out := make([]float64, c.l.Cols)
	for k, v := range c.x[n*c.l.Cols:][:c.l.Cols] {
		out[k] = float64(v)
	}
	if p, ok := c.p.(work.GEMV); ok && p.Join != nil {
		normalise(out, c.jg, p.Join)
		for k := range out {
			out[k] += float64(c.before[n*c.l.Cols+k])
		}
	}
	return out
}

// normed is row n of x as products see it.
func (c *fewRows) normed(n int) []float64 {
	x := c.row(n)
	inv, out := 1.0, make([]float64, c.l.Cols)
	if c.l.Norm != nil {
		sum := 0.0
		for _, v := range x {
			sum += v * v
		}
		inv = 1 / math.Sqrt(sum/float64(c.l.Cols)+float64(c.l.Norm.Eps))
	}
	for k, v := range x {
		out[k] = v * inv
		if c.l.Norm != nil {
			out[k] *= float64(c.g[k]) + float64(c.l.Norm.Offset)
		}
	}
	return out
}

// normalise is the norm of one vector in place.
func normalise(x []float64, gains []float32, n *work.RMSNorm) {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	for i := range x {
		x[i] *= (float64(gains[i]) + float64(n.Offset)) / math.Sqrt(sum/float64(len(x))+float64(n.Eps))
	}
}

// sums is W x of row n, with bias.
func (c *fewRows) sums(n int) []float64 {
	x, out := c.normed(n), make([]float64, len(c.w))
	for r, w := range c.w {
		for k := range w {
			out[r] += w[k] * x[k]
		}
		if c.l.Bias {
			out[r] += float64(c.b[r])
		}
	}
	return out
}

func actOf(a work.Act, x float64) float64 {
	switch a {
	case work.SiLU:
		return x / (1 + math.Exp(-x))
	case work.GELUTanh:
		return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case work.GELU:
		return x / 2 * (1 + math.Erf(x/math.Sqrt2))
	}
	return x
}

// want is y (or q) of row n, and keys and values.
func (c *fewRows) want(n int) (y, k, v []float64) {
	s := c.sums(n)
	switch c.l.Epilogue {
	case work.GLU:
		f := c.l.Rows[0]
		for i := range f {
			y = append(y, actOf(c.l.Act, s[i])*s[f+i])
		}
		return y, nil, nil
	case work.QKV:
		h := c.l.QKV
		for i := 0; i < (h.Heads+h.KVHeads)*h.Dim; i += h.Dim {
			norm, gains := h.QNorm, c.qn
			if i >= h.Heads*h.Dim {
				norm, gains = h.KNorm, c.kn
			}
			if norm != nil {
				normalise(s[i:i+h.Dim], gains, norm)
			}
			for j := range h.RotaryDim / 2 {
				a, b := i+j, i+j+h.RotaryDim/2
				if h.Style == work.Adjacent {
					a, b = i+2*j, i+2*j+1
				}
				cos, sin := float64(c.cs[n*h.RotaryDim+2*j]), float64(c.cs[n*h.RotaryDim+2*j+1])
				s[a], s[b] = s[a]*cos-s[b]*sin, s[b]*cos+s[a]*sin
			}
		}
		q, kv := h.Heads*h.Dim, h.KVHeads*h.Dim
		return s[:q], s[q : q+kv], s[q+kv:]
	}
	for i := range s {
		if c.l.Epilogue == work.Add {
			s[i] += float64(c.res[n*len(s)+i])
			continue
		}
		s[i] = actOf(c.l.Act, s[i])
		if c.l.Softcap > 0 {
			s[i] = float64(c.l.Softcap) * math.Tanh(s[i]/float64(c.l.Softcap))
		}
	}
	return s, nil, nil
}

// simulated runs the launch on simulated blocks and gives the operands afterwards.
func (c *fewRows) simulate(t *testing.T, tgt target.Target, few int) map[string][]byte {
	t.Helper()
	d := work.Dims{N: int64(c.n), S: 1, P: 4}
	items := c.p.Items(d)
	g := work.GridOf(c.p)
	l := simt.Launch{Kernel: "k", Warps: g.Warps, Blocks: int(g.Blocks(items, multiprocessors(few))), Shared: int(g.Shared), Overlaps: tgt.SM >= "sm_90"}
	for _, o := range c.p.Operands() {
		if v, ok := d.Value(o.Name); ok && o.Kind == work.Dim {
			l.Args = append(l.Args, simt.Arg{Value: uint64(v)})
			continue
		}
		b := &simt.Buffer{Name: o.Name, Bytes: c.bytes[o.Name], Loaded: loaded(o)}
		if o.Mode != work.Read {
			b.Mode = simt.Output
			if o.Kind == work.Cache || o.Mode == work.Temp {
				b.Mode = simt.Update
			}
		}
		if b.Bytes == nil {
			t.Fatalf("operand %s has no bytes", o.Name)
		}
		l.Args = append(l.Args, simt.Arg{Buffer: b})
	}
	l.Args = append(l.Args, simt.Arg{Value: uint64(items)})
	if err := launchGPU(t, tgt, c.p, l); err != nil {
		t.Fatalf("%s %s: %v", tgt, c.p.Key(), err)
	}
	return c.bytes
}

// near compares a row by its relative L2 distance.
func near(t *testing.T, what string, got func(i int) float64, want []float64, bound float64) {
	t.Helper()
	var d, s float64
	for i, w := range want {
		d += (got(i) - w) * (got(i) - w)
		s += w * w
	}
	if rel := math.Sqrt(d / s); !(rel < bound) {
		t.Errorf("%s: relative distance %.2g, want less than %g (first values %v, want %v)", what, rel, bound, got(0), want[0])
	}
}

func (c *fewRows) check(t *testing.T, tgt target.Target, few int, bound float64) {
	t.Helper()
	h := c.l.QKV
	outputs := c.l.R()
	name := "y"
	if c.l.Epilogue == work.GLU {
		outputs = c.l.Rows[0]
	}
	if h != nil {
		outputs, name = h.Heads*h.Dim, "q"
		c.bytes["cache"] = make([]byte, 4*work.PageBytes(h.KVHeads, h.Dim, h.Page, h.CacheEnc))
		c.bytes["row_slot"] = bytesOf(make([]int32, c.n))
		c.bytes["slot_start"], c.bytes["slot_len"], c.bytes["pages"] = bytesOf([]int32{0}), bytesOf([]int32{61}), bytesOf([]int32{2, 0, 3, 1})
	}
	c.bytes[name] = make([]byte, 4*c.n*outputs)
	if h != nil && h.Apart {
		c.bytes["k"], c.bytes["v"] = make([]byte, 4*c.n*h.KVHeads*h.Dim), make([]byte, 4*c.n*h.KVHeads*h.Dim)
	}
	if n := c.p.Temp(work.Dims{N: int64(c.n)}); n > 0 {
		c.bytes["sums"] = append(make([]byte, work.CounterBytes), slices.Repeat([]byte{0xff}, int(n-work.CounterBytes))...)
	}
	c.simulate(t, tgt, few)
	if i := slices.IndexFunc(c.bytes["sums"][:min(work.CounterBytes, len(c.bytes["sums"]))], func(b byte) bool { return b != 0 }); i >= 0 {
		t.Errorf("%s %s: leaves the counter at byte %d, expected zeros", tgt, c.p.Key(), i)
	}
	for n := range c.n {
		y, k, v := c.want(n)
		if p, ok := c.p.(work.GEMV); ok && p.Join != nil {
			near(t, fmt.Sprintf("%s %s row %d, joined", tgt, c.p.Key(), n), func(i int) float64 {
				return float64(math.Float32frombits(binary.LittleEndian.Uint32(c.bytes["after"][4*(n*c.l.Cols+i):])))
			}, c.row(n), 1e-6)
		}
		what := fmt.Sprintf("%s %s row %d", tgt, c.p.Key(), n)
		near(t, what, func(i int) float64 {
			if r := work.RoundOf(c.p); r != nil {
				w := binary.LittleEndian.Uint16(c.bytes[name][int64(n)*r.RowBytes()+2*int64(i):])
				if r.To == work.BF16 {
					return float64(block.BF16ToF32(w))
				}
				return float64(block.F16ToF32(w))
			}
			return float64(math.Float32frombits(binary.LittleEndian.Uint32(c.bytes[name][4*(n*outputs+i):])))
		}, y, bound)
		if h == nil {
			continue
		}
		if h.Apart {
			for name, want := range map[string][]float64{"k": k, "v": v} {
				near(t, what+" "+name, func(i int) float64 {
					return float64(math.Float32frombits(binary.LittleEndian.Uint32(c.bytes[name][4*(n*len(want)+i):])))
				}, want, bound)
			}
			continue
		}
		page, token := []int{2, 0, 3, 1}[(61+n)/h.Page], (61+n)%h.Page
		half := h.KVHeads * h.Dim * h.Page
		entry := func(kv int) func(i int) float64 {
			return func(i int) float64 {
				e := (2*page+kv)*half + (i/h.Dim*h.Page+token)*h.Dim + i%h.Dim
				w := binary.LittleEndian.Uint16(c.bytes["cache"][2*e:])
				if h.CacheEnc == layout.BF16 {
					return float64(block.BF16ToF32(w))
				}
				return float64(block.F16ToF32(w))
			}
		}
		near(t, what+" keys", entry(0), k, bound)
		near(t, what+" values", entry(1), v, bound)
	}
}

// codes gives x as Round writes it.
func (c *fewRows) codes() {
	to := block.F32ToF16
	if c.l.Dot == work.BF16 {
		to = block.F32ToBF16
	}
	row := work.Round{Dim: c.l.Cols, To: c.l.Dot}.RowBytes()
	b := make([]byte, int64(c.n)*row)
	for i, v := range c.x {
		binary.LittleEndian.PutUint16(b[int64(i/c.l.Cols)*row+int64(2*(i%c.l.Cols)):], to(v))
	}
	c.bytes["x"] = b
}

// Products for many rows are what plain loops make of the decoded weights.
func TestGEMM(t *testing.T) {
	parallel(t)
	for i, l := range linears() {
		l.Norm, l.Tokens, l.Dot = nil, work.Many, work.F16
		if l.Cols > 2304 {
			l.Cols = 512
		}
		bound := 1.5e-3
		if l.Enc == layout.BF16 {
			l.Dot, bound = work.BF16, 8e-3
		}
		n := []int{1, 70, 131}[i%3]
		p := work.GEMM{Linear: l, Double: i/3%2 == 1, RowWarps: 1 << (i % 4), Block: 64 << (i / 2 % 2)}
		if err := p.Validate(); err != nil {
			t.Error(err)
			continue
		}
		c := newFewRows(t, p, l, n)
		c.codes()
		c.check(t, gpus(t)[i%2], 1+i%3, bound)
	}
}

// Where x is in global memory, too.
func TestWideGEMV(t *testing.T) {
	for i, l := range linears() {
		l.Norm, l.Tokens, l.Dot = nil, work.Many, work.F16
		bound := 1.5e-3
		if l.Enc == layout.BF16 {
			l.Dot, bound = work.BF16, 8e-3
		}
		if i%4 == 0 && len(l.Rows) == 1 {
			l.Rows = []int{33 * 128} // more than one tile an item
			l.Cols = 256
		}
		n := []int{5, 14, 32, 61}[i%4]
		p := work.GEMV{Linear: l, Columns: 8 << (i % 4)}
		if i%8 == 1 { // floats, too many for shared memory
			p.Tokens, p.Columns, p.Cols, p.Rows = work.One, 8, 10752, l.Rows[:1]
			if p.Epilogue != work.Store && p.Epilogue != work.Add {
				continue
			}
			l, n = p.Linear, 5
		}
		if p.Pairs() == 2 {
			p.Columns = min(p.Columns, 32)
			n = min(n, p.Columns)
		}
		if i%3 > 0 && p.Tokens == work.Many { // through the rings
			p.Shared = 228 << 10
		}
		if p.Crowded() { // a GEMM's
			p.Columns, n = 16, 14
		}
		if err := p.Validate(); err != nil {
			t.Error(err)
			continue
		}
		c := newFewRows(t, p, l, n)
		if l.Tokens == work.Many {
			c.codes()
		} else if p.Plan().Staged {
			t.Errorf("%s: x is in shared memory, want it not to fit", p.Key())
		}
		c.check(t, gpus(t)[i%2], 1+i%3, bound)
	}
}

// Products for few rows are what plain loops make of the decoded weights: every encoding,
// epilogue and number of rows, on few blocks and on many.
func TestGEMV(t *testing.T) {
	for i, l := range linears() {
		l.Tokens, l.Dot = work.One, work.F16
		bound := 1e-3
		if l.Enc == layout.BF16 {
			l.Dot, bound = work.BF16, 8e-3
		}
		for j, n := range []int{1, 5, 3} {
			tgt := gpus(t)[(i+j)%2]
			p := work.GEMV{Linear: l, Columns: []int{1, 8, 4}[j]}
			if tgt.SM == "sm_90a" {
				p.Shared = 228 << 10
			}
			if err := p.Validate(); err != nil {
				t.Error(err)
				continue
			}
			newFewRows(t, p, l, n).check(t, tgt, 1+i%3, bound)
		}
	}
}

// What rounds its result writes codes.
func TestGEMVRounds(t *testing.T) {
	for i, l := range []work.Linear{
		{Enc: layout.Q4G64, Rows: []int{160, 160}, Cols: 640, Bias: true, Act: work.SiLU, Epilogue: work.GLU, Dot: work.F16},
		{Enc: layout.BF16, Rows: []int{96}, Cols: 256, Act: work.GELU, Epilogue: work.Store, Dot: work.BF16},
	} {
		for j, n := range []int{1, 5, 13} {
			l.Tokens = []work.Tokens{work.One, work.One, work.Many}[j]
			p := work.GEMV{Linear: l, Columns: []int{1, 8, 16}[j], Round: &work.Round{Dim: l.Rows[0], To: []work.Dot{work.F16, work.BF16}[(i+j)%2]}}
			if err := p.Validate(); err != nil {
				t.Error(err)
				continue
			}
			c := newFewRows(t, p, l, n)
			if l.Tokens == work.Many {
				c.codes()
			}
			c.check(t, gpus(t)[(i+j)%2], 1+j, 8e-3)
		}
	}
	p := work.GEMV{Linear: work.Linear{Enc: layout.F16, Rows: []int{32}, Cols: 64, Tokens: work.One, Dot: work.F16, Epilogue: work.Add}, Columns: 1, Round: &work.Round{Dim: 32, To: work.F16}}
	if err := p.Validate(); err == nil {
		t.Errorf("%s: expected an error: a residual stays float32", p.Key())
	}
}

// A branch joins what came before and is kept: rows that threads keep in registers and rows
// that they do not, on one block and on several.
func TestGEMVJoin(t *testing.T) {
	rms, offset := &work.RMSNorm{Eps: 1e-5}, &work.RMSNorm{Eps: 1e-6, Offset: 1}
	for i, l := range []work.Linear{
		{Enc: layout.Q4G64, Rows: []int{150, 150}, Cols: 640, Norm: offset, Act: work.GELUTanh, Epilogue: work.GLU},
		{Enc: layout.Q4_0, Rows: []int{64}, Cols: 1152, Norm: rms, Epilogue: work.Store},
		{Enc: layout.F16, Rows: []int{40}, Cols: 64 * 137, Norm: offset, Epilogue: work.Store},
		{Enc: layout.Q4_0, Rows: []int{64}, Cols: 32 * 1300, Norm: offset, Epilogue: work.Store},
	} {
		l.Tokens, l.Dot = work.One, work.F16
		for j, n := range []int{1, 5, 3} {
			p := work.GEMV{Linear: l, Columns: []int{1, 8, 4}[j], Join: []*work.RMSNorm{rms, offset}[(i+j)%2]}
			if p.Validate() != nil && p.Columns > 1 {
				continue // more rows than shared memory holds
			}
			newFewRows(t, p, l, n).check(t, gpus(t)[(i+j)%2], 1+(i+j)%4, 1.2e-3)
		}
	}
	p := work.GEMV{Linear: work.Linear{Enc: layout.F16, Rows: []int{16}, Cols: 64, Tokens: work.One, Dot: work.F16, Epilogue: work.Store}, Columns: 1, Join: rms}
	if err := p.Validate(); err == nil {
		t.Errorf("%s: expected an error: nothing norms what joined", p.Key())
	}
}

// Heads that are finished whole: norms of heads, rotations of a part of them and of heads of
// odd numbers of tiles, to caches and to buffers, one row and several, on a block that takes
// all tiles of a head and on blocks that share them.
func TestGEMVWholeHeads(t *testing.T) {
	rms, offset := &work.RMSNorm{Eps: 1e-5}, &work.RMSNorm{Eps: 1e-6, Offset: 1}
	for i, h := range []work.Heads{
		{Heads: 2, KVHeads: 1, Dim: 64, RotaryDim: 64, Style: work.Half, QNorm: rms, KNorm: offset, CacheEnc: layout.F16, Page: 64},
		{Heads: 3, KVHeads: 2, Dim: 48, RotaryDim: 48, Style: work.Half, CacheEnc: layout.F16, Page: 64},
		{Heads: 2, KVHeads: 2, Dim: 48, RotaryDim: 20, Style: work.Half, KNorm: rms, CacheEnc: layout.BF16, Page: 64},
		{Heads: 2, KVHeads: 1, Dim: 256, RotaryDim: 64, Style: work.Adjacent, QNorm: offset, KNorm: rms, Apart: true},
		{Heads: 1, KVHeads: 1, Dim: 80, QNorm: rms, CacheEnc: layout.F16, Page: 64},
	} {
		l := work.Linear{Enc: layout.Q4G64, Cols: 256, Dot: work.F16, Norm: rms, Bias: i%2 == 0, Epilogue: work.QKV, QKV: &h,
			Rows: []int{h.Heads * h.Dim, h.KVHeads * h.Dim, h.KVHeads * h.Dim}}
		for j, n := range []int{1, 5, 3, 14} {
			l.Tokens = work.One
			p := work.GEMV{Linear: l, Columns: []int{1, 8, 4, 16}[j]}
			if n > 8 {
				p.Tokens, p.Norm = work.Many, nil
			}
			if err := p.Validate(); err != nil {
				t.Error(err)
				continue
			}
			c := newFewRows(t, p, p.Linear, n)
			if n > 8 {
				c.codes()
			}
			bound := 1.5e-3
			if h.CacheEnc == layout.BF16 {
				bound = 4e-3
			}
			c.check(t, gpus(t)[(i+j)%2], 1+(i+j)%4*3, bound)
		}
	}
	many := work.Heads{Heads: 24, KVHeads: 4, Dim: 128, RotaryDim: 128, Style: work.Half, QNorm: rms, KNorm: rms, CacheEnc: layout.F16, Page: 64}
	wide := work.GEMV{Columns: 16, Linear: work.Linear{Enc: layout.Q4_0, Cols: 64, Rows: []int{24 * 128, 4 * 128, 4 * 128}, Tokens: work.Many, Dot: work.F16, Epilogue: work.QKV, QKV: &many}}
	if wide.Multi() == 1 {
		t.Errorf("%s: an item has one tile, want several", wide.Key())
	}
	c := newFewRows(t, wide, wide.Linear, 10)
	c.codes()
	c.check(t, gpus(t)[1], 7, 1.5e-3)
	p := work.GEMM{Linear: work.Linear{Enc: layout.F16, Cols: 64, Rows: []int{32, 32, 32}, Tokens: work.Many, Dot: work.F16, Epilogue: work.QKV,
		QKV: &work.Heads{Heads: 1, KVHeads: 1, Dim: 32, QNorm: rms, CacheEnc: layout.F16, Page: 64}}, RowWarps: 1, Block: 64}
	if err := p.Validate(); err == nil {
		t.Errorf("%s: expected an error: its blocks know no whole head", p.Key())
	}
}

// linears are products of every encoding, epilogue and size of unit.
func linears() []work.Linear {
	rms := &work.RMSNorm{Eps: 1e-5}
	heads := func(s work.Style, rot int, enc layout.Enc) *work.Heads {
		return &work.Heads{Heads: 2, KVHeads: 1, Dim: 32, RotaryDim: rot, Style: s, CacheEnc: enc, Page: 64}
	}
	type lin = work.Linear
	var cases []lin
	for _, e := range layout.Encs() {
		cases = append(cases, lin{Enc: e, Rows: []int{40}, Cols: 512, Epilogue: work.Store})
	}
	for _, cols := range []int{96, 192} {
		cases = append(cases, lin{Enc: layout.Q5_0, Rows: []int{16}, Cols: cols, Epilogue: work.Store}, lin{Enc: layout.Q8_0, Rows: []int{16}, Cols: cols, Epilogue: work.Store},
			lin{Enc: layout.Q4_1, Rows: []int{16}, Cols: cols, Epilogue: work.Store}, lin{Enc: layout.F16, Rows: []int{16}, Cols: cols / 2, Epilogue: work.Store})
	}
	cases = append(cases,
		lin{Enc: layout.Q4G128, Rows: []int{33, 16, 5}, Cols: 2304, Norm: rms, Bias: true, Act: work.GELU, Epilogue: work.Store},
		lin{Enc: layout.Q4G64, Rows: []int{24}, Cols: 640, Norm: &work.RMSNorm{Eps: 1e-5, Offset: 1}, Softcap: 2, Epilogue: work.Store},
		lin{Enc: layout.Q4G128, Rows: []int{160}, Cols: 4096, Bias: true, Epilogue: work.Add},
		lin{Enc: layout.Q4G128, Rows: []int{48}, Cols: 37 * 128, Epilogue: work.Store},
		lin{Enc: layout.Q6_K, Rows: []int{48}, Cols: 23 * 256, Epilogue: work.Store},
		lin{Enc: layout.Q4G128, Rows: []int{150, 150}, Cols: 256, Norm: rms, Bias: true, Act: work.SiLU, Epilogue: work.GLU},
		lin{Enc: layout.Q4G128, Rows: []int{150, 150}, Cols: 256, Act: work.GELUTanh, Epilogue: work.GLU},
		lin{Enc: layout.Q4G128, Rows: []int{64, 32, 32}, Cols: 512, Norm: rms, Bias: true, Epilogue: work.QKV, QKV: heads(work.Half, 32, layout.F16)},
		lin{Enc: layout.BF16, Rows: []int{64, 32, 32}, Cols: 512, Norm: rms, Epilogue: work.QKV, QKV: heads(work.Adjacent, 16, layout.BF16)},
		lin{Enc: layout.Q4_0, Rows: []int{64, 32, 32}, Cols: 512, Epilogue: work.QKV, QKV: heads(work.NoRope, 0, layout.F16)},
	)
	return cases
}
