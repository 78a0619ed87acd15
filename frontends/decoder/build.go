package decoder

import (
	"fmt"

	"quire/ir"
	"quire/ir/types"
)

// Bounds of one step, whatever the model.
const (
	maxStepRows = 8192
	maxSlots    = 256
)

// Build writes the step function of a configuration whose weights are bound:
//
//	@step(tok i32[N], pos i32[N], seq rows[N, S], out i32[M], kv0, kv1, ...) ->
//	    (logits f32[M, Vocab], argmax i32[M], logsumexp f32[M], caches...)
//
// A weight's element type is its encoding in the file; norms and biases are f32.
func Build(c Config, bindings Bindings) (*ir.Module, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	b := ir.NewBuilder(c.Name)
	s := &step{c: &c, b: b, to: c.Compute, weights: map[key]*ir.Weight{}, ropes: map[bool]*ir.Value{}, columns: map[*ir.Weight][]int{}, gathered: map[gather]*ir.Value{}}
	if s.to == types.F32 {
		s.to = types.InvalidDType // the default of every op, left out of the text
	}
	rows := int64(min(c.MaxContext, maxStepRows))
	s.n = b.Dim("N", ir.Launch, 0, rows)
	s.s = b.Dim("S", ir.Launch, 1, maxSlots)
	s.m = b.Dim("M", ir.Launch, 0, rows)
	b.Dim("C", ir.Device, 0, int64(c.MaxContext))
	s.declareCaches()
	for _, n := range c.Needs() {
		bound, ok := bindings[n.Name]
		if !ok {
			return nil, fmt.Errorf("weight %s: bound to nothing, expected a tensor or random values", n.Name)
		}
		shape := []int64{int64(n.Rows), int64(n.Cols)}
		if n.Vector() {
			shape = shape[:1]
		}
		w := b.Weight(n.Name, bound.Elem(), shape...)
		s.weights[key{n.role.id, n.layer, n.Kind == KindBias}], s.columns[w] = w, bound.Columns
	}
	s.build()
	return b.Module()
}

// key finds a weight by its role.
type key struct {
	id    string
	layer int
	bias  bool
}

// step is the state of one Build.
type step struct {
	c        *Config
	b        *ir.Builder
	f        *ir.FuncBuilder
	n, s, m  types.Dim
	to       types.DType // of activations; invalid means f32
	weights  map[key]*ir.Weight
	ropes    map[bool]*ir.Value   // by "local"
	columns  map[*ir.Weight][]int // Binding.Columns
	gathered map[gather]*ir.Value
	pos      *ir.Value
	seq      *ir.Value
	layer    int
}

// gather is inputs put into the order of a weight's columns; the order as text.
type gather struct {
	x  *ir.Value
	by string
}

// inputs gives x in the order of a weight's columns: once for all weights of one order, which then stay siblings. A
// column is a head of one element, so that no op and no kernel is new.
func (s *step) inputs(x *ir.Value, w *ir.Weight) *ir.Value {
	from := s.columns[w]
	if from == nil {
		return x
	}
	k := gather{x, fmt.Sprint(from)}
	if s.gathered[k] == nil {
		one := s.f.Unflatten(x, 1)
		s.gathered[k] = s.f.Flatten(s.f.Op(ir.OpHeads, ir.HeadsAttrs{KV: from, Group: 1}, one))
	}
	return s.gathered[k]
}

// declareCaches declares a table for full layers, one for windowed layers, and a cache a layer.
func (s *step) declareCaches() {
	tables := map[string]bool{}
	for i := range s.c.Layers {
		t := ir.Table{Name: "full", Page: s.c.Page}
		if s.c.Windowed(i) {
			recent := s.c.Window - 1 // the query's own key is not counted
			t = ir.Table{Name: "window", Page: s.c.Page, Recent: &recent}
		}
		if !tables[t.Name] {
			tables[t.Name] = true
			s.b.Table(t)
		}
		s.b.Cache(ir.CacheDecl{Name: cacheName(i), Elem: types.Plain(s.c.CacheElem), Heads: s.c.KVHeads, Dim: s.c.HeadDim, Table: t.Name})
	}
}

func cacheName(layer int) string { return fmt.Sprintf("kv%d", layer) }

