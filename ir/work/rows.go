package work

import (
	"fmt"
	"hash/fnv"
	"math"

	"quire/ir/types/layout"
)

// perRow is what families share whose item is one row of the step and that need
// neither groups nor memory of their own.
type perRow struct{}

// Group implements Params.
func (perRow) Group(Dims) int64 { return 0 }

// Scratch implements Params.
func (perRow) Scratch() int64 { return 0 }

// Temp implements Params.
func (perRow) Temp(Dims) int64 { return 0 }

// Norm is RMS normalisation of rows of Dim values: y = norm(x), or y = res + norm(x).
// With Gather item m reads row out[m]. Per is the number of normalised vectors in a row
// (heads); 0 means 1. On a GPU, y may be what Round makes
// of the result, and with Join x is a branch whose norm joins what came before, after = before
// + norm(x), which is then normed and kept.
//
// Operands: x f32[N, Per, Dim], g [Dim], (Join: jg [Dim], before, after), out i32[M] (Gather),
// res (Add), y; the dim N, or M with Gather. An item is a row.
type Norm struct {
	perRow
	Dim    int
	Per    int
	RMS    RMSNorm
	Gather bool
	Add    bool
	Round  *Round
	Join   *RMSNorm
}

// Vectors is Per, at least 1.
func (p Norm) Vectors() int { return max(1, p.Per) }

// Family implements Params.
func (p Norm) Family() string { return "norm" }

// Key implements Params.
func (p Norm) Key() string {
	return key("norm", "dim", p.Dim, "per", p.Vectors(), "rms", p.RMS.key(), "gather", p.Gather, "add", p.Add, "round", p.Round.key(), "join", p.Join.key())
}

// Validate implements Params.
func (p Norm) Validate() error {
	c := &check{family: "norm"}
	c.positive("dim", p.Dim)
	c.that(p.Per >= 0, "per is %d, expected at least 0", p.Per)
	c.that(!p.Gather || !p.Add, "gather with add, expected one of them")
	c.that(p.Join == nil || p.Vectors() == 1 && !p.Gather && !p.Add, "join of rows of %d vectors, gathered or added, expected one as it is", p.Vectors())
	c.that(p.Round == nil || p.Vectors() == 1, "rounds rows of %d vectors, expected one", p.Vectors())
	c.rounds(p.Round, p.Dim)
	return c.err()
}

// Operands implements Params.
func (p Norm) Operands() []Operand {
	in, n := join(read(Float, "x"), read(Vector, "g")), "N"
	if p.Join != nil {
		in = join(in, read(Vector, "jg"), read(Float, "before"), one("after", Float, Write))
	}
	if p.Gather {
		in, n = append(in, read(Int, "out")...), "M"
	}
	if p.Add {
		in = append(in, read(Float, "res")...)
	}
	return join(in, p.Round.result(), dims(n))
}

// Items implements Params.
func (p Norm) Items(d Dims) int64 {
	if p.Gather {
		return d.M
	}
	return d.N
}

// RopeTable computes the cosines and sines of a step: angle = f32(pos) * Freq[i] in f32,
// cs[n, i] = (cos(angle), sin(angle)) * Scale (0 means 1).
//
// Operands: pos i32[N], cs f32[N, RotaryDim/2, 2]; N. An item is a row.
type RopeTable struct {
	perRow
	RotaryDim int
	Freq      []float32 // inverse frequencies, RotaryDim/2
	Scale     float32
}

// Family implements Params.
func (p RopeTable) Family() string { return "ropetable" }

// Key implements Params. Frequencies enter as a hash of their bits.
func (p RopeTable) Key() string {
	h := fnv.New64a()
	for _, f := range p.Freq {
		fmt.Fprintf(h, "%08x", math.Float32bits(f))
	}
	return key("ropetable", "rotary", p.RotaryDim, "freq", fmt.Sprintf("%016x", h.Sum64()), "scale", p.Scale)
}

// Validate implements Params.
func (p RopeTable) Validate() error {
	c := &check{family: "ropetable"}
	c.that(p.RotaryDim > 0 && p.RotaryDim%2 == 0, "rotary dim %d, expected an even number", p.RotaryDim)
	c.that(len(p.Freq) == p.RotaryDim/2, "%d frequencies, expected %d", len(p.Freq), p.RotaryDim/2)
	return c.err()
}

// Operands implements Params.
func (p RopeTable) Operands() []Operand {
	return join(read(Int, "pos"), one("cs", Float, Write), dims("N"))
}

