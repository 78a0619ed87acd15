package ir

import (
	"fmt"
	"math"
	"reflect"

	"quire/ir/types"
)

// Infer returns the type of op applied to args, or an error that names what was
// seen and what was expected. It is the only place where shapes are computed.
func Infer(m *Module, op Op, attrs Attrs, args []*Value) (t types.Type, err error) {
	info := op.Info()
	if info.infer == nil {
		return types.Type{}, fmt.Errorf("%s is not applied to arguments", info.Name)
	}
	if err := checkArity(info, len(args)); err != nil {
		return types.Type{}, err
	}
	if reflect.TypeOf(info.Attrs) != reflect.TypeOf(attrs) {
		return types.Type{}, fmt.Errorf("%s has attributes %T, expected %T", info.Name, attrs, info.Attrs)
	}
	c := &inferCtx{m: m, attrs: attrs, args: args}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(inferError)
			if !ok {
				panic(r)
			}
			t, err = types.Type{}, fmt.Errorf("%s: %s", info.Name, e.msg)
		}
	}()
	return info.infer(c), nil
}

func checkArity(info *OpInfo, n int) error {
	want, variadic := arity(info.Args)
	if n == want || variadic && n >= want {
		return nil
	}
	return fmt.Errorf("%s has %d arguments, expected %d (%s)", info.Name, n, want, info.Args)
}

func arity(args string) (n int, variadic bool) {
	for i, r := range args {
		if r == ' ' {
			n++
		}
		if i == len(args)-1 {
			n++
			variadic = r == '.'
		}
	}
	return n, variadic
}

type inferError struct{ msg string }

type inferCtx struct {
	m     *Module
	attrs Attrs
	args  []*Value
}

func (c *inferCtx) failf(format string, a ...any) {
	panic(inferError{fmt.Sprintf(format, a...)})
}

// arg returns the type of argument i.
func (c *inferCtx) arg(i int) types.Type { return c.args[i].Type }

// tensor returns argument i, a tensor of at least the given rank.
func (c *inferCtx) tensor(i, rank int) types.Type {
	t := c.arg(i)
	if t.Kind != types.Tensor || len(t.Shape) < rank {
		c.failf("arg %d has type %s, expected a tensor of rank %d or more", i+1, t, rank)
	}
	return t
}

// float returns argument i, a plain float tensor.
func (c *inferCtx) float(i, rank int) types.Type {
	t := c.tensor(i, rank)
	if t.Elem.IsQuantised() || !t.Elem.IsFloat() {
		c.failf("arg %d has type %s, expected plain floats", i+1, t)
	}
	return t
}

// index returns argument i, an i32 vector.
func (c *inferCtx) index(i int) types.Type {
	t := c.tensor(i, 1)
	if t.Elem != types.Plain(types.I32) || len(t.Shape) != 1 {
		c.failf("arg %d has type %s, expected i32[..]", i+1, t)
	}
	return t
}

func (c *inferCtx) same(what string, a, b types.Dim) {
	if a != b {
		c.failf("%s is %s, expected %s", what, b, a)
	}
}

// constant returns the value of a constant extent.
func (c *inferCtx) constant(what string, d types.Dim) int64 {
	n, ok := d.IsConst()
	if !ok || n <= 0 {
		c.failf("%s is %s, expected a positive constant", what, d)
	}
	return n
}

// to resolves an optional result type.
func (c *inferCtx) to(to, deflt types.DType) types.DType {
	if to == types.InvalidDType {
		to = deflt
	}
	if !to.IsFloat() {
		c.failf("result type %s, expected a float type", to)
	}
	return to
}

func positive(c *inferCtx, name string, v float64) {
	if !(v > 0) || math.IsInf(v, 0) {
		c.failf("%s is %v, expected a positive number", name, v)
	}
}

func inferEmbed(c *inferCtx) types.Type {
	tok, w := c.index(0), c.tensor(1, 2)
	if !w.Elem.IsFloat() || len(w.Shape) != 2 {
		c.failf("arg 2 has type %s, expected float rows [V, D]", w)
	}
	to := c.to(c.attrs.(ToAttrs).To, types.F32)
	return types.TensorOf(types.Plain(to), tok.Shape[0], w.Shape[1])
}

func inferDequant(c *inferCtx) types.Type {
	w := c.tensor(0, 2)
	if !w.Elem.IsQuantised() {
		c.failf("arg 1 has type %s, expected a quantised weight", w)
	}
	to := c.to(c.attrs.(ToAttrs).To, types.F32)
	return types.TensorOf(types.Plain(to), w.Shape...)
}

