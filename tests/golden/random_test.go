package golden

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"quire/ir"
	"quire/ir/interp"
	"quire/ir/types"
	"quire/passes"
	"quire/passes/awq"
	"quire/passes/canon"
	"quire/passes/duo"
	"quire/passes/pipeline"
	"quire/passes/quest"
	"quire/passes/siblings"
)

// gen draws modules: every choice comes from its seed.
type gen struct {
	*rand.Rand
	b *ir.Builder
	f *ir.FuncBuilder
	n int // weights so far
}

func newGen(seed uint64) *gen {
	g := &gen{Rand: rand.New(rand.NewPCG(seed, 0xd)), b: ir.NewBuilder(fmt.Sprintf("random %d", seed))}
	g.f = g.b.Func("step")
	return g
}

func pick[T any](g *gen, of ...T) T { return of[g.IntN(len(of))] }

func (g *gen) weight(e types.Elem, shape ...int64) *ir.Weight {
	g.n++
	return g.b.Weight(fmt.Sprintf("w%d", g.n), e, shape...)
}

var f32 = types.Plain(types.F32)

// values draws a graph of n ops over rows of 32 and 64 features, with shared
// arguments, chains that fold, equal values and dead ones.
func (g *gen) values(n int) {
	rows := g.b.Dim("N", ir.Launch, 0, 16)
	pool := []*ir.Value{g.f.Param("x", types.Of32(rows, types.Const(32))), g.f.Param("y", types.Of32(rows, types.Const(64)))}
	shared := []*ir.Weight{g.weight(types.Quantised("q4_0"), 32, 32), g.weight(types.Quantised("q8_0"), 64, 32)}
	for range n {
		x := pick(g, pool...)
		width, _ := x.Type.Last().IsConst()
		var v *ir.Value
		switch g.IntN(12) {
		case 0:
			v = g.f.Linear(x, g.weight(types.Quantised(pick(g, "q4_0", "q4_1", "q8_0")), pick(g, int64(32), 64), width), types.InvalidDType)
		case 1:
			if w := pick(g, shared...); width == 32 {
				v = g.f.Linear(x, w, types.InvalidDType)
			}
		case 2:
			v = g.f.Scale(x, pick(g, 1.0, 2, 0.5, 0.3))
		case 3:
			v = g.f.SiLU(x)
		case 4:
			v = g.f.RMSNorm(x, g.weight(f32, width), 1e-5, pick(g, 0.0, 1))
		case 5:
			if y := pick(g, pool...); y.Type.Equal(x.Type) {
				v = g.f.Add(x, y)
			}
		case 6:
			if y := pick(g, pool...); y.Type.Equal(x.Type) {
				v = g.f.Mul(x, y)
			}
		case 7:
			v = g.f.Flatten(g.f.Unflatten(x, pick(g, 16, 32)))
		case 8:
			if first := pick(g, 0, 32); width == 64 {
				v = g.f.Slice(x, first, 32)
			} else {
				v = g.f.Slice(x, 0, 32)
			}
		case 9:
			v = g.f.Add(x, g.f.Weight(g.weight(f32, width)))
		case 10:
			if width == 64 {
				v = g.f.Slice(g.f.Slice(x, 16, 48), 8, 32)
			}
		case 11:
			v = g.f.Op(ir.OpCast, ir.ToAttrs{}, x)
		}
		if v != nil {
			pool = append(pool, v)
		}
	}
	last := pool[len(pool)-1]
	g.f.Return(last, pick(g, pool...), pick(g, pool...))
}

// decoder draws a model of the decoder family: any number of layers, heads, norms,
// biases, windows, caps and encodings that its members have, mixed freely.
func (g *gen) decoder() {
	n, s, m := g.b.Dim("N", ir.Launch, 0, 32), g.b.Dim("S", ir.Launch, 1, 8), g.b.Dim("M", ir.Launch, 0, 32)
	g.b.Dim("C", ir.Device, 0, 4096)
	i32 := types.Plain(types.I32)
	tok, pos := g.f.Param("tok", types.TensorOf(i32, n)), g.f.Param("pos", types.TensorOf(i32, n))
	seq, out := g.f.Param("seq", types.RowsOf(n, s)), g.f.Param("out", types.TensorOf(i32, m))
	d := &decoder{gen: g, dim: 64, kv: pick(g, 1, 2), group: pick(g, 1, 2, 3), head: pick(g, 16, 32),
		bias: g.IntN(3) == 0, qkNorm: g.IntN(3) == 0, sandwich: g.IntN(3) == 0, offset: pick(g, 0.0, 1),
		style: pick(g, ir.RopeHalf, ir.RopeAdjacent), enc: pick(g, "q4_0", "q4_1", "q8_0", "f16", "f32"), seq: seq}
	if d.kv*d.group%2 == 1 {
		d.head = 32 // a row of heads is a whole number of blocks of 32
	}
	g.f.Scope("embed")
	emb := g.weight(d.elem(), 40, int64(d.dim))
	x := g.f.Embed(tok, g.f.Weight(emb), types.InvalidDType)
	if g.IntN(2) == 0 {
		x = g.f.Scale(x, 8)
	}
	d.cs = g.f.RopeTable(pos, ir.RopeTableAttrs{Dim: d.head, Base: 10000})
	var results []*ir.Value
	for i := range 1 + g.IntN(2) {
		var kv *ir.Value
		x, kv = d.layer(i, x)
		results = append(results, kv)
	}
	g.f.Scope("head")
	y := g.f.RMSNorm(g.f.Gather(x, out), g.weight(f32, int64(d.dim)), 1e-5, d.offset)
	head := emb
	if g.IntN(2) == 0 {
		head = g.weight(d.elem(), 40, int64(d.dim))
	}
	logits := g.f.Linear(y, head, types.InvalidDType)
	if g.IntN(3) == 0 {
		logits = g.f.Softcap(logits, 30)
	}
	argmax := g.f.Op(ir.OpArgMax, nil, logits)
	lse := g.f.Op(ir.OpLogSumExp, nil, logits)
	g.f.Return(append([]*ir.Value{g.f.Named("logits", logits), g.f.Named("argmax", argmax), g.f.Named("logsumexp", lse)}, results...)...)
}

