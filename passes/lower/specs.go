package lower

import (
	"quire/ir"
	"quire/ir/target"
	"quire/ir/types"
)

// FewRows is the most rows that a GPU's kernels for few rows take: the columns of one
// product of tensor cores.
const FewRows = 8

// ManyBatch is the most sequences that a GPU decodes by kernels for few rows.
const ManyBatch = 64

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

// GPUSpecs are the specialisations for a GPU: decode of one sequence, of few, of more;
// prompts that want few logits (the last of each, as a rule); anything else.
func GPUSpecs() []Spec {
	return []Spec{
		{"decode", []ir.Guard{is("N", types.Const(1)), is("M", types.Const(1))}},
		{"batch", []ir.Guard{is("N", types.Sym("S")), most("N", FewRows), most("M", FewRows)}},
		{"batches", []ir.Guard{is("N", types.Sym("S")), most("N", ManyBatch), most("M", ManyBatch)}},
		{"prompt", []ir.Guard{most("M", FewRows)}},
		{"prefill", nil},
	}
}

func is(sym string, d types.Dim) ir.Guard { return ir.Guard{Lhs: types.Sym(sym), Rhs: d} }

func most(sym string, n int64) ir.Guard {
	return ir.Guard{Lhs: types.Sym(sym), Rhs: types.Const(n), AtMost: true}
}

// one reports whether the guards fix a symbol to 1.
func one(f *ir.Func, sym string) bool { return atMost(f, types.Sym(sym)) == 1 }

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

// SingleRow reports whether a specialisation is for one new row.
func SingleRow(f *ir.Func) bool { return one(f, "N") }

// singleRows reports whether the guards say that every slot has one new row.
func singleRows(f *ir.Func) bool {
	for _, g := range f.When {
		if !g.AtMost && g.Lhs == types.Sym("N") && (g.Rhs == types.Const(1) || g.Rhs == types.Sym("S")) {
			return true
		}
	}
	return false
}
