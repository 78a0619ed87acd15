package kernel

import (
	"fmt"
	"strings"

	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// The vector types: Width lanes of f32, of i32, of bool.
type (
	Vec struct {
		k *Kernel
		v value.Value
	}
	VecI struct {
		k *Kernel
		v value.Value
	}
	Mask struct {
		k *Kernel
		v value.Value
	}
)

func (a Vec) raw() value.Value  { return a.v }
func (a VecI) raw() value.Value { return a.v }
func (a Mask) raw() value.Value { return a.v }

func (a Vec) with(v value.Value) Value  { return Vec{a.k, v} }
func (a VecI) with(v value.Value) Value { return VecI{a.k, v} }
func (a Mask) with(v value.Value) Value { return Mask{a.k, v} }

func (k *Kernel) splat(v value.Value) value.Value {
	if k.width == 1 {
		return v
	}
	if c, ok := v.(constant.Constant); ok {
		return k.same(c.Type(), c.Ident())
	}
	t := k.lanes(v.Type())
	one := k.b.NewInsertElement(literal{t, "poison"}, v, intLit(types.I32, 0))
	return k.b.NewShuffleVector(one, literal{t, "poison"}, literal{types.NewVector(uint64(k.width), types.I32), "zeroinitializer"})
}

func (k *Kernel) same(elem types.Type, ident string) value.Value {
	if k.width == 1 {
		return literal{elem, ident}
	}
	ids := make([]string, k.width)
	for i := range ids {
		ids[i] = ident
	}
	return vecLit(elem, ids)
}

// Vec is a constant in every lane.
func (k *Kernel) Vec(x float32) Vec { return Vec{k, k.same(types.Float, floatBits(float64(x)))} }

// VecI is a constant in every lane.
func (k *Kernel) VecI(x int32) VecI { return VecI{k, k.same(types.I32, fmt.Sprint(x))} }

// Zeros is n vectors of zeros: the usual start of a loop's accumulators.
func (k *Kernel) Zeros(n int) []Vec {
	out := make([]Vec, n)
	for i := range out {
		out[i] = k.Vec(0)
	}
	return out
}

// Iota is 0, 1, 2, ... by lane (of the Row numbering on a GPU).
func (k *Kernel) Iota() VecI {
	if k.width == 1 {
		return VecI{k, k.GPU().Lane().I32().v}
	}
	ids := make([]string, k.width)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	return VecI{k, vecLit(types.I32, ids)}
}

// Arithmetic of Vec. FMA is a*b + c rounded once.
func (a Vec) Add(b Vec) Vec    { return Vec{a.k, a.k.b.NewFAdd(a.v, b.v)} }
func (a Vec) Sub(b Vec) Vec    { return Vec{a.k, a.k.b.NewFSub(a.v, b.v)} }
func (a Vec) Mul(b Vec) Vec    { return Vec{a.k, a.k.b.NewFMul(a.v, b.v)} }
func (a Vec) Div(b Vec) Vec    { return Vec{a.k, a.k.b.NewFDiv(a.v, b.v)} }
func (a Vec) FMA(b, c Vec) Vec { return Vec{a.k, a.k.call("fma", a.v.Type(), a.v, b.v, c.v)} }
func (a Vec) Neg() Vec         { return Vec{a.k, a.k.b.NewFNeg(a.v)} }
func (a Vec) Abs() Vec         { return Vec{a.k, a.k.call("fabs", a.v.Type(), a.v)} }
func (a Vec) Round() Vec       { return Vec{a.k, a.k.call("nearbyint", a.v.Type(), a.v)} }
func (a Vec) Max(b Vec) Vec    { return a.Gt(b).Select(a, b) } // b where a is NaN
func (a Vec) Min(b Vec) Vec    { return b.Gt(a).Select(a, b) }
func (a Vec) Gt(b Vec) Mask    { return Mask{a.k, a.k.b.NewFCmp(enum.FPredOGT, a.v, b.v)} }
func (a Vec) Eq(b Vec) Mask    { return Mask{a.k, a.k.b.NewFCmp(enum.FPredOEQ, a.v, b.v)} }
func (a Vec) Scale(x float32) Vec {
	return a.Mul(a.k.Vec(x))
}

// Bits is the lanes' representation.
func (a Vec) Bits() VecI { return VecI{a.k, a.k.b.NewBitCast(a.v, a.k.lanes(types.I32))} }

// I32 converts, rounding towards zero.
func (a Vec) I32() VecI { return VecI{a.k, a.k.b.NewFPToSI(a.v, a.k.lanes(types.I32))} }

// Lane is one lane's value, by its number.
func (a Vec) Lane(i int) F32 {
	return F32{a.k, a.k.b.NewExtractElement(a.v, intLit(types.I32, int64(i)))}
}

// Lane is one lane's value, by its number.
func (a VecI) Lane(i int) I32 {
	return I32{a.k, a.k.b.NewExtractElement(a.v, intLit(types.I32, int64(i)))}
}

// Arithmetic of VecI.
func (a VecI) Add(b VecI) VecI { return VecI{a.k, a.k.b.NewAdd(a.v, b.v)} }
func (a VecI) Sub(b VecI) VecI { return VecI{a.k, a.k.b.NewSub(a.v, b.v)} }
func (a VecI) Mul(b VecI) VecI { return VecI{a.k, a.k.b.NewMul(a.v, b.v)} }
func (a VecI) Or(b VecI) VecI  { return VecI{a.k, a.k.b.NewOr(a.v, b.v)} }
func (a VecI) Xor(b VecI) VecI { return VecI{a.k, a.k.b.NewXor(a.v, b.v)} }
func (a VecI) And(b VecI) VecI { return VecI{a.k, a.k.b.NewAnd(a.v, b.v)} }
func (a VecI) Mask(m int32) VecI {
	return a.And(a.k.VecI(m))
}
func (a VecI) Shl(n int32) VecI { return a.shift(n, enum.IPredEQ) }
func (a VecI) Shr(n int32) VecI { return a.shift(n, enum.IPredUGT) }
func (a VecI) Sar(n int32) VecI { return a.shift(n, enum.IPredSGT) }

func (a VecI) shift(n int32, how enum.IPred) VecI {
	if n == 0 {
		return a
	}
	by := a.k.VecI(n).v
	switch how {
	case enum.IPredUGT:
		return VecI{a.k, a.k.b.NewLShr(a.v, by)}
	case enum.IPredSGT:
		return VecI{a.k, a.k.b.NewAShr(a.v, by)}
	}
	return VecI{a.k, a.k.b.NewShl(a.v, by)}
}

// F32 converts; Float takes the lanes' bits.
func (a VecI) F32() Vec   { return Vec{a.k, a.k.b.NewSIToFP(a.v, a.k.lanes(types.Float))} }
func (a VecI) Float() Vec { return Vec{a.k, a.k.b.NewBitCast(a.v, a.k.lanes(types.Float))} }

// Lt and Eq compare signed lanes.
func (a VecI) Lt(b VecI) Mask { return Mask{a.k, a.k.b.NewICmp(enum.IPredSLT, a.v, b.v)} }
func (a VecI) Eq(b VecI) Mask { return Mask{a.k, a.k.b.NewICmp(enum.IPredEQ, a.v, b.v)} }

// Select is a where the mask is set, else b.
func (m Mask) Select(a, b Vec) Vec { return Vec{m.k, m.k.b.NewSelect(m.v, a.v, b.v)} }

// SelectI is a where the mask is set, else b.
func (m Mask) SelectI(a, b VecI) VecI { return VecI{m.k, m.k.b.NewSelect(m.v, a.v, b.v)} }

// And and Or combine masks.
func (m Mask) And(o Mask) Mask { return Mask{m.k, m.k.b.NewAnd(m.v, o.v)} }
func (m Mask) Or(o Mask) Mask  { return Mask{m.k, m.k.b.NewOr(m.v, o.v)} }

// Shuffle is the lanes of a (0 to Width-1) and b (Width to 2*Width-1) by constant number,
// a CPU's verb.
func (a Vec) Shuffle(b Vec, lanes ...int) Vec {
	if a.k.width == 1 || len(lanes) != a.k.width {
		a.k.Errorf("shuffle: %d lanes, expected the %d of a CPU's vector", len(lanes), a.k.width)
		return a
	}
	ids := make([]string, len(lanes))
	for i, l := range lanes {
		ids[i] = fmt.Sprint(l)
	}
	return Vec{a.k, a.k.b.NewShuffleVector(a.v, b.v, vecLit(types.I32, ids))}
}

func mangle(t types.Type) string {
	switch t := t.(type) {
	case *types.VectorType:
		return fmt.Sprintf("v%d%s", t.Len, mangle(t.ElemType))
	case *types.FloatType:
		return map[types.FloatKind]string{types.FloatKindHalf: "f16", types.FloatKindFloat: "f32", types.FloatKindDouble: "f64"}[t.Kind]
	case *types.PointerType:
		return fmt.Sprintf("p%d", t.AddrSpace)
	}
	return strings.TrimSpace(t.String())
}
