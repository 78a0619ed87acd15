package fuse

import (
	"errors"
	"slices"

	"quire/ir"
	"quire/ir/target"
	"quire/passes"
	"quire/passes/lower"
)

var errCrosses = errors.New("a launch in between depends on the order")

// RopeAppend fuses the q, k, v linear with what prepares heads for attention.
func RopeAppend(t target.Target) passes.Pass {
	return passes.Pass{
		Name: "fuse.rope-append",
		Doc: `The merged q, k, v linear takes bias, head norms, rotation and cache append.

Invariants: exact. The cluster is the linear and every launch after it that only
adds a bias, norms heads, takes some of them, rotates or appends. A quantised cache takes
whole heads: the linear leaves keys and values in buffers, and one launch appends them.

	launch -> %qkv { matmul }  launch -> %q { rope }  launch -> %kv { rope, kv.append }
	=>  launch -> %q, %kv { matmul, rope, rope, kv.append }`,
		Requires: []passes.Prop{passes.Specialised},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Kernel, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			return ropeAppend(c, t, m, f)
		}),
	}
}

// headOps may stand between the linear and the cache; the last two where the linear itself
// appends.
var headOps = []ir.Op{ir.OpSlice, ir.OpAdd, ir.OpRMSNorm, ir.OpRope, ir.OpHeads, ir.OpAppend}

func ropeAppend(c *passes.Context, t target.Target, m *ir.Module, f *ir.Func) error {
	for _, l := range slices.Clone(f.Body) {
		if l.Op != ir.OpLaunch || !holds(l, ir.OpMatMul) {
			continue
		}
		w := newView(t, m, f)
		cluster := w.forward(l, headOps)
		if !slices.ContainsFunc(cluster, func(x *ir.Value) bool { return holds(x, ir.OpAppend) }) {
			continue
		}
		ok, err := w.try(cluster)
		if !ok && w.quantises(cluster) { // what it stores has a kernel of its own
			apart := w.inOrder(w.forward(l, headOps[:len(headOps)-2]))
			if len(apart) == 1 {
				continue
			}
			ok, err = w.try(apart)
		}
		if ok {
			c.Count("fuse-rope-append")
		} else {
			c.Missed("fuse-rope-append", f, l, "%s: %v", l.Scope, err)
		}
	}
	return nil
}

// quantises reports whether a launch appends to a quantised cache.
func (w *view) quantises(ls []*ir.Value) bool {
	for _, l := range ls {
		for _, v := range part(l).Body {
			if v.Op == ir.OpAppend && w.m.Cache(v.Type.Cache).Elem.IsQuantised() {
				return true
			}
		}
	}
	return false
}

// forward is l and the launches reached through buffers whose ops are all among
// those given (views aside), but for a mere choice of heads: another reads that.
func (w *view) forward(l *ir.Value, ops []ir.Op) []*ir.Value {
	cluster := []*ir.Value{l}
	for i := 0; i < len(cluster); i++ {
		for _, d := range part(cluster[i]).Dst {
			for _, r := range w.readers[d] {
				if !slices.Contains(cluster, r) && within(r, ops) && !within(r, []ir.Op{ir.OpHeads}) {
					cluster = append(cluster, r)
				}
			}
		}
	}
	return cluster
}

func holds(l *ir.Value, op ir.Op) bool {
	return slices.ContainsFunc(part(l).Body, func(v *ir.Value) bool { return v.Op == op })
}

func within(l *ir.Value, ops []ir.Op) bool {
	for _, v := range part(l).Body {
		if !v.Op.Info().View && !slices.Contains(ops, v.Op) {
			return false
		}
	}
	return true
}

// Pointwise fuses chains of elementwise launches.
func Pointwise(t target.Target) passes.Pass {
	return passes.Pass{
		Name: "fuse.pointwise",
		Doc: `An elementwise launch whose only reader is elementwise moves into it.

Invariants: exact.

	launch -> %s { silu }  launch -> %m { mul %s, %u }   =>   launch -> %m { silu, mul }`,
		Requires: []passes.Prop{passes.Specialised},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Kernel, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			return pairs(c, t, m, f, "fuse-pointwise", func(w *view, p, l *ir.Value) bool {
				return pointwise(p) && pointwise(l) && w.soleReader(p, l)
			})
		}),
	}
}

func pointwise(l *ir.Value) bool {
	for _, v := range part(l).Body {
		if i := v.Op.Info(); !i.Pointwise && !i.View && v.Op != ir.OpSlice {
			return false
		}
	}
	return true
}

// soleReader reports whether everything that p writes is read by l alone.
func (w *view) soleReader(p, l *ir.Value) bool {
	for _, d := range part(p).Dst {
		if d.Op != ir.OpBuffer || w.returned[d] || len(w.readers[d]) != 1 || w.readers[d][0] != l {
			return false
		}
	}
	return true
}

// Epilogues fuses what follows a linear into it: bias, activation and product of
// the gated feed-forward (SwiGLU, GeGLU), residual, softcap.
func Epilogues(t target.Target) passes.Pass {
	return passes.Pass{
		Name: "fuse.epilogues",
		Doc: `Elementwise launches behind a linear move into it.

Invariants: exact. Covers bias, SwiGLU and GeGLU (Shazeer, arXiv 2002.05202), residual
and softcap; an embedding's scale moves into the embedding likewise.

	launch -> %gu { matmul }  launch -> %m { silu, mul }   =>   launch -> %m { matmul, silu, mul }`,
		Requires: []passes.Prop{passes.Specialised},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Kernel, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			return epilogues(c, t, m, f)
		}),
	}
}

