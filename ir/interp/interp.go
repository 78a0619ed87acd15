package interp

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"quire/ir"
	"quire/ir/types"
)

// Weights returns the dequantised values of a weight that holds data of its own,
// row-major. Derived (concat, scale) weights are made by the machine.
type Weights func(name string) ([]float32, error)

// Options choose how values are kept.
type Options struct {
	Wide bool // float64 throughout, instead of each Value rounded to its type
}

// Machine evaluates the functions of one module.
type Machine struct {
	m    *ir.Module
	w    Weights
	wide bool
}

// New returns a machine; w may be nil for functions that read no weight.
func New(m *ir.Module, w Weights, o Options) *Machine { return &Machine{m, w, o.Wide} }

// Run evaluates f and returns its results in order; a result that is a cache
// version is nil here and lies in the state instead, which may be nil for a
// function without caches. The state is changed only when Run succeeds. An error
// names function, value and what was expected.
func (m *Machine) Run(f *ir.Func, bind types.Bindings, in Inputs, state *State) (out []*Tensor, err error) {
	fr := &frame{Machine: m, f: f, bind: bind, env: map[*ir.Value]any{}, left: map[*ir.Value]int{}, slots: map[int]*ir.Value{}}
	for v, readers := range f.Uses() {
		fr.left[v] = len(readers)
	}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(evalError)
			if !ok {
				panic(r)
			}
			out, err = nil, fmt.Errorf("@%s: %s%s", f.Name, fr.where(), e.msg)
		}
	}()
	if state == nil {
		state = NewState()
	}
	fr.guards()
	fr.params(in, state)
	for _, v := range f.Body {
		if v.Op == ir.OpLaunch {
			fr.launch(v)
		} else if v.Op != ir.OpBuffer {
			fr.env[v] = fr.eval(v)
		}
	}
	fr.at = nil
	return fr.results(state), nil
}

// Named returns the tensors among results by Value name; unnamed ones go by
// their number.
func Named(f *ir.Func, results []*Tensor) map[string]*Tensor {
	out := map[string]*Tensor{}
	for i, t := range results {
		if t == nil {
			continue
		}
		name := f.Results[i].Name
		if name == "" {
			name = strconv.Itoa(i)
		}
		out[name] = t
	}
	return out
}

// frame is one run: the values computed so far, and how often each will still
// be read (so that big ones are let go).
type frame struct {
	*Machine
	f     *ir.Func
	bind  types.Bindings
	env   map[*ir.Value]any // *Tensor, *RowMap or *version
	left  map[*ir.Value]int
	slots map[int]*ir.Value // the buffer that a memory slot holds now
	at    *ir.Value
}

type evalError struct{ msg string }

func (fr *frame) failf(format string, a ...any) {
	panic(evalError{fmt.Sprintf(format, a...)})
}

func (fr *frame) where() string {
	if fr.at == nil {
		return ""
	}
	return ir.PrintValue(fr.at, ir.Names(fr.f)) + ": "
}

func (fr *frame) dim(d types.Dim) int {
	n, err := d.Eval(fr.bind)
	if err != nil {
		fr.failf("%v", err)
	}
	if n < 0 || n > math.MaxInt32 {
		fr.failf("dim %s is %d, expected 0 to 2^31", d, n)
	}
	return int(n)
}

func (fr *frame) shape(s types.Shape) []int {
	out := make([]int, len(s))
	for i, d := range s {
		out[i] = fr.dim(d)
	}
	return out
}

func (fr *frame) guards() {
	for _, g := range fr.f.When {
		l, r := fr.dim(g.Lhs), fr.dim(g.Rhs)
		if l != r && !(g.AtMost && l < r) {
			fr.failf("guard %s does not hold: %d and %d", g, l, r)
		}
	}
}

func (fr *frame) params(in Inputs, state *State) {
	names := ir.Names(fr.f)
	for _, p := range fr.f.Params {
		name := names[p][1:]
		if p.Type.Kind == types.Cache {
			fr.env[p] = state.version(p.Type.Cache)
			continue
		}
		shape := fr.shape(p.Type.Shape)
		switch a := in[name].(type) {
		case *Tensor:
			if p.Type.Kind != types.Tensor || !slices.Equal(a.Shape, shape) || a.Elem != p.Type.Elem {
				fr.failf("param %%%s is given %s, expected %s with %s", name, a, p.Type, fr.bind.Key())
			}
			fr.env[p] = a
		case *RowMap:
			if p.Type.Kind != types.Rows || a.N != shape[0] || len(a.Slots) != shape[1] {
				fr.failf("param %%%s is given rows[%d, %d], expected %s with %s", name, a.N, len(a.Slots), p.Type, fr.bind.Key())
			}
			if err := a.check(); err != nil {
				fr.failf("param %%%s: %v", name, err)
			}
			fr.env[p] = a
		default:
			fr.failf("param %%%s: %s is not given", name, p.Type)
		}
	}
}

