package interp

import (
	"math"
	"slices"

	"quire/ir"
)

// call is one Value being computed.
type call struct {
	*frame
	v    *ir.Value
	args []any
}

func (c *call) tensor(i int) *Tensor {
	t, ok := c.args[i].(*Tensor)
	if !ok {
		c.failf("arg %d is no tensor", i+1)
	}
	return t
}

func (c *call) rows(i int) *RowMap {
	r, ok := c.args[i].(*RowMap)
	if !ok {
		c.failf("arg %d is no row map", i+1)
	}
	return r
}

func (c *call) cache(i int) *version {
	v, ok := c.args[i].(*version)
	if !ok {
		c.failf("arg %d is no cache", i+1)
	}
	return v
}

// evals is the meaning of every op that has one: a row an op. Results are fresh
// tensors; the frame rounds them.
var evals = map[ir.Op]func(*call) any{
	ir.OpEmbed:   embed,
	ir.OpDequant: copyOf,
	ir.OpMatMul:  matmul,
	ir.OpGather:  gather,

	ir.OpAdd:     binary(func(a, b float64) float64 { return a + b }),
	ir.OpMul:     binary(func(a, b float64) float64 { return a * b }),
	ir.OpSiLU:    unary(func(_ ir.Attrs, x float64) float64 { return x / (1 + math.Exp(-x)) }),
	ir.OpGELU:    unary(gelu),
	ir.OpScale:   unary(func(a ir.Attrs, x float64) float64 { return x * a.(ir.ScaleAttrs).By }),
	ir.OpSoftcap: unary(func(a ir.Attrs, x float64) float64 { return softcap(a.(ir.SoftcapAttrs).Cap, x) }),
	ir.OpCast:    copyOf,
	ir.OpRound:   round,

	ir.OpRMSNorm:   rmsnorm,
	ir.OpSlice:     slice,
	ir.OpConcat:    concat,
	ir.OpUnflatten: unflatten,
	ir.OpFlatten:   flatten,

	ir.OpRopeTable: ropeTable,
	ir.OpRope:      rope,
	ir.OpAppend:    appendRows,
	ir.OpAttention: attention,

	ir.OpHeads:      heads,
	ir.OpHeadsMerge: headsMerge,

	ir.OpPageEstimate:   pageEstimate,
	ir.OpPageTopK:       pageTopK,
	ir.OpPageKeep:       pageKeep,
	ir.OpSummarise:      summarised,
	ir.OpAttentionPaged: attentionPaged,

	ir.OpArgMax:    reduce(argmax),
	ir.OpLogSumExp: reduce(logSumExp),
}

// copyOf is the argument under another element type; rounding does the rest.
func copyOf(c *call) any {
	x := c.tensor(0)
	y := x.like(x.Shape...)
	copy(y.Data, x.Data)
	return y
}

func unary(f func(ir.Attrs, float64) float64) func(*call) any {
	return func(c *call) any {
		x := c.tensor(0)
		y := x.like(x.Shape...)
		for i := range x.Data {
			y.Data[i] = f(c.v.Attrs, x.Data[i])
		}
		return y
	}
}

// binary repeats b over the leading axes that it lacks.
func binary(f func(a, b float64) float64) func(*call) any {
	return func(c *call) any {
		a, b := c.tensor(0), c.tensor(1)
		y := a.like(a.Shape...)
		for i := range a.Data {
			y.Data[i] = f(a.Data[i], b.Data[i%len(b.Data)])
		}
		return y
	}
}

func gelu(a ir.Attrs, x float64) float64 {
	if a.(ir.GELUAttrs).Tanh {
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	}
	return x * 0.5 * (1 + math.Erf(x/math.Sqrt2))
}

func softcap(cap, x float64) float64 { return cap * math.Tanh(x/cap) }

func rmsnorm(c *call) any {
	x, g, a := c.tensor(0), c.tensor(1), c.v.Attrs.(ir.NormAttrs)
	y := x.like(x.Shape...)
	for r := range x.Rows() {
		in, out := x.Row(r), y.Row(r)
		sum := 0.0
		for _, v := range in {
			sum += v * v
		}
		root := math.Sqrt(sum/float64(len(in)) + a.Eps)
		for i, v := range in {
			out[i] = v / root * (a.Offset + g.Data[i])
		}
	}
	return y
}

func slice(c *call) any {
	x, a := c.tensor(0), c.v.Attrs.(ir.SliceAttrs)
	y := x.like(x.lead(1, a.Count)...)
	for r := range x.Rows() {
		copy(y.Row(r), x.Row(r)[a.First:a.First+a.Count])
	}
	return y
}

func concat(c *call) any {
	axis := c.v.Attrs.(ir.ConcatAttrs).Axis
	shape := slices.Clone(c.tensor(0).Shape)
	for i := range c.args[1:] {
		shape[axis] += c.tensor(i + 1).Shape[axis]
	}
	y := c.tensor(0).like(shape...)
	outer := size(shape[:axis])
	at := 0
	for o := range outer {
		for i := range c.args {
			x := c.tensor(i)
			n := len(x.Data) / max(outer, 1)
			at += copy(y.Data[at:], x.Data[o*n:(o+1)*n])
		}
	}
	return y
}

func unflatten(c *call) any {
	x, d := c.tensor(0), c.v.Attrs.(ir.UnflattenAttrs).Dim
	y := x.like(x.lead(1, x.width()/d, d)...)
	copy(y.Data, x.Data)
	return y
}

func flatten(c *call) any {
	x := c.tensor(0)
	y := x.like(x.lead(2, x.Shape[len(x.Shape)-2]*x.width())...)
	copy(y.Data, x.Data)
	return y
}

// reduce turns each row of the last axis into one number.
func reduce(f func([]float64) float64) func(*call) any {
	return func(c *call) any {
		x := c.tensor(0)
		y := x.like(x.lead(1)...)
		for r := range y.Data {
			y.Data[r] = f(x.Row(r))
		}
		return y
	}
}

// argmax is the index of the largest element, the first of equals.
func argmax(row []float64) float64 {
	best := 0
	for i, x := range row {
		if x > row[best] {
			best = i
		}
	}
	return float64(best)
}

func logSumExp(row []float64) float64 {
	top := math.Inf(-1)
	for _, x := range row {
		top = math.Max(top, x)
	}
	sum := 0.0
	for _, x := range row {
		sum += math.Exp(x - top)
	}
	return top + math.Log(sum)
}
