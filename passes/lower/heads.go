package lower

import (
	"fmt"

	"quire/ir"
	"quire/ir/work"
)

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
