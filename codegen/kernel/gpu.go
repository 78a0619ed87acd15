package kernel

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"quire/ir/target"
)

// GPU hands out the verbs of a GPU: places and meetings here, memory in gpu_memory.go,
// pairs and matrices in gpu_matrix.go.
type GPU struct{ k *Kernel }

// GPU is an error on another target.
func (k *Kernel) GPU() GPU {
	if k.m.target.Arch != target.PTX {
		k.Errorf("gpu: the target is %s", k.m.target)
	}
	return GPU{k}
}

func (g GPU) sreg(name string) I64 {
	return I64{g.k, g.k.b.NewZExt(g.k.call(name, types.I32), types.I64)}
}

// Lane is the lane of the warp, 0 to 31.
func (g GPU) Lane() I64 { return g.sreg("lane") }

// Warp is the warp of the block.
func (g GPU) Warp() I64 { return g.sreg("thread").Shr(5) }

// BlockWarps is the number of warps of a block, a constant where the Grid says it.
func (g GPU) BlockWarps() I64 {
	if n := g.k.grid.Warps; n > 0 {
		return g.k.Int(int64(n))
	}
	return g.sreg("threads").Shr(5)
}

// Block is the block of the grid and Blocks the number of them: drivers use them, bodies
// have Item.
func (g GPU) Block() I64  { return g.sreg("block") }
func (g GPU) Blocks() I64 { return g.sreg("blocks") }

// Turn is the number of items that this block (or warp) has finished, for Early and Main.
func (g GPU) Turn() I64 {
	if g.k.turn.v == nil {
		g.k.Errorf("turn: Start and Prep have none")
		return g.k.Int(0)
	}
	return g.k.turn
}

// Ahead is the item that this block (or warp) takes n turns later, and whether there is one.
func (g GPU) Ahead(n int64) (I64, Bool) {
	item := g.k.Item().Add(g.k.stride.Times(n))
	return item, item.Lt(g.k.items)
}

// Before is the item that this block (or warp) took n turns ago.
func (g GPU) Before(n I64) I64 { return g.k.Item().Sub(n.Mul(g.k.stride)) }

// SyncSome is a barrier of its own number, 1 to 15, for so many threads, a multiple of 32.
func (g GPU) SyncSome(barrier, threads int32) {
	g.k.call("bar.some", types.Void, g.k.Int32(barrier).v, g.k.Int32(threads).v)
}

// ArriveSome counts at such a barrier and goes on.
func (g GPU) ArriveSome(barrier, threads int32) {
	g.k.call("bar.arrive", types.Void, g.k.Int32(barrier).v, g.k.Int32(threads).v)
}

func (g GPU) all() value.Value { return intLit(types.I32, -1) }

// Any and All ask the lanes of the whole warp; Ballot is their bits.
func (g GPU) Any(b Bool) Bool { return Bool{g.k, g.k.call("vote.any", types.I1, g.all(), b.v)} }
func (g GPU) All(b Bool) Bool { return Bool{g.k, g.k.call("vote.all", types.I1, g.all(), b.v)} }
func (g GPU) Ballot(b Bool) I32 {
	return I32{g.k, g.k.call("vote.ballot", types.I32, g.all(), b.v)}
}

// SumI32, MaxI32 and MinI32 are over the lanes of the whole warp.
func (g GPU) SumI32(x I32) I32 { return I32{g.k, g.k.call("redux.add", types.I32, x.v, g.all())} }
func (g GPU) MaxI32(x I32) I32 { return I32{g.k, g.k.call("redux.max", types.I32, x.v, g.all())} }
func (g GPU) MinI32(x I32) I32 { return I32{g.k, g.k.call("redux.min", types.I32, x.v, g.all())} }

func (g GPU) move(name string, t types.Type, v, by value.Value, clamp int64) value.Value {
	return g.k.call(name, t, g.all(), v, by, intLit(types.I32, clamp))
}

// FromLane is the value of a lane; FromLaneI32 of integers.
func (g GPU) FromLane(x F32, lane I32) F32 {
	return F32{g.k, g.move("from", types.Float, x.v, lane.v, 31)}
}
func (g GPU) FromLaneI32(x, lane I32) I32 {
	return I32{g.k, g.move("from.i32", types.I32, x.v, lane.v, 31)}
}

