package kernels

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"quire/ir/target"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// pairTargets are what this processor has of the instructions that multiply pairs of
// bfloat16, each alone.
func pairTargets(t testing.TB) []target.Target {
	t.Helper()
	host, err := target.Host()
	if err != nil {
		t.Skip(err)
	}
	var out []target.Target
	for _, x := range []struct {
		name string
		need target.Feature
	}{
		{"x86-64-v3+avx512+avx512bf16", target.BF16},
		{"x86-64-v3+avx512+avx512bf16+avx512vnni", target.BF16},
		{"x86-64-v3+avx512+amx-bf16", target.AMXBF16},
	} {
		tgt, err := target.Parse(x.name)
		if err != nil {
			t.Fatal(err)
		}
		if host.Has(x.need) && (!tgt.Has(target.VNNI) || host.Has(target.VNNI)) {
			out = append(out, tgt)
			continue
		}
		t.Logf("this processor lacks %s", x.need)
	}
	return out
}

// Every epilogue and every size of a last group, on each instruction, in place too.
func TestLinearPairsEpilogues(t *testing.T) {
	for _, tgt := range pairTargets(t) {
		for _, p := range []work.Linear{
			{Enc: layout.Q4_1, Rows: []int{48}, Cols: 64, Epilogue: work.Add},
			{Enc: layout.BF16, Rows: []int{33, 20, 5, 64}, Cols: 96, Bias: true, Epilogue: work.Store, Act: work.GELU, Softcap: 3},
			{Enc: layout.Q4_0, Rows: []int{40, 40}, Cols: 96, Bias: true, Epilogue: work.GLU, Act: work.SiLU},
			{Enc: layout.F32, Rows: []int{16, 16}, Cols: 32, Epilogue: work.GLU, Act: work.GELUTanh},
			{Enc: layout.BF16, Rows: []int{5}, Cols: 32, Bias: true, Epilogue: work.Add},
			{Enc: layout.Q8_0, Rows: []int{33}, Cols: 2*work.Wide + 64, Epilogue: work.Add},
			{Enc: layout.Q8_0, Rows: []int{17}, Cols: work.WideTiles + 64, Epilogue: work.Store},
		} {
			p.Tokens, p.Dot = work.Many, work.BF16
			if onPairs(p, tgt) {
				testPairs(t, tgt, p, 1, 5, 12, 17, 31, 32, 40, work.Block+13)
			}
		}
	}
}

// testPairs is testLinear for rounded rows: the reference rounds the weight as well, where
// many rows multiply pairs.
func testPairs(t *testing.T, tgt target.Target, p work.Linear, ns ...int) {
	t.Helper()
	r := work.Round{Dim: p.Cols, To: p.Dot}
	l := open(t, tgt, p, r)
	packed, w := weight(t, p.Enc, p.Rows, p.Cols)
	b := random(t, p.R(), 1)
	tol := 4e-6 + 1e-9*float64(p.Cols)
	for _, n := range ns {
		x, res := random(t, n*p.Cols, 1), random(t, n*p.R(), 1)
		codes := alloc[byte](t, n*int(r.RowBytes()))
		d := work.Dims{N: int64(n)}
		l.bind(t, 1, r, d, map[string]uintptr{"x": addr(x), "y": addr(codes)}).run(5)
		multiplied := w
		if n > few || !onBytes(p, mustFormat(t, p.Enc), tgt) {
			multiplied = roundRef(p.Dot, w, p.Cols)
		}
		want := linearRef(p, n, roundRef(p.Dot, x, p.Cols), nil, multiplied, b, res)
		y := poison(alloc[float32](t, len(want)+16))
		at := map[string]uintptr{"x": addr(codes), "w": addr(packed), "b": addr(b), "res": addr(res), "y": addr(y)}
		l.bind(t, 0, p, d, at).run(3)
		name := fmt.Sprintf("%s n=%d %s", tgt.Name, n, p.Key())
		close32(t, name, y, want, tol)
		for _, v := range y[len(want):] {
			if v == v {
				t.Fatalf("%s: wrote beyond its rows", name)
			}
		}
		if p.Epilogue == work.Add {
			copy(y, res)
			at["res"] = addr(y)
			l.bind(t, 0, p, d, at).run(3)
			close32(t, "in place: "+name, y, want, tol)
		}
	}
}

