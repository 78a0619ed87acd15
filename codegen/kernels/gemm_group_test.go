package kernels

import (
	"encoding/binary"
	"testing"

	"quire/codegen/kernel"
	"quire/ir/target"
	"quire/ir/types/block"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// spanned gives x as Round{Span} writes it.
func (c *fewRows) spanned(span int) {
	c.codes()
	natural := c.bytes["x"]
	out := make([]byte, len(natural))
	for i := range c.n * c.l.Cols {
		first, in := i/span*span, i%span
		pos, p := in/16, in%16
		col := p%8/2*(span/4) + 4*pos + p%2 + 2*(p/8)
		copy(out[2*i:2*i+2], natural[2*(first+col):])
	}
	c.bytes["x"] = out
}

func sm90a(t *testing.T) target.Target {
	t.Helper()
	tgt, err := target.Parse("sm_90a")
	if err != nil {
		t.Fatal(err)
	}
	return tgt
}

// Products of warpgroups are what plain loops make of the decoded weights.
func TestGroups(t *testing.T) {
	parallel(t)
	ran := 0
	for i, l := range linears() {
		l.Norm, l.Tokens, l.Dot = nil, work.Many, work.F16
		if l.Cols > 2304 {
			l.Cols = 512
		}
		bound := 1.5e-3
		if l.Enc == layout.BF16 {
			l.Dot, bound = work.BF16, 8e-3
		}
		f, err := layout.FragOf(l.Enc, l.Cols)
		if err != nil {
			t.Fatal(err)
		}
		p := work.GEMM{Linear: l, RowWarps: 4, Block: 128, Groups: true}
		if err := p.Validate(); err != nil {
			if f.Chunk == work.GroupChunk && f.Span > 16 {
				t.Error(err)
			}
			continue
		}
		c := newFewRows(t, p, l, []int{1, 70, 131}[i%3])
		c.spanned(f.Span)
		c.check(t, sm90a(t), 1+i%3, bound)
		ran++
	}
	if ran < 20 {
		t.Errorf("%d products have the chunks that warpgroups need", ran)
	}
}

// Rounded rows in the order of products: every column once, where GEMM looks for it.
func TestRoundSpan(t *testing.T) {
	for _, span := range []int{16, 32, 64} {
		p := work.Round{Dim: 192, To: work.F16, Span: span}
		const n = 2
		x, y := random(t, n*p.Dim, 3), alloc[uint16](t, n*p.Dim)
		open(t, sm90a(t), p).bind(t, 0, p, work.Dims{N: n}, map[string]uintptr{"x": addr(x), "y": addr(y)}).run(2)
		c := &fewRows{n: n, l: work.Linear{Cols: p.Dim, Dot: work.F16}, x: x, bytes: map[string][]byte{}}
		c.spanned(span)
		for i, got := range y {
			if want := binary.LittleEndian.Uint16(c.bytes["x"][2*i:]); got != want {
				t.Fatalf("span %d: value %d is %v, want %v", span, i, block.F16ToF32(got), block.F16ToF32(want))
			}
		}
	}
}

// Other targets have no products of warpgroups, and CPUs no spans.
func TestGroupsAreRefused(t *testing.T) {
	l := work.Linear{Enc: layout.Q4_0, Rows: []int{64}, Cols: 128, Tokens: work.Many, Dot: work.F16, Epilogue: work.Store}
	p := work.GEMM{Linear: l, RowWarps: 4, Block: 128, Groups: true}
	tgt, err := target.Parse("sm_80")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Text(tgt, "k", p); err == nil {
		t.Error("sm_80: no error")
	}
	m := kernel.NewModule(sm90a(t))
	if err := Define(m, "k", p); err != nil {
		t.Error(err)
	}
	for _, tgt := range targets(t) {
		if _, err := Text(tgt, "k", work.Round{Dim: 64, To: work.BF16, Span: 64}); err == nil {
			t.Errorf("%s: spans: no error", tgt)
		}
	}
}
