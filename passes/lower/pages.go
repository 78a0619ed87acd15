package lower

import (
	"fmt"

	"quire/ir"
	"quire/ir/types"
	"quire/ir/work"
)

// PickSplit is the number of tokens of one item of decode attention over picked pages:
// fewer than DecodeSplit, for a budget is what two workers would share.
const PickSplit = 256

// matchSelect takes an estimate and the best of its pages, perhaps kept.
func matchSelect(b *body) (Found, error) {
	top, keep := b.first(ir.OpPageTopK), b.first(ir.OpPageKeep)
	if err := b.only(ir.OpHeads, ir.OpPageEstimate, ir.OpPageTopK, ir.OpPageKeep); err != nil {
		return Found{}, err
	}
	est := top.Args[0]
	if !b.in[est] || est.Op != ir.OpPageEstimate || b.count(ir.OpPageEstimate) != 1 || b.count(ir.OpPageTopK) != 1 {
		return Found{}, fmt.Errorf("no kernel computes it without its page.estimate")
	}
	c, page, err := b.cacheOf(est.Args[1])
	if err != nil {
		return Found{}, err
	}
	q, of, err := b.scored(est)
	if err != nil {
		return Found{}, err
	}
	a := est.Attrs.(ir.EstimateAttrs)
	p := work.PageSelect{Heads: constant(est.Args[0].Type.Shape[1]), KVHeads: c.Heads, Dim: c.Dim, Scale: float32(a.Scale), PerHead: a.Per == ir.PerHead,
		CacheEnc: cacheEnc(c), Page: page, Summary: b.summary(c), Budget: top.Attrs.(ir.TopKAttrs).Budget}
	if of != nil {
		p.Among, p.List = constant(of.Args[0].Type.Shape[1]), of.Attrs.(ir.HeadsAttrs).KV
	}
	vals := map[string]*ir.Value{"q": q, "cache": est.Args[1]}
	name, last := "pick", top
	if keep != nil {
		if keep.Args[1] != top {
			return Found{}, fmt.Errorf("keeps another pick than that of its body")
		}
		p.Every, name, last = keep.Attrs.(ir.KeepAttrs).Every, "kept", keep
	}
	if vals[name], err = b.result(last); err != nil {
		return Found{}, err
	}
	k := Found{p, vals}
	if b.gpu() {
		g := work.PageSelectGPU{PageSelect: p, Blocks: SelectBlocksPerSM * b.t.Multiprocessors, Keys: KeysGPU}
		k.Kernel = g
	}
	return k, f32s(q)
}

// matchEstimate says why scores stand alone: no kernel has them without what picks pages.
func matchEstimate(b *body) (Found, error) {
	c, page, err := b.cacheOf(b.first(ir.OpPageEstimate).Args[1])
	if err != nil {
		return Found{}, err
	}
	if per := page / max(1, b.summary(c)); b.gpu() && (per&(per-1) != 0 || per > 16) {
		return Found{}, fmt.Errorf("%d summaries of a page, expected a power of two up to 16 on a GPU", per)
	}
	return Found{}, fmt.Errorf("no kernel scores pages without picking some")
}

// scored is what holds the queries of an estimate: a buffer, or one that heads are taken of
// inside the body.
func (b *body) scored(est *ir.Value) (q, of *ir.Value, err error) {
	of = b.under(est.Args[0])
	if !b.in[of] || of.Op != ir.OpHeads {
		q, err = b.outer(est.Args[0])
		return q, nil, err
	}
	q, err = b.outer(of.Args[0])
	return q, of, err
}

// matchPaged takes attention over picked pages.
func matchPaged(b *body) (Found, error) {
	att := b.first(ir.OpAttentionPaged)
	if err := b.only(ir.OpAttentionPaged); err != nil {
		return Found{}, err
	}
	p, vals, err := attention(b, att)
	if err != nil {
		return Found{}, err
	}
	if err := picked(b, att, &p, vals); err != nil {
		return Found{}, err
	}
	k := Found{p, vals}
	if b.gpu() {
		k.Kernel = attentionGPU(b.t, p)
	}
	return k, f32s(vals["q"], vals["o"])
}

// picked adds the picked pages to attention.
func picked(b *body, att *ir.Value, p *work.Attention, vals map[string]*ir.Value) error {
	pick, err := b.outer(att.Args[3])
	if err != nil {
		return err
	}
	vals["pick"] = pick
	heads := 0
	if pick.Type.Kind == types.Cache {
		c := b.m.Cache(pick.Type.Cache)
		p.Kept, heads, p.Budget = true, c.Heads, c.Dim
	} else {
		heads, p.Budget = constant(pick.Type.Shape[1]), constant(pick.Type.Shape[2])
	}
	p.PerHead = heads != p.KVHeads
	if singleRows(b.f) {
		p.Phase, p.Split = work.Decode, splitOf(PickSplit, p.Page)
	}
	return nil
}
