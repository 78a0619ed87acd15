package layout

import "fmt"

// Frag is one weight's layout for a GPU's tensor cores: mma.m16n8k16 with 16 rows of the
// weight as its first operand. A tile of 16 rows is a run of units, a unit Unit columns
// of them: first the codes in the order in which the lanes of a warp want them, then the
// scales. The last tile of a weight is padded with zero rows.
//
// A unit's columns come in chunks, of which a lane's codes lie together, and a chunk's in
// spans, which share scales. In a span, lane 4r+q of a warp holds rows r and r+8 of
// columns q*Span/4 and what follows, so a product of 16 columns takes four of each lane:
//
//	column q*Span/4 + 4i + e, e = 0..3, of the span's product i; a chunk's products are
//	those of its spans, and j is a product's number in its chunk
//
// Register 0 of a product is row r, e = 0, 1; register 1 row r+8, e = 0, 1; register 2
// row r, e = 2, 3; register 3 row r+8, e = 2, 3. Planes of a unit, each chunk after chunk:
//
//	4 bits   [lane][j] u32: the code of register i, half h (1: odd e) at bit 16h+4i+2,
//	         turned around at bit 32
//	2 bits   [lane][j/2] u32: at bit 16h+8(j%2)+2i; below one more (3 bits), above four (6)
//	1 bit    [lane] u32: at bit 16h+4j+i; above four (5 bits) or two (3 bits)
//	8 bits   [j/2][lane][j%2] 8 bytes: byte 2i+h; signed codes plus 128
//	16 bits  [j][lane] 16 bytes: half-word 2i+h
//
// Scales lie by row, in the order 0, 8, 1, 9 and so on to 7, 15: of each row a float16
// (two with a minimum or a zero point) for each block of the unit; q4_k and q5_k 16 bytes
// as ggml has them (d, dmin, 12 of scales); q6_k 16 scales of each row, then a float16 of
// each.
//
// f32 is rounded to f16; iq4_nl's codes are its table's values, as 8-bit codes.
type Frag struct {
	Format
	Stored int // bits of a stored code: 3, 4, 5, 6, 8 or 16
	Unit   int // columns of a unit
	Chunk  int // columns of a chunk: 64, 32 or 16
	Span   int // columns of a span
}

// FragOf is how a weight of an encoding lies, by its columns.
func FragOf(e Enc, cols int) (Frag, error) {
	f, err := Of(e)
	if err != nil {
		return Frag{}, err
	}
	g := Frag{Format: f, Stored: f.Bits}
	switch e {
	case F32:
		g.Stored = 16
	case IQ4_NL:
		g.Stored, g.Bits, g.Min, g.Offset = 8, 8, NoMin, 128
	}
	unit := max(f.Block, 128)
	if g.Stored == 16 {
		unit = 64
	}
	for cols%unit != 0 && unit > 16 && unit > f.Block {
		unit /= 2
	}
	if cols <= 0 || cols%unit != 0 {
		return Frag{}, fmt.Errorf("layout: frag: %s of %d columns, expected a multiple of %d", e, cols, unit)
	}
	g.Unit, g.Chunk = unit, min(unit, 64)
	g.Span = g.Chunk
	if f.Block > 1 {
		g.Span = min(g.Chunk, f.Sub)
	}
	return g, nil
}

// Products is the number of 16-column products of a chunk.
func (f Frag) Products() int { return f.Chunk / 16 }

// PlaneBytes is the size of a chunk of the plane of codes, or of their high bits.
func (f Frag) PlaneBytes() (codes, high int) {
	switch f.Stored {
	case 3:
		return 128 * ((f.Products() + 1) / 2), 128
	case 5:
		return f.Chunk * 8, 128
	case 6:
		return f.Chunk * 8, 128 * ((f.Products() + 1) / 2)
	}
	return f.Chunk * 2 * f.Stored, 0
}

// CodeBytes is the size of a unit's codes, and so where its scales are.
func (f Frag) CodeBytes() int {
	codes, high := f.PlaneBytes()
	return f.Unit / f.Chunk * (codes + high)
}

// ScaleBytes is the size of a unit's scales.
func (f Frag) ScaleBytes() int {
	if f.Block == 1 {
		return 0
	}
	return Lanes * (f.Unit / f.Block) * (2*f.Halfs + f.Bytes)
}

// UnitBytes is the size of a unit, a multiple of 16.
func (f Frag) UnitBytes() int { return f.CodeBytes() + f.ScaleBytes() }

// Size is the size of rows x cols values.
func (f Frag) Size(rows, cols int) int { return Tiles(rows) * (cols / f.Unit) * f.UnitBytes() }

// Bytes is the size of rows x cols values of an encoding in a layout of this package, by
// its name in a program: lanes or frag.
func Bytes(name string, e Enc, rows, cols int) (int64, error) {
	switch name {
	case "lanes":
		f, err := Of(e)
		if err == nil && cols%f.Block != 0 {
			err = fmt.Errorf("layout: %s of %d columns, expected a multiple of %d", e, cols, f.Block)
		}
		return int64(Tiles(rows)) * int64(cols/max(f.Block, 1)) * int64(f.ColumnBytes()), err
	case "frag":
		f, err := FragOf(e, cols)
		if err != nil {
			return 0, err
		}
		return int64(Tiles(rows)) * int64(cols/f.Unit) * int64(f.UnitBytes()), nil
	}
	return 0, fmt.Errorf("layout %.64q, expected lanes or frag", name)
}