func inferMatMul(c *inferCtx) types.Type {
	x, w := c.float(0, 1), c.tensor(1, 2)
	if len(w.Shape) != 2 || !w.Elem.IsFloat() {
		c.failf("arg 2 has type %s, expected float rows [R, K]", w)
	}
	if x.Last() != w.Shape[1] {
		c.failf("K is %s in arg 1 and %s in arg 2", x.Last(), w.Shape[1])
	}
	to := c.to(c.attrs.(MatMulAttrs).To, x.Elem.DType)
	shape := append(append(types.Shape{}, x.Shape[:len(x.Shape)-1]...), w.Shape[0])
	return types.TensorOf(types.Plain(to), shape...)
}

func inferGather(c *inferCtx) types.Type {
	x, idx := c.float(0, 2), c.index(1)
	return x.With(append(types.Shape{idx.Shape[0]}, x.Shape[1:]...)...)
}

func inferBinary(c *inferCtx) types.Type {
	a, b := c.float(0, 0), c.float(1, 0)
	if a.Elem != b.Elem {
		c.failf("arg 2 has elements %s, expected %s", b.Elem, a.Elem)
	}
	skip := len(a.Shape) - len(b.Shape)
	if skip < 0 || !a.Shape[skip:].Equal(b.Shape) {
		c.failf("arg 2 has shape [%s], expected [%s] or its trailing axes", b.Shape, a.Shape)
	}
	return a
}

func inferSame(c *inferCtx) types.Type { return c.float(0, 0) }

func inferScale(c *inferCtx) types.Type {
	if by := c.attrs.(ScaleAttrs).By; math.IsNaN(by) || math.IsInf(by, 0) {
		c.failf("by is %v, expected a finite number", by)
	}
	return c.float(0, 0)
}

func inferSoftcap(c *inferCtx) types.Type {
	positive(c, "cap", c.attrs.(SoftcapAttrs).Cap)
	return c.float(0, 0)
}

func inferCast(c *inferCtx) types.Type {
	x := c.float(0, 0)
	return types.TensorOf(types.Plain(c.to(c.attrs.(ToAttrs).To, types.F32)), x.Shape...)
}

func inferRound(c *inferCtx) types.Type {
	if c.attrs.(RoundAttrs).To == DotF32 {
		c.failf("to is f32, expected bf16, i8 or f16")
	}
	return c.float(0, 1)
}

func inferNorm(c *inferCtx) types.Type {
	x, g := c.float(0, 1), c.float(1, 1)
	if len(g.Shape) != 1 {
		c.failf("arg 2 has type %s, expected a vector", g)
	}
	c.same("length of g", x.Last(), g.Shape[0])
	if a := c.attrs.(NormAttrs); a.Eps < 0 || math.IsNaN(a.Eps) {
		c.failf("eps is %v, expected 0 or more", a.Eps)
	}
	return x
}

func inferSlice(c *inferCtx) types.Type {
	x, a := c.float(0, 1), c.attrs.(SliceAttrs)
	n := c.constant("last axis", x.Last())
	if a.First < 0 || a.Count <= 0 || int64(a.First)+int64(a.Count) > n {
		c.failf("elements %d..%d of an axis of %d", a.First, int64(a.First)+int64(a.Count)-1, n)
	}
	return x.With(append(append(types.Shape{}, x.Shape[:len(x.Shape)-1]...), types.Const(int64(a.Count)))...)
}

func inferConcat(c *inferCtx) types.Type {
	x, axis := c.tensor(0, 1), c.attrs.(ConcatAttrs).Axis
	if axis < 0 || axis >= len(x.Shape) {
		c.failf("axis %d of rank %d", axis, len(x.Shape))
	}
	shape := append(types.Shape{}, x.Shape...)
	for i := range c.args[1:] {
		y := c.tensor(i+1, 1)
		if y.Elem != x.Elem || len(y.Shape) != len(x.Shape) {
			c.failf("arg %d has type %s, expected %s of rank %d", i+2, y, x.Elem, len(x.Shape))
		}
		for k := range shape {
			if k != axis {
				c.same(fmt.Sprintf("axis %d of arg %d", k, i+2), x.Shape[k], y.Shape[k])
			}
		}
		shape[axis] = shape[axis].Add(y.Shape[axis])
	}
	return x.With(shape...)
}

func inferUnflatten(c *inferCtx) types.Type {
	x, d := c.float(0, 1), int64(c.attrs.(UnflattenAttrs).Dim)
	n := c.constant("last axis", x.Last())
	if d <= 0 || n%d != 0 {
		c.failf("last axis %d is no multiple of dim %d", n, d)
	}
	shape := append(types.Shape{}, x.Shape[:len(x.Shape)-1]...)
	return x.With(append(shape, types.Const(n/d), types.Const(d))...)
}

func inferFlatten(c *inferCtx) types.Type {
	x := c.float(0, 2)
	n := len(x.Shape)
	return x.With(append(append(types.Shape{}, x.Shape[:n-2]...), x.Shape[n-2].Mul(x.Shape[n-1]))...)
}
