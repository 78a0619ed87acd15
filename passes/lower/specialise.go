package lower

import (
	"fmt"
	"slices"

	"quire/ir"
	"quire/ir/types"
	"quire/passes"
)

// Spec is one specialisation of the step function.
type Spec struct {
	Name string
	When []ir.Guard
}

// Specialise makes Kernel-level versions of @step.
func Specialise(specs ...Spec) passes.Pass {
	return passes.Pass{
		Name: "lower.specialise",
		Doc: `@step becomes guarded lists of launches over buffers.

Invariants: exact. Every op that computes has a launch of its own; views,
slices and selections of heads have none, they are repeated in the bodies that read them. A cache is a
location: kv.append updates it in place, which linearity allows.

	%h = rmsnorm %x, @g   =>   buffer %h
	                           launch -> %h { %0 = rmsnorm %x, @g  yield %0 }`,
		Requires: []passes.Prop{passes.DequantFused},
		Sets:     []passes.Prop{passes.Specialised},
		Numerics: passes.Exact,
		Run: func(c *passes.Context, m *ir.Module) error {
			step := m.Func("step")
			if step == nil {
				return fmt.Errorf("the module has no @step")
			}
			if m.Has(passes.Specialised) {
				return nil
			}
			for _, s := range specs {
				f, err := specialise(m, step, s)
				if err != nil {
					return fmt.Errorf("@%s: %w", s.Name, err)
				}
				m.Funcs = append(m.Funcs, f)
				c.Count("specialise-" + s.Name)
			}
			return nil
		},
	}
}

// specialiser carries the map from values of @step to places of the new Func.
type specialiser struct {
	m     *ir.Module
	f     *ir.Func
	place map[*ir.Value]*ir.Value
	// absorbed values have no place: their ops are repeated in each reader.
	absorbed map[*ir.Value]bool
}

func specialise(m *ir.Module, step *ir.Func, spec Spec) (*ir.Func, error) {
	f := ir.NewFunc(step.Name+"."+spec.Name, ir.Kernel)
	f.Of, f.When = step.Name, spec.When
	s := &specialiser{m, f, map[*ir.Value]*ir.Value{}, map[*ir.Value]bool{}}
	for _, p := range step.Params {
		s.place[p] = f.AddParam(p.Name, p.Type)
	}
	for _, v := range step.Body {
		if v.Op.Info().View || v.Op == ir.OpSlice || v.Op == ir.OpHeads {
			s.absorbed[v] = true
			if !scored(step, v) && !quantised(m, step, v) {
				continue
			}
		}
		if err := s.launch(v); err != nil {
			return nil, err
		}
	}
	for i, r := range step.Results {
		p, ok := s.place[r]
		if !ok || p.Op == ir.OpParam && r.Type.Kind != types.Cache {
			return nil, fmt.Errorf("result %d is a view or a parameter, expected a computed value", i+1)
		}
		f.Results = append(f.Results, p)
	}
	return f, nil
}

// scored reports whether v is heads that are returned or whose pages are scored: no kernel
// scores them in place.
func scored(f *ir.Func, v *ir.Value) bool {
	return v.Op == ir.OpHeads && slices.Contains(f.Results, v) || v.Op == ir.OpHeads && slices.ContainsFunc(f.Body, func(r *ir.Value) bool {
		return r.Op == ir.OpPageEstimate && r.Args[0] == v
	})
}

// quantised reports whether v is a slice that a cache quantises, which takes whole heads from
// a buffer: the linear that makes the slice writes it there.
func quantised(m *ir.Module, f *ir.Func, v *ir.Value) bool {
	if v.Op != ir.OpSlice {
		return false
	}
	for _, r := range f.Body {
		if r.Op != ir.OpAppend || !m.Cache(r.Type.Cache).Elem.IsQuantised() {
			continue
		}
		for _, a := range r.Args[1:3] {
			for a.Op.Info().View || a.Op == ir.OpHeads {
				a = a.Args[0]
			}
			if a == v {
				return true
			}
		}
	}
	return false
}

// launch gives v a launch that writes its place.
func (s *specialiser) launch(v *ir.Value) error {
	part := &ir.Part{}
	y, err := s.copy(part, map[*ir.Value]*ir.Value{}, v)
	if err != nil {
		return err
	}
	if v.Op.Info().Effect == ir.Updates {
		s.place[v] = s.place[v.Args[0]] // the cache is a location
	} else {
		b := s.f.NewValue(ir.OpBuffer, v.Type, ir.BufferAttrs{})
		b.Name, b.Scope = v.Name, v.Scope
		y.Name = ""
		s.f.Body = append(s.f.Body, b)
		s.place[v] = b
	}
	part.Dst, part.Yield = []*ir.Value{s.place[v]}, []*ir.Value{y}
	l := s.f.NewValue(ir.OpLaunch, types.Type{Kind: types.Void}, nil)
	l.Scope, l.Pos, l.Launch = v.Scope, v.Pos, []*ir.Part{part}
	s.f.Body = append(s.f.Body, l)
	return nil
}

// copy repeats v in the part's body, with the absorbed values it reads.
func (s *specialiser) copy(part *ir.Part, done map[*ir.Value]*ir.Value, v *ir.Value) (*ir.Value, error) {
	if w, ok := done[v]; ok {
		return w, nil
	}
	args := make([]*ir.Value, len(v.Args))
	for i, a := range v.Args {
		switch {
		case a.Op == ir.OpWeight:
			args[i] = s.f.Weight(s.m.Weight(ir.WeightName(a)))
		case s.absorbed[a] && (s.place[a] == nil || a.Op == ir.OpHeads && v.Op != ir.OpPageEstimate):
			w, err := s.copy(part, done, a)
			if err != nil {
				return nil, err
			}
			args[i] = w
		default:
			p, ok := s.place[a]
			if !ok {
				return nil, fmt.Errorf("BUG: %s reads a value without a place", v.Op)
			}
			args[i] = p
		}
	}
	t, err := ir.Infer(s.m, v.Op, v.Attrs, args)
	if err != nil {
		return nil, err
	}
	w := s.f.NewValue(v.Op, t, v.Attrs, args...)
	w.Scope, w.Pos = v.Scope, v.Pos
	part.Body = append(part.Body, w)
	done[v] = w
	return w, nil
}
