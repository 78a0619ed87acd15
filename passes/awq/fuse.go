package awq

import (
	"quire/ir"
	"quire/passes"
	"quire/passes/rewrite"
)

// FuseDequantGemm fuses dequants into the matmuls that read them.
func FuseDequantGemm() passes.Pass {
	return passes.Pass{
		Name: "awq.fuse-dequant-gemm",
		Doc: `A matmul of a dequant reads the quantised weight itself.

Invariants: exact in the oracle (the same floats are multiplied). A dequant that
feeds anything but a matmul's weight stays, and the miss says which user.

	%w: f32[R, K] = dequant @w        =>   %y: f32[N, R] = matmul %x, @w
	%y: f32[N, R] = matmul %x, %w`,
		Sets:     []passes.Prop{passes.DequantFused},
		Clears:   []passes.Prop{passes.Canonical},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Graph, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			misses(c, f)
			return rewrite.Fixpoint(c, m, f, fuseGemm)
		}),
	}
}

var fuseGemm = rewrite.Rule{
	Name: "fuse-gemm",
	Doc:  "matmul %x, (dequant @w) => matmul %x, @w",
	Ops:  []ir.Op{ir.OpMatMul},
	Apply: func(s *rewrite.Site, v *ir.Value) (*ir.Value, error) {
		w := v.Args[1]
		if w.Op != ir.OpDequant || w.Args[0].Op != ir.OpWeight {
			return nil, nil
		}
		return s.New(ir.OpMatMul, v.Attrs, v.Args[0], w.Args[0])
	},
}

// misses records, for each dequant, the users that keep it.
func misses(c *passes.Context, f *ir.Func) {
	uses := f.Uses()
	names := ir.Names(f)
	for _, v := range f.Body {
		if v.Op != ir.OpDequant {
			continue
		}
		for _, u := range uses[v] {
			switch {
			case u == nil:
				c.Missed(fuseGemm.Name, f, v, "it is returned")
			case u.Op != ir.OpMatMul:
				c.Missed(fuseGemm.Name, f, v, "user %s is %s, not matmul", names[u], u.Op)
			case u.Args[1] != v:
				c.Missed(fuseGemm.Name, f, v, "user %s multiplies it as activations", names[u])
			}
		}
	}
}