// Up is the value of the lane n below; the first n lanes keep their own.
func (g GPU) Up(x F32, n int64) F32 {
	return F32{g.k, g.move("up", types.Float, x.v, intLit(types.I32, n), 0)}
}
func (g GPU) UpI32(x I32, n int64) I32 {
	return I32{g.k, g.move("up.i32", types.I32, x.v, intLit(types.I32, n), 0)}
}

// Sum and Max combine the values of n neighbouring lanes, a power of two, by a butterfly:
// all of them hold the result.
func (g GPU) Sum(x F32, n int64) F32 { return g.fold(x, 1, n, F32.Add) }
func (g GPU) Max(x F32, n int64) F32 { return g.fold(x, 1, n, F32.Max) }

// SumApart is Sum of lanes step apart.
func (g GPU) SumApart(x F32, step, n int64) F32 { return g.fold(x, step, n, F32.Add) }

func (g GPU) fold(x F32, step, n int64, op func(a, b F32) F32) F32 {
	for d := step * n / 2; d >= step; d /= 2 {
		x = op(x, g.Xor(x, d))
	}
	return x
}

// AtomicAdd changes a word of global memory and returns what it was. Relaxed: Fence orders
// what is around it.
func (g GPU) AtomicAdd(p Ptr[I32], x I32) I32 {
	return I32{g.k, g.k.call("atom.add", types.I32, p.v, x.v)}
}

// AtomicAdd64 is AtomicAdd of 8 bytes.
func (g GPU) AtomicAdd64(p Ptr[I64], x I64) I64 {
	return I64{g.k, g.k.call("atom.add.64", types.I64, p.v, x.v)}
}

// AtomicMax is the unsigned maximum.
func (g GPU) AtomicMax(p Ptr[I32], x I32) I32 {
	return I32{g.k, g.k.call("atom.max", types.I32, p.v, x.v)}
}

// AtomicAddF32 adds to a number of global memory; the order of several is not fixed.
func (g GPU) AtomicAddF32(p Ptr[F32], x F32) F32 {
	return F32{g.k, g.k.call("atom.add.f32", types.Float, p.v, x.v)}
}

// AtomicAddShared adds to a word of shared memory and returns what it was.
func (g GPU) AtomicAddShared(p Ptr[I32], x I32) I32 {
	return I32{g.k, g.k.call("atom.shared", types.I32, Address(p).v, x.v)}
}

// xor is the value of the lane whose number differs by mask.
func (g GPU) xor(v Vec, mask int64) Vec {
	return Vec{g.k, g.move("xor", types.Float, v.v, intLit(types.I32, mask), 31)}
}

// Exp2 is 2^x to about two units in the last place (ex2.approx).
func (g GPU) Exp2(v Vec) Vec { return Vec{g.k, g.k.call("ex2", types.Float, v.v)} }

// Rsqrt, Log2 and Tanh are the machine's approximations (Tanh: relative error 2^-11).
func (g GPU) Tanh(x F32) F32  { return F32{g.k, g.k.call("tanh", types.Float, x.v)} }
func (g GPU) Rsqrt(x F32) F32 { return F32{g.k, g.k.call("rsqrt", types.Float, x.v)} }
func (g GPU) Log2(x F32) F32  { return F32{g.k, g.k.call("lg2", types.Float, x.v)} }

// butterfly combines all lanes, starting with the distance given.
func (g GPU) butterfly(v Vec, from int64, op func(a, b Vec) Vec) Vec {
	for n := from; n >= 1; n /= 2 {
		v = op(v, g.xor(v, n))
	}
	return v
}

// Register is a constant that stays in a register: as the assembler sees it, it depends on
// the number of multiprocessors (of which there are fewer than 2^20), so that it is not
// made again at each use.
func (g GPU) Register(x int32) I32 {
	return I32{g.k, g.k.call("multiprocessors", types.I32)}.Shr(20).Add(g.k.Int32(x))
}

// several calls a row whose result is n registers of one type.
func (g GPU) several(name string, t types.Type, n int, args ...value.Value) []value.Value {
	ts := make([]types.Type, n)
	for i := range ts {
		ts[i] = t
	}
	c := g.k.call(name, types.NewStruct(ts...), args...)
	out := make([]value.Value, n)
	for i := range out {
		if _, ok := c.(*ir.InstCall); !ok {
			out[i] = literal{t, "poison"}
			continue
		}
		out[i] = g.k.b.NewExtractValue(c, uint64(i))
	}
	return out
}