// Items implements Params.
func (p RopeTable) Items(d Dims) int64 { return d.N }

// Rope rotates the heads of rows by a RopeTable's angles: (a, b) becomes
// (a cos - b sin, b cos + a sin).
//
// Operands: x f32[N, Heads, Dim], cs, y (may be x); N. An item is a row.
type Rope struct {
	perRow
	Heads, Dim, RotaryDim int
	Style                 Style
}

// Family implements Params.
func (p Rope) Family() string { return "rope" }

// Key implements Params.
func (p Rope) Key() string {
	return key("rope", "heads", p.Heads, "dim", p.Dim, "rotary", p.RotaryDim, "style", p.Style)
}

// Validate implements Params.
func (p Rope) Validate() error {
	c := &check{family: "rope"}
	c.positive("heads", p.Heads)
	c.positive("dim", p.Dim)
	c.that(p.Style != NoRope, "no style, expected half or adjacent")
	c.rotary(p.Style, p.RotaryDim, p.Dim)
	return c.err()
}

// Operands implements Params.
func (p Rope) Operands() []Operand {
	return join(read(Float, "x", "cs"), one("y", Float, Write), dims("N"))
}

// Items implements Params.
func (p Rope) Items(d Dims) int64 { return d.N }

// Embed reads rows of a table: y[n] = w[tok[n]] * Scale (0 means 1). The table is in the
// lanes layout, so that a tied output projection shares it.
//
// Operands: tok i32[N], w, y f32[N, Dim]; N. An item is a row.
type Embed struct {
	perRow
	Enc        layout.Enc
	Vocab, Dim int
	Scale      float32
}

// Family implements Params.
func (p Embed) Family() string { return "embed" }

// Key implements Params.
func (p Embed) Key() string {
	return key("embed", "enc", p.Enc, "vocab", p.Vocab, "dim", p.Dim, "scale", p.Scale)
}

// Validate implements Params.
func (p Embed) Validate() error {
	c := &check{family: "embed"}
	c.positive("vocab", p.Vocab)
	c.positive("dim", p.Dim)
	c.enc("embed", p.Enc, p.Dim)
	return c.err()
}

// Operands implements Params.
func (p Embed) Operands() []Operand {
	return join(read(Int, "tok"), read(Weight, "w"), one("y", Float, Write), dims("N"))
}

// Items implements Params.
func (p Embed) Items(d Dims) int64 { return d.N }

// Gather copies rows: y[m] = x[out[m]].
//
// Operands: x f32[N, Dim], out i32[M], y f32[M, Dim]; M. An item is a row of y.
type Gather struct {
	perRow
	Dim int
}

// Family implements Params.
func (p Gather) Family() string { return "gather" }

// Key implements Params.
func (p Gather) Key() string { return key("gather", "dim", p.Dim) }

// Validate implements Params.
func (p Gather) Validate() error {
	c := &check{family: "gather"}
	c.positive("dim", p.Dim)
	return c.err()
}

// Operands implements Params.
func (p Gather) Operands() []Operand {
	return join(read(Float, "x"), read(Int, "out"), one("y", Float, Write), dims("M"))
}

// Items implements Params.
func (p Gather) Items(d Dims) int64 { return d.M }

// Reduction is what Reduce computes from a row of logits.
type Reduction string

// ArgMax is the lowest index of the greatest value (a NaN is never greatest), i32;
// LogSumExp is ln(sum of exp), f32.
const (
	ArgMax    Reduction = "argmax"
	LogSumExp Reduction = "logsumexp"
)

// Reduce reduces rows of Vocab values.
//
// Operands: x f32[M, Vocab], y i32[M] or f32[M]; M. An item is a row.
type Reduce struct {
	perRow
	Vocab int
	Op    Reduction
}

// Family implements Params.
func (p Reduce) Family() string { return "reduce" }

// Key implements Params.
func (p Reduce) Key() string { return key("reduce", "op", p.Op, "vocab", p.Vocab) }

// Validate implements Params.
func (p Reduce) Validate() error {
	c := &check{family: "reduce"}
	c.positive("vocab", p.Vocab)
	c.that(p.Op == ArgMax || p.Op == LogSumExp, "op %q, expected argmax or logsumexp", p.Op)
	return c.err()
}

// Operands implements Params.
func (p Reduce) Operands() []Operand {
	k := Float
	if p.Op == ArgMax {
		k = Int
	}
	return join(read(Float, "x"), one("y", k, Write), dims("M"))
}

// Items implements Params.
func (p Reduce) Items(d Dims) int64 { return d.M }
