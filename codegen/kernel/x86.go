package kernel

import (
	"encoding/binary"
	"fmt"

	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"quire/ir/target"
)

// X86 hands out the verbs of x86-64 processors.
type X86 struct{ k *Kernel }

// X86 is an error on another target.
func (k *Kernel) X86() X86 {
	if k.m.target.Arch != target.X86 {
		k.Errorf("x86: the target is %s", k.m.target)
	}
	return X86{k}
}

// Permute is table's lanes by the low four bits of the indices (AVX-512).
func (x X86) Permute(table Vec, index VecI) Vec {
	return Vec{x.k, x.k.call("permute", table.v.Type(), table.v, index.v)}
}

// Table is a vector constant lane by lane.
func (x X86) Table(values [16]float32) Vec {
	ids := make([]string, 16)
	for i, f := range values {
		ids[i] = floatBits(float64(f))
	}
	return Vec{x.k, vecLit(types.Float, ids)}
}

// RoundI32 converts, rounding to nearest even (AVX-512).
func (x X86) RoundI32(v Vec) VecI {
	t := x.k.lanes(types.I32)
	const allLanes, currentMode = -1, 4
	return VecI{x.k, x.k.callAs("round.i32", t, nil, v.v, literal{t, "zeroinitializer"}, intLit(types.I16, allLanes), intLit(types.I32, currentMode))}
}

// HasDot says whether Dot is there.
func (x X86) HasDot() bool {
	return x.k.m.target.Has(target.VNNI) || x.k.m.target.Has(target.AVXVNNI)
}

// Dot adds to each 32-bit lane of acc the products of its four bytes, unsigned a by
// signed b.
func (x X86) Dot(acc, a, b VecI) VecI {
	if x.k.m.target.Has(target.VNNI) {
		return VecI{x.k, x.k.call("dot512", acc.v.Type(), acc.v, a.v, b.v)}
	}
	return x.halves(8, func(t types.Type, v []value.Value) value.Value {
		return x.k.call("dot256", t, v...)
	}, acc, a, b)
}

// Bytes looks each byte's low four bits up in a table of 16 bytes; their high bits must
// be 0.
func (x X86) Bytes(table [16]byte, index VecI) VecI {
	k := x.k
	words := make([]string, 16)
	for i := range words {
		words[i] = fmt.Sprint(int32(binary.LittleEndian.Uint32(table[4*(i%4):])))
	}
	tab := VecI{k, vecLit(types.I32, words)}
	look := func(name string, n uint64) func(t types.Type, v []value.Value) value.Value {
		bytes := types.NewVector(n, types.I8)
		return func(t types.Type, v []value.Value) value.Value {
			r := k.call(name, bytes, k.b.NewBitCast(v[0], bytes), k.b.NewBitCast(v[1], bytes))
			return k.b.NewBitCast(r, t)
		}
	}
	if k.m.target.Has(target.AVX512) {
		return VecI{k, look("bytes512", 64)(tab.v.Type(), []value.Value{tab.v, index.v})}
	}
	return x.halves(8, look("bytes256", 32), tab, index)
}

// halves applies an operation of n lanes to both halves of 16-lane values.
func (x X86) halves(n int, op func(t types.Type, v []value.Value) value.Value, vs ...VecI) VecI {
	k := x.k
	seq := func(from, to int) value.Value {
		var ids []string
		for i := from; i < to; i++ {
			ids = append(ids, fmt.Sprint(i))
		}
		return vecLit(types.I32, ids)
	}
	var out [2]value.Value
	for h := range out {
		var in []value.Value
		for _, v := range vs {
			in = append(in, k.b.NewShuffleVector(v.v, v.v, seq(n*h, n*h+n)))
		}
		out[h] = op(types.NewVector(uint64(n), types.I32), in)
	}
	return VecI{k, k.b.NewShuffleVector(out[0], out[1], seq(0, 2*n))}
}

// Prefetch asks for the line at p, early.
func Prefetch[T Elem](p Ptr[T]) { prefetch(p, 3) }

// PrefetchFar asks for the line at p, to the second cache only: it waits there for long.
func PrefetchFar[T Elem](p Ptr[T]) { prefetch(p, 2) }

func prefetch[T Elem](p Ptr[T], locality int64) {
	p.k.callAs("prefetch", types.Void, []types.Type{p.v.Type()}, p.v, intLit(types.I32, 0), intLit(types.I32, locality), intLit(types.I32, 1))
}
