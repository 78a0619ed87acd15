package kernel

import (
	"fmt"

	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"quire/ir/target"
)

// Space is an address space, by LLVM's number.
type Space int

// The address spaces; a CPU has Generic only.
const (
	Generic Space = 0
	Global  Space = 1
	Shared  Space = 3
)

// Elem is a type that memory holds: I64, I32, F32, F64, or the storage types F16, BF16
// and U8, which loads widen.
type Elem interface {
	I64 | I32 | F32 | F64 | F16 | BF16 | U8
}

// Storage types: they have no arithmetic.
type (
	F16  struct{}
	BF16 struct{}
	U8   struct{}
)

// Ptr points to elements.
type Ptr[T Elem] struct {
	k     *Kernel
	v     value.Value
	space Space
}

func (p Ptr[T]) raw() value.Value         { return p.v }
func (p Ptr[T]) with(v value.Value) Value { return Ptr[T]{p.k, v, p.space} }

func sizeOf[T Elem]() int64 {
	var t T
	switch any(t).(type) {
	case I64, F64:
		return 8
	case F16, BF16:
		return 2
	case U8:
		return 1
	}
	return 4
}

// At is the address of element i.
func (p Ptr[T]) At(i I64) Ptr[T] { return p.Byte(i.Times(sizeOf[T]())) }

// Plus is the address of element i, a Go constant.
func (p Ptr[T]) Plus(i int64) Ptr[T] { return p.Byte(p.k.Int(i * sizeOf[T]())) }

// Byte is the address n bytes further.
func (p Ptr[T]) Byte(n I64) Ptr[T] { return Ptr[T]{p.k, gep(p.k.b, p.v, n.v), p.space} }

// As is the same address with elements of another type.
func As[U, T Elem](p Ptr[T]) Ptr[U] { return Ptr[U]{p.k, p.v, p.space} }

// Scalar loads and stores, by type of element.
func LoadI64(p Ptr[I64]) I64 { return I64{p.k, load(p.k.b, types.I64, p.v, p.space, 8)} }
func LoadI32(p Ptr[I32]) I32 { return I32{p.k, load(p.k.b, types.I32, p.v, p.space, 4)} }
func LoadF32(p Ptr[F32]) F32 { return F32{p.k, load(p.k.b, types.Float, p.v, p.space, 4)} }
func LoadF64(p Ptr[F64]) F64 { return F64{p.k, load(p.k.b, types.Double, p.v, p.space, 8)} }
func LoadU8(p Ptr[U8]) I32 {
	return I32{p.k, p.k.b.NewZExt(load(p.k.b, types.I8, p.v, p.space, 1), types.I32)}
}

// LoadU16 is a two-byte number's bits.
func LoadU16(p Ptr[F16]) I32 {
	return I32{p.k, p.k.b.NewZExt(load(p.k.b, types.I16, p.v, p.space, 2), types.I32)}
}
func LoadF16(p Ptr[F16]) F32 {
	return F32{p.k, p.k.b.NewFPExt(load(p.k.b, types.Half, p.v, p.space, 2), types.Float)}
}
func LoadBF16(p Ptr[BF16]) F32 {
	w := I32{p.k, p.k.b.NewZExt(load(p.k.b, types.I16, p.v, p.space, 2), types.I32)}
	return w.Shl(16).Bits()
}
func StoreI32(p Ptr[I32], x I32) { store(p.k.b, x.v, p.v, p.space, 4) }
func StoreI64(p Ptr[I64], x I64) { store(p.k.b, x.v, p.v, p.space, 8) }
func StoreF32(p Ptr[F32], x F32) { store(p.k.b, x.v, p.v, p.space, 4) }
func StoreU8(p Ptr[U8], x I32) {
	store(p.k.b, p.k.b.NewTrunc(x.v, types.I8), p.v, p.space, 1)
}
func StoreF16(p Ptr[F16], x F32) {
	store(p.k.b, p.k.b.NewFPTrunc(x.v, types.Half), p.v, p.space, 2)
}

