package lower

import (
	"slices"

	"quire/ir"
	"quire/ir/target"
	"quire/ir/types"
	"quire/passes"
)

// CopySlices gives slices that no fused kernel reads in place a launch of their own.
func CopySlices(t target.Target) passes.Pass {
	return passes.Pass{
		Name: "lower.copy-slices",
		Doc: `A slice in a body that no kernel computes becomes a launch that copies it.

Invariants: exact. After fusion: a cluster that reads the slice in place is always
better, so each copy is recorded as a miss with the reason why there is none.

	launch -> %y { slice %x, rope }   =>   launch -> %s { slice %x }  launch -> %y { rope %s }`,
		Requires: []passes.Prop{passes.Fused},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Kernel, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			return copySlices(c, t, m, f)
		}),
	}
}

// columns are what a slice copies.
type columns struct {
	of *ir.Value
	at ir.SliceAttrs
}

const copyRule = "copy-slice"

func copySlices(c *passes.Context, t target.Target, m *ir.Module, f *ir.Func) error {
	copied := map[columns]*ir.Value{} // readers share a copy
	for _, l := range slices.Clone(f.Body) {
		for _, p := range l.Launch {
			_, err := Match(t, m, f, p)
			if err == nil {
				continue
			}
			for _, s := range slices.Clone(p.Body) {
				if s.Op != ir.OpSlice || s.Args[0].Op != ir.OpBuffer && s.Args[0].Op != ir.OpParam || len(p.Body) == 1 {
					continue
				}
				c.Missed(copyRule, f, l, "%s: %v", l.Scope, err)
				replaceSlice(f, l, p, s, copied)
				c.Count(copyRule)
			}
		}
	}
	return nil
}

// replaceSlice makes the part read a buffer instead of s, written by a launch in
// front of l unless an earlier one has.
func replaceSlice(f *ir.Func, l *ir.Value, p *ir.Part, s *ir.Value, copied map[columns]*ir.Value) {
	key := columns{s.Args[0], s.Attrs.(ir.SliceAttrs)}
	b := copied[key]
	if b == nil {
		b = f.NewValue(ir.OpBuffer, s.Type, ir.BufferAttrs{})
		b.Scope = l.Scope
		y := f.NewValue(ir.OpSlice, s.Type, s.Attrs, s.Args[0])
		y.Scope, y.Pos = s.Scope, s.Pos
		n := f.NewValue(ir.OpLaunch, types.Type{Kind: types.Void}, nil)
		n.Scope, n.Pos = l.Scope, l.Pos
		n.Launch = []*ir.Part{{Dst: []*ir.Value{b}, Body: []*ir.Value{y}, Yield: []*ir.Value{y}}}
		f.InsertBefore(l, b)
		f.InsertBefore(l, n)
		copied[key] = b
	}
	for _, v := range p.Body {
		for i, a := range v.Args {
			if a == s {
				v.Args[i] = b
			}
		}
	}
	for i, y := range p.Yield {
		if y == s {
			p.Yield[i] = b
		}
	}
	p.Body = slices.DeleteFunc(p.Body, func(v *ir.Value) bool { return v == s })
}
