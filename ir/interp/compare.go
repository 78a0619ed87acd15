package interp

import (
	"fmt"
	"math"

	"quire/ir"
	"quire/ir/types"
)

// CompareOptions say on which case, and how closely, two functions must agree.
type CompareOptions struct {
	Seed      uint64
	Tolerance float64 // largest relative L2 error of a row; 0: the same bits
	Wide      bool    // evaluate in float64, where only the order of sums differs
	Caches    bool    // the functions may keep their state in different caches
	Results   bool    // only results are compared: caches may hold other numbers
}

// Compare runs f of m and g of n on the same seeded case, several ragged steps
// over the same caches, and returns an error naming the first step, result and
// row that disagree. Parameters correspond by position and must have equal types;
// results too. Weights correspond by name. With o.Caches this is so without the
// caches, and of their contents only those of equal names are compared.
func Compare(m *ir.Module, f *ir.Func, n *ir.Module, g *ir.Func, o CompareOptions) error {
	fp, gp := compared(f.Params, o), compared(g.Params, o)
	fr, gr := compared(f.Results, o), compared(g.Results, o)
	if err := sameSignature(f, g, fp, gp, fr, gr); err != nil {
		return err
	}
	c, err := RandomCase(m, f, o.Seed, g)
	if err != nil {
		return err
	}
	fm := New(m, c.Weights, Options{Wide: o.Wide})
	gm := New(n, RandomWeights(n, o.Seed), Options{Wide: o.Wide})
	fs, gs := NewState(), NewState()
	fn, gn := ir.Names(f), ir.Names(g)
	for i, step := range c.Steps {
		a, err := fm.Run(f, step.Bind, step.Inputs, fs)
		if err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		other := Inputs{}
		for k, p := range fp {
			if x, ok := step.Inputs[fn[f.Params[p]][1:]]; ok {
				other[gn[g.Params[gp[k]]][1:]] = x
			}
		}
		b, err := gm.Run(g, step.Bind, other, gs)
		if err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		for k, r := range fr {
			if err := sameTensor(a[r], b[gr[k]], o.Tolerance); err != nil {
				return fmt.Errorf("step %d (%s): result %d: %w", i+1, step.Bind.Key(), r+1, err)
			}
		}
	}
	if o.Results {
		return nil
	}
	return sameState(fs, gs, o)
}

// compared lists the places of the params or results that correspond.
func compared(list []*ir.Value, o CompareOptions) []int {
	var out []int
	for i, v := range list {
		if !o.Caches || v.Type.Kind != types.Cache {
			out = append(out, i)
		}
	}
	return out
}

func sameSignature(f, g *ir.Func, fp, gp, fr, gr []int) error {
	if len(fp) != len(gp) || len(fr) != len(gr) {
		return fmt.Errorf("@%s has %d params and %d results, @%s has %d and %d", f.Name, len(fp), len(fr), g.Name, len(gp), len(gr))
	}
	for k, i := range fp {
		if a, b := f.Params[i].Type, g.Params[gp[k]].Type; !a.Equal(b) {
			return fmt.Errorf("param %d is %s in @%s and %s in @%s", i+1, a, f.Name, b, g.Name)
		}
	}
	for k, i := range fr {
		a, b := f.Results[i].Type, g.Results[gr[k]].Type
		if a.Kind != b.Kind || a.Kind == types.Cache && a.Cache != b.Cache {
			return fmt.Errorf("result %d is %s in @%s and %s in @%s", i+1, a, f.Name, b, g.Name)
		}
	}
	return nil
}

// sameTensor compares row by row: integers exactly, floats by [RelL2].
func sameTensor(a, b *Tensor, tol float64) error {
	if a == nil && b == nil {
		return nil
	}
	if a == nil || b == nil || len(a.Data) != len(b.Data) || a.Rows() != b.Rows() {
		return fmt.Errorf("%s and %s", a, b)
	}
	for r := range a.Rows() {
		x, y := a.Row(r), b.Row(r)
		if !a.Elem.IsFloat() {
			for i := range x {
				if x[i] != y[i] {
					return fmt.Errorf("row %d, element %d is %v and %v", r, i, x[i], y[i])
				}
			}
			continue
		}
		if e := RelL2(y, x); !(e <= tol) {
			return fmt.Errorf("row %d differs by %.3g (relative L2), expected at most %.3g", r, e, tol)
		}
	}
	return nil
}

// RelL2 is |got - want| / |want| in the Euclidean norm; 0 when both are equal
// element by element (NaN equals NaN), NaN when only one of them has a NaN.
func RelL2(got, want []float64) float64 {
	var diff, norm float64
	for i := range want {
		if math.IsNaN(got[i]) && math.IsNaN(want[i]) {
			continue
		}
		if got[i] == want[i] {
			norm += square(want[i])
			continue
		}
		diff += square(got[i] - want[i])
		norm += square(want[i])
	}
	if diff == 0 {
		return 0
	}
	return math.Sqrt(diff / norm)
}

func square(x float64) float64 {
	if math.IsInf(x, 0) {
		return math.MaxFloat64
	}
	return x * x
}

// sameState compares what the caches keep.
func sameState(a, b *State, o CompareOptions) error {
	tol := o.Tolerance
	for name, v := range a.caches {
		if _, ok := b.caches[name]; !ok && o.Caches {
			continue
		}
		for slot := range v.seqs {
			x, y := a.Entries(name, slot), b.Entries(name, slot)
			if len(x) != len(y) {
				return fmt.Errorf("cache @%s keeps %d and %d tokens of slot %d", name, len(x), len(y), slot)
			}
			for i := range x {
				if x[i].Index != y[i].Index || !(RelL2(y[i].K, x[i].K) <= tol) || !(RelL2(y[i].V, x[i].V) <= tol) {
					return fmt.Errorf("cache @%s, slot %d: token %d differs", name, slot, x[i].Index)
				}
			}
		}
	}
	return nil
}
