package kernel

import (
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// Half is an encoding of two bytes that tensor cores multiply.
type Half bool

// The encodings.
const (
	Float16  Half = false
	BFloat16 Half = true
)

func (h Half) name(f16 string) string {
	if h == BFloat16 {
		return f16 + ".bf16"
	}
	return f16 + ".f16"
}

// Pack rounds two numbers to the encoding, lo in the low half of the word. What is beyond
// float16's range becomes its greatest number: a sum is wrong then, but not infinite.
func (g GPU) Pack(h Half, lo, hi F32) I32 {
	return I32{g.k, g.k.call(h.name("pack"), types.I32, hi.v, lo.v)}
}

// Unpack gives both halves of a word.
func (g GPU) Unpack(h Half, w I32) (lo, hi F32) {
	k := g.k
	if h == BFloat16 {
		return w.Shl(16).Bits(), w.And(-0x10000).Bits()
	}
	half := func(x I32) F32 {
		return F32{k, k.b.NewFPExt(k.b.NewBitCast(k.b.NewTrunc(x.v, types.I16), types.Half), types.Float)}
	}
	return half(w), half(w.Shr(16))
}

// Bytes picks four of the eight bytes of a (0 to 3) and b (4 to 7): the low four bits of
// pick name the result's lowest byte.
func (g GPU) Bytes(a, b I32, pick int32) I32 {
	return I32{g.k, g.k.call("prmt", types.I32, a.v, b.v, intLit(types.I32, int64(pick)))}
}

// Evens is the low halves of two words, Odds their high halves; a's is the lower.
func (g GPU) Evens(a, b I32) I32 { return g.Bytes(a, b, 0x5410) }
func (g GPU) Odds(a, b I32) I32  { return g.Bytes(a, b, 0x7632) }

// Mma is c + A * B of a warp, with A 16 x 16 and B 16 x 8 of two-byte numbers and sums in
// float32 (mma.m16n8k16). With r = lane / 4 and q = 2 (lane mod 4), a lane holds
//
//	a  A[r][q, q+1], A[r+8][q, q+1], A[r][q+8, q+9], A[r+8][q+8, q+9]
//	b  B[q, q+1][r], B[q+8, q+9][r]
//	c  C[r][q], C[r][q+1], C[r+8][q], C[r+8][q+1]
func (g GPU) Mma(h Half, a [4]I32, b [2]I32, c [4]F32) [4]F32 {
	k := g.k
	var args []value.Value
	for _, x := range a {
		args = append(args, x.v)
	}
	for _, x := range b {
		args = append(args, x.v)
	}
	for _, x := range c {
		args = append(args, x.v)
	}
	r := k.call(h.name("mma"), types.NewStruct(types.Float, types.Float, types.Float, types.Float), args...)
	var out [4]F32
	for i := range out {
		out[i] = F32{k, k.b.NewExtractValue(r, uint64(i))}
	}
	return out
}

// Transpose gives a lane the transposed piece of an 8 x 8 matrix of two-byte numbers: lane l
// brings row l/4, columns 2(l mod 4) and the next, and gets those of column l/4.
func (g GPU) Transpose(w I32) I32 { return I32{g.k, g.k.call("movmatrix", types.I32, w.v)} }

// Address is a shared address as instructions take it.
func Address[T Elem](p Ptr[T]) I32 {
	if p.space != Shared {
		p.k.Errorf("address: expected shared memory")
	}
	return I32{p.k, p.k.b.NewPtrToInt(p.v, types.I32)}
}

// LoadMatrices loads four 8 x 8 matrices of two-byte numbers from shared memory: lanes 8i to
// 8i+7 give the addresses of matrix i's rows of 16 bytes; word i is a lane's piece of it, row
// lane/4, columns 2(lane mod 4) and the next; of its transpose if so asked (ldmatrix.x4).
func (g GPU) LoadMatrices(at I32, transposed bool) [4]I32 {
	return g.LoadMatricesAt(at, 0, transposed)
}

// LoadMatricesAt adds a constant to the addresses, which then costs no register.
func (g GPU) LoadMatricesAt(at I32, offset int64, transposed bool) [4]I32 {
	k := g.k
	name := "ldmatrix"
	if transposed {
		name = "ldmatrix.trans"
	}
	r := k.call(name, types.NewStruct(types.I32, types.I32, types.I32, types.I32), at.v, intLit(types.I32, offset))
	var out [4]I32
	for i := range out {
		out[i] = I32{k, k.b.NewExtractValue(r, uint64(i))}
	}
	return out
}

// CopyAsync copies 16 bytes from global to shared memory, past the first cache. They are
// there once Commit has closed the copies' group and WaitCopies has seen it done.
func CopyAsync[T Elem](g GPU, to I32, from Ptr[T]) {
	g.k.call("cp.async", types.Void, to.v, from.v)
}

// Commit closes the group of the copies since the last one.
func (g GPU) Commit() { g.k.call("cp.commit", types.Void) }

// WaitCopies waits until at most the newest n groups of this thread are under way.
func (g GPU) WaitCopies(n int) {
	g.k.call("cp.wait", types.Void, intLit(types.I32, int64(n)))
}
