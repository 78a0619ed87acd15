// Package dots trades the exactness of products for speed, by name: activations
// are rounded to bf16, or to 8-bit integers in blocks of 32, before each linear; for a GPU
// to what its tensor cores take.
//
// Border law: imports quire/ir, quire/passes and quire/passes/rewrite.
package dots

import (
	"quire/ir"
	"quire/ir/types"
	"quire/passes"
	"quire/passes/rewrite"
)

// RoundActivations rounds the operands of every linear for the given dot.
func RoundActivations(dot ir.Dot) passes.Pass {
	return passes.Pass{
		Name: "dots.round-activations",
		Doc: `Linears multiply rounded activations.

Approximates: exact only where the activations are already representable (bf16 values;
multiples of max|x|/127 in each block of 32). A linear whose K is no multiple of 32 is
left exact under i8, and the miss says so.

	%y = matmul %x, @w   =>   %r = round %x {to = i8}
	                          %y = matmul %r, @w {dot = i8}`,
		Requires: []passes.Prop{passes.DequantFused},
		Clears:   []passes.Prop{passes.Canonical},
		Numerics: passes.Approximates,
		Run: passes.OnFuncs(ir.Graph, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			return rewrite.Fixpoint(c, m, f, rule(func(*ir.Value) ir.Dot { return dot }))
		}),
	}
}

// TensorCores rounds the operands of every linear as a GPU's matrix units take them.
func TensorCores() passes.Pass {
	return passes.Pass{
		Name: "dots.tensor-cores",
		Doc: `Linears multiply what tensor cores take.

Activations are rounded to bf16 where the weight is bf16, else to f16; sums stay f32.

Approximates: exact only where the activations are already representable.

	%y = matmul %x, @w   =>   %r = round %x {to = f16}
	                          %y = matmul %r, @w {dot = f16}`,
		Requires: []passes.Prop{passes.DequantFused},
		Clears:   []passes.Prop{passes.Canonical},
		Numerics: passes.Approximates,
		Run: passes.OnFuncs(ir.Graph, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			return rewrite.Fixpoint(c, m, f, rule(tensorDot))
		}),
	}
}

// tensorDot is how tensor cores form products with a weight.
func tensorDot(w *ir.Value) ir.Dot {
	if e := w.Type.Elem; !e.IsQuantised() && e.DType == types.BF16 {
		return ir.DotBF16
	}
	return ir.DotF16
}

func rule(dotOf func(w *ir.Value) ir.Dot) rewrite.Rule {
	return rewrite.Rule{
		Name: "round-activations",
		Doc:  "matmul %x, @w => matmul (round %x), @w",
		Ops:  []ir.Op{ir.OpMatMul},
		Apply: func(s *rewrite.Site, v *ir.Value) (*ir.Value, error) {
			a := v.Attrs.(ir.MatMulAttrs)
			if a.Dot != ir.DotF32 || v.Args[1].Op != ir.OpWeight {
				return nil, nil
			}
			dot := dotOf(v.Args[1])
			if k, _ := v.Args[1].Type.Last().IsConst(); dot == ir.DotI8 && k%32 != 0 {
				s.Missed(v, "K is %d, no multiple of 32", k)
				return nil, nil
			}
			r, err := s.New(ir.OpRound, ir.RoundAttrs{To: dot}, v.Args[0])
			if err != nil {
				return nil, err
			}
			a.Dot = dot
			return s.New(ir.OpMatMul, a, r, v.Args[1])
		},
	}
}
