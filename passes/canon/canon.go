// Package canon holds cost-free truths: one spelling of each graph (fold), no value
// computed twice (cse), nothing dead (dce). Every rule is exact: the same bits.
//
// Border law: imports quire/ir, quire/passes and quire/passes/rewrite.
package canon

import (
	"fmt"
	"reflect"
	"strings"

	"quire/ir"
	"quire/passes"
	"quire/passes/rewrite"
)

// Simplify folds, merges equal values and removes dead ones.
func Simplify() passes.Pass {
	return passes.Pass{
		Name: "canon.simplify",
		Doc: `Fold identities, merge equal values, drop dead ones.

Invariants: exact; a cache version is never merged or dropped while returned.

	%1 = scale %x {by = 1}      =>   (uses of %1 read %x)
	%2 = flatten %1'            =>   %x     where %1' = unflatten %x
	%3 = rmsnorm %x, @g         =>   %2     where %2 is the same op on the same args`,
		Sets:     []passes.Prop{passes.Canonical},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Graph, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			if err := rewrite.Fixpoint(c, m, f, Rules()...); err != nil {
				return err
			}
			cse(c, f)
			dce(c, f)
			return nil
		}),
	}
}

// Rules returns the folding rules.
func Rules() []rewrite.Rule {
	return []rewrite.Rule{foldScale, foldSlice, foldSliceOfSlice, foldViews, foldCast, foldScaleOfScale}
}

var foldScale = rewrite.Rule{
	Name: "fold-scale-one",
	Doc:  "scale %x {by = 1} => %x",
	Ops:  []ir.Op{ir.OpScale},
	Apply: func(s *rewrite.Site, v *ir.Value) (*ir.Value, error) {
		if v.Attrs.(ir.ScaleAttrs).By == 1 {
			return v.Args[0], nil
		}
		return nil, nil
	},
}

var foldScaleOfScale = rewrite.Rule{
	Name: "fold-scale-twice",
	Doc:  "scale (scale %x {by = a}) {by = b} => scale %x {by = a*b}, for powers of two, where it is exact",
	Ops:  []ir.Op{ir.OpScale},
	Apply: func(s *rewrite.Site, v *ir.Value) (*ir.Value, error) {
		in, by := v.Args[0], v.Attrs.(ir.ScaleAttrs).By
		if in.Op != ir.OpScale || !powerOfTwo(by) {
			return nil, nil
		}
		return s.New(ir.OpScale, ir.ScaleAttrs{By: by * in.Attrs.(ir.ScaleAttrs).By}, in.Args[0])
	},
}

func powerOfTwo(x float64) bool {
	for ; x > 1; x /= 2 {
	}
	for ; x > 0 && x < 1; x *= 2 {
	}
	return x == 1
}

var foldSlice = rewrite.Rule{
	Name: "fold-slice-whole",
	Doc:  "slice of the whole axis => its argument",
	Ops:  []ir.Op{ir.OpSlice},
	Apply: func(s *rewrite.Site, v *ir.Value) (*ir.Value, error) {
		if v.Type.Equal(v.Args[0].Type) {
			return v.Args[0], nil
		}
		return nil, nil
	},
}

var foldSliceOfSlice = rewrite.Rule{
	Name: "fold-slice-of-slice",
	Doc:  "slice (slice %x {first = a}) {first = b, count} => slice %x {first = a+b, count}",
	Ops:  []ir.Op{ir.OpSlice},
	Apply: func(s *rewrite.Site, v *ir.Value) (*ir.Value, error) {
		in := v.Args[0]
		if in.Op != ir.OpSlice {
			return nil, nil
		}
		a, b := in.Attrs.(ir.SliceAttrs), v.Attrs.(ir.SliceAttrs)
		return s.New(ir.OpSlice, ir.SliceAttrs{First: a.First + b.First, Count: b.Count}, in.Args[0])
	},
}

var foldViews = rewrite.Rule{
	Name: "fold-view-of-view",
	Doc:  "flatten (unflatten %x) => %x, and unflatten (flatten %x) => %x where the shape is the same",
	Ops:  []ir.Op{ir.OpFlatten, ir.OpUnflatten},
	Apply: func(s *rewrite.Site, v *ir.Value) (*ir.Value, error) {
		in := v.Args[0]
		if in.Op.Info().View && in.Args[0].Type.Equal(v.Type) {
			return in.Args[0], nil
		}
		return nil, nil
	},
}

var foldCast = rewrite.Rule{
	Name: "fold-cast-same",
	Doc:  "cast to the type that it has => its argument",
	Ops:  []ir.Op{ir.OpCast},
	Apply: func(s *rewrite.Site, v *ir.Value) (*ir.Value, error) {
		if v.Type.Equal(v.Args[0].Type) {
			return v.Args[0], nil
		}
		return nil, nil
	},
}

// cse merges pure values with the same op, attributes and arguments. The body is
// in dependency order, so one sweep finds equal chains too.
func cse(c *passes.Context, f *ir.Func) {
	first := map[string]*ir.Value{}
	for _, v := range f.Body {
		if v.Op.Info().Effect != ir.Pure {
			continue
		}
		k := key(v)
		if w, ok := first[k]; ok {
			f.Replace(v, w)
			c.Count("cse")
			continue
		}
		first[k] = v
	}
}

func key(v *ir.Value) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", v.Op)
	if v.Attrs != nil {
		fmt.Fprintf(&b, "%T%s", v.Attrs, attrText(v.Attrs))
	}
	for _, a := range v.Args {
		fmt.Fprintf(&b, ",%d", a.ID)
	}
	return b.String()
}

// attrText spells attributes with pointers followed.
func attrText(a ir.Attrs) string {
	v := reflect.ValueOf(a)
	var b strings.Builder
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() == reflect.Pointer && !f.IsNil() {
			f = f.Elem()
			b.WriteByte('*')
		}
		fmt.Fprintf(&b, "|%v", f.Interface())
	}
	return b.String()
}

// dce removes values that nothing returned depends on.
func dce(c *passes.Context, f *ir.Func) {
	live := map[*ir.Value]bool{}
	var mark func(v *ir.Value)
	mark = func(v *ir.Value) {
		if live[v] {
			return
		}
		live[v] = true
		for _, a := range v.Args {
			mark(a)
		}
	}
	for _, r := range f.Results {
		mark(r)
	}
	dead := map[*ir.Value]bool{}
	for _, v := range f.Body {
		if !live[v] {
			dead[v] = true
			c.Count("dce")
		}
	}
	f.Remove(dead)
}
