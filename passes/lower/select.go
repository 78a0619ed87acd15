package lower

import (
	"errors"
	"fmt"

	"quire/ir"
	"quire/ir/target"
	"quire/passes"
)

// SelectKernels chooses a kernel for every part.
func SelectKernels(t target.Target) passes.Pass {
	return passes.Pass{
		Name: "lower.select-kernels",
		Doc: `Every part gets the kernel that computes its body, and its operands.

Invariants: exact. A body without a kernel is an error that names its launch: there
is no slow path that would hide a fusion that went too far or not far enough.
Weights get the layout that their kernels read.

	launch -> %y { ... matmul ... add ... }   =>   launch linear {...} on %x, @w, %res, %y -> %y {...}`,
		Requires: []passes.Prop{passes.Specialised},
		Sets:     []passes.Prop{passes.Selected},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Kernel, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			return selectKernels(c, t, m, f)
		}),
	}
}

// Layouts of weights: matrices on a CPU, on a GPU; vectors.
const (
	Lanes = "lanes"
	Frag  = "frag"
	Plain = "plain"
)

func selectKernels(c *passes.Context, t target.Target, m *ir.Module, f *ir.Func) error {
	var errs []error
	for _, v := range f.Body {
		for _, p := range v.Launch {
			k, err := Match(t, m, f, p)
			if err == nil {
				p.Kernel = k.Kernel
				p.Args, err = k.Args()
			}
			if err == nil {
				err = layouts(t, m, p)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: launch of %s: %w", v.Scope, opList(p), err))
				continue
			}
			c.Count(k.Kernel.Family())
		}
	}
	if len(errs) == 0 {
		warpgroups(t, f)
	}
	return errors.Join(errs...)
}

// layouts sets the layout of the weights that a part reads: one a weight over
// all its users.
func layouts(t target.Target, m *ir.Module, p *ir.Part) error {
	for _, a := range p.Args {
		if a.Op != ir.OpWeight {
			continue
		}
		w := m.Weight(ir.WeightName(a))
		want := layoutOf(t, w)
		if w.Layout != "" && w.Layout != want {
			return fmt.Errorf("weight @%s is laid out as %s, this kernel reads %s", w.Name, w.Layout, want)
		}
		w.Layout = want
	}
	return nil
}

// opList names a body for an error: "rmsnorm, matmul, add".
func opList(p *ir.Part) string {
	s := ""
	for _, v := range p.Body {
		if v.Op.Info().View {
			continue
		}
		if s != "" {
			s += ", "
		}
		s += v.Op.String()
	}
	return s
}
