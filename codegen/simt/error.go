package simt

import "fmt"

// Kind is what is wrong.
type Kind string

// The kinds of errors.
const (
	Bounds     Kind = "out of bounds"
	Misaligned Kind = "misaligned"
	ReadOnly   Kind = "write of a read-only operand"
	Unwritten  Kind = "read of unwritten memory"
	Race       Kind = "race"
	InFlight   Kind = "access to a copy under way"
	Early      Kind = "access before the launches before have ended"
	Divergence Kind = "barrier divergence"
	Deadlock   Kind = "deadlock"
	Endless    Kind = "no end"
	Misuse     Kind = "misuse"
	Unknown    Kind = "not simulated"
)

// Error is a fault of a kernel, at the instruction that showed it.
type Error struct {
	Kind        Kind
	Kernel      string
	Block, Warp int
	Lane        int    // -1: the warp
	Line        string // of the kernel's author, "" where unknown
	Detail      string
}

func (e *Error) Error() string {
	who := fmt.Sprintf("block %d, warp %d", e.Block, e.Warp)
	if e.Lane >= 0 {
		who += fmt.Sprintf(", lane %d", e.Lane)
	}
	if e.Line != "" {
		who += " at " + e.Line
	}
	return fmt.Sprintf("simt: kernel %s: %s: %s: %s", e.Kernel, who, e.Kind, e.Detail)
}

// fault carries an Error out of the interpreter.
type fault struct{ err *Error }
