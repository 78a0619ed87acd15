package lower

import (
	"fmt"
	"slices"

	"quire/ir"
	"quire/ir/target"
	"quire/ir/types"
	"quire/passes"
)

// CopySlices gives slices and selections of heads that no fused kernel reads in place a
// launch of their own.
func CopySlices(t target.Target) passes.Pass {
	return passes.Pass{
		Name: "lower.copy-slices",
		Doc: `A slice, or heads taken, in a body that no kernel computes becomes a launch that copies it.

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

// columns are what a slice or a selection of heads copies.
type columns struct {
	of *ir.Value
	at string
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
				of, views := source(p, s)
				if s.Op != ir.OpSlice && s.Op != ir.OpHeads || of == nil || len(p.Body) == 1+len(views) {
					continue
				}
				c.Missed(copyRule, f, l, "%s: %v", l.Scope, err)
				replaceSlice(f, l, p, s, of, views, copied)
				c.Count(copyRule)
			}
		}
	}
	return nil
}

// replaceSlice makes the part read a buffer instead of s, written by a launch in
// front of l unless an earlier one has.
func replaceSlice(f *ir.Func, l *ir.Value, p *ir.Part, s, of *ir.Value, views []*ir.Value, copied map[columns]*ir.Value) {
	key := columns{of, fmt.Sprint(s.Op, s.Attrs)}
	b := copied[key]
	if b == nil {
		b = f.NewValue(ir.OpBuffer, s.Type, ir.BufferAttrs{})
		b.Scope = l.Scope
		var body []*ir.Value
		at := of
		for _, v := range append(views, s) {
			at = f.NewValue(v.Op, v.Type, v.Attrs, at)
			at.Scope, at.Pos = v.Scope, v.Pos
			body = append(body, at)
		}
		n := f.NewValue(ir.OpLaunch, types.Type{Kind: types.Void}, nil)
		n.Scope, n.Pos = l.Scope, l.Pos
		n.Launch = []*ir.Part{{Dst: []*ir.Value{b}, Body: body, Yield: []*ir.Value{at}}}
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
	for i := len(views); i >= 0; i-- { // s, and the views that nothing else reads
		if v := append(views, s)[i]; v == s || newBody(nil, f, p).uses[v] == 0 {
			p.Body = slices.DeleteFunc(p.Body, func(u *ir.Value) bool { return u == v })
		}
	}
}

// source is the buffer or parameter that v takes from, through views of the part; nil where
// it is computed inside.
func source(p *ir.Part, v *ir.Value) (of *ir.Value, views []*ir.Value) {
	if len(v.Args) == 0 {
		return nil, nil
	}
	for of = v.Args[0]; slices.Contains(p.Body, of); of = of.Args[0] {
		if !of.Op.Info().View {
			return nil, nil
		}
		views = append([]*ir.Value{of}, views...)
	}
	if of.Op != ir.OpBuffer && of.Op != ir.OpParam {
		return nil, nil
	}
	return of, views
}