func epilogues(c *passes.Context, t target.Target, m *ir.Module, f *ir.Func) error {
	for _, l := range slices.Clone(f.Body) {
		if l.Op != ir.OpLaunch || !holds(l, ir.OpMatMul) && !holds(l, ir.OpEmbed) {
			continue
		}
		w := newView(t, m, f)
		cluster := w.closed(l)
		for len(cluster) > 1 {
			ok, err := w.try(cluster)
			if ok {
				c.Count("fuse-epilogue")
				break
			}
			c.Missed("fuse-epilogue", f, l, "%s: %v", l.Scope, err)
			cluster = cluster[:len(cluster)-1]
		}
	}
	return nil
}

// closed is l and the elementwise launches behind it, as long as everything that
// reads a buffer is elementwise.
func (w *view) closed(l *ir.Value) []*ir.Value {
	cluster := []*ir.Value{l}
	for i := 0; i < len(cluster); i++ {
		for _, d := range part(cluster[i]).Dst {
			rs := w.readers[d]
			if w.returned[d] || slices.ContainsFunc(rs, func(r *ir.Value) bool { return !pointwise(r) }) {
				continue
			}
			for _, r := range rs {
				if !slices.Contains(cluster, r) {
					cluster = append(cluster, r)
				}
			}
		}
	}
	return cluster
}

// Norms fuses rmsnorm with its neighbours.
func Norms(t target.Target) passes.Pass {
	return passes.Pass{
		Name: "fuse.norms",
		Doc: `Norms join their neighbours.

A norm takes the gather before it and the residual after it. Before a linear of few
rows (one; on a GPU some), a norm (and a rounding) moves into the linear that alone
reads it; on a GPU also a branch's norm and the sum that it joins (Gemma), which the
linear keeps for others, as a norm of many rows does. On a GPU what rounds rows moves into what makes them.

Invariants: exact.

	launch -> %h { rmsnorm }  launch -> %y { matmul %h, @w }   =>   launch -> %y { rmsnorm, matmul }`,
		Requires: []passes.Prop{passes.Specialised},
		Sets:     []passes.Prop{passes.Fused},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Kernel, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			if err := pairs(c, t, m, f, "fuse-norm-gather", func(w *view, p, l *ir.Value) bool {
				return within(p, []ir.Op{ir.OpGather}) && within(l, []ir.Op{ir.OpRMSNorm}) && w.soleReader(p, l)
			}); err != nil {
				return err
			}
			if err := pairs(c, t, m, f, "fuse-norm-add", func(w *view, p, l *ir.Value) bool {
				return within(p, []ir.Op{ir.OpRMSNorm}) && within(l, []ir.Op{ir.OpAdd}) && w.soleReader(p, l)
			}); err != nil {
				return err
			}
			if err := pairs(c, t, m, f, "fuse-round-linear", func(w *view, p, l *ir.Value) bool {
				return within(p, []ir.Op{ir.OpRound}) && fewRows(w, l) && w.soleReader(p, l)
			}); err != nil {
				return err
			}
			if err := pairs(c, t, m, f, "fuse-norm-linear", func(w *view, p, l *ir.Value) bool {
				return within(p, []ir.Op{ir.OpRMSNorm}) && fewRows(w, l) && w.soleReader(p, l)
			}); err != nil {
				return err
			}
			for _, r := range []struct {
				rule string
				by   ir.Op
			}{{"fuse-norm-round", ir.OpRMSNorm}, {"fuse-linear-round", ir.OpMatMul}} {
				if err := pairs(c, t, m, f, r.rule, func(w *view, p, l *ir.Value) bool {
					return holds(p, r.by) && within(l, []ir.Op{ir.OpRound}) && w.soleReader(p, l)
				}); err != nil {
					return err
				}
			}
			if err := pairs(c, t, m, f, "fuse-join-linear", func(w *view, p, l *ir.Value) bool {
				return branch(p) && fewRows(w, l) && holds(l, ir.OpRMSNorm)
			}); err != nil {
				return err
			}
			return pairs(c, t, m, f, "fuse-join-norm", func(w *view, p, l *ir.Value) bool {
				return branch(p) && within(l, []ir.Op{ir.OpRMSNorm, ir.OpRound}) && holds(l, ir.OpRMSNorm)
			})
		}),
	}
}

// branch reports whether l adds a norm to a residual.
func branch(l *ir.Value) bool {
	return within(l, []ir.Op{ir.OpRMSNorm, ir.OpAdd}) && holds(l, ir.OpRMSNorm) && holds(l, ir.OpAdd)
}

// fewRows reports whether l is a linear of few rows.
func fewRows(w *view, l *ir.Value) bool {
	i := slices.IndexFunc(part(l).Body, func(v *ir.Value) bool { return v.Op == ir.OpMatMul })
	return i >= 0 && lower.FewRows(w.t, w.f, part(l).Body[i])
}

// pairs merges producer and reader wherever the rule wants it, until nothing
// changes; what has no kernel is recorded as a miss once.
func pairs(c *passes.Context, t target.Target, m *ir.Module, f *ir.Func, rule string, want func(w *view, p, l *ir.Value) bool) error {
	missed := map[*ir.Value]bool{}
	for changed := true; changed; {
		changed = false
		w := newView(t, m, f)
		for _, l := range slices.Clone(f.Body) {
			if l.Op != ir.OpLaunch {
				continue
			}
			for _, p := range w.producers(l) {
				if !want(w, p, l) {
					continue
				}
				ok, err := w.try([]*ir.Value{p, l})
				if ok {
					c.Count(rule)
					changed = true
					w = newView(t, m, f)
					break
				}
				if !missed[l] {
					missed[l] = true
					c.Missed(rule, f, l, "%s: %v", l.Scope, err)
				}
			}
		}
	}
	return nil
}
