package lower

import (
	"fmt"
	"slices"

	"quire/ir"
	"quire/ir/work"
)

// matchMerged takes attention of both groups of heads with what merges it, or a merge alone.
func matchMerged(b *body) (Found, error) {
	if !b.has(ir.OpAttention) {
		return matchMerge(b)
	}
	m := b.first(ir.OpHeadsMerge)
	if err := b.only(ir.OpHeads, ir.OpAttention, ir.OpAttentionPaged, ir.OpHeadsMerge); err != nil {
		return Found{}, err
	}
	if b.gpu() && !singleRows(b.f) {
		return Found{}, fmt.Errorf("no kernel of a GPU takes blocks of rows through two caches, expected one of each")
	}
	o, err := b.result(m)
	if err != nil {
		return Found{}, err
	}
	p, vals, a := work.HeadGroups{}, map[string]*ir.Value{"o": o}, m.Attrs.(ir.MergeAttrs)
	for i, class := range []*work.Attention{&p.Full, &p.Stream} {
		att := b.under(m.Args[i])
		if !b.in[att] || att.Op != ir.OpAttention && att.Op != ir.OpAttentionPaged {
			return Found{}, fmt.Errorf("arg %d of the merge is %s, expected attention", i+1, att.Op)
		}
		q, err := b.headsOf(att.Args[0], a.KV[i], a.Group)
		if err != nil {
			return Found{}, err
		}
		if vals["q"] != nil && vals["q"] != q {
			return Found{}, fmt.Errorf("queries of two tensors")
		}
		vals["q"], vals[[]string{"cache", "stream"}[i]] = q, att.Args[1]
		if *class, err = masked(b, att); err != nil {
			return Found{}, err
		}
		if singleRows(b.f) {
			class.Phase, class.Split = work.Decode, splitOf(DecodeSplit, class.Page)
		}
		if att.Op == ir.OpAttentionPaged {
			if err := picked(b, att, class, vals); err != nil {
				return Found{}, err
			}
		}
		p.List = append(p.List, a.KV[i]...)
	}
	k := Found{p, vals}
	if b.gpu() {
		for _, class := range []*work.Attention{&p.Full, &p.Stream} {
			class.Split = splitOf(SplitGPU, class.Page)
		}
		k.Kernel = work.HeadGroupsGPU{HeadGroups: p, Blocks: work.BlocksPerSM(p.Full.CacheEnc) * b.t.Multiprocessors}
	}
	return k, f32s(vals["q"], o)
}

// headsOf is what the listed heads are taken of, inside the body.
func (b *body) headsOf(v *ir.Value, kv []int, group int) (*ir.Value, error) {
	h := b.under(v)
	if !b.in[h] || h.Op != ir.OpHeads {
		return nil, fmt.Errorf("%s, expected heads taken inside", h.Op)
	}
	if a := h.Attrs.(ir.HeadsAttrs); a.Group != group || !slices.Equal(a.KV, kv) {
		return nil, fmt.Errorf("heads of %v in groups of %d, expected %v of %d", a.KV, a.Group, kv, group)
	}
	return b.outer(h.Args[0])
}

// matchHeads takes a selection of heads alone.
func matchHeads(b *body) (Found, error) {
	h := b.first(ir.OpHeads)
	if err := b.only(ir.OpHeads); err != nil {
		return Found{}, err
	}
	x, err := b.outer(h.Args[0])
	if err != nil {
		return Found{}, err
	}
	d, err := b.result(h)
	if err != nil {
		return Found{}, err
	}
	a, t := h.Attrs.(ir.HeadsAttrs), h.Args[0].Type
	if len(t.Shape) != 3 {
		return Found{}, fmt.Errorf("heads of type %s, expected rows of heads", t)
	}
	return Found{work.TakeHeads{Total: constant(t.Shape[1]), Dim: constant(t.Shape[2]), List: headList(a.KV, a.Group)},
		map[string]*ir.Value{"x": x, "y": d}}, f32s(x)
}

// matchMerge takes a merge of head groups alone.
func matchMerge(b *body) (Found, error) {
	m := b.first(ir.OpHeadsMerge)
	if err := b.only(ir.OpHeadsMerge); err != nil {
		return Found{}, err
	}
	x, err := b.outer(m.Args[0])
	if err != nil {
		return Found{}, err
	}
	y, err := b.outer(m.Args[1])
	if err != nil {
		return Found{}, err
	}
	d, err := b.result(m)
	if err != nil {
		return Found{}, err
	}
	a := m.Attrs.(ir.MergeAttrs)
	var from []int // where each head of the result comes from, first argument then second
	for _, kv := range a.KV {
		from = append(from, headList(kv, a.Group)...)
	}
	list := make([]int, len(from))
	for i, h := range from {
		list[h] = i
	}
	return Found{work.MergeHeads{A: constant(m.Args[0].Type.Shape[1]), B: constant(m.Args[1].Type.Shape[1]),
		Dim: constant(m.Type.Shape[2]), List: list}, map[string]*ir.Value{"a": x, "b": y, "y": d}}, f32s(x, y)
}

// headList spells groups of consecutive heads out.
func headList(kv []int, group int) []int {
	var out []int
	for _, h := range kv {
		for g := range group {
			out = append(out, h*group+g)
		}
	}
	return out
}
