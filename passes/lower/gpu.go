package lower

import (
	"quire/ir"
	"quire/ir/target"
	"quire/ir/work"
)

// FewRows reports whether a product's rows are few in the Func: a kernel that takes so many
// norms and rounds them itself, for what each of its readers does again costs less than a
// launch.
func FewRows(t target.Target, f *ir.Func, mat *ir.Value) bool {
	most := int64(1)
	if t.Arch == target.PTX {
		most = fewGPU
	}
	n := atMost(f, mat.Type.Shape[0])
	return 0 < n && n <= most
}

// tensorCores is a linear of at most so many rows (0: any number) on a GPU.
func tensorCores(t target.Target, p work.Linear, most int64) work.Params {
	if most == 0 || most > manyGPU {
		return gemm(p, most)
	}
	v := work.GEMV{Linear: p, Columns: 1, Shared: meetingGPU(t)}
	if p.Tokens == work.Many {
		v.Columns = fewGPU
	}
	for int64(v.Columns) < most {
		v.Columns *= 2
	}
	if v.Crowded() {
		return gemm(p, most)
	}
	return v
}

// meetingGPU is the shared memory of a multiprocessor where a launch may begin before the
// one before it has ended (CUDA C++ programming guide, compute capability 9.0).
func meetingGPU(t target.Target) int64 {
	if t.SM == "sm_90a" {
		return 228 << 10
	}
	return 0
}

// gemm chooses the block of a product for many rows: a large one reads its operands less
// often, a small one leaves work for every multiprocessor.
func gemm(p work.Linear, most int64) work.GEMM {
	g := work.GEMM{Linear: p, RowWarps: 4, Block: 128}
	if most != 0 && most <= 64 {
		g.RowWarps, g.Block = 2, 64
	}
	for g.RowWarps > 1 && g.RowWarps/2 >= g.Pairs() {
		g.RowWarps /= 2
	}
	return g
}

// attentionGPU is attention by tensor cores: splits that fill the device, or blocks of rows.
func attentionGPU(t target.Target, p work.Attention) work.Params {
	if p.Phase == work.Decode {
		p.Split = splitOf(SplitGPU, p.Page)
		return work.DecodeGPU{Attention: p, Blocks: work.BlocksPerSM(p.CacheEnc) * t.Multiprocessors}
	}
	return work.PrefillGPU{Attention: p}
}

// SplitGPU is the least number of cached tokens that an item of decode attention on a GPU
// takes: fewer fill the device from shorter contexts on, but more are merged. Measured on
// an H200 with 32 query and 8 kv heads: 13 us at 4096 tokens, 17 us with 64.
const SplitGPU = 128

// KeysGPU is the pages, or tiles of pages, of a sequence whose scores are chosen from in a
// GPU's shared memory: 16 KiB, which leave room for launches that follow early. With four
// summaries a page of 64 tokens they are a million tokens.
const KeysGPU = 1 << 12

// SelectBlocksPerSM is how many items of a selection of pages a multiprocessor gets.
const SelectBlocksPerSM = 2

// layoutOf is the layout that a target's kernels read a weight in.
func layoutOf(t target.Target, w *ir.Weight) string {
	switch {
	case len(w.Type.Shape) == 1:
		return Plain
	case t.Arch == target.PTX:
		return Frag
	}
	return Lanes
}
