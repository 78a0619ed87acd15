package kernel

import (
	"github.com/llir/llvm/ir/types"

	"quire/ir/target"
)

// GPU hands out the verbs of a GPU.
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

// BlockWarps is the number of warps of a block.
func (g GPU) BlockWarps() I64 { return g.sreg("threads").Shr(5) }

// Block is the block of the grid: drivers use it, bodies have Item.
func (g GPU) Block() I64 { return g.sreg("block") }

// xor is the value of the lane whose number differs by mask.
func (g GPU) xor(v Vec, mask int64) Vec {
	return Vec{g.k, g.k.call("xor", types.Float, intLit(types.I32, -1), v.v, intLit(types.I32, mask), intLit(types.I32, 31))}
}

// Exp2 is 2^x to about two units in the last place (ex2.approx).
func (g GPU) Exp2(v Vec) Vec { return Vec{g.k, g.k.call("ex2", types.Float, v.v)} }

// butterfly combines all lanes, starting with the distance given.
func (g GPU) butterfly(v Vec, from int64, op func(a, b Vec) Vec) Vec {
	for n := from; n >= 1; n /= 2 {
		v = op(v, g.xor(v, n))
	}
	return v
}
