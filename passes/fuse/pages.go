package fuse

import (
	"quire/ir"
	"quire/ir/target"
	"quire/passes"
)

// Pages fuses the selection of pages.
func Pages(t target.Target) passes.Pass {
	return passes.Pass{
		Name: "fuse.pages",
		Doc: `Scores of pages, the best of them, and keeping these are one launch, with the choice of heads.

Invariants: exact. Scores never leave the launch: its last item of a row lists the
best pages.

	launch -> %e { page.estimate }  launch -> %p { page.topk %e }   =>   launch -> %p { page.estimate, page.topk }`,
		Requires: []passes.Prop{passes.Specialised},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Kernel, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			if err := pairs(c, t, m, f, "fuse-estimate-topk", func(w *view, p, l *ir.Value) bool {
				return within(p, []ir.Op{ir.OpPageEstimate}) && within(l, []ir.Op{ir.OpPageTopK}) && w.soleReader(p, l)
			}); err != nil {
				return err
			}
			if err := pairs(c, t, m, f, "fuse-heads-estimate", func(w *view, p, l *ir.Value) bool {
				return within(p, []ir.Op{ir.OpHeads}) && holds(l, ir.OpPageEstimate) && w.soleReader(p, l)
			}); err != nil {
				return err
			}
			return pairs(c, t, m, f, "fuse-topk-keep", func(w *view, p, l *ir.Value) bool {
				return holds(p, ir.OpPageTopK) && within(l, []ir.Op{ir.OpPageKeep}) && w.soleReader(p, l)
			})
		}),
	}
}
