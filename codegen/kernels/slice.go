package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// slice copies columns of a row.
func slice(k *kernel.Kernel, p work.Slice) {
	x := kernel.Arg[kernel.F32](k, "x").At(k.Item().Times(int64(p.Dim))).Plus(int64(p.First))
	y := kernel.Arg[kernel.F32](k, "y").At(k.Item().Times(int64(p.Count)))
	kernel.Row(k, p.Count, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
		l.Store(y, l.Load(x))
		return nil
	})
}
