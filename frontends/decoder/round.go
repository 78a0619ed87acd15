package decoder

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"quire/ir/types/block"
)

// Rounding is what `--awq` asks for: each linear of attention and mlp rounded to integers at load, nearest first.
type Rounding struct {
	Bits  int // 4 or 3
	Group int // columns that share a scale; 0: the largest of 128, 64 and 32 that divides the linear's
}

// Round marks the linears of bindings (embedding and head are left as they are), and says in words what groups it chose where
// r leaves them open.
func (r Rounding) Round(c Config, bindings Bindings) (note string, err error) {
	chosen := map[int]int{} // by columns
	for _, n := range c.Needs() {
		if n.Kind != KindAttn && n.Kind != KindMLP {
			continue
		}
		b := bindings[n.Name]
		if b.Packed != nil {
			return "", fmt.Errorf("awq: %s: already in %s, expected floats or ggml's encodings", n.Name, b.Packed.Format)
		}
		g := r.groupFor(n.Cols)
		if g == 0 || n.Cols%g != 0 {
			return "", fmt.Errorf("awq: %s: %d columns, expected a multiple of the group: %s", n.Name, n.Cols, r.groups())
		}
		chosen[n.Cols] = g
		b.Round = block.Grouped(r.Bits, g)
		bindings[n.Name] = b
	}
	if r.Group != 0 {
		return "", nil
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(chosen)) {
		parts = append(parts, fmt.Sprintf("%d of %d columns", chosen[k], k))
	}
	return fmt.Sprintf("awq: %d bits in groups of %s", r.Bits, strings.Join(parts, ", ")), nil
}

// groupFor is the group of a linear of k columns, 0 when none divides.
func (r Rounding) groupFor(k int) int {
	if r.Group != 0 {
		return r.Group
	}
	for _, g := range []int{128, 64, 32} {
		if k%g == 0 {
			return g
		}
	}
	return 0
}

func (r Rounding) groups() string {
	if r.Group != 0 {
		return fmt.Sprint(r.Group)
	}
	return "128, 64 or 32"
}
