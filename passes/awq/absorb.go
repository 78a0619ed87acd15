package awq

import (
	"slices"

	"quire/ir"
	"quire/ir/types"
	"quire/passes"
)

// AbsorbScales multiplies the columns of linears by a scale and divides what makes their input by it. Options names the
// sites (Site.Name) that get one; nil means all that can.
func AbsorbScales(sites []string) passes.Pass {
	return passes.Pass{
		Name: "awq.absorb-scales",
		Doc: `The columns of linears are scaled, and what makes their input by the inverse.

A scale @NAME.scale is declared for each site: the linears that read one input. Its inverse goes into the gain of the
norm that makes the input, or, where the input is linear in another linear's result (act(gate) * up; attention with
as many value heads as query heads), into that one's rows and bias. Nothing computes at run time that did not before.

Invariants: exact up to the rounding of one product and one quotient a weight, and to the bit where every scale is a
power of two. An input that anything but linears reads keeps its weights, and so do those of tied or shared weights;
the miss says why. A site that has been scaled is left alone. (Lin et al., arXiv 2306.00978, section 3.2.)

	%h = rmsnorm %x, @g            weight @w.scale: f32[K]
	%y = matmul %h, @w      =>     weight @g.out: f32[K] = scale @g, @w.scale {over = true}
	                               weight @w.in: f32[R, K] = scale @w, @w.scale {axis = 1}
	                               %h = rmsnorm %x, @g.out
	                               %y = matmul %h, @w.in`,
		Requires: []passes.Prop{passes.DequantFused},
		Clears:   []passes.Prop{passes.Canonical},
		Numerics: passes.Reassociates,
		Run: passes.OnFuncs(ir.Graph, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			for _, s := range Sites(f) {
				if sites == nil || slices.Contains(sites, s.Name()) {
					absorb(c, m, f, s.Name())
				}
			}
			return nil
		}),
	}
}

// ScaleSuffix follows a site's name in that of its scale.
const ScaleSuffix = ".scale"

// absorbs is the rule's name.
const absorbs = "absorb-scale"

// absorb scales one site, which is looked for anew: others may have changed its weights.
func absorb(c *passes.Context, m *ir.Module, f *ir.Func, name string) {
	all := Sites(f)
	i := slices.IndexFunc(all, func(s Site) bool { return Base(m, s.Name()) == Base(m, name) })
	s := all[i]
	if slices.ContainsFunc(s.Weights(), func(w string) bool { return scaledInputs(m, w) }) {
		return
	}
	if s.Why != "" {
		c.Missed(absorbs, f, s.Linears[0], "%s", s.Why)
		return
	}
	k := s.Linears[0].Args[1].Type.Shape[1]
	by := &ir.Weight{Name: Base(m, name) + ScaleSuffix, Type: types.Of32(k)}
	m.Weights = append(m.Weights, by)
	for _, l := range s.Linears {
		scaleWeight(m, f, l, 1, ir.Scaling{By: by.Name, Axis: 1}, ".in")
	}
	if s.Norm != nil {
		scaleWeight(m, f, s.Norm, 1, ir.Scaling{By: by.Name, Over: true, Offset: s.Norm.Attrs.(ir.NormAttrs).Offset}, ".out")
	} else {
		scaleWeight(m, f, s.Up, 1, ir.Scaling{By: by.Name, Over: true}, ".out")
		if s.Bias != nil {
			add := f.Uses()[s.Bias][0]
			scaleWeight(m, f, add, 1, ir.Scaling{By: by.Name, Over: true}, ".out")
		}
	}
	c.Count(absorbs)
}

// scaleWeight makes v read a scaled version of the weight that is its arg.
func scaleWeight(m *ir.Module, f *ir.Func, v *ir.Value, arg int, s ir.Scaling, suffix string) {
	old := v.Args[arg]
	s.Of = ir.WeightName(old)
	w := &ir.Weight{Name: s.Of + suffix, Type: old.Type.With(old.Type.Shape...), Scaled: &s}
	w.Type.Elem = types.Plain(types.F32)
	m.Weights = append(m.Weights, w)
	args := slices.Clone(v.Args)
	args[arg] = f.Weight(w)
	n := f.NewValue(v.Op, v.Type, v.Attrs, args...)
	n.Scope, n.Pos, n.Name = v.Scope, v.Pos, v.Name
	f.InsertBefore(v, n)
	f.Replace(v, n)
	f.Remove(map[*ir.Value]bool{v: true})
}

// Base is the weight that a scaled one comes from.
func Base(m *ir.Module, name string) string {
	for {
		w := m.Weight(name)
		if w == nil || w.Scaled == nil {
			return name
		}
		name = w.Scaled.Of
	}
}

// scaledInputs reports whether a weight's columns have a scale.
func scaledInputs(m *ir.Module, name string) bool {
	for w := m.Weight(name); w != nil && w.Scaled != nil; w = m.Weight(w.Scaled.Of) {
		if w.Scaled.Axis == 1 {
			return true
		}
	}
	return false
}
