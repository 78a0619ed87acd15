package codegen

import (
	"fmt"
	"slices"
	"strings"

	"quire/ir"
	"quire/ir/types/layout"
	"quire/ir/work"
	"quire/runtime/program"
)

// memory writes down tables, caches and slots.
func (b *builder) memory() {
	for _, t := range b.m.Tables {
		b.p.Tables = append(b.p.Tables, program.Table{Name: t.Name, Page: t.Page, Sink: t.Sink, Recent: t.Recent, Chunk: t.Chunk})
	}
	for _, c := range b.m.Caches {
		t := slices.IndexFunc(b.m.Tables, func(t *ir.Table) bool { return t.Name == c.Table })
		b.p.Caches = append(b.p.Caches, cacheOf(c, t, b.m.Tables[t]))
	}
	slots := map[int][]string{}
	for _, f := range b.m.Funcs {
		for _, v := range f.Body {
			a, ok := v.Attrs.(ir.BufferAttrs)
			if !ok || a.Slot == nil {
				continue
			}
			size := v.Type.Bytes().String()
			if !slices.Contains(slots[*a.Slot], size) {
				slots[*a.Slot] = append(slots[*a.Slot], size)
			}
		}
	}
	for i := range len(slots) {
		b.p.Slots = append(b.p.Slots, strings.Join(slots[i], ", "))
	}
}

// cacheOf is a cache on table t. One of picks keeps them with the pages that they serve.
func cacheOf(c *ir.CacheDecl, t int, table *ir.Table) program.Cache {
	out := program.Cache{Name: c.Name, Elem: c.Elem.String(), Heads: c.Heads, Dim: c.Dim, Table: t}
	if c.Pick {
		out.Elem, out.PageBytes = program.Picks, work.KeptBytes(c.Heads, c.Dim)
		return out
	}
	out.PageBytes = work.PageStride(c.Heads, c.Dim, table.Page, table.Summary, layout.Enc(c.Elem.String()))
	return out
}

// step writes down one specialisation.
func (b *builder) step(f *ir.Func) error {
	s := program.Step{Name: f.Name}
	for _, g := range f.When {
		s.When = append(s.When, program.Guard{Lhs: g.Lhs.String(), Rhs: g.Rhs.String(), AtMost: g.AtMost})
	}
	serves := demand(f)
	for _, v := range f.Body {
		for _, p := range v.Launch {
			l, err := b.launch(v, p)
			if err != nil {
				return fmt.Errorf("%s: %w", v.Scope, err)
			}
			l.For = serves[v]
			s.Launch = append(s.Launch, l)
		}
	}
	for _, r := range f.Results {
		if r.Op != ir.OpBuffer {
			continue
		}
		slot, err := slotOf(r)
		if err != nil {
			return err
		}
		cols := 0
		if len(r.Type.Shape) > 1 { // heads too, one after the other
			c, _ := r.Type.Shape[1:].Size().IsConst()
			cols = int(c)
		}
		s.Results = append(s.Results, program.Result{Name: r.Name, Slot: slot, Elem: r.Type.Elem.String(), Rows: r.Type.Shape[0].String(), Cols: cols})
		if r.Name == "logits" {
			b.p.Vocab = cols
		}
	}
	b.p.Steps = append(b.p.Steps, s)
	return nil
}

// demand returns, for launches that serve only some results, the indices of those
// results among the buffers returned. Launches that update a cache serve all.
func demand(f *ir.Func) map[*ir.Value][]int {
	writer := map[*ir.Value]*ir.Value{}
	for _, l := range f.Body {
		for _, p := range l.Launch {
			for _, d := range p.Dst {
				if d.Op == ir.OpBuffer {
					writer[d] = l
				}
			}
		}
	}
	need := map[*ir.Value][]int{}
	always := map[*ir.Value]bool{}
	var mark func(l *ir.Value, result int)
	mark = func(l *ir.Value, result int) {
		if l == nil || result < 0 && always[l] || result >= 0 && slices.Contains(need[l], result) {
			return
		}
		if result < 0 {
			always[l] = true
		} else {
			need[l] = append(need[l], result)
		}
		for _, p := range l.Launch {
			for _, v := range p.Body {
				for _, a := range v.Args {
					mark(writer[a], result)
				}
			}
		}
	}
	for _, l := range f.Body {
		for _, p := range l.Launch {
			if slices.ContainsFunc(p.Dst, func(d *ir.Value) bool { return d.Op == ir.OpParam }) {
				mark(l, -1)
			}
		}
	}
	n := 0
	for _, r := range f.Results {
		if r.Op == ir.OpBuffer {
			mark(writer[r], n)
			n++
		}
	}
	for l := range always {
		delete(need, l)
	}
	for l, rs := range need {
		slices.Sort(rs)
		need[l] = rs
	}
	return need
}

