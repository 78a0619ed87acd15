package interp

import (
	"fmt"
	"math"
	"slices"

	"quire/ir/types"
	"quire/ir/types/block"
)

// Tensor is a value of a tensor type: row-major elements, as float64 whatever
// the element type. Integers are exact.
type Tensor struct {
	Elem  types.Elem
	Shape []int
	Data  []float64
}

// NewTensor returns zeros.
func NewTensor(e types.Elem, shape ...int) *Tensor {
	return &Tensor{Elem: e, Shape: shape, Data: make([]float64, size(shape))}
}

// Ints returns an i32 vector.
func Ints[T ~int | ~int32](v ...T) *Tensor {
	t := NewTensor(types.Plain(types.I32), len(v))
	for i, x := range v {
		t.Data[i] = float64(x)
	}
	return t
}

// Floats returns an f32 tensor of the given shape.
func Floats(v []float32, shape ...int) *Tensor {
	t := NewTensor(types.Plain(types.F32), shape...)
	for i, x := range v {
		t.Data[i] = float64(x)
	}
	return t
}

// F32 returns the elements as float32.
func (t *Tensor) F32() []float32 {
	out := make([]float32, len(t.Data))
	for i, x := range t.Data {
		out[i] = float32(x)
	}
	return out
}

// Rows returns how many rows of the last axis t has; a scalar is one row of one.
func (t *Tensor) Rows() int {
	if w := t.width(); w > 0 {
		return len(t.Data) / w
	}
	return 0
}

// Row returns the i-th run of the last axis.
func (t *Tensor) Row(i int) []float64 {
	w := t.width()
	return t.Data[i*w : (i+1)*w]
}

// width is the extent of the last axis.
func (t *Tensor) width() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// String returns the type, as f32[4, 16].
func (t *Tensor) String() string {
	s := make([]int64, len(t.Shape))
	for i, n := range t.Shape {
		s[i] = int64(n)
	}
	return types.TensorOf(t.Elem, types.Of(s...)...).String()
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// like returns zeros of t's element type and the given shape.
func (t *Tensor) like(shape ...int) *Tensor { return NewTensor(t.Elem, shape...) }

// lead is the shape without its last n axes, followed by more.
func (t *Tensor) lead(n int, more ...int) []int {
	return append(slices.Clone(t.Shape[:len(t.Shape)-n]), more...)
}

// float8 formats and the like: explicit mantissa bits, exponent of the smallest
// normal number, largest finite value, whether larger ones become infinite.
var formats = map[types.DType]struct {
	mant, emin int
	top        float64
	inf        bool
}{
	types.F16:  {10, -14, 65504, true},
	types.BF16: {7, -126, 0x1.fep127, true},
	types.F8:   {3, -6, 448, false}, // OCP E4M3
}

// Round returns x in the nearest value of a plain type, ties to even. Integer
// types are returned as they are.
func Round(d types.DType, x float64) float64 {
	if d == types.F32 {
		return float64(float32(x))
	}
	f, ok := formats[d]
	if !ok || x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return x
	}
	_, e := math.Frexp(x) // |x| is in [2^(e-1), 2^e)
	ulp := max(e-1, f.emin) - f.mant
	r := math.Ldexp(math.RoundToEven(math.Ldexp(x, -ulp)), ulp)
	if math.Abs(r) > f.top {
		if f.inf {
			return math.Inf(int(math.Copysign(1, r)))
		}
		return math.Copysign(f.top, r)
	}
	return r
}

// roundAll rounds elements in place to a plain type, or to the nearest values
// that an encoding found for them.
func roundAll(e types.Elem, x []float64) error {
	if !e.IsQuantised() {
		for i := range x {
			x[i] = Round(e.DType, x[i])
		}
		return nil
	}
	enc, ok := block.Lookup(e.Quant)
	if !ok {
		return fmt.Errorf("encoding %s is unknown", e.Quant)
	}
	n, err := enc.RowBytes(int64(len(x)))
	if err != nil {
		return err
	}
	f, b := make([]float32, len(x)), make([]byte, n)
	for i := range x {
		f[i] = float32(x[i])
	}
	if err := block.Encode(e.Quant, f, b); err != nil {
		return err
	}
	if err := block.Decode(e.Quant, b, f); err != nil {
		return err
	}
	for i := range x {
		x[i] = float64(f[i])
	}
	return nil
}
