package kernel

import (
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// Policy is a hint for the second-level cache.
type Policy struct{ v value.Value }

// Streamed lines are the first to go, Kept ones the last.
func (g GPU) Streamed() Policy { return Policy{g.k.call("policy.first", types.I64)} }
func (g GPU) Kept() Policy     { return Policy{g.k.call("policy.last", types.I64)} }

// LoadStream loads 16 bytes of global memory that was written at load and is read once:
// through no first-level cache, and not ordered with any store.
func LoadStream[T Elem](g GPU, p Ptr[T], how Policy) [4]I32 {
	v := g.several("ld.stream", types.I32, 4, p.v, how.v)
	return [4]I32{{g.k, v[0]}, {g.k, v[1]}, {g.k, v[2]}, {g.k, v[3]}}
}

// CopySome is CopyAsync of only read bytes (0 to 16), with zeros for the rest.
func CopySome[T Elem](g GPU, to I32, from Ptr[T], read I32) {
	g.k.call("cp.16.zero", types.Void, to.v, from.v, read.v)
}

// Bulk says whether the target has mbarriers and bulk copies.
func (k *Kernel) Bulk() bool { return k.m.Waits() }

// An mbarrier is 8 bytes of shared memory, at a multiple of 8 (compute capability 9.0).
// MBarrierInit makes it, for so many arrivals a phase; before others use it,
// FenceMBarrier and a barrier.
func (g GPU) MBarrierInit(p Ptr[I64], arrivals int32) {
	g.k.call("mbar.init", types.Void, Address(p).v, g.k.Int32(arrivals).v)
}
func (g GPU) FenceMBarrier() {
	g.k.call("fence.mbar", types.Void)
	g.k.call("fence.async", types.Void)
}

// FenceAsync orders what this thread wrote to shared memory before bulk copies that it
// starts later.
func (g GPU) FenceAsync() { g.k.call("fence.async", types.Void) }

// MBarrierArrive arrives; MBarrierExpect arrives and lets the phase wait for bytes too.
func (g GPU) MBarrierArrive(p Ptr[I64]) { g.k.call("mbar.arrive", types.Void, Address(p).v) }
func (g GPU) MBarrierExpect(p Ptr[I64], bytes I32) {
	g.k.call("mbar.expect", types.Void, Address(p).v, bytes.v)
}

// MBarrierWait waits until the phase of a parity (0 first) has ended.
func (g GPU) MBarrierWait(p Ptr[I64], parity I32) {
	at := Address(p).v
	While(g.k, nil, func([]Vec) (Bool, []Vec) {
		return I32{g.k, g.k.call("mbar.try", types.I32, at, parity.v)}.Eq(g.k.Int32(0)), nil
	})
}

// CopyBulk starts a copy of bytes (a multiple of 16, as both addresses are) to shared
// memory, which the phase of an mbarrier counts. One thread does it for all.
func (g GPU) CopyBulk(to, from Ptr[U8], bytes I32, done Ptr[I64], how Policy) {
	g.k.call("cp.bulk", types.Void, Address(to).v, from.v, bytes.v, Address(done).v, how.v)
}