type decoder struct {
	*gen
	dim, kv, group, head   int
	bias, qkNorm, sandwich bool
	offset                 float64
	style                  ir.RopeStyle
	enc                    string
	seq, cs                *ir.Value
}

func (d *decoder) elem() types.Elem {
	if t, ok := types.ParseDType(d.enc); ok {
		return types.Plain(t)
	}
	return types.Quantised(d.enc)
}

func (d *decoder) linear(x *ir.Value, rows int, bias bool) *ir.Value {
	k, _ := x.Type.Last().IsConst()
	y := d.f.Linear(x, d.weight(d.elem(), int64(rows), k), types.InvalidDType)
	if bias {
		y = d.f.Add(y, d.f.Weight(d.weight(f32, int64(rows))))
	}
	return y
}

func (d *decoder) norm(x *ir.Value) *ir.Value {
	k, _ := x.Type.Last().IsConst()
	return d.f.RMSNorm(x, d.weight(f32, k), 1e-5, d.offset)
}

func (d *decoder) layer(i int, x *ir.Value) (y, cache *ir.Value) {
	name := fmt.Sprintf("kv%d", i)
	table := ir.Table{Name: fmt.Sprintf("t%d", i), Page: 64}
	a := ir.AttentionAttrs{Scale: 0.25, Cap: pick(d.gen, 0.0, 0, 20)}
	if recent := 3; d.IntN(2) == 0 {
		table.Recent, a.Recent = &recent, &recent
	}
	d.b.Table(table)
	d.b.Cache(ir.CacheDecl{Name: name, Elem: types.Plain(pick(d.gen, types.F32, types.F16)), Heads: d.kv, Dim: d.head, Table: table.Name})
	kv := d.f.Param(name, types.CacheOf(name))

	d.f.Scope(fmt.Sprintf("layers.%d.attn", i))
	h := d.norm(x)
	q := d.f.Unflatten(d.linear(h, d.kv*d.group*d.head, d.bias), d.head)
	k := d.f.Unflatten(d.linear(h, d.kv*d.head, d.bias), d.head)
	v := d.f.Unflatten(d.linear(h, d.kv*d.head, d.bias), d.head)
	if d.qkNorm {
		q, k = d.norm(q), d.norm(k)
	}
	q, k = d.f.Rope(q, d.cs, d.style), d.f.Rope(k, d.cs, d.style)
	cache = d.f.Append(kv, k, v, d.seq)
	o := d.linear(d.f.Flatten(d.f.Attention(q, cache, d.seq, a)), d.dim, d.bias && d.IntN(2) == 0)
	if d.sandwich {
		o = d.norm(o)
	}
	x = d.f.Add(x, o)

	d.f.Scope(fmt.Sprintf("layers.%d.mlp", i))
	h = d.norm(x)
	gate, up := d.linear(h, 96, false), d.linear(h, 96, false)
	if d.IntN(2) == 0 {
		gate = d.f.SiLU(gate)
	} else {
		gate = d.f.GELU(gate, true)
	}
	o = d.linear(d.f.Mul(gate, up), d.dim, false)
	if d.sandwich {
		o = d.norm(o)
	}
	return d.f.Add(x, o), cache
}

// held runs the pipeline, shuffled too, and holds every function against @step.
func held(t *testing.T, seed uint64, before *ir.Module, p passes.Pipeline) {
	t.Helper()
	for _, obs := range [][]passes.Observer{{passes.Verify()}, {passes.Shuffle(seed + 1), passes.Verify()}} {
		after := before.Clone()
		if _, err := p.Run(after, obs...); err != nil {
			t.Errorf("seed %d: %v\n%s", seed, err, ir.Print(before))
			return
		}
		for _, g := range after.Funcs {
			o := interp.CompareOptions{Seed: seed, Wide: true, Tolerance: 1e-9}
			if err := interp.Compare(before, before.Func("step"), after, g, o); err != nil {
				t.Errorf("seed %d: @%s: %v\nbefore:\n%s\nafter:\n%s", seed, g.Name, err, ir.Print(before), clip(ir.PrintFunc(g)))
				return
			}
		}
	}
}

