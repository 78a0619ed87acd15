package work

import "math"

// Sample chooses a token from each row of logits, as package quire/runtime/sample does: top-k,
// top-p and min-p of a temperature, then a draw. It is two launches on a GPU: with Tops a
// slice's greatest logit, then, without, the slice's weights and, by the last of a row's items,
// the choice.
//
// A token's weight is exp((logit - greatest) / temperature) in float32, as an integer in units
// of 2^-SampleBits. Sums of integers are the same in any order: a row's choice depends on
// nothing else. It is that of float64 but where the number drawn, or a sum that is compared
// with p, lies within 2^-18 of a limit.
//
// Operands: x f32[M, Vocab]; with Tops state, else how [M] rows of SampleHow words, draws
// i64[turns, M] numbers in units of 2^-53, turn i32[1] the row of draws, state, y i32[M]; M.
// A row that has a NaN, or whose greatest logit is not finite, gives -1.
//
// Items: row * Slices + slice. Tops clears what the other adds to; counters in state begin as
// zero and end so.
type Sample struct {
	perRow
	Vocab int
	Tops  bool
}

// Sizes of Sample: the logits of a slice, the bins of weights, and the candidates among which one
// is found by comparing all with all.
const (
	SampleSlice = 4096
	SampleBins  = 1024
	SampleFew   = 32
	SampleBits  = 40
)

// Words of a row of how, 4 bytes each.
const (
	SampleMode  = iota // i32: SampleGreatest, SampleAll, SampleBest
	SampleScale        // f32: log2(e) / temperature
	SampleK            // i32: 0, or how many of the greatest stay
	SampleP            // f32: the part of their weights that stays; 1: all
	SampleMinP         // f32
	SampleFine         // f32: bins of a unit of logits, a power of two
	SampleHow   = 8
)

// Modes of a row: the greatest logit; a draw in the order of ids, from all that reach MinP; a
// draw in the order of weights, from what top-k and top-p leave.
const (
	SampleGreatest = iota
	SampleAll
	SampleBest
)

// Slices is the number of items of a row.
func (p Sample) Slices() int { return (p.Vocab + SampleSlice - 1) / SampleSlice }

// Parts of a row's state, in bytes from its start: a counter, the slices' greatest logits
// (f32, then i32 the token), the slices' weights i64, the bins' weights i64 and numbers i32; then
// each slice's tokens in the order of bins, and in front of them where the tokens of each bin end,
// i32 both.
func (p Sample) StateTops() int64    { return 16 }
func (p Sample) StateMasses() int64  { return p.StateTops() + 8*int64(p.Slices()) }
func (p Sample) StateBins() int64    { return p.StateMasses() + 8*int64(p.Slices()) }
func (p Sample) StateNumbers() int64 { return p.StateBins() + 8*SampleBins }
func (p Sample) StateEnds() int64    { return p.StateNumbers() + 4*SampleBins }
func (p Sample) StateOrder() int64   { return p.StateEnds() + 4*SampleBins*int64(p.Slices()) }

// StateRow is the bytes of a row's state.
func (p Sample) StateRow() int64 {
	return (p.StateOrder() + 4*SampleSlice*int64(p.Slices()) + 255) &^ 255
}

// Family implements Params.
func (p Sample) Family() string { return "sample" }

// Key implements Params.
func (p Sample) Key() string { return key("sample", "vocab", p.Vocab, "tops", p.Tops) }

// Validate implements Params.
func (p Sample) Validate() error {
	c := &check{family: "sample"}
	c.positive("vocab", p.Vocab)
	c.that(p.Vocab <= 1<<24, "vocab is %d, expected at most 2^24", p.Vocab)
	return c.err()
}

// Operands implements Params.
func (p Sample) Operands() []Operand {
	x, state := read(Float, "x"), one("state", Float, Update)
	if p.Tops {
		return join(x, state, dims("M"))
	}
	return join(x, read(Int, "how", "draws", "turn"), state, one("y", Int, Write), dims("M"))
}

// Items implements Params.
func (p Sample) Items(d Dims) int64 { return d.M * int64(p.Slices()) }

// Parts of a block's shared memory, in bytes from its start: the bins' weights and numbers, those of
// the parts of a bin (with weights' halves), the few candidates with their weights, words.
const (
	SampleSums      = 0
	SampleTotals    = SampleSums + 8*SampleBins
	SamplePartSums  = SampleTotals + 4*SampleBins
	SampleHalves    = SamplePartSums + 8*SampleBins
	SampleNumbers   = SampleHalves + 8*SampleBins
	SampleKeys      = SampleNumbers + 4*SampleBins
	SampleKeyMasses = SampleKeys + 8*SampleFew
	SampleWords     = SampleKeyMasses + 8*SampleFew
	SampleShared    = SampleWords + 512
)

// Grid implements Gridded: a thread has four logits of a slice, or a bin.
func (p Sample) Grid() Grid {
	if p.Tops {
		return Grid{Warps: 32, PerBlock: 1, Shared: 512}
	}
	return Grid{Warps: 32, PerBlock: 1, Shared: SampleShared}
}

// How is a row of how: temperature 0 takes the greatest logit, top-k 0 and top-p and min-p of 0
// or 1 as quire/runtime/sample has them.
func (p Sample) How(temperature float64, topK int, topP, minP float64) [SampleHow]uint32 {
	var how [SampleHow]uint32
	if temperature == 0 || topK == 1 {
		temperature = 1
	} else {
		how[SampleMode] = SampleAll
		if topK >= p.Vocab {
			topK = 0
		}
		if topP == 0 {
			topP = 1
		}
		if topK > 0 || topP < 1 {
			how[SampleMode] = SampleBest
		}
	}
	temperature = max(temperature, 1e-30)
	how[SampleScale] = math.Float32bits(float32(math.Log2E / temperature))
	how[SampleK] = uint32(topK)
	how[SampleP] = math.Float32bits(float32(topP))
	how[SampleMinP] = math.Float32bits(float32(minP))
	how[SampleFine] = math.Float32bits(float32(math.Exp2(math.Floor(math.Log2(45 / temperature)))))
	return how
}

// Draw is a number from 0 on, below 1, as draws have it.
func (p Sample) Draw(u float64) int64 { return int64(u * (1 << 53)) }
