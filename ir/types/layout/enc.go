package layout

import (
	"fmt"
	"sort"
)

// Lanes is the number of rows of a tile.
const Lanes = 16

// Enc names the encoding of a weight's values, in the spelling of the IR's text.
type Enc string

// The encodings that kernels read.
const (
	F32    Enc = "f32"
	F16    Enc = "f16"
	BF16   Enc = "bf16"
	Q4_0   Enc = "q4_0"
	Q4_1   Enc = "q4_1"
	Q5_0   Enc = "q5_0"
	Q5_1   Enc = "q5_1"
	Q8_0   Enc = "q8_0"
	Q4_K   Enc = "q4_k"
	Q5_K   Enc = "q5_k"
	Q6_K   Enc = "q6_k"
	IQ4_NL Enc = "iq4_nl"
	Q4G32  Enc = "q4g32"
	Q4G64  Enc = "q4g64"
	Q4G128 Enc = "q4g128"
	Q3G32  Enc = "q3g32"
	Q3G64  Enc = "q3g64"
	Q3G128 Enc = "q3g128"
)

// Format is what a kernel and a packer must know of one encoding.
type Format struct {
	Enc   Enc
	Block int // values of a row that share scales; 1 for plain floats
	Sub   int // values that share one (scale, min) pair; Block unless a K-quant
	Halfs int // float16 scales of a block: d, then m, dmin or zero
	Bytes int // other scale bytes of a block, a multiple of 4
	Bits  int // bits of a code: 3, 4, 5, 6, 8; 16 and 32 are floats
	// A value is d*(code-Offset) where Min is none.
	Offset int
	Min    Min
}

// Min says what the second half of a block's scales means.
type Min string

// The meanings: w = d*(q-Offset); d*q + m; d*sc*q - dmin*mn; d*(q-z); d*table[q].
const (
	NoMin   Min = ""
	Added   Min = "added"
	KScales Min = "kscales" // q4_k and q5_k: 6-bit scales and mins
	Scales8 Min = "scales8" // q6_k: int8 scales of 16 values
	Zero    Min = "zero"
	Table   Min = "table" // iq4_nl
)

var formats = map[Enc]Format{
	F32:    {Block: 1, Sub: 1, Bits: 32},
	F16:    {Block: 1, Sub: 1, Bits: 16},
	BF16:   {Block: 1, Sub: 1, Bits: 16},
	Q4_0:   {Block: 32, Sub: 32, Halfs: 1, Bits: 4, Offset: 8},
	Q4_1:   {Block: 32, Sub: 32, Halfs: 2, Bits: 4, Min: Added},
	Q5_0:   {Block: 32, Sub: 32, Halfs: 1, Bits: 5, Offset: 16},
	Q5_1:   {Block: 32, Sub: 32, Halfs: 2, Bits: 5, Min: Added},
	Q8_0:   {Block: 32, Sub: 32, Halfs: 1, Bits: 8, Offset: 128},
	Q4_K:   {Block: 256, Sub: 32, Halfs: 2, Bytes: 12, Bits: 4, Min: KScales},
	Q5_K:   {Block: 256, Sub: 32, Halfs: 2, Bytes: 12, Bits: 5, Min: KScales},
	Q6_K:   {Block: 256, Sub: 16, Halfs: 1, Bytes: 16, Bits: 6, Offset: 32, Min: Scales8},
	IQ4_NL: {Block: 32, Sub: 32, Halfs: 1, Bits: 4, Min: Table},
	Q4G32:  {Block: 32, Sub: 32, Halfs: 2, Bits: 4, Min: Zero},
	Q4G64:  {Block: 64, Sub: 64, Halfs: 2, Bits: 4, Min: Zero},
	Q4G128: {Block: 128, Sub: 128, Halfs: 2, Bits: 4, Min: Zero},
	Q3G32:  {Block: 32, Sub: 32, Halfs: 2, Bits: 3, Min: Zero},
	Q3G64:  {Block: 64, Sub: 64, Halfs: 2, Bits: 3, Min: Zero},
	Q3G128: {Block: 128, Sub: 128, Halfs: 2, Bits: 3, Min: Zero},
}

// IQ4Values is the code table of iq4_nl (ggml's kvalues_iq4nl).
var IQ4Values = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// Of returns the format of an encoding.
func Of(e Enc) (Format, error) {
	f, ok := formats[e]
	if !ok {
		return Format{}, fmt.Errorf("layout: encoding %q: expected one of %v", string(e), Encs())
	}
	f.Enc = e
	return f, nil
}

// Encs lists the known encodings in alphabetical order.
func Encs() []Enc {
	out := make([]Enc, 0, len(formats))
	for e := range formats {
		out = append(out, e)
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}

// Planes says how the bits of a code are kept apart: the widths of the plane of its low bits and, or 0, of the plane of
// its high ones.
func (f Format) Planes() (low, high int) {
	switch f.Bits {
	case 3:
		return 2, 1
	case 5, 6:
		return 4, f.Bits - 4
	}
	return f.Bits, 0
}

// ColumnBytes is the size of one packed column: a block of each of 16 rows.
func (f Format) ColumnBytes() int { return Lanes * (2*f.Halfs + f.Bytes + f.Block*f.Bits/8) }

// Tiles is the number of tiles that hold rows.
func Tiles(rows int) int { return (rows + Lanes - 1) / Lanes }

// Size is the packed size in bytes of rows x cols values.
func (f Format) Size(rows, cols int) int {
	return Tiles(rows) * (cols / f.Block) * f.ColumnBytes()
}
