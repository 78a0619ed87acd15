package work

// Sweep reads memory and keeps next to nothing of it: with it a device's read bandwidth is
// measured, which launches are compared with. Item n reads SweepBytes of x and writes the sum
// of their words (i32, wrapping).
//
// Operands: x [N, SweepBytes], y i32[N]; the dim N. An item is a warp's: a GPU's family.
type Sweep struct{ perRow }

// SweepBytes is what an item of Sweep reads: 8 loads of 16 bytes a lane.
const SweepBytes = 8 * 16 * 32

// Family implements Params.
func (p Sweep) Family() string { return "sweep" }

// Key implements Params.
func (p Sweep) Key() string { return key("sweep") }

// Validate implements Params.
func (p Sweep) Validate() error { return nil }

// Operands implements Params.
func (p Sweep) Operands() []Operand {
	return join(read(Vector, "x"), one("y", Int, Write), dims("N"))
}

// Items implements Params.
func (p Sweep) Items(d Dims) int64 { return d.N }

// Grid implements Gridded: of more than 4 blocks a multiprocessor the loads of an item find no registers.
func (p Sweep) Grid() Grid { return Grid{Warps: 8, PerBlock: 8, Resident: 4} }
