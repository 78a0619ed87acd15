package simt

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"quire/codegen/kernel"
)

// Costs counts what a kernel's accesses take of the memories, by the author's line: what
// a profiler of the machine calls sectors and wavefronts.
type Costs struct{ lines map[costKey]*Cost }

type costKey struct {
	line  string
	space string
}

// Cost is the requests of one line. Global memory moves sectors of 32 bytes; shared memory
// serves 32 banks of 4 bytes at a time (CUDA C++ programming guide, compute capability
// 5.x, "Shared Memory"). Least is what the same bytes would take at best.
type Cost struct {
	Line, Space         string
	Requests            int
	Bytes, Least, Taken int // Least and Taken in sectors or wavefronts
}

// count notes a request of a warp: size bytes at each lane's address.
func (c *Costs) count(line, space string, at *kernel.Reg, mask uint32, size int) {
	if c == nil || mask == 0 {
		return
	}
	if c.lines == nil {
		c.lines = map[costKey]*Cost{}
	}
	k := costKey{line, space}
	x := c.lines[k]
	if x == nil {
		x = &Cost{Line: line, Space: space}
		c.lines[k] = x
	}
	n := bits.OnesCount32(mask) * size
	x.Requests++
	x.Bytes += n
	if space == "global" {
		x.Taken += sectors(at, mask, size)
		x.Least += (n + 31) / 32
		return
	}
	taken, least := wavefronts(at, mask, size)
	x.Taken += taken
	x.Least += least
}

// sectors is the number of pieces of 32 bytes that the lanes touch.
func sectors(at *kernel.Reg, mask uint32, size int) int {
	seen := make([]uint64, 0, 64)
	for m := mask; m != 0; m &= m - 1 {
		a := at[bits.TrailingZeros32(m)]
		for s := a / 32; s <= (a+uint64(size)-1)/32; s++ {
			if !slices.Contains(seen, s) {
				seen = append(seen, s)
			}
		}
	}
	return len(seen)
}

// wavefronts is how often the banks must be read: wide accesses go by half or quarter
// warps, and within one the words of a bank one after the other.
func wavefronts(at *kernel.Reg, mask uint32, size int) (taken, least int) {
	group := 32
	if size > 4 {
		group = 32 * 4 / size
	}
	for first := 0; first < 32; first += group {
		part := mask >> first & (1<<group - 1)
		if part == 0 {
			continue
		}
		var words [32][]uint64
		most, all := 1, map[uint64]bool{}
		for m := part; m != 0; m &= m - 1 {
			a := at[first+bits.TrailingZeros32(m)]
			for w := a / 4; w <= (a+uint64(size)-1)/4; w++ {
				if b := &words[w%32]; !slices.Contains(*b, w) {
					*b = append(*b, w)
					most = max(most, len(*b))
				}
				all[w] = true
			}
		}
		taken += most
		least += (len(all) + 31) / 32
	}
	return taken, least
}

// Lines are the costs, the most wasteful first.
func (c *Costs) Lines() []Cost {
	var out []Cost
	for _, x := range c.lines {
		out = append(out, *x)
	}
	slices.SortFunc(out, func(a, b Cost) int {
		if d := (b.Taken - b.Least) - (a.Taken - a.Least); d != 0 {
			return d
		}
		return strings.Compare(a.Line+a.Space, b.Line+b.Space)
	})
	return out
}

// String is a table of Lines.
func (c *Costs) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-32s %-6s %9s %11s %9s %9s\n", "line", "memory", "requests", "bytes", "least", "taken")
	for _, x := range c.Lines() {
		fmt.Fprintf(&b, "%-32s %-6s %9d %11d %9d %9d\n", x.Line, x.Space, x.Requests, x.Bytes, x.Least, x.Taken)
	}
	return b.String()
}

// cost counts an access of the current instruction.
func (w *warp) cost(space kernel.Space, at *kernel.Reg, size int) {
	if w.m.Costs == nil {
		return
	}
	name := "global"
	if space == kernel.Shared {
		name = "shared"
	}
	w.m.Costs.count(w.line(), name, at, w.mask, size)
}
