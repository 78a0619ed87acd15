package lower

import (
	"fmt"

	"quire/ir"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// DecodeSplit is the number of cached tokens of one item of decode attention.
const DecodeSplit = 512

func cacheEnc(c *ir.CacheDecl) layout.Enc { return layout.Enc(c.Elem.String()) }

// matchStore takes an append, or two of the heads of the same keys and values.
func matchStore(b *body) (Found, error) {
	if b.count(ir.OpAppend) == 2 {
		return matchStores(b)
	}
	app := b.first(ir.OpAppend)
	if err := b.only(ir.OpAppend); err != nil {
		return Found{}, err
	}
	c, page, err := b.cacheOf(app)
	if err != nil {
		return Found{}, err
	}
	k, err := b.outer(app.Args[1])
	if err != nil {
		return Found{}, err
	}
	v, err := b.outer(app.Args[2])
	if err != nil {
		return Found{}, err
	}
	d, err := b.result(app)
	if err != nil {
		return Found{}, err
	}
	return Found{work.KVStore{KVHeads: c.Heads, Dim: c.Dim, CacheEnc: cacheEnc(c), Page: page, Summary: b.summary(c)},
		map[string]*ir.Value{"k": k, "v": v, "cache": d}}, f32s(k, v)
}

// matchStores takes appends to two caches that quantise. Others are the linear's.
func matchStores(b *body) (Found, error) {
	if err := b.only(ir.OpAppend, ir.OpHeads); err != nil {
		return Found{}, err
	}
	if len(b.part.Yield) != 2 {
		return Found{}, fmt.Errorf("yields %d values, expected two caches", len(b.part.Yield))
	}
	vals := map[string]*ir.Value{}
	h, k, v, err := b.twoCaches(vals)
	if err != nil {
		return Found{}, err
	}
	if vals["k"], err = b.outer(k); err != nil {
		return Found{}, err
	}
	if vals["v"], err = b.outer(v); err != nil {
		return Found{}, err
	}
	p := work.KVStore{KVHeads: h.KVHeads, Dim: h.Dim, CacheEnc: h.CacheEnc, Page: h.Page, Summary: h.Summary, Stream: h.Stream, Place: h.Place}
	if !work.Quantises(string(p.CacheEnc)) {
		return Found{}, fmt.Errorf("two caches of %s, expected a linear to append to them, or quantised ones", p.CacheEnc)
	}
	return Found{p, vals}, f32s(vals["k"], vals["v"])
}

func matchAttention(b *body) (Found, error) {
	att := b.first(ir.OpAttention)
	if err := b.only(ir.OpAttention); err != nil {
		return Found{}, err
	}
	p, vals, err := attention(b, att)
	if err != nil {
		return Found{}, err
	}
	if singleRows(b.f) {
		p.Phase, p.Split = work.Decode, splitOf(DecodeSplit, p.Page)
	}
	k := Found{p, vals}
	if b.gpu() {
		k.Kernel = attentionGPU(b.t, p)
	}
	return k, f32s(vals["q"], vals["o"])
}

// splitOf is about as many tokens as wanted in whole pages, one at least.
func splitOf(tokens, page int) int { return page * max(1, tokens/page) }

// attention is what attention over all and over picked pages share.
func attention(b *body, att *ir.Value) (p work.Attention, vals map[string]*ir.Value, err error) {
	q, err := b.outer(att.Args[0])
	if err != nil {
		return p, nil, err
	}
	d, err := b.result(att)
	if err != nil {
		return p, nil, err
	}
	p, err = masked(b, att)
	return p, map[string]*ir.Value{"q": q, "cache": att.Args[1], "o": d}, err
}

// masked is attention over what a mask admits of a cache.
func masked(b *body, att *ir.Value) (p work.Attention, err error) {
	c, page, err := b.cacheOf(att.Args[1])
	if err != nil {
		return p, err
	}
	a := att.Attrs.(ir.AttentionAttrs)
	t := b.m.Table(c.Table)
	chunked := t.Chunk > 0 && a.Recent == nil // what the cache keeps, and the chunk
	if chunked {
		a.Sink, a.Recent = t.Sink, t.Recent
	}
	if t.Recent != nil && (a.Recent == nil || *a.Recent > *t.Recent || a.Sink > t.Sink) {
		return p, fmt.Errorf("the mask admits tokens that table @%s has dropped, expected its sink and recent", t.Name)
	}
	p = work.Attention{Phase: work.Prefill, Heads: constant(att.Type.Shape[1]), KVHeads: c.Heads, Dim: c.Dim,
		Scale: float32(a.Scale), Sink: a.Sink, Softcap: float32(a.Cap), CacheEnc: cacheEnc(c), Page: page, Summary: b.summary(c)}
	if a.Recent != nil {
		p.Window = *a.Recent + 1
	}
	p.Chunked = chunked && !singleRows(b.f) // one new row sees the same either way
	return p, nil
}

func matchEmbed(b *body) (Found, error) {
	e := b.first(ir.OpEmbed)
	if err := b.only(ir.OpEmbed, ir.OpScale); err != nil {
		return Found{}, err
	}
	w := e.Args[1]
	if w.Op != ir.OpWeight {
		return Found{}, fmt.Errorf("table is %s, expected a weight", w.Op)
	}
	p := work.Embed{Enc: enc(w), Vocab: constant(w.Type.Shape[0]), Dim: constant(w.Type.Shape[1])}
	y := e
	if s := b.first(ir.OpScale); s != nil {
		if s.Args[0] != e || b.count(ir.OpScale) != 1 {
			return Found{}, fmt.Errorf("a scale of something else")
		}
		p.Scale, y = float32(s.Attrs.(ir.ScaleAttrs).By), s
	}
	d, err := b.result(y)
	if err != nil {
		return Found{}, err
	}
	return Found{p, map[string]*ir.Value{"tok": e.Args[0], "w": w, "y": d}}, f32s(y)
}

func matchRopeTable(b *body) (Found, error) {
	t := b.first(ir.OpRopeTable)
	if err := b.only(ir.OpRopeTable); err != nil {
		return Found{}, err
	}
	d, err := b.result(t)
	if err != nil {
		return Found{}, err
	}
	a := t.Attrs.(ir.RopeTableAttrs)
	return Found{work.RopeTable{RotaryDim: a.Dim, Freq: ir.RopeFreqs(a)}, map[string]*ir.Value{"pos": t.Args[0], "cs": d}}, nil
}

func matchRope(b *body) (Found, error) {
	r := b.first(ir.OpRope)
	if err := b.only(ir.OpRope); err != nil {
		return Found{}, err
	}
	x, err := b.outer(r.Args[0])
	if err != nil {
		return Found{}, err
	}
	d, err := b.result(r)
	if err != nil {
		return Found{}, err
	}
	return Found{work.Rope{Heads: constant(r.Type.Shape[1]), Dim: constant(r.Type.Shape[2]),
		RotaryDim: 2 * constant(r.Args[1].Type.Shape[1]), Style: styleOf(r)},
		map[string]*ir.Value{"x": x, "cs": r.Args[1], "y": d}}, f32s(x)
}

// matchNorm takes rmsnorm alone, of gathered rows, or added to a residual; on a GPU rounded,
// too, and of a residual that a branch joins.
func matchNorm(b *body) (Found, error) {
	n := b.last(ir.OpRMSNorm)
	if err := b.only(ir.OpRMSNorm, ir.OpGather, ir.OpAdd, ir.OpRound); err != nil {
		return Found{}, err
	}
	norms := b.count(ir.OpRMSNorm)
	p := work.Norm{Dim: constant(n.Type.Last()), RMS: rms(n)}
	for _, d := range n.Type.Shape[1 : len(n.Type.Shape)-1] {
		p.Per = max(1, p.Per) * constant(d)
	}
	vals := map[string]*ir.Value{"g": n.Args[1]}
	x := b.under(n.Args[0])
	if b.in[x] && x.Op == ir.OpGather {
		p.Gather = true
		vals["out"] = x.Args[1]
		x = x.Args[0]
	}
	var err error
	if b.in[x] && x.Op == ir.OpAdd && b.gpu() {
		if p.Join, err = b.branch(x, vals); err != nil {
			return Found{}, err
		}
		norms--
	} else if x, err = b.outer(x); err != nil {
		return Found{}, err
	} else {
		vals["x"] = x
	}
	if norms != 1 {
		return Found{}, fmt.Errorf("%d norms in one body", norms)
	}
	y := n
	if add := b.reader(n); add != nil && add.Op == ir.OpAdd {
		res := add.Args[0]
		if res == n {
			res = add.Args[1]
		}
		if p.Add, y = true, add; !res.Type.Equal(n.Type) {
			return Found{}, fmt.Errorf("added to %s, expected %s", res.Type, n.Type)
		}
		if vals["res"], err = b.outer(res); err != nil {
			return Found{}, err
		}
	}
	y, p.Round, err = b.rounding(y)
	if err != nil {
		return Found{}, err
	}
	d, err := b.result(y)
	if err != nil {
		return Found{}, err
	}
	vals["y"] = d
	return Found{p, vals}, f32s(vals["x"], d)
}

// rounding follows v to what rounds it, if the body does.
func (b *body) rounding(v *ir.Value) (*ir.Value, *work.Round, error) {
	r := b.reader(v)
	if r == nil || r.Op != ir.OpRound {
		return v, nil, nil
	}
	if !b.gpu() {
		return nil, nil, fmt.Errorf("rounds its result, expected a GPU's kernel")
	}
	to, err := roundTo(r)
	return r, &work.Round{Dim: constant(v.Type.Last()), To: to}, err
}

func matchGather(b *body) (Found, error) {
	g := b.first(ir.OpGather)
	if err := b.only(ir.OpGather); err != nil {
		return Found{}, err
	}
	x, err := b.outer(g.Args[0])
	if err != nil {
		return Found{}, err
	}
	d, err := b.result(g)
	if err != nil {
		return Found{}, err
	}
	n := 1
	for _, e := range g.Type.Shape[1:] {
		n *= constant(e)
	}
	return Found{work.Gather{Dim: n}, map[string]*ir.Value{"x": x, "out": g.Args[1], "y": d}}, f32s(x)
}

func matchReduce(b *body) (Found, error) {
	if len(b.part.Body) != 1 {
		return Found{}, fmt.Errorf("%d ops beside it", len(b.part.Body)-1)
	}
	v := b.part.Body[0]
	x, err := b.outer(v.Args[0])
	if err != nil {
		return Found{}, err
	}
	p := work.Reduce{Vocab: constant(x.Type.Last()), Op: work.ArgMax}
	if v.Op == ir.OpLogSumExp {
		p.Op = work.LogSumExp
	}
	return Found{p, map[string]*ir.Value{"x": x, "y": b.part.Dst[0]}}, f32s(x)
}

// matchSlice takes a slice alone: a copy of columns.
func matchSlice(b *body) (Found, error) {
	s := b.first(ir.OpSlice)
	if len(b.part.Body) != 1 || len(s.Type.Shape) != 2 {
		return Found{}, fmt.Errorf("no kernel computes it with what is beside it")
	}
	x, err := b.outer(s.Args[0])
	if err != nil {
		return Found{}, err
	}
	a := s.Attrs.(ir.SliceAttrs)
	return Found{work.Slice{Dim: constant(x.Type.Last()), First: a.First, Count: a.Count},
		map[string]*ir.Value{"x": x, "y": b.part.Dst[0]}}, f32s(x)
}
