package kernel

import (
	"maps"
	"math"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"quire/ir/target"
)

// intrinsic is one row of the table. Asm rows are inline assembly; it exists nowhere else.
// A row for PTX carries its meaning: quire/codegen/simt has no other knowledge of it.
type intrinsic struct {
	llvm     string // "llvm.fma"; overloaded ones get the operand types appended
	overload bool
	needs    target.Feature // or none
	or       target.Feature // serves as well
	arch     target.Arch    // or any
	asm      string         // text
	cons     string         // constraints
	doc      string
	means    Meaning // PTX rows: what it does, for quire/codegen/simt

	pure   bool // assembly whose result depends on its arguments alone; other assembly stays where it is
	hopper bool // needs compute capability 9.0
	groups bool // needs sm_90a, and nothing newer
}

var intrinsics = map[string]intrinsic{
	"fma":          {llvm: "llvm.fma", overload: true, doc: "a*b + c, rounded once"},
	"sqrt":         {llvm: "llvm.sqrt", overload: true, doc: "correctly rounded square root"},
	"fabs":         {llvm: "llvm.fabs", overload: true, doc: "absolute value"},
	"nearbyint":    {llvm: "llvm.nearbyint", overload: true, doc: "to an integer, ties to even"},
	"masked.load":  {llvm: "llvm.masked.load", overload: true, doc: "lanes of a mask"},
	"masked.store": {llvm: "llvm.masked.store", overload: true, doc: "lanes of a mask"},
	"prefetch":     {llvm: "llvm.prefetch", overload: true, arch: target.X86, doc: "a line towards the first cache"},

	"pause":        {llvm: "llvm.x86.sse2.pause", arch: target.X86, doc: "a turn of a spin loop"},
	"rdtsc":        {llvm: "llvm.x86.rdtsc", arch: target.X86, doc: "time stamp counter"},
	"permute":      {llvm: "llvm.x86.avx512.permvar.sf.512", arch: target.X86, needs: target.AVX512, doc: "16 lanes by the low 4 bits of 16 indices"},
	"dot512":       {llvm: "llvm.x86.avx512.vpdpbusd.512", arch: target.X86, needs: target.VNNI, doc: "16 sums of 4 products u8 * i8"},
	"dot256":       {llvm: "llvm.x86.avx512.vpdpbusd.256", arch: target.X86, needs: target.AVXVNNI, doc: "8 sums of 4 products u8 * i8"},
	"bytes512":     {llvm: "llvm.x86.avx512.pshuf.b.512", arch: target.X86, needs: target.AVX512, doc: "64 bytes by the low 4 bits of 64 indices, within each 16"},
	"bytes256":     {llvm: "llvm.x86.avx2.pshuf.b", arch: target.X86, doc: "32 bytes by the low 4 bits of 32 indices, within each 16"},
	"round.i32":    {llvm: "llvm.x86.avx512.mask.cvtps2dq.512", arch: target.X86, needs: target.AVX512, doc: "to the nearest integers, ties to even"},
	"tile.config":  {llvm: "llvm.x86.ldtilecfg", arch: target.X86, needs: target.AMXInt8, or: target.AMXBF16, doc: "shapes of the eight tile registers, which become zero"},
	"tile.release": {llvm: "llvm.x86.tilerelease", arch: target.X86, needs: target.AMXInt8, or: target.AMXBF16, doc: "tile registers are not in use"},
	"tile.zero":    {llvm: "llvm.x86.tilezero", arch: target.X86, needs: target.AMXInt8, or: target.AMXBF16, doc: "a tile of zeros"},
	"tile.load":    {llvm: "llvm.x86.tileloadd64", arch: target.X86, needs: target.AMXInt8, or: target.AMXBF16, doc: "rows at a stride"},
	"tile.store":   {llvm: "llvm.x86.tilestored64", arch: target.X86, needs: target.AMXInt8, or: target.AMXBF16, doc: "rows at a stride"},
	"tile.dot":     {llvm: "llvm.x86.tdpbssd", arch: target.X86, needs: target.AMXInt8, doc: "16 x 16 sums of 64 products i8 * i8"},
	"tile.bf16":    {llvm: "llvm.x86.tdpbf16ps", arch: target.X86, needs: target.AMXBF16, doc: "16 x 16 sums of 32 products of bfloat16"},
	"dot.bf16":     {llvm: "llvm.x86.avx512bf16.dpbf16ps.512", arch: target.X86, needs: target.BF16, doc: "16 sums of 2 products of bfloat16"},
	"round.bf16":   {llvm: "llvm.x86.avx512bf16.cvtne2ps2bf16.512", arch: target.X86, needs: target.BF16, doc: "16 bfloat16 of the second, then of the first"},
	"tile.permit":  {arch: target.X86, needs: target.AMXInt8, or: target.AMXBF16, asm: "syscall", cons: "={rax},{rax},{rdi},{rsi},~{rcx},~{r11},~{memory},~{dirflag},~{fpsr},~{flags}", doc: "arch_prctl, Linux system call 158: this process may use tile data"},
	"yield":        {arch: target.X86, asm: "syscall", cons: "={rax},{rax},~{rcx},~{r11},~{memory},~{dirflag},~{fpsr},~{flags}", doc: "sched_yield, Linux system call 24"},
	"lane":         {llvm: "llvm.nvvm.read.ptx.sreg.laneid", arch: target.PTX, doc: "lane of the warp", means: special(func(_ Place, lane int) int { return lane })},
	"thread":       {llvm: "llvm.nvvm.read.ptx.sreg.tid.x", arch: target.PTX, doc: "thread of the block", means: special(func(p Place, lane int) int { return p.Warp*WarpSize + lane })},
	"threads":      {llvm: "llvm.nvvm.read.ptx.sreg.ntid.x", arch: target.PTX, doc: "threads of a block", means: special(func(p Place, _ int) int { return p.Warps * WarpSize })},
	"block":        {llvm: "llvm.nvvm.read.ptx.sreg.ctaid.x", arch: target.PTX, doc: "block of the grid", means: special(func(p Place, _ int) int { return p.Block })},
	"xor":          {llvm: "llvm.nvvm.shfl.sync.bfly.f32", arch: target.PTX, doc: "the value of the lane whose number differs by a mask", means: shuffle(butterflyLane)},
	"ex2":          {llvm: "llvm.nvvm.ex2.approx.f", arch: target.PTX, doc: "2^x; llvm.exp2 would call a null symbol", means: unary(math.Exp2)},
	"maxnum":       {llvm: "llvm.maxnum", overload: true, arch: target.PTX, doc: "the greater; the other one of a NaN", means: greater},
	"rcp":          {llvm: "llvm.nvvm.rcp.approx.ftz.f", arch: target.PTX, doc: "1/x", means: unary(func(x float64) float64 { return 1 / x })},
	"sync":         {llvm: "llvm.nvvm.barrier0", arch: target.PTX, doc: "all threads of the block", means: func(c *Call) { c.Sync(0, 0) }},
	"sync.warp":    {llvm: "llvm.nvvm.bar.warp.sync", arch: target.PTX, doc: "lanes of a warp", means: func(c *Call) { c.SyncWarp(uint32(c.uniform(0))) }},
	"fence":        {llvm: "llvm.nvvm.membar.gl", arch: target.PTX, doc: "orders accesses as the device sees them", means: func(c *Call) { c.Fence() }},

	"atom.inc":       {arch: target.PTX, asm: "atom.global.gpu.inc.u32 $0, [$1], $2;", cons: "=r,l,r,~{memory}", doc: "counts up to a limit, then wraps to 0", means: countUp},
	"pack.f16":       {arch: target.PTX, asm: "cvt.rn.satfinite.f16x2.f32 $0, $1, $2;", cons: "=r,f,f", doc: "two float16, the greatest for what is beyond; the first is the high half", means: pack(finiteF16)},
	"pack.bf16":      {arch: target.PTX, asm: "cvt.rn.bf16x2.f32 $0, $1, $2;", cons: "=r,f,f", doc: "two bfloat16; the first is the high half", means: pack(halfBF16)},
	"prmt":           {llvm: "llvm.nvvm.prmt", arch: target.PTX, doc: "four of eight bytes", means: permuteBytes},
	"movmatrix":      {arch: target.PTX, asm: "movmatrix.sync.aligned.m8n8.trans.b16 $0, $1;", cons: "=r,r", doc: "transpose of 8 x 8 two-byte numbers", means: transpose},
	"mma.f16":        {arch: target.PTX, asm: "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};", cons: "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", doc: "16 x 8 sums of 16 products of float16", means: mma(halfF16)},
	"mma.bf16":       {arch: target.PTX, asm: "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};", cons: "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", doc: "16 x 8 sums of 16 products of bfloat16", means: mma(halfBF16)},
	"thread.again":   {arch: target.PTX, asm: "mov.u32 $0, %tid.x;", cons: "=r", doc: "thread of the block, read here and not before a loop", means: special(func(p Place, lane int) int { return p.Warp*WarpSize + lane })},
	"ldmatrix":       {arch: target.PTX, asm: "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$0,$1,$2,$3}, [$4+$5];", cons: "=r,=r,=r,=r,r,n,~{memory}", doc: "four 8 x 8 matrices of two-byte numbers", means: loadMatrices(false)},
	"ldmatrix.trans": {arch: target.PTX, asm: "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {$0,$1,$2,$3}, [$4+$5];", cons: "=r,=r,=r,=r,r,n,~{memory}", doc: "their transposes", means: loadMatrices(true)},
	"cp.async":       {arch: target.PTX, asm: "cp.async.cg.shared.global [$0], [$1], 16;", cons: "r,l,~{memory}", doc: "16 bytes to shared memory", means: func(c *Call) { c.Each(func(l int) { c.CopyAsync(l, uint64(uint32(c.In[0][l])), c.In[1][l], 16, 16) }) }},
	"cp.commit":      {arch: target.PTX, asm: "cp.async.commit_group;", cons: "~{memory}", doc: "closes a group of copies", means: func(c *Call) { c.Commit(c.Lanes) }},
	"cp.wait":        {arch: target.PTX, asm: "cp.async.wait_group $0;", cons: "n,~{memory}", doc: "until at most n groups are under way", means: func(c *Call) { c.WaitCopies(c.Lanes, int(c.uniform(0))) }},
}

