package fuse

import (
	"slices"

	"quire/ir"
	"quire/ir/target"
	"quire/passes"
)

// HeadGroups fuses attention over two caches of one layer.
func HeadGroups(t target.Target) passes.Pass {
	return passes.Pass{
		Name: "fuse.head-groups",
		Doc: `Attention of retrieval heads, of streaming heads, and what merges them are one launch.

Invariants: exact. Queries are read and outputs written where the heads stand in the
checkpoint, by a list that comes with the launch.

	launch -> %r { attention }  launch -> %s { attention }  launch -> %a { heads.merge %r, %s }
	=>  launch -> %a { heads, attention, heads, attention, heads.merge }`,
		Requires: []passes.Prop{passes.Specialised},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Kernel, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			return headGroups(c, t, m, f)
		}),
	}
}

func headGroups(c *passes.Context, t target.Target, m *ir.Module, f *ir.Func) error {
	for _, l := range slices.Clone(f.Body) {
		if l.Op != ir.OpLaunch || !within(l, []ir.Op{ir.OpHeadsMerge}) || !holds(l, ir.OpHeadsMerge) {
			continue
		}
		w := newView(t, m, f)
		cluster := []*ir.Value{l}
		for _, p := range w.producers(l) {
			if w.soleReader(p, l) && (holds(p, ir.OpAttention) || holds(p, ir.OpAttentionPaged)) {
				cluster = append(cluster, p)
			}
		}
		ok, err := w.try(cluster)
		if ok {
			c.Count("fuse-head-groups")
			continue
		}
		c.Missed("fuse-head-groups", f, l, "%s: %v", l.Scope, err)
	}
	return nil
}
