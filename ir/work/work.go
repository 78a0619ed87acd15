package work

import (
	"fmt"
	"strings"

	"quire/ir/types/layout"
)

// Params is one kernel: a family and its constants.
type Params interface {
	// Family is the kernel family's name: "linear", "norm".
	Family() string
	// Key is the canonical text of family and constants.
	Key() string
	// Validate says why no such kernel can exist.
	Validate() error
	// Operands is the order of args.
	Operands() []Operand
	// Items is the number of work items of a launch.
	Items(Dims) int64
	// Group is the number of consecutive items that share a Last phase, 0 for none.
	Group(Dims) int64
	// Scratch is the number of bytes private to a worker.
	Scratch() int64
	// Temp is the number of bytes of the operand whose mode is Temp, 0 without one.
	Temp(Dims) int64
}

// Dims are the run-time extents of a step. C bounds the cached tokens that a row
// of this step can see, itself included (the longest slot after the step).
type Dims struct {
	N int64 // rows (new tokens) of the step
	M int64 // rows that want logits
	S int64 // slots
	P int64 // pages of a slot: the page table is i32[S, P]
	C int64 // cached tokens, the largest over slots, this step's included
}

// Kind is what an operand word holds.
type Kind uint8

// The kinds. All but Dim are base pointers.
const (
	Float  Kind = iota + 1 // f32 activations
	Int                    // i32 tokens, positions, row maps, page tables
	Weight                 // lanes layout
	Vector                 // plain f32 constants: gains, biases
	Cache                  // KV pages of one layer
	Codes                  // activations rounded by Round
	Const                  // i32 list that comes with the launch: see Constants
	Dim                    // an i64 of Dims, named N, M, S, P or C
)

func (k Kind) String() string {
	return [...]string{"?", "float", "int", "weight", "vector", "cache", "codes", "const", "dim"}[k]
}

// Mode is how a kernel uses an operand.
type Mode uint8

// The modes. Update reads or leaves alone what it does not write; Temp is memory
// that lives for one launch.
const (
	Read Mode = iota + 1
	Write
	Update
	Temp
)

func (m Mode) String() string {
	return [...]string{"?", "read", "write", "update", "temp"}[m]
}

// Operand is one word of args.
type Operand struct {
	Name string
	Kind Kind
	Mode Mode
}

func read(k Kind, names ...string) []Operand {
	out := make([]Operand, len(names))
	for i, n := range names {
		out[i] = Operand{n, k, Read}
	}
	return out
}

func dims(names ...string) []Operand { return read(Dim, names...) }

func join(parts ...[]Operand) []Operand {
	var out []Operand
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func one(name string, k Kind, m Mode) []Operand { return []Operand{{name, k, m}} }

// rowmap is how a row finds its slot's pages: the operands of every kernel that
// touches a cache. The row's index in its cache is slot_len + row - slot_start.
func rowmap() []Operand { return read(Int, "row_slot", "slot_start", "slot_len", "pages") }

// Value looks a dim operand's name up.
func (d Dims) Value(name string) (int64, bool) {
	switch name {
	case "N":
		return d.N, true
	case "M":
		return d.M, true
	case "S":
		return d.S, true
	case "P":
		return d.P, true
	case "C":
		return d.C, true
	}
	return 0, false
}

// key spells a struct as family{field=value ...}; pairs alternate name and value,
// and zero values ("", 0, false) are left out.
func key(family string, pairs ...any) string {
	var b strings.Builder
	b.WriteString(family)
	b.WriteByte('{')
	first := true
	for i := 0; i < len(pairs); i += 2 {
		v := fmt.Sprint(pairs[i+1])
		if v == "" || v == "0" || v == "false" || v == "<nil>" || v == "[]" {
			continue
		}
		if !first {
			b.WriteByte(' ')
		}
		first = false
		fmt.Fprintf(&b, "%v=%s", pairs[i], v)
	}
	b.WriteByte('}')
	return b.String()
}

// check collects what is wrong with a struct.
type check struct {
	family string
	errs   []string
}

func (c *check) that(ok bool, format string, args ...any) {
	if !ok {
		c.errs = append(c.errs, fmt.Sprintf(format, args...))
	}
}

func (c *check) positive(name string, v int) {
	c.that(v > 0, "%s is %d, expected more than 0", name, v)
}

func (c *check) enc(name string, e layout.Enc, cols int) {
	f, err := layout.Of(e)
	if err != nil {
		c.errs = append(c.errs, err.Error())
		return
	}
	c.that(cols%f.Block == 0, "%s: %d columns, expected a multiple of %s's block of %d", name, cols, e, f.Block)
}

func (c *check) err() error {
	if len(c.errs) == 0 {
		return nil
	}
	return fmt.Errorf("work.%s: %s", c.family, strings.Join(c.errs, "; "))
}

func ceil(a, b int64) int64 { return (a + b - 1) / b }

func up64(n int64) int64 { return (n + 63) &^ 63 }
