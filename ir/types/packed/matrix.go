package packed

import (
	"fmt"
	"maps"
	"slices"

	"quire/ir/types/block"
)

// Format names a layout.
type Format string

// The layouts.
const (
	AWQGemm           Format = "awq-gemm"      // AutoAWQ "gemm", llm-awq's first release
	AWQGemv           Format = "awq-gemv"      // AutoAWQ "gemv", llm-awq v1
	AWQGemvFast       Format = "awq-gemv-fast" // AutoAWQ "gemv_fast", llm-awq v2
	Marlin            Format = "marlin"        // IST-DASLab's, as AutoAWQ, AutoGPTQ and vLLM keep it
	GPTQ              Format = "gptq"          // zeros less one
	GPTQv2            Format = "gptq-v2"
	CompressedTensors Format = "compressed-tensors" // "pack-quantized"
)

// Formats lists the layouts in alphabetical order.
func Formats() []Format { return slices.Sorted(maps.Keys(formats)) }

// Role is one of the arrays that make a packed weight.
type Role int

// The roles, indices of Matrix.Parts.
const (
	Codes Role = iota
	Scales
	Zeros
	Order // the group of each column, where that is not its place over the size of a group (GPTQ's g_idx)
	Roles // their number
)

// String is the role as errors name it.
func (r Role) String() string { return [Roles]string{"codes", "scales", "zeros", "order"}[r] }

// Array is the type of one array: i32, i16, f16, bf16 or f32 elements in row-major order. The zero Array is none.
type Array struct {
	Elem  string
	Shape []int64
}

// Matrix is a packed weight: Rows outputs of Cols inputs.
type Matrix struct {
	Format Format
	Rows   int
	Cols   int
	Bits   int // of a code: 4, or 3 where the format has it
	Group  int // columns that share a scale, as in the file; Cols for one scale a row
	Parts  [Roles]Array
}

// Error says which array of a weight is at fault.
type Error struct {
	Part Role
	Msg  string
}

func (e *Error) Error() string { return e.Part.String() + ": " + e.Msg }

func wrong(r Role, format string, a ...any) error { return &Error{r, fmt.Sprintf(format, a...)} }

// Unit is the rows at whose multiples a window may begin: the largest tile of all formats.
const Unit = 64

// maxSize bounds rows and columns, so that no product of them overflows.
const maxSize = 1 << 24

// plane is the layout of one array.
type plane struct {
	elems []string // that its elements may have
	shape func(m *Matrix) []int64
	// Rows of W run along dim: rows of them take elems of it (see step).
	dim, rows int
	step      func(m *Matrix) int
	// at says where element i of row n lies (i counts columns for codes, else groups), in an array whose rows are wide
	// elements: element and the bit in it. What does not fit an element goes on next elements later. Codes of 16-bit
	// elements are seen as 32-bit ones.
	at   func(m *Matrix, wide, n, i int) (elem, shift int)
	next func(wide int) int
}

type format struct {
	bits   []int
	k, n   int // Cols and Rows are multiples of these
	groups []int
	planes [Roles]plane
	zeros  need
	order  bool // columns may be in any order
	codes  func(m *Matrix, src []byte, wide, rows int, dst []byte)
}

// need says whether a format has zeros.
type need int

const (
	always need = iota // a weight without them is an error
	maybe              // without them the codes are symmetric
)

var formats = map[Format]*format{
	AWQGemm: &awqGemm, AWQGemv: &awqGemv, AWQGemvFast: &awqGemvFast, Marlin: &marlin,
	GPTQ: &gptq, GPTQv2: &gptq, CompressedTensors: &compressed,
}

// Check says what is wrong with the weight: sizes that the format does not have, arrays of other types or shapes
// than sizes and group ask for. An error about one array is an *Error.
func (m *Matrix) Check() error {
	f, ok := formats[m.Format]
	if !ok {
		return fmt.Errorf("layout %q, expected one of %v", string(m.Format), Formats())
	}
	if !slices.Contains(f.bits, m.Bits) {
		return fmt.Errorf("%d bits in %s, expected one of %v", m.Bits, m.Format, f.bits)
	}
	if m.Rows <= 0 || m.Rows > maxSize || m.Rows%f.n != 0 {
		return fmt.Errorf("%d rows in %s, expected a multiple of %d", m.Rows, m.Format, f.n)
	}
	if m.Cols <= 0 || m.Cols > maxSize || m.Cols%f.k != 0 {
		return fmt.Errorf("%d columns in %s, expected a multiple of %d", m.Cols, m.Format, f.k)
	}
	if m.Group <= 0 || m.Cols%m.Group != 0 || m.Group%8 != 0 {
		return fmt.Errorf("groups of %d columns, expected a multiple of 8 that divides %d", m.Group, m.Cols)
	}
	if _, ok := block.Lookup(block.Grouped(m.Bits, m.groupOf())); !ok {
		return fmt.Errorf("groups of %d columns, expected a multiple of 32, or at most 65536", m.Group)
	}
	if f.groups != nil && !slices.Contains(f.groups, m.Group) && m.Group != m.Cols {
		return fmt.Errorf("groups of %d in %s, expected one of %v", m.Group, m.Format, f.groups)
	}
	for r := range Roles {
		a, p := m.Parts[r], f.planes[r]
		if a.Elem == "" && (r == Order || r == Zeros && f.zeros == maybe) {
			continue
		}
		if r == Order && f.order {
			p = orderPlane
		}
		if !slices.Contains(p.elems, a.Elem) {
			return wrong(r, "elements %q, expected one of %v", a.Elem, p.elems)
		}
		if want := p.shape(m); !slices.Equal(a.Shape, want) {
			return wrong(r, "shape %v, expected %v of %d x %d values of %d bits in groups of %d", a.Shape, want, m.Rows, m.Cols, m.Bits, m.Group)
		}
	}
	return nil
}

// Symmetric reports whether the weight has no zeros of its own: all are 2^(Bits-1).
func (m *Matrix) Symmetric() bool { return m.Parts[Zeros].Elem == "" }

// Shapes fills in Parts as the format's own writers do: float16 scales, zeros unless symmetric.
func (m *Matrix) Shapes(symmetric bool) error {
	f, ok := formats[m.Format]
	if !ok || m.Group <= 0 {
		return m.Check()
	}
	for r := range Roles {
		p := f.planes[r]
		m.Parts[r] = Array{}
		if r < Zeros || r == Zeros && (f.zeros == always || !symmetric) {
			m.Parts[r] = Array{p.elems[0], p.shape(m)}
		}
	}
	return m.Check()
}

// groupOf is the group of the rows in block's encoding: that of the file, cut to what kernels read.
func (m *Matrix) groupOf() int {
	for _, g := range []int{128, 64, 32} {
		if m.Group%g == 0 {
			return g
		}
	}
	return m.Group
}

// Encoding is the rows' encoding: a group that is a multiple of 128, 64 or 32 becomes groups of the largest of these,
// which share one scale and zero.
func (m *Matrix) Encoding() block.Encoding {
	e, _ := block.Lookup(block.Grouped(m.Bits, m.groupOf()))
	return e
}

func (m *Matrix) countGroups() int { return m.Cols / m.Group }

// Bytes is the size of an element; 0 for one that no array has.
func (a Array) Bytes() int64 {
	switch a.Elem {
	case "i32", "f32":
		return 4
	case "i16", "f16", "bf16":
		return 2
	}
	return 0
}
