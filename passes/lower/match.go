package lower

import (
	"fmt"

	"quire/ir"
	"quire/ir/target"
	"quire/ir/types"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// Found is a kernel and the values of its operands by name.
type Found struct {
	Kernel work.Params
	Values map[string]*ir.Value
}

// Args lists the operands' values in the order of the kernel.
func (k Found) Args() ([]*ir.Value, error) {
	var out []*ir.Value
	for _, o := range k.Kernel.Operands() {
		if !ir.Bound(o) {
			continue
		}
		v, ok := k.Values[o.Name]
		if !ok {
			return nil, fmt.Errorf("BUG: %s: operand %s has no value", k.Kernel.Family(), o.Name)
		}
		out = append(out, v)
	}
	return out, nil
}

// Match says which kernel of a target computes a part's body in the Func f, or why none
// does. The zero Target is any CPU.
func Match(t target.Target, m *ir.Module, f *ir.Func, part *ir.Part) (Found, error) {
	b := newBody(m, f, part)
	b.t = t
	if b.unread() {
		return Found{}, fmt.Errorf("a value of the body is neither read nor yielded")
	}
	for _, matcher := range matchers {
		if b.has(matcher.op) {
			k, err := matcher.match(b)
			if err != nil {
				return Found{}, fmt.Errorf("%s: %w", matcher.op, err)
			}
			if err := k.Kernel.Validate(); err != nil {
				return Found{}, err
			}
			return k, nil
		}
	}
	k, err := matchMap(b)
	if err == nil {
		err = k.Kernel.Validate()
	}
	return k, err
}

// matchers are tried in order: the first whose op the body holds decides.
var matchers = []struct {
	op    ir.Op
	match func(*body) (Found, error)
}{
	{ir.OpMatMul, matchLinear},
	{ir.OpHeadsMerge, matchMerged},
	{ir.OpAppend, matchStore},
	{ir.OpSummarise, matchSummarise},
	{ir.OpAttention, matchAttention},
	{ir.OpPageTopK, matchSelect},
	{ir.OpPageEstimate, matchEstimate},
	{ir.OpAttentionPaged, matchPaged},
	{ir.OpEmbed, matchEmbed},
	{ir.OpRopeTable, matchRopeTable},
	{ir.OpRope, matchRope},
	{ir.OpRMSNorm, matchNorm},
	{ir.OpGather, matchGather},
	{ir.OpHeads, matchHeads},
	{ir.OpSlice, matchSlice},
	{ir.OpArgMax, matchReduce},
	{ir.OpLogSumExp, matchReduce},
}

// body is a part under inspection.
type body struct {
	m    *ir.Module
	f    *ir.Func
	part *ir.Part
	t    target.Target
	in   map[*ir.Value]bool // values of the body
	uses map[*ir.Value]int  // reads within the body, yields included
}

func newBody(m *ir.Module, f *ir.Func, part *ir.Part) *body {
	b := &body{m: m, f: f, part: part, in: map[*ir.Value]bool{}, uses: map[*ir.Value]int{}}
	for _, v := range part.Body {
		b.in[v] = true
		for _, a := range v.Args {
			b.uses[a]++
		}
	}
	for _, y := range part.Yield {
		b.uses[y]++
	}
	return b
}

func (b *body) gpu() bool { return b.t.Arch == target.PTX }

func (b *body) unread() bool {
	for _, v := range b.part.Body {
		if b.uses[v] == 0 {
			return true
		}
	}
	return false
}

func (b *body) has(op ir.Op) bool { return b.count(op) > 0 }

func (b *body) count(op ir.Op) (n int) {
	for _, v := range b.part.Body {
		if v.Op == op {
			n++
		}
	}
	return n
}

func (b *body) first(op ir.Op) *ir.Value {
	for _, v := range b.part.Body {
		if v.Op == op {
			return v
		}
	}
	return nil
}

func (b *body) last(op ir.Op) (last *ir.Value) {
	for _, v := range b.part.Body {
		if v.Op == op {
			last = v
		}
	}
	return last
}

// only reports whether every op of the body is one of those given.
func (b *body) only(ops ...ir.Op) error {
	for _, v := range b.part.Body {
		ok := v.Op.Info().View
		for _, o := range ops {
			ok = ok || v.Op == o
		}
		if !ok {
			return fmt.Errorf("no kernel has %s in this place", v.Op)
		}
	}
	return nil
}

// outer follows views down to a value outside the body: a buffer, parameter or
// weight that a kernel can read as it lies in memory.
func (b *body) outer(v *ir.Value) (*ir.Value, error) {
	for b.in[v] {
		if !v.Op.Info().View {
			return nil, fmt.Errorf("%s is computed inside, expected a buffer", v.Op)
		}
		v = v.Args[0]
	}
	return v, nil
}

// under follows views without leaving the body.
func (b *body) under(v *ir.Value) *ir.Value {
	for b.in[v] && v.Op.Info().View {
		v = v.Args[0]
	}
	return v
}

// dst returns where the value (seen through views) is yielded to.
func (b *body) dst(v *ir.Value) (*ir.Value, bool) {
	for i, y := range b.part.Yield {
		if b.under(y) == v {
			return b.part.Dst[i], true
		}
	}
	return nil, false
}

// result requires exactly one yield, of v.
func (b *body) result(v *ir.Value) (*ir.Value, error) {
	d, ok := b.dst(v)
	if !ok || len(b.part.Yield) != 1 {
		return nil, fmt.Errorf("yields %d values, expected only the last", len(b.part.Yield))
	}
	return d, nil
}

// reader returns the only op of the body that reads v, or nil.
func (b *body) reader(v *ir.Value) *ir.Value {
	var r *ir.Value
	for _, u := range b.part.Body {
		for _, a := range u.Args {
			if a == v {
				if r != nil {
					return nil
				}
				r = u
			}
		}
	}
	return r
}

// f32s checks that values are f32 tensors: what the kernels of this target take.
func f32s(vs ...*ir.Value) error {
	for _, v := range vs {
		if v.Type.Elem != types.Plain(types.F32) {
			return fmt.Errorf("operand of type %s, expected f32", v.Type)
		}
	}
	return nil
}

func constant(d types.Dim) int {
	n, _ := d.IsConst()
	return int(n)
}

func enc(v *ir.Value) layout.Enc { return layout.Enc(v.Type.Elem.String()) }

func rms(v *ir.Value) work.RMSNorm {
	a := v.Attrs.(ir.NormAttrs)
	return work.RMSNorm{Eps: float32(a.Eps), Offset: float32(a.Offset)}
}

// summary is the tokens of a page summary of a cache, 0 without any.
func (b *body) summary(c *ir.CacheDecl) int { return b.m.Table(c.Table).Summary }

// cacheOf returns a cache's declaration and its page size.
func (b *body) cacheOf(v *ir.Value) (*ir.CacheDecl, int, error) {
	c := b.m.Cache(v.Type.Cache)
	if c == nil {
		return nil, 0, fmt.Errorf("cache @%s is not declared", v.Type.Cache)
	}
	t := b.m.Table(c.Table)
	if t == nil {
		return nil, 0, fmt.Errorf("table @%s is not declared", c.Table)
	}
	return c, t.Page, nil
}
