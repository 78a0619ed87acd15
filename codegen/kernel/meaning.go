package kernel

import (
	"math"
	"math/bits"
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/value"

	"quire/ir/target"
)

// WarpSize is the number of lanes of a warp.
const WarpSize = 32

// Reg is a register of a warp: the bits of each lane's value, in the low bits of a word.
type Reg [WarpSize]uint64

// Meaning says in Go what an intrinsic does for the lanes of a warp that execute it
// together. It stands in the row beside the PTX, and quire/codegen/simt calls it; what it
// leaves in Out of other lanes is ignored.
type Meaning func(c *Call)

// Call is one execution of an intrinsic.
type Call struct {
	Lanes   uint32 // who executes it
	In, Out []*Reg // arguments and results in order; of vectors and structs each element
	Warp
}

// Each runs f for every lane that executes the call.
func (c *Call) Each(f func(lane int)) {
	for m := c.Lanes; m != 0; m &= m - 1 {
		f(bits.TrailingZeros32(m))
	}
}

// Warp is the machine as a meaning sees it. An address is the bits of a pointer of its
// space (Shared: bytes from the start of the block's shared memory, in 32 or 64 bits;
// Generic and Global: anything else). What is wrong with an access (bounds, alignment,
// a race, memory nobody wrote) the machine finds itself.
type Warp interface {
	// Place is where the warp stands in the launch.
	Place() Place
	// Load and Store move len(b) bytes, a power of two, to which the address is aligned.
	Load(lane int, space Space, addr uint64, b []byte)
	Store(lane int, space Space, addr uint64, b []byte)
	// Atomic replaces a word of 4 or 8 bytes and returns what it was. Order says
	// whether the lane's other accesses are ordered by it.
	Atomic(lane int, space Space, addr uint64, size int, order Order, next func(old uint64) uint64) uint64
	// CopyAsync starts a copy of read bytes, and zeros up to size, from global to shared
	// memory; Commit closes a group of copies and WaitCopies waits until at most
	// so many of the lanes' last groups are under way.
	CopyAsync(lane int, to, from uint64, size, read int)
	Commit(lanes uint32)
	WaitCopies(lanes uint32, groups int)
	// InitMBarrier makes an mbarrier of 8 bytes of shared memory for so many arrivals a
	// phase; ArriveMBarrier first makes the phase wait for bytes, then arrives;
	// WaitMBarrier suspends the warp until the phase of a parity (0 first) has ended.
	InitMBarrier(lane int, addr uint64, arrivals int)
	ArriveMBarrier(lane int, addr uint64, bytes int)
	WaitMBarrier(lane int, addr uint64, parity uint64)
	// CopyBulk starts a copy of bytes from global to shared memory by another agent, which
	// the phase of an mbarrier counts.
	CopyBulk(lane int, to, from uint64, size int, done uint64)
	// StartGroup puts a product of a warpgroup under way, which reads shared memory until it
	// ends: reads does that once more. CommitGroup closes a group of products and WaitGroups
	// ends all but the newest so many.
	StartGroup(reads func())
	CommitGroup()
	WaitGroups(groups int)
	// Sync waits at a barrier of the block for so many threads, 0 for all of the block;
	// Arrive counts for it without waiting.
	Sync(barrier uint64, threads int)
	Arrive(barrier uint64, threads int)
	// SyncWarp orders the accesses of lanes of this warp, all of which must execute it.
	SyncWarp(lanes uint32)
	// Fence orders this warp's accesses before it against later atomics, for all blocks.
	Fence()
	// WaitLaunches waits for the end of the launches before this one.
	WaitLaunches()
	// Wait suspends the warp until the condition holds.
	Wait(what string, until func() bool)
	// Fail reports a misuse.
	Fail(lane int, format string, args ...any)
}

// Place is a warp's position: blocks are a line, and threads of a block too.
type Place struct {
	Block, Blocks int
	Warp, Warps   int
}

// Order is what an atomic access orders besides itself.
type Order int

// The orders, as in PTX.
const (
	Relaxed Order = iota
	Acquire
	Release
	AcqRel
)

// Float32 is a lane's value as f32.
func (r *Reg) Float32(lane int) float32 { return math.Float32frombits(uint32(r[lane])) }

// SetFloat32 sets a lane's value.
func (r *Reg) SetFloat32(lane int, x float32) { r[lane] = uint64(math.Float32bits(x)) }

// unary is a function of f32.
func unary(f func(x float64) float64) Meaning {
	return func(c *Call) {
		c.Each(func(l int) { c.Out[0].SetFloat32(l, float32(f(float64(c.In[0].Float32(l))))) })
	}
}

// special is a register of the machine.
func special(f func(p Place, lane int) int) Meaning {
	return func(c *Call) {
		p := c.Place()
		c.Each(func(l int) { c.Out[0][l] = uint64(uint32(f(p, l))) })
	}
}

// shuffle is shfl.sync: arguments lanes, value, b, c; from gives the source lane and
// whether it lies inside the segment.
func shuffle(from func(lane, b, clamp int) (int, bool)) Meaning {
	return func(c *Call) {
		c.Each(func(l int) {
			together := uint32(c.In[0][l])
			if together&^c.Lanes != 0 || together>>l&1 == 0 {
				c.Fail(l, "shuffle among lanes %08x, executed by %08x", together, c.Lanes)
				return
			}
			src, in := from(l, int(c.In[2][l]&31), int(c.In[3][l]&31))
			if !in {
				src = l
			}
			if c.Lanes>>src&1 == 0 {
				c.Fail(l, "shuffle reads lane %d, executed by %08x", src, c.Lanes)
				return
			}
			c.Out[0][l] = c.In[1][src]
		})
	}
}

func butterflyLane(lane, b, clamp int) (int, bool) { return lane ^ b, lane^b <= clamp }

// IR is the module in memory, or all errors of its kernels.
func (m *Module) IR() (*ir.Module, error) {
	if err := m.err(); err != nil {
		return nil, err
	}
	return m.m, nil
}

// Means finds the row that a callee is made of: its name, and what it means on a GPU
// (nil where the row does not say). An unknown callee has no name.
func Means(callee value.Value) (string, Meaning) {
	for name, row := range rows {
		if row.arch == target.X86 {
			continue
		}
		switch f := callee.(type) {
		case *ir.InlineAsm:
			if row.asm == f.Asm && row.cons == f.Constraint && row.asm != "" {
				return name, row.means
			}
		case *ir.Func:
			if row.llvm != "" && (f.Name() == row.llvm || row.overload && strings.HasPrefix(f.Name(), row.llvm+".")) {
				return name, row.means
			}
		}
	}
	return "", nil
}
