package kernel

import (
	"github.com/llir/llvm/ir/types"
)

// Low and High are the numbers of a word of two, as f32.
func (g GPU) Low(h Half, w I32) F32 {
	if h == BFloat16 {
		return w.Shl(16).Bits()
	}
	return F32{g.k, g.k.call("low.f16", types.Float, w.v)}
}
func (g GPU) High(h Half, w I32) F32 {
	if h == BFloat16 {
		return w.And(-0x10000).Bits()
	}
	return F32{g.k, g.k.call("high.f16", types.Float, w.v)}
}

// Twice is a word of the same two-byte number, by its bits, twice.
func (k *Kernel) Twice(bits uint16) I32 { return k.Int32(int32(uint32(bits) | uint32(bits)<<16)) }

// FMAPair is a*b + c of both numbers of words, each rounded once.
func (g GPU) FMAPair(h Half, a, b, c I32) I32 {
	return I32{g.k, g.k.call(h.name("fma"), types.I32, a.v, b.v, c.v)}
}

// AddPair, SubPair and MulPair are arithmetic of two float16 in a word.
func (g GPU) AddPair(a, b I32) I32 { return I32{g.k, g.k.call("add.f16", types.I32, a.v, b.v)} }
func (g GPU) SubPair(a, b I32) I32 { return I32{g.k, g.k.call("sub.f16", types.I32, a.v, b.v)} }
func (g GPU) MulPair(a, b I32) I32 { return I32{g.k, g.k.call("mul.f16", types.I32, a.v, b.v)} }

// NoSum is a lane's part of a matrix of zeros, as Mma takes it.
func (g GPU) NoSum() [4]F32 {
	z := g.k.Float(0)
	return [4]F32{z, z, z, z}
}

// LoadMatrices2 is LoadMatrices of two, by the addresses of lanes 0 to 15.
func (g GPU) LoadMatrices2(at I32, transposed bool) [2]I32 {
	name := "ldmatrix.x2"
	if transposed {
		name = "ldmatrix.x2.trans"
	}
	v := g.several(name, types.I32, 2, at.v)
	return [2]I32{{g.k, v[0]}, {g.k, v[1]}}
}