func clip(s string) string { return s[:min(len(s), 1<<14)] }

func built(t *testing.T, g *gen) *ir.Module {
	t.Helper()
	m, err := g.b.Module()
	if err != nil {
		t.Fatal(err)
	}
	if text := ir.Print(m); strings.Count(text, "\n") < 4 {
		t.Fatalf("an empty module:\n%s", text)
	}
	return m
}

// Random graphs mean the same after every pass that works on any graph.
func TestRandomGraphs(t *testing.T) {
	p := passes.Pipeline{canon.Simplify(), awq.FuseDequantGemm(), canon.Simplify(), siblings.Merge(), canon.Simplify()}
	for seed := range uint64(40) {
		g := newGen(seed)
		g.values(4 + g.IntN(30))
		held(t, seed, built(t, g), p)
	}
}

// Random members of the decoder family compile whole, and every specialisation
// means what @step does.
func TestRandomDecoders(t *testing.T) {
	for seed := range uint64(25) {
		g := newGen(seed)
		g.decoder()
		held(t, seed, built(t, g), pipeline.Standard(pipeline.Options{}))
	}
}

// Random members of the family keep their meaning with heads split and pages
// selected, in the cases in which both are exact, and their windows, caps, groups
// and biases with it; in cases that approximate they still run.
func TestRandomDecodersSplitAndSelected(t *testing.T) {
	for seed := range uint64(40) {
		g := newGen(seed)
		g.decoder()
		before := built(t, g)
		mask := make(duo.Mask, len(before.Caches))
		for l, c := range before.Caches {
			for range c.Heads {
				mask[l] = append(mask[l], g.IntN(2) == 0)
			}
		}
		exact := duo.Options{Mask: mask, Sink: g.IntN(3), Recent: 500}
		pages := quest.Options{Budget: 512, Page: 4, PhysicalPage: 8, DenseLayers: g.IntN(2), Per: pick(g, ir.PerGroup, ir.PerHead), Reselect: pick(g, 1, 4)}
		rough, few := exact, pages
		rough.Recent, few.Budget = 2, 8
		for _, p := range []passes.Pipeline{{duo.SplitHeads(exact)}, {quest.SelectPages(pages)}, {duo.SplitHeads(exact), quest.SelectPages(pages)},
			{duo.SplitHeads(exact), quest.SelectPages(pages), canon.Simplify(), awq.FuseDequantGemm(), canon.Simplify(), siblings.Merge(), canon.Simplify()},
			{canon.Simplify(), awq.FuseDequantGemm(), siblings.Merge(), duo.SplitHeads(exact), quest.SelectPages(pages)}} {
			agree(t, seed, before, p)
		}
		runs(t, seed, before, passes.Pipeline{duo.SplitHeads(rough), quest.SelectPages(few)})
	}
}

// agree runs the passes and holds @step against what it was, caches apart.
func agree(t *testing.T, seed uint64, before *ir.Module, p passes.Pipeline) {
	t.Helper()
	after := before.Clone()
	if _, err := p.Run(after, passes.Shuffle(seed+1), passes.Verify()); err != nil {
		t.Errorf("seed %d: %v\n%s", seed, err, ir.Print(before))
		return
	}
	o := interp.CompareOptions{Seed: seed, Wide: true, Caches: true, Tolerance: 1e-9}
	if err := interp.Compare(before, before.Func("step"), after, after.Func("step"), o); err != nil {
		t.Errorf("seed %d: %v\nbefore:\n%s\nafter:\n%s", seed, err, ir.Print(before), clip(ir.Print(after)))
	}
}

// runs runs the passes and a case of what they made: no row that is claimed is NaN.
func runs(t *testing.T, seed uint64, before *ir.Module, p passes.Pipeline) {
	t.Helper()
	m := before.Clone()
	if _, err := p.Run(m, passes.Verify()); err != nil {
		t.Errorf("seed %d: %v", seed, err)
		return
	}
	c, err := interp.RandomCase(m, m.Func("step"), seed)
	if err != nil {
		t.Fatal(err)
	}
	mach, state := interp.New(m, c.Weights, interp.Options{}), interp.NewState()
	for i, s := range c.Steps {
		out, err := mach.Run(m.Func("step"), s.Bind, s.Inputs, state)
		if err != nil {
			t.Errorf("seed %d, step %d: %v", seed, i+1, err)
			return
		}
		for _, x := range out[0].Data {
			if math.IsNaN(x) {
				t.Errorf("seed %d, step %d: NaN", seed, i+1)
				return
			}
		}
	}
}
