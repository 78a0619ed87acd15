package kernel

import (
	"fmt"

	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"quire/ir/target"
)

// Pairs of bfloat16: a lane of 32 bits holds two of them, the first in its low half.

// bfloat is LLVM's 16-bit bfloat, which llir has no name for. It is met as the element of a
// vector only.
type bfloat struct{ types.IntType }

func (*bfloat) String() string   { return "bfloat" }
func (*bfloat) LLString() string { return "bfloat" }

// bfloats is the LLVM type of Width pairs.
func (k *Kernel) bfloats() types.Type {
	return types.NewVector(uint64(2*k.width), &bfloat{types.IntType{BitSize: 16}})
}

// HasPairs says whether DotPairs is there.
func (x X86) HasPairs() bool { return x.k.m.target.Has(target.BF16) }

// DotPairs adds to each lane of acc the products of its pairs (vdpbf16ps): a product is
// exact, both sums are rounded to nearest even; what is below 2^-126 counts as zero, before
// and after.
func (x X86) DotPairs(acc Vec, a, b VecI) Vec {
	k, t := x.k, x.k.bfloats()
	return Vec{k, k.callAs("dot.bf16", acc.v.Type(), nil, acc.v, k.b.NewBitCast(a.v, t), k.b.NewBitCast(b.v, t))}
}

// Pairs rounds to bfloat16, to nearest even, and puts lo's lanes into the low halves, hi's
// into the high ones.
func (x X86) Pairs(lo, hi Vec) VecI {
	k := x.k
	if !x.HasPairs() {
		return lo.RoundBF16().Bits().Shr(16).Or(hi.RoundBF16().Bits())
	}
	both := k.callAs("round.bf16", k.bfloats(), nil, hi.v, lo.v) // lo's lanes, then hi's
	return k.interleave(both)
}

// LoadPairs loads Width bfloat16 neighbours, the low halves, and the Width that follow.
func LoadPairs(p Ptr[BF16]) VecI {
	k := p.k
	return k.interleave(load(k.b, types.NewVector(uint64(2*k.width), types.I16), p.v, p.space, 2))
}

// interleave turns 2*Width halves, all low ones first, into words.
func (k *Kernel) interleave(halves value.Value) VecI {
	t := types.NewVector(uint64(2*k.width), types.I16)
	ids := make([]string, 2*k.width)
	for i := range ids {
		ids[i] = fmt.Sprint(i/2 + i%2*k.width)
	}
	v := k.b.NewBitCast(halves, t)
	return VecI{k, k.b.NewBitCast(k.b.NewShuffleVector(v, v, vecLit(types.I32, ids)), k.lanes(types.I32))}
}