func (fr *frame) results(state *State) []*Tensor {
	out := make([]*Tensor, len(fr.f.Results))
	caches := map[string]*version{}
	for i, r := range fr.f.Results {
		switch v := fr.arg(r).(type) {
		case *Tensor:
			out[i] = v
		case *version:
			caches[r.Type.Cache] = v
		default:
			fr.failf("result %d is a row map, expected a tensor or a cache", i+1)
		}
	}
	for name, v := range caches {
		state.caches[name] = v
	}
	return out
}

// arg returns the value of v, which has one reader less from now on.
func (fr *frame) arg(v *ir.Value) any {
	if v.Op == ir.OpWeight {
		return fr.weight(ir.WeightName(v))
	}
	x, ok := fr.env[v]
	if !ok {
		fr.failf("%s is read before it is written", ir.Names(fr.f)[v])
	}
	if s, ok := slot(v); ok && fr.slots[s] != v {
		names := ir.Names(fr.f)
		fr.failf("%s is read after %s has overwritten slot %d", names[v], names[fr.slots[s]], s)
	}
	if fr.left[v]--; fr.left[v] <= 0 && v.Op != ir.OpParam {
		delete(fr.env, v)
	}
	return x
}

// eval computes one Value and holds it against its type.
func (fr *frame) eval(v *ir.Value) any {
	fr.at = v
	fn, ok := evals[v.Op]
	if !ok {
		fr.failf("%s has no meaning of its own", v.Op)
	}
	c := &call{frame: fr, v: v}
	for _, a := range v.Args {
		c.args = append(c.args, fr.arg(a))
	}
	x := fn(c)
	t, ok := x.(*Tensor)
	if !ok {
		return x
	}
	if want := fr.shape(v.Type.Shape); !slices.Equal(t.Shape, want) {
		fr.failf("computed shape %v, the type says %v", t.Shape, want)
	}
	t.Elem = v.Type.Elem
	if !fr.wide {
		for i, x := range t.Data {
			t.Data[i] = Round(t.Elem.DType, x)
		}
	}
	return t
}

// launch runs every part on the values from before the launch, then writes.
func (fr *frame) launch(v *ir.Value) {
	writes := map[*ir.Value]any{}
	for _, p := range v.Launch {
		for _, b := range p.Body {
			fr.env[b] = fr.eval(b)
		}
		for i, y := range p.Yield {
			x := fr.arg(y)
			if t, ok := x.(*Tensor); ok {
				if want := fr.shape(p.Dst[i].Type.Shape); !slices.Equal(t.Shape, want) {
					fr.failf("yields %s to %s", t, p.Dst[i].Type)
				}
			}
			writes[p.Dst[i]] = x
		}
	}
	for _, p := range v.Launch {
		for _, d := range p.Dst {
			fr.env[d] = writes[d]
			if s, ok := slot(d); ok {
				fr.slots[s] = d
			}
		}
	}
}

// slot is the memory slot of a planned buffer.
func slot(v *ir.Value) (int, bool) {
	a, ok := v.Attrs.(ir.BufferAttrs)
	if !ok || a.Slot == nil {
		return 0, false
	}
	return *a.Slot, true
}

// weight returns the values of a weight, the sources of a derived one joined.
func (fr *frame) weight(name string) *Tensor {
	w := fr.m.Weight(name)
	if w == nil {
		fr.failf("weight @%s is not declared", name)
	}
	if w.Scaled != nil {
		return fr.scaled(w)
	}
	t := NewTensor(w.Type.Elem, fr.shape(w.Type.Shape)...)
	at := 0
	for _, s := range fr.m.Sources(w) {
		if s.Scaled != nil {
			at += copy(t.Data[at:], fr.scaled(s).Data)
			continue
		}
		if fr.w == nil {
			fr.failf("weight @%s: no weights were given", s.Name)
		}
		data, err := fr.w(s.Name)
		if err != nil {
			fr.failf("weight @%s: %v", s.Name, err)
		}
		if want := size(fr.shape(s.Type.Shape)); len(data) != want || at+want > len(t.Data) {
			fr.failf("weight @%s has %d values, expected %d", s.Name, len(data), want)
		}
		for _, x := range data {
			t.Data[at] = float64(x)
			at++
		}
	}
	if at != len(t.Data) {
		fr.failf("weight @%s: its sources have %d values, expected %d", name, at, len(t.Data))
	}
	return t
}
