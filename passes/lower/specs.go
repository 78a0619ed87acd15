package lower

import (
	"fmt"

	"quire/ir"
	"quire/ir/target"
	"quire/ir/types"
)

// A GPU's kernels for few rows keep them in shared memory: as many as one product of tensor
// cores has columns. Those for some rows read them again and again; for more, blocks of
// them are shared.
const (
	fewGPU  = 8
	manyGPU = 32
)

// Specs are the specialisations for a target.
func Specs(t target.Target) []Spec {
	if t.Arch == target.PTX {
		return GPUSpecs()
	}
	return CPUSpecs()
}

// CPUSpecs are the specialisations for a CPU: one new token of one sequence; one
// new token of each of several; anything else.
func CPUSpecs() []Spec {
	return []Spec{
		{"decode", []ir.Guard{is("N", types.Const(1)), is("M", types.Const(1))}},
		{"batch", []ir.Guard{is("N", types.Sym("S"))}},
		{"prefill", nil},
	}
}

// GPUSpecs are the specialisations for a GPU: decode of one sequence, of up to 8, 16, 32
// and 64; prompts that want few logits (the last of each, as a rule); anything else.
func GPUSpecs() []Spec {
	out := []Spec{{"decode", []ir.Guard{is("N", types.Const(1)), is("M", types.Const(1))}}}
	for _, n := range []int64{fewGPU, 2 * fewGPU, manyGPU, 2 * manyGPU} {
		out = append(out, Spec{fmt.Sprintf("batch%d", n), []ir.Guard{is("N", types.Sym("S")), most("N", n), most("M", n)}})
	}
	return append(out, Spec{"prompt", []ir.Guard{most("M", fewGPU)}}, Spec{"prefill", nil})
}

func is(sym string, d types.Dim) ir.Guard { return ir.Guard{Lhs: types.Sym(sym), Rhs: d} }

func most(sym string, n int64) ir.Guard {
	return ir.Guard{Lhs: types.Sym(sym), Rhs: types.Const(n), AtMost: true}
}

// atMost is the greatest value that the guards allow a dim, 0 without a bound.
func atMost(f *ir.Func, d types.Dim) int64 {
	var bound int64
	for _, g := range f.When {
		if n, ok := g.Rhs.IsConst(); ok && g.Lhs == d && (bound == 0 || n < bound) {
			bound = n
		}
	}
	return bound
}

// singleRows reports whether the guards say that every slot has one new row.
func singleRows(f *ir.Func) bool {
	for _, g := range f.When {
		if !g.AtMost && g.Lhs == types.Sym("N") && (g.Rhs == types.Const(1) || g.Rhs == types.Sym("S")) {
			return true
		}
	}
	return false
}
