package awq

import (
	"slices"
	"strings"

	"quire/ir"
	"quire/passes"
)

// TapInputs returns the inputs of linears as results of the function, behind those that it has, so that a compiled
// model shows what its linears read. A result is named by its site: "in." and the name of the first linear's weight.
func TapInputs() passes.Pass {
	return passes.Pass{
		Name: "awq.tap-inputs",
		Doc: `The inputs of linears become results.

Invariants: exact; the results that there were stay the first ones. Of a view, what it is a view of is shown.
Inputs that are results or parameters already, and those of rows that were gathered (the head's), are left out. For calibration: a program for use has no taps.

	%y = matmul %h, @w      =>     %in.w = ...
	return %y                      %y = matmul %in.w, @w
	                               return %y, %in.w`,
		Requires: []passes.Prop{passes.DequantFused},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Graph, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			for _, s := range Sites(f) {
				x := s.Input
				for x.Op.Info().View {
					x = x.Args[0] // the same elements
				}
				if slices.Contains(f.Results, x) || x.Op == ir.OpParam || !perRow(f, x) {
					continue
				}
				x.Name = tapped + s.Name()
				f.Results = append(f.Results, x)
				c.Count("tap-input")
			}
			return nil
		}),
	}
}

// perRow reports whether x has a row for each row of the step: those of its first param, the tokens.
func perRow(f *ir.Func, x *ir.Value) bool {
	return len(f.Params) > 0 && len(f.Params[0].Type.Shape) > 0 && f.Params[0].Type.Shape[0] == x.Type.Shape[0]
}

// tapped goes before a site's name in its result's.
const tapped = "in."

// TapOf is the site whose input a result of that name is.
func TapOf(result string) string { return strings.TrimPrefix(result, tapped) }
