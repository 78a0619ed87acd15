package codegen

import (
	"quire/ir"
	"quire/ir/types"
	"quire/ir/types/block"
)

// cost is what a part must move and compute, from its body alone: the operands it
// reads once and writes once, the rows it takes of a table, the products it sums. What it
// reads of a cache depends on the lengths of sequences: see work.Reader.
type cost struct{ bytes, flops types.Dim }

func costOf(m *ir.Module, p *ir.Part) cost {
	var c cost
	inside := map[*ir.Value]bool{}
	seen := map[*ir.Value]bool{}
	for _, v := range p.Body {
		inside[v] = true
		for i, a := range v.Args {
			if inside[a] || seen[a] {
				continue
			}
			seen[a] = true
			c.bytes = c.bytes.Add(readBytes(m, v, i, a))
		}
		c.flops = c.flops.Add(flops(v))
	}
	for _, y := range p.Yield {
		if y.Type.IsTensor() {
			c.bytes = c.bytes.Add(size(y.Type))
		} else if y.Op == ir.OpAppend {
			c.bytes = c.bytes.Add(y.Args[1].Type.Shape[0].Mul(perToken(m.Cache(y.Type.Cache))))
		}
	}
	return c
}

// size is the bytes of a whole tensor.
func size(t types.Type) types.Dim {
	if !t.Elem.IsQuantised() {
		return t.Shape.Size().MulInt(int64(t.Elem.DType.Bytes()))
	}
	e, ok := block.Lookup(t.Elem.Quant)
	k, _ := t.Shape[len(t.Shape)-1].IsConst()
	if !ok {
		return types.Dim{}
	}
	row, err := e.RowBytes(k)
	if err != nil {
		return types.Dim{}
	}
	n := types.Const(row)
	for _, d := range t.Shape[:len(t.Shape)-1] {
		n = n.Mul(d)
	}
	return n
}

// readBytes is what op v reads of argument i.
func readBytes(m *ir.Module, v *ir.Value, i int, a *ir.Value) types.Dim {
	switch {
	case v.Op == ir.OpEmbed && i == 1:
		return size(a.Type.With(v.Type.Shape...))
	case v.Op == ir.OpGather && i == 0:
		return size(v.Type)
	case a.Type.IsTensor():
		return size(a.Type)
	}
	return types.Dim{}
}

// perToken is the bytes of keys and values of one token.
func perToken(c *ir.CacheDecl) types.Dim {
	return types.Const(int64(2 * c.Heads * c.Dim * c.Elem.DType.Bytes()))
}

func flops(v *ir.Value) types.Dim {
	switch v.Op {
	case ir.OpMatMul:
		return v.Type.Shape.Size().Mul(v.Args[1].Type.Last()).MulInt(2)
	}
	return types.Dim{}
}