func (s *step) build() {
	i32 := types.Plain(types.I32)
	s.f = s.b.Func("step")
	tok := s.f.Param("tok", types.TensorOf(i32, s.n))
	s.pos = s.f.Param("pos", types.TensorOf(i32, s.n))
	s.seq = s.f.Param("seq", types.RowsOf(s.n, s.s))
	out := s.f.Param("out", types.TensorOf(i32, s.m))
	caches := make([]*ir.Value, s.c.Layers)
	for i := range caches {
		caches[i] = s.f.Param(cacheName(i), types.CacheOf(cacheName(i)))
	}
	s.layer = -1
	s.f.Scope("embed")
	x := s.f.Embed(tok, s.f.Weight(s.weight("embed")), s.to)
	if s.c.EmbedScale != 0 {
		x = s.f.Scale(x, s.c.EmbedScale)
	}
	for i := range caches {
		s.layer = i
		x, caches[i] = s.attention(x, caches[i])
		x = s.mlp(x)
	}
	s.layer = -1
	s.f.Scope("head")
	logits := s.head(s.f.Gather(x, out))
	argmax := s.f.Named("argmax", s.f.Op(ir.OpArgMax, nil, logits))
	sum := s.f.Named("logsumexp", s.f.Op(ir.OpLogSumExp, nil, logits))
	s.f.Return(append([]*ir.Value{logits, argmax, sum}, caches...)...)
}

func (s *step) attention(x, kv *ir.Value) (y, next *ir.Value) {
	c, f := s.c, s.f
	local := c.Windowed(s.layer)
	table := s.rope(local)
	f.Scope(fmt.Sprintf("layers.%d.attn", s.layer))
	h := s.norm("attn_norm", x)
	heads := func(id string) *ir.Value { return f.Unflatten(s.linear(id, h), c.HeadDim) }
	q, k, v := heads("q"), heads("k"), heads("v")
	if c.QKNorm {
		q, k = s.norm("q_norm", q), s.norm("k_norm", k)
	}
	q, k = f.Rope(q, table, c.Rope.Style), f.Rope(k, table, c.Rope.Style)
	next = f.Append(kv, k, v, s.seq)
	attrs := ir.AttentionAttrs{Scale: c.AttnScale, Cap: c.AttnCap}
	if local {
		recent := c.Window - 1
		attrs.Recent = &recent
	}
	o := s.linear("o", f.Flatten(f.Attention(q, next, s.seq, attrs)))
	if c.PostNorms {
		o = s.norm("post_attn_norm", o)
	}
	return f.Add(x, o), next
}

func (s *step) mlp(x *ir.Value) *ir.Value {
	f := s.f
	f.Scope(fmt.Sprintf("layers.%d.mlp", s.layer))
	h := s.norm("ffn_norm", x)
	gate, up := s.linear("gate", h), s.linear("up", h)
	switch s.c.Act {
	case SiLU:
		gate = f.SiLU(gate)
	default:
		gate = f.GELU(gate, s.c.Act == GELUTanh)
	}
	y := s.linear("down", f.Mul(gate, up))
	if s.c.PostNorms {
		y = s.norm("post_ffn_norm", y)
	}
	return f.Add(x, y)
}

// head makes f32 logits whatever the activations are.
func (s *step) head(x *ir.Value) *ir.Value {
	w := s.weight("embed")
	if !s.c.TiedEmbeddings {
		w = s.weight("head")
	}
	to := types.InvalidDType
	if s.to != types.InvalidDType {
		to = types.F32
	}
	logits := s.f.Linear(s.inputs(s.norm("norm", x), w), w, to)
	if s.c.FinalCap != 0 {
		logits = s.f.Softcap(logits, s.c.FinalCap)
	}
	return s.f.Named("logits", logits)
}

// rope returns the step's table of angles, made at its first use.
func (s *step) rope(windowed bool) *ir.Value {
	r := s.c.Rope
	local := windowed && r.LocalBase != 0
	if t := s.ropes[local]; t != nil {
		return t
	}
	a := ir.RopeTableAttrs{Dim: r.RotaryDim, Base: r.Base, Scaling: r.Scaling, Factors: r.Factors}
	switch r.Scaling {
	case ir.ScaleLinear:
		a.Factor = r.Factor
	case ir.ScaleLlama3:
		a.Factor, a.LowFreq, a.HighFreq, a.Original = r.Factor, r.Low, r.High, r.Original
	}
	if local {
		a = ir.RopeTableAttrs{Dim: r.RotaryDim, Base: r.LocalBase}
	}
	s.f.Scope("embed")
	t := s.f.RopeTable(s.pos, a)
	s.ropes[local] = t
	return t
}

func (s *step) weight(id string) *ir.Weight { return s.weights[key{id, s.layer, false}] }

func (s *step) norm(id string, x *ir.Value) *ir.Value {
	return s.f.RMSNorm(x, s.weight(id), s.c.NormEps, s.c.NormOffset)
}

// linear multiplies by a weight and adds its bias, if it has one.
func (s *step) linear(id string, x *ir.Value) *ir.Value {
	w := s.weight(id)
	y := s.f.Linear(s.inputs(x, w), w, types.InvalidDType)
	bias := s.weights[key{id, s.layer, true}]
	if bias == nil {
		return y
	}
	v := s.f.Weight(bias)
	if s.to != types.InvalidDType {
		v = s.f.Op(ir.OpCast, ir.ToAttrs{To: s.to}, v)
	}
	return s.f.Add(y, v)
}
