package kernels

import (
	"quire/codegen/kernel"
	"quire/codegen/kernels/noise"
	"quire/ir/work"
)

// bodyGPU is the code of a parameter struct on a GPU; not ok: it has no kernel there.
func bodyGPU(p work.Params) (kernel.Body, bool) {
	main := func(f func(k *kernel.Kernel)) (kernel.Body, bool) {
		return kernel.Body{Main: f}, true
	}
	switch p := p.(type) {
	case work.Norm:
		return main(func(k *kernel.Kernel) { normGPU(k, p) })
	case work.Map:
		return main(func(k *kernel.Kernel) { mapGPU(k, p) })
	case work.Gather:
		return main(func(k *kernel.Kernel) { gatherGPU(k, p) })
	case work.TakeHeads:
		return main(func(k *kernel.Kernel) { takeHeadsGPU(k, p) })
	case work.MergeHeads:
		return main(func(k *kernel.Kernel) { mergeHeadsGPU(k, p) })
	case work.Slice:
		return main(func(k *kernel.Kernel) { sliceGPU(k, p) })
	case work.RopeTable:
		return main(func(k *kernel.Kernel) { ropeTableGPU(k, p) })
	case work.Rope:
		return main(func(k *kernel.Kernel) { ropeGPU(k, p) })
	case work.Reduce:
		return main(func(k *kernel.Kernel) { reduceGPU(k, p) })
	case work.Round:
		if p.To != work.I8 {
			return main(func(k *kernel.Kernel) { roundGPU(k, p) })
		}
	case work.KVStore:
		return main(func(k *kernel.Kernel) { kvStoreGPU(k, p) })
	case work.Embed:
		return main(func(k *kernel.Kernel) { embedGPU(k, p) })
	case work.GEMV:
		return gemvBody(p), true
	case work.GEMM:
		return gemmBody(p), true
	case work.Summarise:
		return main(func(k *kernel.Kernel) { summariseGPU(k, p) })
	case work.PageSelectGPU:
		return main(func(k *kernel.Kernel) { newSelectorGPU(k, p).item() })
	case work.PrefillGPU:
		return attentionPrefillGPU(p), true
	case work.Sample:
		return main(func(k *kernel.Kernel) { sampleGPU(k, p) })
	case work.Noise:
		return main(func(k *kernel.Kernel) { noise.Main(k, p) })
	case work.Sweep:
		return main(func(k *kernel.Kernel) { sweepGPU(k, p) })
	case work.HeadGroupsGPU:
		return headGroupsGPU(p), true
	case work.DecodeGPU:
		return attentionDecodeGPU(p), true
	}
	return kernel.Body{}, false
}
