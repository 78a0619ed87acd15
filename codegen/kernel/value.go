package kernel

import (
	"fmt"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// Value is any value of the language: I64, I32, F32, F64, Bool, Vec, VecI, Mask, Ptr.
type Value interface {
	raw() value.Value
	with(v value.Value) Value // the same type around another llir value
}

// The scalar types. Integers wrap; comparisons and divisions are signed.
type (
	I64 struct {
		k *Kernel
		v value.Value
	}
	I32 struct {
		k *Kernel
		v value.Value
	}
	F32 struct {
		k *Kernel
		v value.Value
	}
	F64 struct {
		k *Kernel
		v value.Value
	}
	Bool struct {
		k *Kernel
		v value.Value
	}
)

func (a I64) raw() value.Value  { return a.v }
func (a I32) raw() value.Value  { return a.v }
func (a F32) raw() value.Value  { return a.v }
func (a F64) raw() value.Value  { return a.v }
func (a Bool) raw() value.Value { return a.v }

func (a I64) with(v value.Value) Value  { return I64{a.k, v} }
func (a I32) with(v value.Value) Value  { return I32{a.k, v} }
func (a F32) with(v value.Value) Value  { return F32{a.k, v} }
func (a F64) with(v value.Value) Value  { return F64{a.k, v} }
func (a Bool) with(v value.Value) Value { return Bool{a.k, v} }

// Int, Int32, Float and Double are constants.
func (k *Kernel) Int(x int64) I64      { return I64{k, intLit(types.I64, x)} }
func (k *Kernel) Int32(x int32) I32    { return I32{k, intLit(types.I32, int64(x))} }
func (k *Kernel) Bool(x bool) Bool     { return Bool{k, literal{types.I1, fmt.Sprint(x)}} }
func (k *Kernel) Float(x float32) F32  { return F32{k, literal{types.Float, floatBits(float64(x))}} }
func (k *Kernel) False() Bool          { return Bool{k, intLit(types.I1, 0)} }
func (k *Kernel) Double(x float64) F64 { return F64{k, literal{types.Double, floatBits(x)}} }

// Floats is n zeros: the usual start of scalar sums.
func (k *Kernel) Floats(n int) []F32 {
	out := make([]F32, n)
	for i := range out {
		out[i] = k.Float(0)
	}
	return out
}

// Arithmetic of I64. Plus and Times take Go constants.
func (a I64) Add(b I64) I64      { return I64{a.k, a.k.b.NewAdd(a.v, b.v)} }
func (a I64) Sub(b I64) I64      { return I64{a.k, a.k.b.NewSub(a.v, b.v)} }
func (a I64) Mul(b I64) I64      { return I64{a.k, a.k.b.NewMul(a.v, b.v)} }
func (a I64) Div(b I64) I64      { return I64{a.k, a.k.b.NewSDiv(a.v, b.v)} }
func (a I64) Rem(b I64) I64      { return I64{a.k, a.k.b.NewSRem(a.v, b.v)} }
func (a I64) And(b I64) I64      { return I64{a.k, a.k.b.NewAnd(a.v, b.v)} }
func (a I64) Plus(x int64) I64   { return a.Add(a.k.Int(x)) }
func (a I64) Times(x int64) I64  { return a.Mul(a.k.Int(x)) }
func (a I64) Over(x int64) I64   { return I64{a.k, a.k.b.NewUDiv(a.v, a.k.Int(x).v)} } // a >= 0
func (a I64) Modulo(x int64) I64 { return I64{a.k, a.k.b.NewURem(a.v, a.k.Int(x).v)} } // a >= 0
func (a I64) Shr(n int64) I64    { return I64{a.k, a.k.b.NewLShr(a.v, a.k.Int(n).v)} }
func (a I64) Xor(x int64) I64    { return I64{a.k, a.k.b.NewXor(a.v, a.k.Int(x).v)} }
func (a I64) XorBits(b I64) I64  { return I64{a.k, a.k.b.NewXor(a.v, b.v)} }
func (a I64) Min(b I64) I64      { return Select(a.Lt(b), a, b) }
func (a I64) Max(b I64) I64      { return Select(a.Lt(b), b, a) }

func (a I64) cmp(p enum.IPred, b I64) Bool { return Bool{a.k, a.k.b.NewICmp(p, a.v, b.v)} }

// Comparisons of I64.
func (a I64) Lt(b I64) Bool { return a.cmp(enum.IPredSLT, b) }
func (a I64) Le(b I64) Bool { return a.cmp(enum.IPredSLE, b) }
func (a I64) Eq(b I64) Bool { return a.cmp(enum.IPredEQ, b) }
func (a I64) Ne(b I64) Bool { return a.cmp(enum.IPredNE, b) }

// I32 truncates.
func (a I64) I32() I32 { return I32{a.k, a.k.b.NewTrunc(a.v, types.I32)} }

// F32 converts.
func (a I64) F32() F32 { return F32{a.k, a.k.b.NewSIToFP(a.v, types.Float)} }
func (a I64) F64() F64 { return F64{a.k, a.k.b.NewSIToFP(a.v, types.Double)} }

// Arithmetic of I32.
func (a I32) Add(b I32) I32           { return I32{a.k, a.k.b.NewAdd(a.v, b.v)} }
func (a I32) Sub(b I32) I32           { return I32{a.k, a.k.b.NewSub(a.v, b.v)} }
func (a I32) And(x int32) I32         { return I32{a.k, a.k.b.NewAnd(a.v, a.k.Int32(x).v)} }
func (a I32) AndBits(b I32) I32       { return I32{a.k, a.k.b.NewAnd(a.v, b.v)} }
func (a I32) Plus(x int32) I32        { return a.Add(a.k.Int32(x)) }
func (a I32) Times(x int32) I32       { return a.Mul(a.k.Int32(x)) }
func (a I32) Or(b I32) I32            { return I32{a.k, a.k.b.NewOr(a.v, b.v)} }
func (a I32) Xor(x int32) I32         { return I32{a.k, a.k.b.NewXor(a.v, a.k.Int32(x).v)} }
func (a I32) Shl(n int32) I32         { return I32{a.k, a.k.b.NewShl(a.v, a.k.Int32(n).v)} }
func (a I32) Shr(n int32) I32         { return I32{a.k, a.k.b.NewLShr(a.v, a.k.Int32(n).v)} }
func (a I32) Eq(b I32) Bool           { return Bool{a.k, a.k.b.NewICmp(enum.IPredEQ, a.v, b.v)} }
func (a I32) Lt(b I32) Bool           { return Bool{a.k, a.k.b.NewICmp(enum.IPredSLT, a.v, b.v)} }
func (a I32) RotateRight(n int32) I32 { return a.Shr(n).Or(a.Shl(32 - n)) }
func (a I32) ShrBy(n I32) I32         { return I32{a.k, a.k.b.NewLShr(a.v, n.v)} }
func (a I32) Mul(b I32) I32           { return I32{a.k, a.k.b.NewMul(a.v, b.v)} }
func (a I32) Over(b I32) I32          { return I32{a.k, a.k.b.NewUDiv(a.v, b.v)} } // a >= 0, b > 0
func (a I32) I64() I64                { return I64{a.k, a.k.b.NewSExt(a.v, types.I64)} }
func (a I32) F32() F32                { return F32{a.k, a.k.b.NewSIToFP(a.v, types.Float)} }
func (a I32) Splat() VecI             { return VecI{a.k, a.k.splat(a.v)} }
func (a I32) Bits() F32               { return F32{a.k, a.k.b.NewBitCast(a.v, types.Float)} }
func (a I32) SignExtend8() I32 { // the low byte as a signed number
	return I32{a.k, a.k.b.NewSExt(a.k.b.NewTrunc(a.v, types.I8), types.I32)}
}

// Arithmetic of F32; FMA is a*b + c rounded once.
func (a F32) Add(b F32) F32    { return F32{a.k, a.k.b.NewFAdd(a.v, b.v)} }
func (a F32) Sub(b F32) F32    { return F32{a.k, a.k.b.NewFSub(a.v, b.v)} }
func (a F32) Mul(b F32) F32    { return F32{a.k, a.k.b.NewFMul(a.v, b.v)} }
func (a F32) Div(b F32) F32    { return F32{a.k, a.k.b.NewFDiv(a.v, b.v)} }
func (a F32) FMA(b, c F32) F32 { return F32{a.k, a.k.call("fma", types.Float, a.v, b.v, c.v)} }
func (a F32) Sqrt() F32        { return F32{a.k, a.k.call("sqrt", types.Float, a.v)} }
func (a F32) Max(b F32) F32    { return Select(a.Gt(b), a, b) }
func (a F32) Min(b F32) F32    { return Select(b.Gt(a), a, b) }
func (a F32) Neg() F32         { return F32{a.k, a.k.b.NewFNeg(a.v)} }
func (a F32) Gt(b F32) Bool    { return Bool{a.k, a.k.b.NewFCmp(enum.FPredOGT, a.v, b.v)} }
func (a F32) Eq(b F32) Bool    { return Bool{a.k, a.k.b.NewFCmp(enum.FPredOEQ, a.v, b.v)} }
func (a F32) Splat() Vec       { return Vec{a.k, a.k.splat(a.v)} }
func (a F32) Bits() I32        { return I32{a.k, a.k.b.NewBitCast(a.v, types.I32)} }
func (a F32) I64() I64         { return I64{a.k, a.k.b.NewFPToSI(a.v, types.I64)} } // towards zero
func (a F32) F64() F64         { return F64{a.k, a.k.b.NewFPExt(a.v, types.Double)} }

// Arithmetic of F64.
func (a F64) Add(b F64) F64    { return F64{a.k, a.k.b.NewFAdd(a.v, b.v)} }
func (a F64) Sub(b F64) F64    { return F64{a.k, a.k.b.NewFSub(a.v, b.v)} }
func (a F64) Mul(b F64) F64    { return F64{a.k, a.k.b.NewFMul(a.v, b.v)} }
func (a F64) FMA(b, c F64) F64 { return F64{a.k, a.k.call("fma", types.Double, a.v, b.v, c.v)} }
func (a F64) Round() F64       { return F64{a.k, a.k.call("nearbyint", types.Double, a.v)} }
func (a F64) I64() I64         { return I64{a.k, a.k.b.NewFPToSI(a.v, types.I64)} }
func (a F64) F32() F32         { return F32{a.k, a.k.b.NewFPTrunc(a.v, types.Float)} }
func (a F64) Neg() F64         { return F64{a.k, a.k.b.NewFNeg(a.v)} }

// Logic of Bool.
func (a Bool) And(b Bool) Bool { return Bool{a.k, a.k.b.NewAnd(a.v, b.v)} }
func (a Bool) Or(b Bool) Bool  { return Bool{a.k, a.k.b.NewOr(a.v, b.v)} }
func (a Bool) Not() Bool       { return Bool{a.k, a.k.b.NewXor(a.v, intLit(types.I1, 1))} }

// Select is a if c, else b.
func Select[T Value](c Bool, a, b T) T {
	return a.with(c.k.b.NewSelect(c.v, a.raw(), b.raw())).(T)
}
