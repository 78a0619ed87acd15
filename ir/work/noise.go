package work

import "quire/ir/types/layout"

// Noise makes a random weight of N rows in the frag layout: the numbers of quire/ir/types/noise,
// rounded to From and then to Enc as quire/ir/types/block rounds, so that the bytes are those
// which a host would pack.
//
// Operands: how, 4 words of 8 bytes (NoiseHow); y the packed bytes; N. An item is a unit of a
// tile, in the order of memory, and a warp's: a GPU's family.
type Noise struct {
	perRow
	Enc  layout.Enc
	From layout.Enc // "" is Enc; else f32, f16 or bf16
	Cols int
}

// The words of how: the stream's seed, then two float64, the mean and noise.Scale of the
// standard deviation.
const (
	NoiseSeed = iota
	NoiseMean
	NoiseScale
	NoiseHow = 4
)

// NoiseOf is the kernel that makes the rows of a weight in the frag layout, of random values in
// encoding from. Not ok: there is none; a host makes them.
func NoiseOf(enc, from layout.Enc, cols int) (Noise, bool) {
	if from == enc {
		from = ""
	}
	p := Noise{Enc: enc, From: from, Cols: cols}
	return p, p.Validate() == nil
}

// Family implements Params.
func (p Noise) Family() string { return "noise" }

// Key implements Params.
func (p Noise) Key() string { return key("noise", "enc", p.Enc, "from", p.From, "cols", p.Cols) }

// Validate implements Params. The scale of an iq4_nl block is a quotient of sums in one order,
// which lanes do not keep.
func (p Noise) Validate() error {
	c := &check{family: "noise"}
	c.positive("cols", p.Cols)
	if _, err := layout.FragOf(p.Enc, p.Cols); err != nil {
		c.that(false, "%v", err)
	}
	c.that(p.Enc != layout.IQ4_NL, "enc is iq4_nl, expected one whose scales do not depend on an order of sums")
	switch p.From {
	case "", layout.F32, layout.F16, layout.BF16:
		c.that(p.From == "" || p.From != p.Enc, "from is %s as enc is, expected nothing then", p.From)
	default:
		c.that(false, "from is %s, expected f32, f16 or bf16", p.From)
	}
	return c.err()
}

// Operands implements Params.
func (p Noise) Operands() []Operand {
	return join(read(Const, "how"), one("y", Codes, Write), dims("N"))
}

// Items implements Params.
func (p Noise) Items(d Dims) int64 {
	f, err := layout.FragOf(p.Enc, p.Cols)
	if err != nil {
		return 0
	}
	return ceil(d.N, layout.Lanes) * int64(p.Cols/f.Unit)
}