// rows is the whole table.
var rows = func() map[string]intrinsic {
	all := maps.Clone(intrinsics)
	maps.Copy(all, ptxRows)
	return all
}()

// call calls an intrinsic whose name is overloaded by its result.
func (k *Kernel) call(name string, result types.Type, args ...value.Value) value.Value {
	return k.callAs(name, result, []types.Type{result}, args...)
}

// callAs calls an intrinsic, declaring it at first use.
func (k *Kernel) callAs(name string, result types.Type, over []types.Type, args ...value.Value) value.Value {
	row, ok := rows[name]
	if !ok {
		panic("BUG: kernel: intrinsic " + name + " is not in the table")
	}
	if row.arch != "" && row.arch != k.m.target.Arch {
		k.Errorf("%s: for %s, the target is %s", name, row.arch, k.m.target)
		return literal{result, "poison"}
	}
	if row.needs != "" && !k.m.target.Has(row.needs) && !(row.or != "" && k.m.target.Has(row.or)) {
		k.Errorf("%s: needs %s, the target is %s", name, row.needs, k.m.target)
		return literal{result, "poison"}
	}
	if row.hopper && !k.m.Waits() {
		k.Errorf("%s: needs sm_90, the target is %s", name, k.m.target)
		return literal{result, "poison"}
	}
	if row.groups && !k.Groups() {
		k.Errorf("%s: needs sm_90a, the target is %s", name, k.m.target)
		return literal{result, "poison"}
	}
	if row.asm != "" {
		ts := make([]types.Type, len(args))
		for i, a := range args {
			ts[i] = a.Type()
		}
		a := ir.NewInlineAsm(ptrTo(types.NewFunc(result, ts...), Generic), row.asm, row.cons)
		a.SideEffect = !row.pure
		c := k.b.NewCall(a, args...)
		if k.m.target.Arch == target.PTX {
			c.FuncAttrs = append(c.FuncAttrs, enum.FuncAttrConvergent)
		}
		return k.marked(c)
	}
	full := row.llvm
	if row.overload {
		for _, t := range over {
			full += "." + mangle(t)
		}
	}
	f, ok := k.m.decls[full]
	if !ok {
		params := make([]*ir.Param, len(args))
		for i, a := range args {
			params[i] = ir.NewParam("", a.Type())
		}
		f = k.m.m.NewFunc(full, result, params...)
		k.m.decls[full] = f
	}
	return k.marked(k.b.NewCall(f, args...))
}

func (k *Kernel) marked(c *ir.InstCall) *ir.InstCall {
	mark(k.b, &c.Metadata)
	return c
}
