package fuse

import (
	"reflect"
	"slices"

	"quire/ir"
	"quire/ir/target"
	"quire/passes/lower"
)

// view is a Kernel-level Func with what fusion asks of it.
type view struct {
	t target.Target
	m *ir.Module
	f *ir.Func
	// writer of a buffer; readers of a buffer, in order; returned buffers.
	writer   map[*ir.Value]*ir.Value
	readers  map[*ir.Value][]*ir.Value
	returned map[*ir.Value]bool
}

func newView(t target.Target, m *ir.Module, f *ir.Func) *view {
	w := &view{t, m, f, map[*ir.Value]*ir.Value{}, map[*ir.Value][]*ir.Value{}, map[*ir.Value]bool{}}
	for _, l := range f.Body {
		for _, p := range l.Launch {
			for _, d := range p.Dst {
				if d.Op == ir.OpBuffer {
					w.writer[d] = l
				}
			}
			for _, b := range reads(p) {
				w.readers[b] = append(w.readers[b], l)
			}
		}
	}
	for _, r := range f.Results {
		w.returned[r] = true
	}
	return w
}

// reads lists the buffers that a part reads, each once, in order.
func reads(p *ir.Part) []*ir.Value {
	var out []*ir.Value
	for _, v := range p.Body {
		for _, a := range v.Args {
			if a.Op == ir.OpBuffer && !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out
}

func part(l *ir.Value) *ir.Part { return l.Launch[0] }

// producers lists the launches that write what l reads.
func (w *view) producers(l *ir.Value) []*ir.Value {
	var out []*ir.Value
	for _, b := range reads(part(l)) {
		if p := w.writer[b]; p != nil && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// merged builds the part that does the work of the launches, given in order of
// the Func. Buffers that only they read disappear; the others stay
// destinations.
func (w *view) merged(ls []*ir.Value) *ir.Part {
	out := &ir.Part{}
	inside := map[*ir.Value]*ir.Value{} // buffer -> value that replaced it
	for _, l := range ls {
		copied := map[*ir.Value]*ir.Value{}
		p := part(l)
		for _, v := range p.Body {
			args := make([]*ir.Value, len(v.Args))
			for i, a := range v.Args {
				switch {
				case copied[a] != nil:
					args[i] = copied[a]
				case inside[a] != nil:
					args[i] = inside[a]
				default:
					args[i] = a
				}
			}
			copied[v] = place(w.f, out, v, args)
		}
		for i, d := range p.Dst {
			y := copied[p.Yield[i]]
			if d.Op == ir.OpBuffer {
				inside[d] = y
				if !w.readOutside(d, ls) {
					continue
				}
			}
			out.Dst = append(out.Dst, d)
			out.Yield = append(out.Yield, y)
		}
	}
	return out
}

// place copies v into a body, or finds the equal value that is there already:
// views, slices and heads repeated by several launches.
func place(f *ir.Func, p *ir.Part, v *ir.Value, args []*ir.Value) *ir.Value {
	if v.Op.Info().View || v.Op == ir.OpSlice || v.Op == ir.OpHeads {
		for _, b := range p.Body {
			if b.Op == v.Op && reflect.DeepEqual(b.Attrs, v.Attrs) && slices.Equal(b.Args, args) {
				return b
			}
		}
	}
	c := f.NewValue(v.Op, v.Type, v.Attrs, args...)
	c.Scope, c.Pos = v.Scope, v.Pos
	p.Body = append(p.Body, c)
	return c
}

func (w *view) readOutside(b *ir.Value, ls []*ir.Value) bool {
	if w.returned[b] {
		return true
	}
	for _, r := range w.readers[b] {
		if !slices.Contains(ls, r) {
			return true
		}
	}
	return false
}

// try merges launches into the last of them if a kernel computes the result and
// the move crosses nothing that it depends on. It reports why not.
func (w *view) try(ls []*ir.Value) (bool, error) {
	ls = w.inOrder(ls)
	p := w.merged(ls)
	if _, err := lower.Match(w.t, w.m, w.f, p); err != nil {
		return false, err
	}
	last := ls[len(ls)-1]
	after, ok := w.postponed(ls)
	if !ok {
		return false, errCrosses
	}
	gone := map[*ir.Value]bool{}
	for _, l := range ls[:len(ls)-1] {
		gone[l] = true
	}
	for b := range w.writer {
		if slices.Contains(ls, w.writer[b]) && !slices.Contains(p.Dst, b) {
			gone[b] = true
		}
	}
	last.Launch = []*ir.Part{p}
	w.f.Remove(gone)
	w.f.Body = slices.DeleteFunc(w.f.Body, func(v *ir.Value) bool { return slices.Contains(after, v) })
	w.f.Body = slices.Insert(w.f.Body, 1+slices.Index(w.f.Body, last), after...)
	return true, nil
}

func (w *view) inOrder(ls []*ir.Value) []*ir.Value {
	at := map[*ir.Value]int{}
	for i, v := range w.f.Body {
		at[v] = i
	}
	ls = slices.Clone(ls)
	slices.SortFunc(ls, func(a, b *ir.Value) int { return at[a] - at[b] })
	return slices.Compact(ls)
}

// postponed are the launches between those given that must follow when all of these run at
// the place of the last: they depend on an earlier one, or on what is postponed. Not ok: one
// of the cluster depends on such a launch.
func (w *view) postponed(ls []*ir.Value) (after []*ir.Value, ok bool) {
	var done []*ir.Value
	first, last := slices.Index(w.f.Body, ls[0]), slices.Index(w.f.Body, ls[len(ls)-1])
	for _, l := range w.f.Body[first : last+1] {
		if l.Op != ir.OpLaunch {
			continue
		}
		late := slices.ContainsFunc(after, func(a *ir.Value) bool { return conflicts(part(a), part(l)) })
		switch {
		case slices.Contains(ls, l):
			if late {
				return nil, false
			}
			done = append(done, l)
		case late || slices.ContainsFunc(done, func(d *ir.Value) bool { return conflicts(part(d), part(l)) }):
			after = append(after, l)
		}
	}
	return after, true
}

// conflicts reports whether one part writes what the other reads or writes.
func conflicts(a, b *ir.Part) bool {
	touches := func(p *ir.Part, d *ir.Value) bool {
		if slices.Contains(p.Dst, d) {
			return true
		}
		for _, v := range p.Body {
			if slices.Contains(v.Args, d) {
				return true
			}
		}
		return false
	}
	for _, d := range a.Dst {
		if touches(b, d) {
			return true
		}
	}
	for _, d := range b.Dst {
		if touches(a, d) {
			return true
		}
	}
	return false
}
