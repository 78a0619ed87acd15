package plan

import (
	"fmt"
	"slices"

	"quire/ir"
	"quire/ir/types"
	"quire/passes"
)

// Buffers assigns every buffer of every Kernel-level Func to a slot.
func Buffers() passes.Pass {
	return passes.Pass{
		Name: "plan.buffers",
		Doc: `Buffers that are not alive together share a slot.

Invariants: exact. A launch's results never share a slot with what it reads, unless
the kernel allows its output to be that operand (a residual, an elementwise input).
Slots are shared by all specialisations. Reuse is decided by launches, which run one
after the other.

	buffer %h: f32[N, 64]   =>   buffer %h: f32[N, 64] {slot = 0}`,
		Requires: []passes.Prop{passes.Selected},
		Sets:     []passes.Prop{passes.Planned},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Kernel, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			assign(c, f)
			if err := Check(f); err != nil {
				return fmt.Errorf("BUG: %w", err)
			}
			return nil
		}),
	}
}

// inPlace lists, by kernel family, the operands whose memory the output "y" may
// take over: the kernel reads an element before it writes the same one.
var inPlace = map[string][]string{
	"linear": {"res"},
	"map":    {"a0", "a1", "a2", "a3"},
	"rope":   {"x"},
}

// slot is memory of a size, free from a launch on.
type slot struct {
	size types.Dim // bytes
	free bool
}

func assign(c *passes.Context, f *ir.Func) {
	last := lastUse(f)
	var slots []slot
	at := map[*ir.Value]int{}
	for i, l := range f.Body {
		if l.Op != ir.OpLaunch {
			continue
		}
		for _, p := range l.Launch {
			for _, d := range p.Dst {
				if d.Op != ir.OpBuffer {
					continue
				}
				k := takeOver(p, d, i, last, at, slots)
				if k < 0 {
					k = pick(&slots, Bytes(d.Type))
				} else {
					c.Count("in-place")
				}
				slots[k].free = false
				at[d] = k
				d.Attrs = ir.BufferAttrs{Slot: &k}
				c.Count("buffers")
			}
		}
		for b, k := range at {
			if last[b] == i && !shared(at, b, k, i, last) {
				slots[k].free = true
			}
		}
	}
}

// shared reports whether another buffer in slot k lives on after launch i.
func shared(at map[*ir.Value]int, b *ir.Value, k, i int, last map[*ir.Value]int) bool {
	for o, ok := range at {
		if o != b && ok == k && last[o] > i {
			return true
		}
	}
	return false
}

// lastUse returns the index of the last launch that reads (or writes) a buffer;
// returned buffers live to the end.
func lastUse(f *ir.Func) map[*ir.Value]int {
	last := map[*ir.Value]int{}
	for i, l := range f.Body {
		for _, p := range l.Launch {
			for _, v := range p.Body {
				for _, a := range v.Args {
					last[a] = i
				}
			}
			for _, d := range p.Dst {
				last[d] = max(last[d], i)
			}
		}
	}
	for _, r := range f.Results {
		last[r] = len(f.Body)
	}
	return last
}

// takeOver returns the slot of an operand that dies here and whose memory d may
// have, or -1.
func takeOver(p *ir.Part, d *ir.Value, i int, last map[*ir.Value]int, at map[*ir.Value]int, slots []slot) int {
	names := inPlace[p.Kernel.Family()]
	for o, a := range p.Operands() {
		if !slices.Contains(names, o.Name) || a.Op != ir.OpBuffer || last[a] != i || boundElsewhere(p, a, names) {
			continue
		}
		if s, ok := at[a]; ok && Bytes(a.Type) == Bytes(d.Type) && !shared(at, a, s, i, last) {
			return s
		}
	}
	return -1
}

// boundElsewhere reports whether a is also an operand whose memory may not change
// while the kernel runs.
func boundElsewhere(p *ir.Part, a *ir.Value, names []string) bool {
	for o, b := range p.Operands() {
		if b == a && !slices.Contains(names, o.Name) {
			return true
		}
	}
	return false
}

// pick returns a free slot of the same size, else a free one that can grow to it
// (sizes over the same symbols), else a new one.
func pick(slots *[]slot, size types.Dim) int {
	for k, s := range *slots {
		if s.free && s.size == size {
			return k
		}
	}
	for k, s := range *slots {
		if s.free && slices.Equal(s.size.Symbols(), size.Symbols()) {
			if _, grows := ratio(size, s.size); grows {
				(*slots)[k].size = size
			}
			return k
		}
	}
	*slots = append(*slots, slot{size: size})
	return len(*slots) - 1
}

// ratio compares two sizes over the same symbols at a common point.
func ratio(a, b types.Dim) (int64, bool) {
	at := types.Bindings{}
	for _, s := range a.Symbols() {
		at[s] = 1 << 12
	}
	x, _ := a.Eval(at)
	y, _ := b.Eval(at)
	return x - y, x > y
}

// Bytes returns the size of a tensor in bytes.
func Bytes(t types.Type) types.Dim {
	return t.Bytes()
}

// Slots returns, for each slot of the module, the sizes (in bytes) of the buffers
// in it; the slot needs the largest.
func Slots(m *ir.Module) [][]types.Dim {
	var out [][]types.Dim
	for _, f := range m.Funcs {
		for _, v := range f.Body {
			a, ok := v.Attrs.(ir.BufferAttrs)
			if !ok || a.Slot == nil {
				continue
			}
			for len(out) <= *a.Slot {
				out = append(out, nil)
			}
			if size := Bytes(v.Type); !slices.Contains(out[*a.Slot], size) {
				out[*a.Slot] = append(out[*a.Slot], size)
			}
		}
	}
	return out
}

// Peak returns the bytes of all slots at the given dims.
func Peak(m *ir.Module, at types.Bindings) (int64, error) {
	var sum int64
	for _, sizes := range Slots(m) {
		var most int64
		for _, s := range sizes {
			n, err := s.Eval(at)
			if err != nil {
				return 0, err
			}
			most = max(most, n)
		}
		sum += most
	}
	return sum, nil
}
