package kernel

import (
	"math"

	"quire/ir/target"
)

// asmRow is a row of inline assembly that has effects.
func asmRow(text, cons, doc string, means Meaning) intrinsic {
	return intrinsic{arch: target.PTX, asm: text, cons: cons + "~{memory}", doc: doc, means: means}
}

// pureRow is a row of inline assembly whose result depends on its arguments alone.
func pureRow(text, cons, doc string, means Meaning) intrinsic {
	return intrinsic{arch: target.PTX, asm: text, cons: cons, doc: doc, means: means, pure: true}
}

func nvvm(name, doc string, means Meaning) intrinsic {
	return intrinsic{arch: target.PTX, llvm: "llvm.nvvm." + name, doc: doc, means: means}
}

func (r intrinsic) sm90() intrinsic  { r.hopper = true; return r }
func (r intrinsic) sm90a() intrinsic { r.groups = true; return r }

// ptxRows are the rows for GPUs; names follow the PTX instructions. Shared addresses are
// 32-bit ("r"), global ones 64-bit ("l"). Source: PTX ISA 8.3.
var ptxRows = map[string]intrinsic{
	"blocks":          nvvm("read.ptx.sreg.nctaid.x", "blocks of the grid", special(func(p Place, _ int) int { return p.Blocks })),
	"multiprocessors": asmRow("mov.u32 $0, %nsmid;", "=r,", "multiprocessors of the machine, or more", special(func(Place, int) int { return 1 })),
	"rsqrt":           nvvm("rsqrt.approx.f", "1/sqrt(x) to two units in the last place", unary(func(x float64) float64 { return 1 / math.Sqrt(x) })),
	"lg2":             nvvm("lg2.approx.f", "log2(x)", unary(math.Log2)),
	"tanh":            pureRow("tanh.approx.f32 $0, $1;", "=f,f", "tanh(x), relative error 2^-11", unary(math.Tanh)),

	"trigger": asmRow("griddepcontrol.launch_dependents;", "", "launches that follow may start", nothing).sm90(),
	"wait":    asmRow("griddepcontrol.wait;", "", "launches that came before have ended and their writes are visible", func(c *Call) { c.WaitLaunches() }).sm90(),

	"bar.some":     asmRow("bar.sync $0, $1;", "r,r,", "barrier of a number for so many threads", syncSome),
	"bar.arrive":   asmRow("bar.arrive $0, $1;", "r,r,", "arrive at a barrier of a number for so many threads", arriveSome),
	"fence.block":  nvvm("membar.cta", "order accesses for the block", func(c *Call) { c.Fence() }),
	"fence.async":  asmRow("fence.proxy.async.shared::cta;", "", "order accesses of shared memory with those of bulk copies", nothing).sm90(),
	"fence.mbar":   asmRow("fence.mbarrier_init.release.cluster;", "", "mbarriers made are visible", nothing).sm90(),
	"vote.any":     nvvm("vote.any.sync", "whether any lane's bit is set", vote(func(b, all uint32) uint32 { return bit(b != 0) })),
	"vote.all":     nvvm("vote.all.sync", "whether each lane's bit is set", vote(func(b, all uint32) uint32 { return bit(b == all) })),
	"vote.ballot":  nvvm("vote.ballot.sync", "the lanes' bits", vote(func(b, _ uint32) uint32 { return b })),
	"redux.add":    nvvm("redux.sync.add", "sum over lanes of i32", redux(func(a, b uint32) uint32 { return a + b })),
	"redux.max":    nvvm("redux.sync.max", "maximum over lanes of i32", redux(func(a, b uint32) uint32 { return uint32(max(int32(a), int32(b))) })),
	"redux.min":    nvvm("redux.sync.min", "minimum over lanes of i32", redux(func(a, b uint32) uint32 { return uint32(min(int32(a), int32(b))) })),
	"xor.i32":      nvvm("shfl.sync.bfly.i32", "the value of the lane whose number differs by a mask", shuffle(butterflyLane)),
	"from":         nvvm("shfl.sync.idx.f32", "the value of a lane by its number", shuffle(indexLane)),
	"from.i32":     nvvm("shfl.sync.idx.i32", "the value of a lane by its number", shuffle(indexLane)),
	"up":           nvvm("shfl.sync.up.f32", "the value of the lane so many below", shuffle(upLane)),
	"up.i32":       nvvm("shfl.sync.up.i32", "the value of the lane so many below", shuffle(upLane)),
	"atom.add":     asmRow("atom.global.add.u32 $0, [$1], $2;", "=r,l,r,", "add to a word of global memory; its old value", atomic(Global, func(old, x uint32) uint32 { return old + x })),
	"atom.add.64":  asmRow("atom.global.add.u64 $0, [$1], $2;", "=l,l,l,", "add to 8 bytes of global memory; their old value", addWide),
	"atom.max":     asmRow("atom.global.max.u32 $0, [$1], $2;", "=r,l,r,", "unsigned maximum with a word of global memory; its old value", atomic(Global, func(old, x uint32) uint32 { return max(old, x) })),
	"atom.add.f32": asmRow("atom.global.add.f32 $0, [$1], $2;", "=f,l,f,", "add to an f32 of global memory; its old value", atomic(Global, addFloat)),
	"atom.shared":  asmRow("atom.shared.add.u32 $0, [$1], $2;", "=r,r,r,", "add to a word of shared memory; its old value", atomic(Shared, func(old, x uint32) uint32 { return old + x })),

	"policy.first": pureRow("createpolicy.fractional.L2::evict_first.b64 $0, 1.0;", "=l", "policy: the second-level cache drops these lines first", zero),
	"policy.last":  pureRow("createpolicy.fractional.L2::evict_last.b64 $0, 1.0;", "=l", "policy: the second-level cache keeps these lines", zero),
	"ld.stream":    asmRow("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {$0,$1,$2,$3}, [$4], $5;", "=r,=r,=r,=r,l,l,", "16 bytes written at load, read once", loadWords(4)),
	"cp.16.zero":   asmRow("cp.async.cg.shared.global [$0], [$1], 16, $2;", "r,l,r,", "copy so many of 16 bytes to shared memory, zeros for the rest", copy16),

	"mbar.init":   asmRow("mbarrier.init.shared::cta.b64 [$0], $1;", "r,r,", "a barrier in shared memory for so many arrivals a phase", mbarInit),
	"mbar.arrive": asmRow("mbarrier.arrive.shared::cta.b64 _, [$0];", "r,", "arrive", mbarArrive).sm90(),
	"mbar.expect": asmRow("mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", "r,r,", "arrive, and expect so many bytes", mbarExpect).sm90(),
	"mbar.try": asmRow("{\n\t.reg .pred p;\n\tmbarrier.try_wait.parity.shared::cta.b64 p, [$1], $2;\n\tselp.u32 $0, 1, 0, p;\n\t}", "=r,r,r,",
		"whether the phase of the parity has ended, after waiting for some time", mbarTry).sm90(),
	"cp.bulk": asmRow("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [$0], [$1], $2, [$3], $4;", "r,l,r,r,l,",
		"copy bytes, a multiple of 16, to shared memory, and tell the barrier", bulkCopy).sm90(),

	"wgmma.f16":    groupRow("f16", halfF16),
	"wgmma.bf16":   groupRow("bf16", halfBF16),
	"wgmma.fence":  asmRow("wgmma.fence.sync.aligned;", "", "registers are written before products of a warpgroup read them", nothing).sm90a(),
	"wgmma.commit": asmRow("wgmma.commit_group.sync.aligned;", "", "closes a group of products", func(c *Call) { c.CommitGroup() }).sm90a(),
	"wgmma.wait":   asmRow("wgmma.wait_group.sync.aligned $0;", "n,", "until at most n groups are under way", func(c *Call) { c.WaitGroups(int(c.uniform(0))) }).sm90a(),
	"wgmma.result": resultRow(),

	"ldmatrix.x2":       asmRow("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {$0,$1}, [$2];", "=r,=r,r,", "two 8x8 matrices of 16-bit values", ldmatrix(2, false)),
	"ldmatrix.x2.trans": asmRow("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {$0,$1}, [$2];", "=r,=r,r,", "ldmatrix.x2, each matrix transposed", ldmatrix(2, true)),

	"low.f16":  pureRow("{\n\t.reg .b16 l, h;\n\tmov.b32 {l, h}, $1;\n\tcvt.f32.f16 $0, l;\n\t}", "=f,r", "the low f16", halfAt(0)),
	"high.f16": pureRow("{\n\t.reg .b16 l, h;\n\tmov.b32 {l, h}, $1;\n\tcvt.f32.f16 $0, h;\n\t}", "=f,r", "the high f16", halfAt(16)),
	"add.f16":  pureRow("add.rn.f16x2 $0, $1, $2;", "=r,r,r", "a + b of f16 pairs", lanewise(halfF16, func(x [3]float64) float64 { return x[0] + x[1] })),
	"sub.f16":  pureRow("sub.rn.f16x2 $0, $1, $2;", "=r,r,r", "a - b of f16 pairs", lanewise(halfF16, func(x [3]float64) float64 { return x[0] - x[1] })),
	"mul.f16":  pureRow("mul.rn.f16x2 $0, $1, $2;", "=r,r,r", "a * b of f16 pairs", lanewise(halfF16, func(x [3]float64) float64 { return x[0] * x[1] })),
	"fma.f16":  pureRow("fma.rn.f16x2 $0, $1, $2, $3;", "=r,r,r,r", "a * b + c of f16 pairs, rounded once", lanewise(halfF16, fmaPair)),
	"fma.bf16": pureRow("fma.rn.bf16x2 $0, $1, $2, $3;", "=r,r,r,r", "a * b + c of bf16 pairs, rounded once", lanewise(halfBF16, fmaPair)),
}
