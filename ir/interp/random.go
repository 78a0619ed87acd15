package interp

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"quire/ir"
	"quire/ir/types"
)

// Case is one seeded test of a function: weights, and the inputs of several
// steps over the same caches.
type Case struct {
	Weights Weights
	Steps   []Step
}

// Step is the input of one run.
type Step struct {
	Bind   types.Bindings
	Inputs Inputs
}

// Bounds of a random case: small enough for plain loops.
const (
	caseRows  = 12 // rows of one step
	caseSlots = 4  // sequence slots
	caseDim   = 6  // any other symbol
	caseSteps = 6
	caseTries = 4000 // draws of bindings until every guard holds
)

// RandomCase draws a case for f from a seed: bindings within the declared bounds
// and small, such that the guards of f and of every function of also hold; then
// ragged steps (chunks of prefill, decode steps, both at once) in which the rows
// of slots come in any order. Positions are cache indexes. Equal arguments give
// equal cases.
func RandomCase(m *ir.Module, f *ir.Func, seed uint64, also ...*ir.Func) (*Case, error) {
	g := &caseGen{m: m, f: f, rng: rand.New(rand.NewPCG(seed, 0x51)), lengths: map[int]int{}}
	g.guards = slices.Clone(f.When)
	for _, x := range also {
		g.guards = append(g.guards, x.When...)
	}
	for _, p := range f.Params {
		if p.Type.Kind == types.Rows {
			g.rows = p
		}
	}
	steps := 2
	if g.rows != nil {
		steps = caseSteps
	}
	c := &Case{Weights: RandomWeights(m, seed)}
	for i := range steps {
		s, err := g.step(i)
		if err != nil {
			return nil, fmt.Errorf("@%s: %w", f.Name, err)
		}
		c.Steps = append(c.Steps, s)
	}
	return c, nil
}

// RandomWeights returns seeded values for every weight of m that has data of its
// own: vectors near 1, rows of K normal with deviation 1/sqrt(K), each value one
// that the weight's type can hold. They depend on the seed, the name and the type
// alone, so modules that share weights agree.
func RandomWeights(m *ir.Module, seed uint64) Weights {
	return func(name string) ([]float32, error) {
		w := m.Weight(name)
		if w == nil || len(w.Concat) > 0 || w.Scaled != nil {
			return nil, fmt.Errorf("weight @%s has no data of its own", name)
		}
		n, ok := w.Type.Shape.Size().IsConst()
		if !ok || n > 1<<28 {
			return nil, fmt.Errorf("weight @%s has type %s, expected at most 2^28 elements", name, w.Type)
		}
		h := fnv.New64a()
		fmt.Fprint(h, name)
		rng := rand.New(rand.NewPCG(seed, h.Sum64()))
		x := make([]float64, n)
		for i := range x {
			if len(w.Type.Shape) < 2 {
				x[i] = 1 + 0.25*rng.NormFloat64()
			}
		}
		if len(w.Type.Shape) >= 2 {
			k, _ := w.Type.Last().IsConst()
			for i := range x {
				x[i] = rng.NormFloat64() / math.Sqrt(float64(k))
			}
			holdRows(w.Type.Elem, int(k), x)
		} else {
			holdRows(w.Type.Elem, len(x), x)
		}
		out := make([]float32, n)
		for i := range x {
			out[i] = float32(x[i])
		}
		return out, nil
	}
}

// holdRows rounds each row to what the element type can hold; a row that is no
// whole number of the encoding's blocks is left in f16.
func holdRows(e types.Elem, k int, x []float64) {
	for i := 0; k > 0 && i+k <= len(x); i += k {
		if roundAll(e, x[i:i+k]) != nil {
			_ = roundAll(types.Plain(types.F16), x[i:i+k])
		}
	}
}

type caseGen struct {
	m       *ir.Module
	f       *ir.Func
	rows    *ir.Value // the row map parameter, or nil
	rng     *rand.Rand
	guards  []ir.Guard
	fixed   types.Bindings // symbols that stay over all steps: load dims and slots
	lengths map[int]int    // tokens of each slot so far
}

// step draws bindings until every guard holds and the rows fit, then the inputs.
func (g *caseGen) step(i int) (Step, error) {
	for range caseTries {
		bind := g.bindings(i)
		if !g.holds(bind) {
			continue
		}
		rows, ok := g.rowMap(i, bind)
		if !ok {
			continue
		}
		in, ok := g.inputs(bind, rows)
		if !ok {
			continue
		}
		if rows != nil {
			for s, sl := range rows.Slots {
				g.lengths[s] += sl.New
			}
		}
		if g.fixed == nil {
			g.fixed = g.keep(bind)
		}
		return Step{bind, in}, nil
	}
	return Step{}, fmt.Errorf("step %d: no small bindings in %d draws that satisfy the bounds and the guards %v", i+1, caseTries, g.guards)
}

func (g *caseGen) keep(bind types.Bindings) types.Bindings {
	fixed := types.Bindings{}
	for _, d := range g.m.Dims {
		slots := g.rows != nil && slices.Contains(g.rows.Type.Shape[1].Symbols(), d.Name) &&
			!slices.Contains(g.rows.Type.Shape[0].Symbols(), d.Name)
		if d.When == ir.Load || slots {
			fixed[d.Name] = bind[d.Name]
		}
	}
	return fixed
}

