package kernel

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// sharedName is the block's dynamic shared memory, whose size the launch gives.
const sharedName = "quire_shared"

// SharedAt is the block's shared memory at a byte offset, a GPU's verb.
func SharedAt[T Elem](k *Kernel, offset int64) Ptr[T] {
	k.GPU()
	var base value.Value
	for _, g := range k.m.m.Globals {
		if g.Name() == sharedName {
			base = g
		}
	}
	if base == nil {
		g := k.m.m.NewGlobal(sharedName, types.NewArray(0, types.I8))
		g.Linkage, g.Align = enum.LinkageExternal, ir.Align(1024) // as swizzled rows need it
		g.AddrSpace, g.Typ.AddrSpace = types.AddrSpace(Shared), types.AddrSpace(Shared)
		base = g
	}
	return Ptr[T]{k, k.b.NewBitCast(base, bytePtr(Shared)), Shared}.Plus(0).Byte(k.Int(offset))
}

// Thread is the thread of the block.
func (g GPU) Thread() I64 { return g.sreg("thread") }

// ThreadAgain is Thread, read where it stands: what is computed from it is not taken out of
// loops, where it would hold registers all the while.
func (g GPU) ThreadAgain() I64 { return g.sreg("thread.again") }

// Sync waits for all threads of the block; what they wrote before is seen after.
func (g GPU) Sync() { g.k.call("sync", types.Void) }

// SyncWarp is Sync for the lanes of a warp.
func (g GPU) SyncWarp() { g.k.call("sync.warp", types.Void, intLit(types.I32, -1)) }

// Fence orders this thread's accesses to global memory before it against those after it, as
// the whole device sees them.
func (g GPU) Fence() { g.k.call("fence", types.Void) }

// Arrive counts up from 0 to limit, then wraps to 0, and returns the count before.
func (g GPU) Arrive(counter Ptr[I32], limit I32) I32 {
	return I32{g.k, g.k.call("atom.inc", types.I32, counter.v, limit.v)}
}

// Xor is the value of the lane whose number differs by mask.
func (g GPU) Xor(x F32, mask int64) F32 { return F32{g.k, g.xor(Vec{g.k, x.v}, mask).v} }

// XorI is Xor of integers.
func (g GPU) XorI(x I32, mask int64) I32 { return g.Xor(x.Bits(), mask).Bits() }

// LoadWords loads n neighbouring words of 32 bits at once (n is 1, 2 or 4), from an address
// that is a multiple of their size.
func LoadWords[T Elem](p Ptr[T], n int) []I32 {
	k := p.k
	if n == 1 {
		return []I32{{k, load(k.b, types.I32, p.v, p.space, 4)}}
	}
	v := load(k.b, types.NewVector(uint64(n), types.I32), p.v, p.space, 4*n)
	out := make([]I32, n)
	for i := range out {
		out[i] = I32{k, k.b.NewExtractElement(v, intLit(types.I32, int64(i)))}
	}
	return out
}

// StoreWords stores 1, 2 or 4 words at once, as LoadWords loads them.
func StoreWords[T Elem](p Ptr[T], w []I32) {
	k := p.k
	if len(w) == 1 {
		store(k.b, w[0].v, p.v, p.space, 4)
		return
	}
	t := types.NewVector(uint64(len(w)), types.I32)
	var v value.Value = literal{t, "poison"}
	for i, x := range w {
		v = k.b.NewInsertElement(v, x.v, intLit(types.I32, int64(i)))
	}
	store(k.b, v, p.v, p.space, 4*len(w))
}

// LoadFloats is LoadWords of float32.
func LoadFloats(p Ptr[F32], n int) []F32 {
	out := make([]F32, n)
	for i, w := range LoadWords(p, n) {
		out[i] = w.Bits()
	}
	return out
}

// StoreFloats is StoreWords of float32.
func StoreFloats(p Ptr[F32], x []F32) {
	w := make([]I32, len(x))
	for i := range x {
		w[i] = x[i].Bits()
	}
	StoreWords(p, w)
}

// Exp2F is 2^x (ex2.approx): about two units in the last place, 0 for minus infinity.
func (g GPU) Exp2F(x F32) F32 { return F32{g.k, g.k.call("ex2", types.Float, x.v)} }

// Rcp is 1/x to about one unit in the last place.
func (g GPU) Rcp(x F32) F32 { return F32{g.k, g.k.call("rcp", types.Float, x.v)} }

// MaxF is the greater number.
func (g GPU) MaxF(a, b F32) F32 { return F32{g.k, g.k.call("maxnum", types.Float, a.v, b.v)} }

// Own is this lane's value of a Vec, a GPU's verb.
func (a Vec) Own() F32 {
	a.k.GPU()
	return F32{a.k, a.v}
}
