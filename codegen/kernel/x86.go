package kernel

import (
	"fmt"

	"github.com/llir/llvm/ir/types"

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

// HasDot says whether Dot is there.
func (x X86) HasDot() bool {
	return x.k.m.target.Has(target.VNNI) || x.k.m.target.Has(target.AVXVNNI)
}

// Dot adds to each 32-bit lane of acc the products of its four bytes, unsigned a by
// signed b.
func (x X86) Dot(acc, a, b VecI) VecI {
	k := x.k
	if k.m.target.Has(target.VNNI) {
		return VecI{k, k.call("dot512", acc.v.Type(), acc.v, a.v, b.v)}
	}
	half := types.NewVector(8, types.I32)
	var out [2]VecI
	for h := range out {
		ids := make([]string, 8)
		for i := range ids {
			ids[i] = fmt.Sprint(8*h + i)
		}
		cut := func(v VecI) VecI { return VecI{k, k.b.NewShuffleVector(v.v, v.v, vecLit(types.I32, ids))} }
		out[h] = VecI{k, k.call("dot256", half, cut(acc).v, cut(a).v, cut(b).v)}
	}
	ids := make([]string, 16)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	return VecI{k, k.b.NewShuffleVector(out[0].v, out[1].v, vecLit(types.I32, ids))}
}

// Prefetch asks for the line at p, early.
func Prefetch[T Elem](p Ptr[T]) {
	p.k.callAs("prefetch", types.Void, []types.Type{p.v.Type()}, p.v, intLit(types.I32, 0), intLit(types.I32, 3), intLit(types.I32, 1))
}
