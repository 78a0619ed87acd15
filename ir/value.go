package ir

import (
	"iter"
	"slices"

	"quire/ir/types"
	"quire/ir/work"
)

// Level says which ops a Func may hold.
type Level uint8

// The levels: model ops on values, or launches on planned buffers.
const (
	Graph Level = 1 << iota
	Kernel
)

// Pos is a place in a source: a builder's caller or a line of text.
type Pos struct {
	File string
	Line int
	Col  int
}

// Value is one op's result. ID and Type are fixed at birth; Name is for people,
// identity for passes. Analyses live in side tables, never here.
type Value struct {
	ID     int
	Op     Op
	Type   types.Type
	Args   []*Value
	Attrs  Attrs
	Name   string // optional
	Scope  string // dotted path for drawings: "layers.5.attn"
	Pos    Pos
	Launch []*Part // OpLaunch only: independent parts
}

// Part is one kernel of a launch. Its body of graph ops is its meaning; Kernel,
// when chosen, says which compiled kernel does it, and Args which values its
// operands are: see Bound for the operands that need one.
type Part struct {
	Kernel work.Params // nil until lowering chose one
	Args   []*Value    // one for each operand that Bound reports, in order
	Dst    []*Value    // buffers and caches written, one a yield
	Body   []*Value    // graph ops in order; args may be values of the Func
	Yield  []*Value
}

// Guard is one condition of a specialisation: Lhs = Rhs, or Lhs <= Rhs.
type Guard struct {
	Lhs, Rhs types.Dim
	AtMost   bool
}

// Func is one ordered dataflow graph, or (Kernel level) a list of launches.
type Func struct {
	Name    string
	Level   Level
	Of      string  // Kernel level: the Func that this specialises
	When    []Guard // Kernel level: all must hold
	Params  []*Value
	Body    []*Value
	Results []*Value
	Pos     Pos

	weights map[string]*Value
	nextID  int
}

// NewFunc returns an empty function.
func NewFunc(name string, level Level) *Func {
	return &Func{Name: name, Level: level, weights: map[string]*Value{}}
}

// NewValue makes a Value of this Func without placing it.
func (f *Func) NewValue(op Op, t types.Type, attrs Attrs, args ...*Value) *Value {
	v := &Value{ID: f.nextID, Op: op, Type: t, Attrs: attrs, Args: args}
	f.nextID++
	return v
}

// Weight returns the Func's single reference to a module weight.
func (f *Func) Weight(w *Weight) *Value {
	if v, ok := f.weights[w.Name]; ok {
		return v
	}
	v := f.NewValue(OpWeight, w.Type, WeightAttrs{Name: w.Name})
	f.weights[w.Name] = v
	return v
}

// AddParam appends a parameter.
func (f *Func) AddParam(name string, t types.Type) *Value {
	v := f.NewValue(OpParam, t, nil)
	v.Name = name
	f.Params = append(f.Params, v)
	return v
}

// Add makes a Value by inference and appends it to the body.
func (f *Func) Add(m *Module, op Op, attrs Attrs, args ...*Value) (*Value, error) {
	t, err := Infer(m, op, attrs, args)
	if err != nil {
		return nil, err
	}
	v := f.NewValue(op, t, attrs, args...)
	f.Body = append(f.Body, v)
	return v, nil
}

// AddBefore makes a Value by inference in front of at, with its scope.
func (f *Func) AddBefore(m *Module, at *Value, op Op, attrs Attrs, args ...*Value) (*Value, error) {
	t, err := Infer(m, op, attrs, args)
	if err != nil {
		return nil, err
	}
	v := f.NewValue(op, t, attrs, args...)
	v.Scope, v.Pos = at.Scope, at.Pos
	f.InsertBefore(at, v)
	return v, nil
}

// Walk calls fn for each Value of the body, launch bodies included, in order.
func (f *Func) Walk(fn func(*Value)) {
	for _, v := range f.Body {
		fn(v)
		for _, p := range v.Launch {
			for _, b := range p.Body {
				fn(b)
			}
		}
	}
}

// Uses returns, for each Value, the Values that read it (with multiplicity, in
// order); results count as uses by nil.
func (f *Func) Uses() map[*Value][]*Value {
	uses := map[*Value][]*Value{}
	f.Walk(func(v *Value) {
		for _, a := range v.Args {
			uses[a] = append(uses[a], v)
		}
	})
	for _, v := range f.Body {
		for _, p := range v.Launch {
			for _, y := range p.Yield {
				uses[y] = append(uses[y], v)
			}
		}
	}
	for _, r := range f.Results {
		uses[r] = append(uses[r], nil)
	}
	return uses
}

// Replace makes every reader of old read new instead.
func (f *Func) Replace(old, new *Value) {
	swap := func(list []*Value) {
		for i, a := range list {
			if a == old {
				list[i] = new
			}
		}
	}
	f.Walk(func(v *Value) { swap(v.Args) })
	for _, v := range f.Body {
		for _, p := range v.Launch {
			swap(p.Yield)
			swap(p.Dst)
			swap(p.Args)
		}
	}
	swap(f.Results)
}

// Remove takes values out of the body.
func (f *Func) Remove(dead map[*Value]bool) {
	f.Body = slices.DeleteFunc(f.Body, func(v *Value) bool { return dead[v] })
}

// InsertBefore places v in front of at.
func (f *Func) InsertBefore(at, v *Value) {
	i := slices.Index(f.Body, at)
	if i < 0 {
		panic("BUG: InsertBefore: the place is not in the body")
	}
	f.Body = slices.Insert(f.Body, i, v)
}

// WeightName returns the weight that v refers to, or "".
func WeightName(v *Value) string {
	if a, ok := v.Attrs.(WeightAttrs); ok && v.Op == OpWeight {
		return a.Name
	}
	return ""
}

// Operands are the operands of the part's kernel that are bound to Values, in order.
func (p *Part) Operands() iter.Seq2[work.Operand, *Value] {
	return func(yield func(work.Operand, *Value) bool) {
		i := 0
		for _, o := range p.Kernel.Operands() {
			if !Bound(o) {
				continue
			}
			if !yield(o, p.Args[i]) {
				return
			}
			i++
		}
	}
}

// Bound reports whether an operand of a kernel is bound to a Value of the Func.
// The others follow from the step: dims, lists, the memory of one launch, and the row
// map and page table, which come with the step's rows and the cache.
func Bound(o work.Operand) bool {
	if o.Kind == work.Dim || o.Kind == work.Const || o.Mode == work.Temp {
		return false
	}
	switch o.Name {
	case "row_slot", "slot_start", "slot_new", "slot_len", "pages", "stream_pages":
		return false
	}
	return true
}
