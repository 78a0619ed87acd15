package plan

import (
	"fmt"
	"slices"

	"quire/ir"
)

// Check reports the first launch whose results would overwrite a buffer that is
// still needed: one that a later launch reads, or one that the same launch reads
// other than in place.
func Check(f *ir.Func) error {
	last := lastUse(f)
	holds := map[int]*ir.Value{} // slot -> the buffer whose values it has
	for i, l := range f.Body {
		for _, p := range l.Launch {
			names := inPlace[p.Kernel.Family()]
			for o, a := range p.Operands() {
				if a.Op != ir.OpBuffer || slices.Contains(p.Dst, a) {
					continue
				}
				if holds[slotNo(a)] != a {
					return fmt.Errorf("launch %d reads %s of slot %d, which holds another buffer", i, o.Name, slotNo(a))
				}
				for _, d := range p.Dst {
					if d.Op == ir.OpBuffer && slotNo(d) == slotNo(a) && (boundElsewhere(p, a, names) || last[a] > i) {
						return fmt.Errorf("launch %d writes slot %d, whose operand %s is still read", i, slotNo(d), o.Name)
					}
				}
			}
		}
		for _, p := range l.Launch {
			for _, d := range p.Dst {
				if d.Op != ir.OpBuffer {
					continue
				}
				if h := holds[slotNo(d)]; h != nil && last[h] > i {
					return fmt.Errorf("launch %d writes slot %d, whose buffer lives on", i, slotNo(d))
				}
				holds[slotNo(d)] = d
			}
		}
	}
	return nil
}

func slotNo(v *ir.Value) int {
	if a, ok := v.Attrs.(ir.BufferAttrs); ok && a.Slot != nil {
		return *a.Slot
	}
	return -1
}