// The instructions are those that the target's facts name, and nothing else multiplies.
func TestLinearPairsCode(t *testing.T) {
	tools, err := findTools()
	if err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		target, enc string
		dot         work.Dot
		tokens      work.Tokens
		want, not   []string
	}{
		{"x86-64-v3+avx512+avx512bf16", "q4_1", work.BF16, work.Many, []string{"vdpbf16ps", "vcvtne2ps2bf16"}, []string{"tdpb", "vpdpbusd"}},
		{"x86-64-v3+avx512+avx512bf16", "bf16", work.BF16, work.Many, []string{"vdpbf16ps", "vpermw"}, []string{"vcvtne2ps2bf16"}},
		{"x86-64-v3+avx512+amx-bf16", "q4_1", work.BF16, work.Many, []string{"tdpbf16ps"}, []string{"vdpbf16ps", "tdpbssd"}},
		{"x86-64-v3+avx512+avx512bf16+amx-bf16+amx-int8", "bf16", work.BF16, work.Many, []string{"tdpbf16ps"}, []string{"vdpbf16ps", "tdpbssd"}},
		{"x86-64-v3+avx512+avx512bf16+amx-bf16+amx-int8", "q4_1", work.F32, work.Many, []string{"tdpbssd"}, []string{"tdpbf16ps", "vdpbf16ps"}},
		{"x86-64-v3+avx512+avx512bf16", "bf16", work.BF16, work.One, []string{"vdpbf16ps", "vpermw"}, []string{"vfmadd"}},
		{"x86-64-v3+avx512+avx512bf16+avx512vnni", "q4_1", work.BF16, work.One, []string{"vpdpbusd"}, []string{"vdpbf16ps"}},
		{"x86-64-v3+avx512", "bf16", work.BF16, work.Many, []string{"vfmadd"}, []string{"tdpb", "vdpbf16ps"}},
	} {
		tgt, err := target.Parse(c.target)
		if err != nil {
			t.Fatal(err)
		}
		p := work.Linear{Enc: layout.Enc(c.enc), Rows: []int{64}, Cols: 64, Tokens: c.tokens, Dot: c.dot, Epilogue: work.Store}
		text, err := Text(tgt, "k", p)
		if err != nil {
			t.Fatal(err)
		}
		code, err := tools.Assembly(context.Background(), tgt, "k", text)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range c.want {
			if !strings.Contains(string(code), w) {
				t.Errorf("%s %s dot %s, %s: the code lacks %s", c.target, c.enc, c.dot, c.tokens, w)
			}
		}
		for _, w := range c.not {
			if strings.Contains(string(code), w) {
				t.Errorf("%s %s dot %s, %s: the code has %s", c.target, c.enc, c.dot, c.tokens, w)
			}
		}
	}
}

// One row of a bfloat16 weight, with a norm before it, an odd number of pairs and rows of
// every epilogue.
func TestLinearPairsOne(t *testing.T) {
	rms := &work.RMSNorm{Eps: 1e-5}
	for _, tgt := range pairTargets(t) {
		for _, p := range []work.Linear{
			{Enc: layout.BF16, Rows: []int{35}, Cols: 96, Epilogue: work.Add},
			{Enc: layout.BF16, Rows: []int{16, 5}, Cols: 34, Bias: true, Epilogue: work.Store},
			{Enc: layout.BF16, Rows: []int{40, 40}, Cols: 578, Epilogue: work.GLU, Act: work.SiLU},
			{Enc: layout.BF16, Rows: []int{40, 40}, Cols: 64, Norm: rms, Epilogue: work.GLU, Act: work.SiLU},
		} {
			p.Tokens, p.Dot = work.One, work.BF16
			l := open(t, tgt, p)
			packed, w := weight(t, p.Enc, p.Rows, p.Cols)
			x, g, b, res := random(t, p.Cols, 1), random(t, p.Cols, 1), random(t, p.R(), 1), random(t, p.R(), 1)
			rounded := x
			if p.Norm != nil {
				rounded = make([]float32, p.Cols)
				for i, v := range normRef(x, g, float64(p.Norm.Eps), 0) {
					rounded[i] = float32(v)
				}
			}
			q, tol := p, 3e-6
			if q.Norm = nil; p.Norm != nil {
				tol = 2e-3 // a value that lies between two may fall to either
			}
			want := linearRef(q, 1, roundRef(p.Dot, rounded, p.Cols), nil, w, b, res)
			y := poison(alloc[float32](t, len(want)))
			l.bind(t, 0, p, work.Dims{N: 1}, map[string]uintptr{"x": addr(x), "g": addr(g), "w": addr(packed), "b": addr(b), "res": addr(res), "y": addr(y)}).run(3)
			close32(t, tgt.Name+" "+p.Key(), y, want, tol)
		}
	}
}
