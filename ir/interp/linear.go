package interp

import (
	"math"

	"quire/ir"
	"quire/ir/types"
)

func embed(c *call) any {
	tok, table := c.tensor(0), c.tensor(1)
	y := table.like(len(tok.Data), table.width())
	for n, id := range tok.Data {
		if id < 0 || int(id) >= table.Shape[0] {
			c.failf("token %v at row %d, expected 0 to %d", id, n, table.Shape[0]-1)
		}
		copy(y.Row(n), table.Row(int(id)))
	}
	return y
}

func gather(c *call) any {
	x, index := c.tensor(0), c.tensor(1)
	y := x.like(append([]int{len(index.Data)}, x.Shape[1:]...)...)
	w := size(x.Shape[1:])
	for m, i := range index.Data {
		if i < 0 || int(i) >= x.Shape[0] {
			c.failf("index %v at row %d, expected 0 to %d", i, m, x.Shape[0]-1)
		}
		copy(y.Data[m*w:(m+1)*w], x.Data[int(i)*w:])
	}
	return y
}

// matmul is y[.., r] = sum over k of x[.., k] * w[r, k], the sum in float64, the
// operands prepared as the dot mode says.
func matmul(c *call) any {
	x, w := c.tensor(0), c.tensor(1)
	dot := c.v.Attrs.(ir.MatMulAttrs).Dot
	x = prepare(dot, x)
	if dot == ir.DotBF16 {
		w = bf16(w)
	}
	y := x.like(x.lead(1, w.Shape[0])...)
	for n := range x.Rows() {
		in, out := x.Row(n), y.Row(n)
		for r := range out {
			sum := 0.0
			row := w.Row(r)
			for k, v := range in {
				sum += v * row[k]
			}
			out[r] = sum
		}
	}
	return y
}

func round(c *call) any { return prepare(c.v.Attrs.(ir.RoundAttrs).To, c.tensor(0)) }

// prepare is the activations as a dot mode reads them.
func prepare(dot ir.Dot, x *Tensor) *Tensor {
	switch dot {
	case ir.DotBF16:
		return bf16(x)
	case ir.DotF16:
		return rounded(types.F16, x)
	case ir.DotI8:
		return blocks8(x)
	}
	return x
}

func bf16(t *Tensor) *Tensor { return rounded(types.BF16, t) }

func rounded(d types.DType, t *Tensor) *Tensor {
	y := t.like(t.Shape...)
	for i, x := range t.Data {
		y.Data[i] = Round(d, x)
	}
	return y
}

// blocks8 rounds each block of 32 along the last axis to 8-bit integers times a
// scale of max|x| / 127, kept in f32; ties to even.
func blocks8(t *Tensor) *Tensor {
	y := t.like(t.Shape...)
	for r := range t.Rows() {
		in, out := t.Row(r), y.Row(r)
		for b := 0; b < len(in); b += 32 {
			end := min(b+32, len(in))
			top := 0.0
			for _, x := range in[b:end] {
				top = math.Max(top, math.Abs(x))
			}
			scale := float64(float32(top / 127))
			if scale == 0 {
				continue
			}
			for i := b; i < end; i++ {
				out[i] = scale * math.RoundToEven(in[i]/scale)
			}
		}
	}
	return y
}