// StoreBF16 rounds to nearest, ties to even; a NaN stays one.
func StoreBF16(p Ptr[BF16], x F32) {
	k, w := p.k, x.Bits()
	r := w.Add(w.Shr(16).And(1)).Add(k.Int32(0x7fff)).Shr(16)
	r = Select(x.Eq(x), r, w.Shr(16).Or(k.Int32(0x40)))
	store(k.b, k.b.NewTrunc(r.v, types.I16), p.v, p.space, 2)
}

// LoadVec loads Width neighbours. On a GPU each lane loads its own element: add the lane
// to the address (Row and Tile do).
func LoadVec(p Ptr[F32]) Vec {
	return Vec{p.k, load(p.k.b, p.k.lanes(types.Float), p.v, p.space, 4)}
}

// LoadVecI loads Width neighbours.
func LoadVecI(p Ptr[I32]) VecI {
	return VecI{p.k, load(p.k.b, p.k.lanes(types.I32), p.v, p.space, 4)}
}

// LoadHalfs loads Width float16 neighbours.
func LoadHalfs(p Ptr[F16]) Vec {
	k := p.k
	return Vec{k, k.b.NewFPExt(load(k.b, k.lanes(types.Half), p.v, p.space, 2), k.lanes(types.Float))}
}

// LoadBF16s loads Width bfloat16 neighbours.
func LoadBF16s(p Ptr[BF16]) Vec {
	k := p.k
	w := VecI{k, k.b.NewZExt(load(k.b, k.lanes(types.I16), p.v, p.space, 2), k.lanes(types.I32))}
	return w.Shl(16).Float()
}

// LoadBytes loads Width unsigned bytes.
func LoadBytes(p Ptr[U8]) VecI {
	k := p.k
	return VecI{k, k.b.NewZExt(load(k.b, k.lanes(types.I8), p.v, p.space, 1), k.lanes(types.I32))}
}

// StoreVec stores Width neighbours.
func StoreVec(p Ptr[F32], x Vec) { store(p.k.b, x.v, p.v, p.space, 4) }

// StoreVecI stores Width neighbours.
func StoreVecI(p Ptr[I32], x VecI) { store(p.k.b, x.v, p.v, p.space, 4) }

// StoreHalfs rounds to float16 and stores Width neighbours.
func StoreHalfs(p Ptr[F16], x Vec) {
	store(p.k.b, p.k.b.NewFPTrunc(x.v, p.k.lanes(types.Half)), p.v, p.space, 2)
}

// StoreBytes stores the low bytes of Width lanes.
func StoreBytes(p Ptr[U8], x VecI) {
	store(p.k.b, p.k.b.NewTrunc(x.v, p.k.lanes(types.I8)), p.v, p.space, 1)
}

// StoreBF16s rounds to nearest even and stores Width neighbours; a NaN stays one.
func StoreBF16s(p Ptr[BF16], x Vec) {
	k := p.k
	store(k.b, k.b.NewTrunc(x.RoundBF16().Bits().Shr(16).v, k.lanes(types.I16)), p.v, p.space, 2)
}

// RoundBF16 rounds each lane to a bfloat16's value, ties to even; a NaN stays one.
func (a Vec) RoundBF16() Vec {
	k, w := a.k, a.Bits()
	r := w.Add(w.Shr(16).Mask(1)).Add(k.VecI(0x7fff))
	return a.Eq(a).SelectI(r, w.Or(k.VecI(0x400000))).Mask(-0x10000).Float()
}

// Data is a constant array of float32 in the module.
func (k *Kernel) Data(values []float32) Ptr[F32] {
	elems := make([]constant.Constant, len(values))
	for i, x := range values {
		elems[i] = literal{types.Float, floatBits(float64(x))}
	}
	g := k.m.m.NewGlobalDef(fmt.Sprintf("%s.data.%d", k.name, len(k.m.m.Globals)), constant.NewArray(types.NewArray(uint64(len(values)), types.Float), elems...))
	g.Immutable, g.Linkage = true, enum.LinkageInternal
	space := Generic
	if k.m.target.Arch == target.PTX {
		space = Global
		g.AddrSpace, g.Typ.AddrSpace = types.AddrSpace(Global), types.AddrSpace(Global)
	}
	return Ptr[F32]{k, k.b.NewBitCast(g, bytePtr(space)), space}
}
