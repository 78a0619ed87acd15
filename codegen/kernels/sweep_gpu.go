package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// sweepGPU has all loads of an item under way at once, past the first-level cache, as the
// kernels that read weights have.
func sweepGPU(k *kernel.Kernel, _ work.Sweep) {
	g := k.GPU()
	x := kernel.Arg[kernel.U8](k, "x").At(k.Item().Times(work.SweepBytes)).At(g.Lane().Times(16))
	how := g.Streamed()
	var loads [work.SweepBytes / (16 * 32)][4]kernel.I32
	for u := range loads {
		loads[u] = kernel.LoadStream(g, x.Plus(int64(u*16*32)), how)
	}
	sum := k.Int32(0)
	for _, words := range loads {
		for _, w := range words {
			sum = sum.Add(w)
		}
	}
	sum = g.SumI32(sum)
	kernel.When(k, g.Lane().Eq(k.Int(0)), func() {
		kernel.StoreI32(kernel.Arg[kernel.I32](k, "y").At(k.Item()), sum)
	})
}