func (g *caseGen) bindings(step int) types.Bindings {
	bind := types.Bindings{}
	for _, d := range g.m.Dims {
		if v, ok := g.fixed[d.Name]; ok {
			bind[d.Name] = v
			continue
		}
		span := int64(caseDim)
		switch {
		case g.rows == nil:
		case slices.Contains(g.rows.Type.Shape[0].Symbols(), d.Name):
			span = caseRows
		case slices.Contains(g.rows.Type.Shape[1].Symbols(), d.Name):
			span = caseSlots
		}
		lo, hi := d.Range.Min, min(d.Range.Max, max(d.Range.Min, 1)+span-1)
		// often the least row count, or the value of an earlier symbol
		switch v := lo + g.rng.Int64N(hi-lo+1); g.rng.IntN(5) {
		case 0:
			bind[d.Name] = min(max(1, lo), hi)
		case 1:
			for _, e := range g.m.Dims {
				if w, ok := bind[e.Name]; ok && w >= lo && w <= d.Range.Max && g.rng.IntN(2) == 0 {
					v = w
				}
			}
			bind[d.Name] = v
		default:
			bind[d.Name] = v
		}
		if d.When == ir.Device { // the longest sequence after this step
			bind[d.Name] = min(d.Range.Max, int64(step+1)*caseRows)
		}
	}
	return bind
}

func (g *caseGen) holds(bind types.Bindings) bool {
	for _, c := range g.guards {
		l, errL := c.Lhs.Eval(bind)
		r, errR := c.Rhs.Eval(bind)
		if errL != nil || errR != nil || l != r && !(c.AtMost && l < r) {
			return false
		}
	}
	return true
}

// rowMap deals n rows to slots: to each at most one (decode) or at random.
func (g *caseGen) rowMap(step int, bind types.Bindings) (*RowMap, bool) {
	if g.rows == nil {
		return nil, true
	}
	n64, err1 := g.rows.Type.Shape[0].Eval(bind)
	s64, err2 := g.rows.Type.Shape[1].Eval(bind)
	n, s := int(n64), int(s64)
	if err1 != nil || err2 != nil || s < 1 || step == 0 && n == 0 && g.rng.IntN(50) > 0 {
		return nil, false
	}
	r := &RowMap{N: n, Slots: make([]Slot, s)}
	order := g.rng.Perm(s)
	decode := n <= s && g.rng.IntN(4) > 0
	for i := range n {
		at := order[i%s]
		if !decode {
			at = order[g.rng.IntN(s)]
		}
		r.Slots[at].New++
	}
	start := 0
	for _, at := range order {
		sl := &r.Slots[at]
		sl.Start, sl.Before = start, g.lengths[at]
		start += sl.New
		for _, d := range g.m.Dims {
			if d.When == ir.Device && int64(sl.Before+sl.New) > d.Range.Max {
				return nil, false
			}
		}
	}
	return r, true
}

// inputs draws every parameter; ok is false when an index has nothing to point at.
func (g *caseGen) inputs(bind types.Bindings, rows *RowMap) (Inputs, bool) {
	in := Inputs{}
	names := ir.Names(g.f)
	for _, p := range g.f.Params {
		name := names[p][1:]
		switch p.Type.Kind {
		case types.Rows:
			in[name] = rows
		case types.Tensor:
			shape := make([]int, len(p.Type.Shape))
			for i, d := range p.Type.Shape {
				n, err := d.Eval(bind)
				if err != nil || n < 0 {
					return nil, false
				}
				shape[i] = int(n)
			}
			t := NewTensor(p.Type.Elem, shape...)
			if !g.fill(p, t, bind, rows) {
				return nil, false
			}
			in[name] = t
		}
	}
	return in, true
}

func (g *caseGen) fill(p *ir.Value, t *Tensor, bind types.Bindings, rows *RowMap) bool {
	if p.Type.Elem.IsFloat() {
		for i := range t.Data {
			t.Data[i] = Round(t.Elem.DType, g.rng.NormFloat64())
		}
		return true
	}
	limit, position := g.indexLimit(p, bind)
	if limit == 0 && len(t.Data) > 0 {
		return false
	}
	for i := range t.Data {
		t.Data[i] = float64(g.rng.Int64N(limit))
	}
	if position && rows != nil && len(t.Data) == rows.N {
		for _, sl := range rows.Slots {
			for k := range sl.New {
				t.Data[sl.Start+k] = float64(sl.Before + k)
			}
		}
	}
	return true
}

// indexLimit is the number of things that an integer parameter may point at, by
// its readers, and whether it is a position.
func (g *caseGen) indexLimit(p *ir.Value, bind types.Bindings) (limit int64, position bool) {
	limit = 64
	g.f.Walk(func(v *ir.Value) {
		for i, a := range v.Args {
			if a != p {
				continue
			}
			of := types.Const(64)
			switch {
			case v.Op == ir.OpEmbed && i == 0:
				of = v.Args[1].Type.Shape[0]
			case v.Op == ir.OpGather && i == 1:
				of = v.Args[0].Type.Shape[0]
			case v.Op == ir.OpRopeTable:
				position = true
			}
			if n, err := of.Eval(bind); err == nil {
				limit = min(limit, n)
			}
		}
	})
	return limit, position
}