func slotOf(v *ir.Value) (int, error) {
	if a, ok := v.Attrs.(ir.BufferAttrs); ok && a.Slot != nil {
		return *a.Slot, nil
	}
	return 0, fmt.Errorf("buffer %%%s has no slot: run plan.buffers", v.Name)
}

// launch binds the operands of one part, in the order of its kernel.
func (b *builder) launch(v *ir.Value, p *ir.Part) (program.Launch, error) {
	if p.Kernel == nil {
		return program.Launch{}, fmt.Errorf("a launch without a kernel: run lower.select-kernels")
	}
	l := program.Launch{Name: strings.TrimSpace(v.Scope + " " + p.Kernel.Family()), Kernel: b.kernelIndex(p.Kernel), Rows: rowsOf(p)}
	cost := costOf(b.m, p)
	l.Bytes, l.Flops = cost.bytes.String(), cost.flops.String()
	k := 0
	for _, o := range p.Kernel.Operands() {
		arg, err := b.operand(o, l.Rows, p, &k)
		if err != nil {
			return l, fmt.Errorf("%s: operand %s: %w", p.Kernel.Family(), o.Name, err)
		}
		l.Args = append(l.Args, arg)
	}
	return l, nil
}

// rowsOf returns the dim that counts the rows of a launch: that of its first result.
func rowsOf(p *ir.Part) string {
	for _, y := range p.Yield {
		if y.Type.IsTensor() {
			return y.Type.Shape[0].String()
		}
	}
	return "N"
}

func (b *builder) operand(o work.Operand, rows string, p *ir.Part, next *int) (program.Arg, error) {
	switch {
	case o.Kind == work.Dim && o.Name == "N":
		return program.Arg{Kind: program.ArgDim, Name: rows}, nil
	case o.Kind == work.Dim:
		return program.Arg{Kind: program.ArgDim, Name: o.Name}, nil
	case o.Kind == work.Const:
		return program.Arg{Kind: program.ArgConst, Ints: p.Kernel.(work.Constants).Constant(o.Name)}, nil
	case o.Mode == work.Temp:
		return program.Arg{Kind: program.ArgTemp}, nil
	case o.Name == "pages":
		return b.pages(p, "cache")
	case o.Name == "stream_pages":
		return b.pages(p, "stream")
	case !ir.Bound(o):
		return program.Arg{Kind: program.ArgInput, Name: o.Name}, nil
	}
	v := p.Args[*next]
	*next++
	switch v.Op {
	case ir.OpBuffer:
		slot, err := slotOf(v)
		return program.Arg{Kind: program.ArgSlot, Index: slot}, err
	case ir.OpWeight:
		i, err := b.weightIndex(ir.WeightName(v))
		return program.Arg{Kind: program.ArgWeight, Index: i}, err
	}
	if v.Type.Cache != "" {
		return program.Arg{Kind: program.ArgCache, Index: b.cacheIndex(v.Type.Cache)}, nil
	}
	return program.Arg{Kind: program.ArgInput, Name: v.Name}, nil
}

func (b *builder) cacheIndex(name string) int {
	return slices.IndexFunc(b.m.Caches, func(c *ir.CacheDecl) bool { return c.Name == name })
}

// pages is the page table of the cache that is a part's operand of a name.
func (b *builder) pages(p *ir.Part, cache string) (program.Arg, error) {
	for o, a := range p.Operands() {
		if o.Name == cache && a.Type.Cache != "" {
			return program.Arg{Kind: program.ArgPages, Index: b.p.Caches[b.cacheIndex(a.Type.Cache)].Table}, nil
		}
	}
	return program.Arg{}, fmt.Errorf("no cache among the operands")
}
