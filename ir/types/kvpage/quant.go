package kvpage

import (
	"math"

	"quire/ir/types/block"
	"quire/ir/types/layout"
)

// The quantised encodings of a cache.
const (
	Q8 layout.Enc = "q8"
	Q4 layout.Enc = "q4"
)

// Bits is the size of a code of a quantised encoding; 0 for floats, and what no cache has.
func Bits(e layout.Enc) int {
	switch e {
	case Q8:
		return 8
	case Q4:
		return 4
	}
	return 0
}

// Scale is what the codes of a vector mean: float16 bits.
type Scale struct{ Scale, Zero uint16 }

// Floats are the scale and the zero.
func (s Scale) Floats() (scale, zero float32) {
	return block.F16ToF32(s.Scale), block.F16ToF32(s.Zero)
}

// Value is what a code stands for.
func (s Scale) Value(code byte) float32 {
	scale, zero := s.Floats()
	return float32(code)*scale + zero // the product is exact
}

// tiny keeps the scale of a vector of equal numbers from zero, where a float16 can.
const tiny = 1e-8

// Quantise writes the codes of x, one a byte, and returns what they mean.
func Quantise(bits int, x []float32, codes []byte) Scale {
	lo, hi := float32(math.Inf(1)), float32(math.Inf(-1))
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	most := float32(int(1)<<bits - 1)
	s := Scale{block.F32ToF16((hi-lo)/most + tiny), block.F32ToF16(lo)}
	scale, zero := s.Floats()
	for i, v := range x {
		codes[i] = 0
		if scale > 0 {
			codes[i] = byte(max(0, min(most, float32(math.RoundToEven(float64((v-zero)/scale))))))
		}
	}
	return s
}

// Round replaces the numbers of one vector by what an encoding of a cache keeps of them. It
// reports false, and leaves x, where no cache has the encoding.
func Round(e layout.Enc, x []float32) bool {
	if bits := Bits(e); bits > 0 {
		codes := make([]byte, len(x))
		s := Quantise(bits, x, codes)
		for i, c := range codes {
			x[i] = s.Value(c)
		}
		return true
	}
	f, ok := floats[e]
	for i := range x {
		if ok {
			x[i] = f.round(x[i])
		}
	}
	return ok
}

// float is an encoding of plain numbers.
type float struct {
	bytes int
	put   func(b []byte, x float32)
	get   func(b []byte) float32
}

func (f float) round(x float32) float32 {
	var b [4]byte
	f.put(b[:], x)
	return f.get(b[:])
}

var floats = map[layout.Enc]float{
	layout.F32: {4, func(b []byte, x float32) { little.PutUint32(b, math.Float32bits(x)) },
		func(b []byte) float32 { return math.Float32frombits(little.Uint32(b)) }},
	layout.F16: {2, func(b []byte, x float32) { little.PutUint16(b, block.F32ToF16(x)) },
		func(b []byte) float32 { return block.F16ToF32(little.Uint16(b)) }},
	layout.BF16: {2, func(b []byte, x float32) { little.PutUint16(b, block.F32ToBF16(x)) },
		func(b []byte) float32 { return block.BF16ToF32(little.Uint16(b)) }},
}

// SummaryEnc is the encoding of the summaries of a cache's keys.
func SummaryEnc(e layout.Enc) layout.Enc {
	if Bits(e) > 0 {
		return layout.F16
	}
	return e
}
