package simt

import (
	"math"

	"github.com/x448/float16"
)

// toFloat is the value of a float's bits, exactly.
func toFloat(s scalar, w uint64) float64 {
	switch {
	case s.class == brain:
		return float64(math.Float32frombits(uint32(w) << 16))
	case s.bits == 16:
		return float64(float16.Frombits(uint16(w)).Float32())
	case s.bits == 32:
		return float64(math.Float32frombits(uint32(w)))
	}
	return math.Float64frombits(w)
}

// fromFloat rounds to nearest, ties to even, once.
func fromFloat(s scalar, x float64) uint64 {
	switch {
	case s.class == brain:
		return brainBits(odd32(x))
	case s.bits == 16:
		return uint64(float16.Fromfloat32(odd32(x)).Bits())
	case s.bits == 32:
		return uint64(math.Float32bits(float32(x)))
	}
	return math.Float64bits(x)
}

func brainBits(x float32) uint64 {
	w := math.Float32bits(x)
	if x != x {
		return uint64(w>>16 | 0x40)
	}
	return uint64((w + 0x7fff + w>>16&1) >> 16)
}

// odd32 rounds to float32 so that a later rounding to half or bfloat is the rounding of x:
// inexact results get an odd last bit (Boldo and Melquiond, "Emulation of FMA and
// correctly rounded sums: proved algorithms using rounding to odd", 2008).
func odd32(x float64) float32 {
	y := float32(x)
	if float64(y) == x || x != x || math.IsInf(float64(y), 0) {
		return y
	}
	w := math.Float32bits(y)
	if w&1 == 1 {
		return y
	}
	if math.Abs(x) > math.Abs(float64(y)) {
		return math.Float32frombits(w + 1)
	}
	return math.Float32frombits(w - 1)
}

// oddSum is a + b rounded to odd.
func oddSum(a, b float64) float64 {
	s := a + b
	t := s - a
	e := (a - (s - t)) + (b - t) // exact: Knuth's two-sum
	w := math.Float64bits(s)
	if e == 0 || w&1 == 1 || math.IsInf(s, 0) || s != s || e != e {
		return s
	}
	if math.Signbit(e) == math.Signbit(s) {
		return math.Float64frombits(w + 1)
	}
	return math.Float64frombits(w - 1)
}

// fma is a*b + c rounded once.
func fma(s scalar, a, b, c float64) uint64 {
	if s.bits == 64 {
		return math.Float64bits(math.FMA(a, b, c))
	}
	return fromFloat(s, oddSum(a*b, c)) // the product is exact
}
