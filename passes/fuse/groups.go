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

// Stores fuses appends to the two quantised caches of a layer.
func Stores(t target.Target) passes.Pass {
	return passes.Pass{
		Name: "fuse.stores",
		Doc: `Appends of heads of the same keys and values to two quantised caches are one launch.

Invariants: exact. Where caches are of floats the linear appends to both.

	launch -> %r { heads, kv.append }  launch -> %s { heads, kv.append }
	=>  launch -> %r, %s { heads, kv.append, heads, kv.append }`,
		Requires: []passes.Prop{passes.Specialised},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Kernel, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			return stores(c, t, m, f)
		}),
	}
}

// appended is what the keys (arg 1) or values (2) that a part appends are heads of.
func appended(p *ir.Part, arg int) *ir.Value {
	i := slices.IndexFunc(p.Body, func(v *ir.Value) bool { return v.Op == ir.OpAppend })
	k := p.Body[i].Args[arg]
	for slices.Contains(p.Body, k) {
		k = k.Args[0]
	}
	return k
}

func stores(c *passes.Context, t target.Target, m *ir.Module, f *ir.Func) error {
	type pair struct{ k, v *ir.Value }
	before := map[pair]*ir.Value{} // the append of heads of keys and values that has no fellow yet
	for _, l := range slices.Clone(f.Body) {
		w := newView(t, m, f)
		if l.Op != ir.OpLaunch || !within(l, []ir.Op{ir.OpHeads, ir.OpAppend}) || !holds(l, ir.OpHeads) || !holds(l, ir.OpAppend) || !w.quantises([]*ir.Value{l}) {
			continue
		}
		of := pair{appended(part(l), 1), appended(part(l), 2)}
		other := before[of]
		if other == nil {
			before[of] = l
			continue
		}
		i := slices.Index(f.Body, l)
		f.Body = slices.Insert(slices.Delete(f.Body, i, i+1), 1+slices.Index(f.Body, other), l) // it reads what the other does, and its cache is no one's before
		w = newView(t, m, f)
		if ok, err := w.try([]*ir.Value{other, l}); !ok {
			c.Missed("fuse-stores", f, l, "%s: %v", l.Scope, err)
			continue
		}
		c.Count("fuse-stores")
	}
	return nil
}
