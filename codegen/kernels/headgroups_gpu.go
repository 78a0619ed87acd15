package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// headGroupsGPU is decode attention of both classes of heads in one launch: a block is of
// one class.
func headGroupsGPU(p work.HeadGroupsGPU) kernel.Body {
	return kernel.Body{Main: func(k *kernel.Kernel) {
		f, s := p.Classes()
		full, stream := newDecoderGPU(k, f), newDecoderGPU(k, s)
		full.among, stream.among = amongOf(p.HeadGroups)
		groups := k.Dim("N").Times(f.Groups())
		parts := groups.Mul(full.splits())
		stream.after = &afterGPU{items: parts, groups: groups, floats: parts.Times(f.PartFloats()), most: p.StreamSplits(1)}
		either(k, k.Item().Lt(parts), full.item, stream.item)
	}}
}

// afterGPU is what stands before a class of heads in a launch of both: items, counters and
// partial results.
type afterGPU struct {
	items, groups, floats kernel.I64
	most                  int64 // splits
}
