package kernels

import (
	"fmt"
	"maps"
	"slices"

	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// gpuKernel is a kernel whose PTX is looked at, and the instructions it must have.
type gpuKernel struct {
	name string
	p    work.Params
	want []string
}

// kernelsOf are those that a target has: only sm_90a has products of warpgroups.
func kernelsOf(target string) []gpuKernel {
	return slices.DeleteFunc(slices.Clone(gpuKernels), func(k gpuKernel) bool {
		g, ok := k.p.(work.GEMM)
		return ok && g.Groups && target != "sm_90a"
	})
}

// gpuKernels are one of each kind, of sizes that models have.
var gpuKernels = append([]gpuKernel{
	{"norm", work.Norm{Dim: 576, RMS: work.RMSNorm{Eps: 1e-5}, Add: true}, []string{"shfl.sync.bfly.b32", "ld.global.v4", "fma.rn.f32"}},
	{"norm_heads", work.Norm{Dim: 128, Per: 8, RMS: work.RMSNorm{Eps: 1e-5, Offset: 1}}, []string{"shfl.sync.bfly.b32", "ld.global.v4"}},
	{"norm_odd", work.Norm{Dim: 20001, RMS: work.RMSNorm{Eps: 1e-5}, Gather: true}, []string{"bar.sync"}},
	{"rope_half", work.Rope{Heads: 32, Dim: 128, RotaryDim: 128, Style: work.Half}, []string{"st.global.f32"}},
	{"rope_part", work.Rope{Heads: 5, Dim: 80, RotaryDim: 32, Style: work.Adjacent}, []string{"st.global.f32"}},
	{"ropetable", work.RopeTable{RotaryDim: 4, Freq: []float32{1, 0.01}, Scale: 2}, []string{"fma.rn.f64"}},
	{"kvstore_f16", work.KVStore{KVHeads: 8, Dim: 128, CacheEnc: layout.F16, Page: 64}, []string{"cvt.rn.satfinite.f16x2.f32"}},
	{"kvstore_bf16", work.KVStore{KVHeads: 3, Dim: 72, CacheEnc: layout.BF16, Page: 64}, []string{"cvt.rn.bf16x2.f32"}},
	{"round_f16", work.Round{Dim: 4096, To: work.F16}, []string{"cvt.rn.satfinite.f16x2.f32"}},
	{"round_bf16", work.Round{Dim: 96, To: work.BF16}, []string{"cvt.rn.bf16x2.f32"}},
	{"argmax", work.Reduce{Vocab: 128256, Op: work.ArgMax}, []string{"ld.global.v4"}},
	{"logsumexp", work.Reduce{Vocab: 49153, Op: work.LogSumExp}, []string{"ex2.approx"}},
	{"slice", work.Slice{Dim: 100, First: 2, Count: 50}, []string{"ld.global.v2"}},
	{"heads", work.TakeHeads{Total: 8, Dim: 128, List: []int{1, 5}}, []string{"ld.global.v4"}},
	{"merge", work.MergeHeads{A: 1, B: 2, Dim: 64, List: []int{1, 0, 2}}, []string{"ld.global.v4"}},
	{"swiglu", work.Map{Dim: 1536, Expr: []work.MapStep{{Op: work.MapIn}, {Op: work.MapSiLU}, {Op: work.MapIn, Arg: 1}, {Op: work.MapMul}}}, []string{"st.global.v4"}},
	{"gather", work.Gather{Dim: 576}, []string{"st.global"}},
	{"decode_f16", decodeGPU(128, layout.F16, 0), []string{"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "movmatrix", "ld.global.v4.u32", "atom.global.gpu.inc.u32"}},
	{"decode_bf16", decodeGPU(80, layout.BF16, 50), []string{"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"}},
	{"prefill_f16", prefillGPU(128, layout.F16, 0), []string{"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "ldmatrix", "cp.async.cg"}},
	{"prefill_all", work.PrefillGPU{Attention: work.Attention{Phase: work.Prefill, Heads: 32, KVHeads: 8, Dim: 128, Scale: 0.1, CacheEnc: layout.F16, Page: 64}}, []string{"ldmatrix"}},
	{"prefill_bf16", prefillGPU(80, layout.BF16, 50), []string{"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"}},
	{"prefill_64", prefillGPU(64, layout.F16, 0), []string{"ldmatrix"}},
	{"prefill_256", prefillGPU(256, layout.F16, 0), []string{"ldmatrix"}},
	{"pageselect", work.PageSelectGPU{PageSelect: quest, Blocks: 264, Keys: 1 << 12}, []string{"atom.global.gpu.inc.u32"}},
	{"decode_picks", pickedGPU(), []string{"mma.sync"}},
	{"groups", groupsGPU(decodeGPU(128, layout.F16, 0).Attention), []string{"mma.sync"}},
	{"groups_picks", groupsGPU(pickedGPU().Attention), []string{"mma.sync"}},
	{"groups_q4", groupsGPU(quantised(pickedGPU().Attention)), []string{"mma.sync"}},
	{"pageselect_q4", work.PageSelectGPU{PageSelect: questOf(kvpage.Q4), Blocks: 264, Keys: 1 << 12}, []string{"mma.sync"}},
	{"pageselect_among", work.PageSelectGPU{PageSelect: questAmong, Blocks: 264, Keys: 1 << 12}, []string{"atom.global.gpu.inc.u32"}},
	{"prefill_picks", prefillPicks(false), []string{"ldmatrix"}},
	{"prefill_picks_head", prefillPicks(true), []string{"ldmatrix"}},
	{"summarise", work.Summarise{KVHeads: 8, Dim: 128, CacheEnc: layout.F16, Page: 64, Summary: 16}, []string{"cvt.rn.satfinite.f16x2.f32"}},
	{"sample_tops", work.Sample{Vocab: 128256, Tops: true}, []string{"shfl.sync.bfly"}},
	{"sample", work.Sample{Vocab: 128256}, []string{"atom.global.add.u64", "atom.shared.add.u32"}},
	{"noise_bf16", work.Noise{Enc: layout.BF16, Cols: 4096}, []string{"mul.rn.f64", "cvt.rn.bf16x2.f32"}},
	{"noise_q4g128", work.Noise{Enc: layout.Q4G128, Cols: 4096}, []string{"mul.rn.f64", "add.rn.f64", "div.rn.f32"}},
	{"noise_q4_0", work.Noise{Enc: layout.Q4_0, Cols: 4096}, []string{"mul.rn.f32", "add.rn.f32", "rcp.rn.f32"}},
	{"noise_q8_0", work.Noise{Enc: layout.Q8_0, Cols: 4096}, []string{"mul.rn.f32", "div.rn.f32"}},
	{"noise_q5_1", work.Noise{Enc: layout.Q5_1, Cols: 4096}, []string{"mul.rn.f32"}},
	{"noise_q4_k", work.Noise{Enc: layout.Q4_K, Cols: 4096}, []string{"mul.rn.f32"}},
	{"noise_q5_k", work.Noise{Enc: layout.Q5_K, Cols: 4096}, []string{"mul.rn.f32"}},
	{"noise_q6_k", work.Noise{Enc: layout.Q6_K, Cols: 4096}, []string{"mul.rn.f32"}},
	{"noise_q3g32", work.Noise{Enc: layout.Q3G32, From: layout.BF16, Cols: 4096}, []string{"div.rn.f32"}},
	{"sweep", work.Sweep{}, []string{"ld.global.nc.L1::no_allocate", "redux.sync.add"}},
	{"decode_256", decodeGPU(256, layout.F16, 0), []string{"mma.sync"}},
	{"kvstore_q4", work.KVStore{KVHeads: 8, Dim: 128, CacheEnc: kvpage.Q4, Page: 64}, []string{"shfl.sync.bfly.b32", "div.rn.f32"}},
	{"kvstore_q8_two", work.KVStore{KVHeads: 8, Dim: 128, CacheEnc: kvpage.Q8, Page: 64, Stream: 4, Place: []int{0, 4, 1, 5, 2, 6, 3, 7}}, []string{"shfl.sync.bfly.b32"}},
	{"summarise_q4", work.Summarise{KVHeads: 8, Dim: 128, CacheEnc: kvpage.Q4, Page: 64, Summary: 16}, []string{"cvt.rn.satfinite.f16x2.f32"}},
	{"decode_q4", decodeGPU(128, kvpage.Q4, 0), []string{"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "movmatrix", "ld.global.v4.u32"}},
	{"decode_q4_all", allGPU(decodeGPU(128, kvpage.Q4, 0)), []string{"mma.sync"}},
	{"decode_q8_all", allGPU(decodeGPU(128, kvpage.Q8, 0)), []string{"mma.sync"}},
	{"decode_q4_64", decodeGPU(64, kvpage.Q4, 30), []string{"mma.sync"}},
	{"prefill_q4", prefillGPU(128, kvpage.Q4, 0), []string{"ldmatrix", "cp.async.cg", "fma.rn.f16x2"}},
	{"prefill_q4_all", work.PrefillGPU{Attention: work.Attention{Phase: work.Prefill, Heads: 32, KVHeads: 8, Dim: 128, Scale: 0.1, CacheEnc: kvpage.Q4, Page: 64}}, []string{"ldmatrix"}},
	{"prefill_q8_64", prefillGPU(64, kvpage.Q8, 0), []string{"ldmatrix"}},
	{"prefill_q4_256", prefillGPU(256, kvpage.Q4, 0), []string{"ldmatrix"}},
	{"decode_q8_256", decodeGPU(256, kvpage.Q8, 0), []string{"mma.sync"}},
}, append(append(products(), families()...), vocabularies()...)...)

// products are the launches of a step of Llama-3-8B, for one row, for few, for more and for
// many.
func products() []gpuKernel {
	var out []gpuKernel
	f16, bf16 := "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
	for _, enc := range []layout.Enc{layout.Q4G128, layout.BF16, layout.Q4_0, layout.Q8_0, layout.Q5_1, layout.Q4_K, layout.Q6_K, layout.Q3G128} {
		dot, mma := work.F16, f16
		if enc == layout.BF16 {
			dot, mma = work.BF16, bf16
		}
		all := dot == work.BF16 || enc == layout.Q4G128
		of := llama8B(enc, dot)
		add := func(kind, name string, p work.Params) {
			if p.Validate() != nil { // 8 rows of 14336 are more than shared memory
				return
			}
			k := gpuKernel{fmt.Sprintf("%s_%s_%s", kind, enc, name), p, []string{mma}}
			if g, ok := p.(work.GEMM); ok && g.Groups {
				k.want = []string{"wgmma.mma_async.sync.aligned.m64n128k16.f32." + string(dot)}
			}
			out = append(out, k)
		}
		for _, name := range slices.Sorted(maps.Keys(of)) {
			l := of[name]
			if all || name == "glu" || name == "down" {
				add("gemv1", name, work.GEMV{Linear: l, Columns: 1})
			}
			if all {
				add("meet1", name, work.GEMV{Linear: l, Columns: 1, Shared: 228 << 10})
				add("gemv8", name, work.GEMV{Linear: l, Columns: 8})
			}
			l.Norm, l.Tokens = nil, work.Many
			if name == "glu" || all && (name == "down" || name == "qkv") {
				add("wide16", name, work.GEMV{Linear: l, Columns: 16})
				add("meet16", name, work.GEMV{Linear: l, Columns: 16, Shared: 228 << 10})
				add("gemm", name, work.GEMM{Linear: l, RowWarps: 4, Block: 128})
				add("group4", name, work.GEMM{Linear: l, RowWarps: 4, Block: 128, Groups: true})
			}
			if all && name == "down" {
				add("wide8", name, work.GEMV{Linear: l, Columns: 8})
				add("wide32", name, work.GEMV{Linear: l, Columns: 32})
				add("wide64", name, work.GEMV{Linear: l, Columns: 64})
			}
		}
	}
	return out
}

// llama8B are the products of a decode step of Llama-3-8B.
func llama8B(enc layout.Enc, dot work.Dot) map[string]work.Linear {
	rms := &work.RMSNorm{Eps: 1e-5}
	heads := &work.Heads{Heads: 32, KVHeads: 8, Dim: 128, RotaryDim: 128, Style: work.Half, CacheEnc: layout.F16, Page: 64}
	of := func(l work.Linear) work.Linear {
		l.Enc, l.Dot, l.Tokens = enc, dot, work.One
		return l
	}
	return map[string]work.Linear{
		"qkv":  of(work.Linear{Rows: []int{4096, 1024, 1024}, Cols: 4096, Norm: rms, Epilogue: work.QKV, QKV: heads}),
		"o":    of(work.Linear{Rows: []int{4096}, Cols: 4096, Epilogue: work.Add}),
		"glu":  of(work.Linear{Rows: []int{14336, 14336}, Cols: 4096, Norm: rms, Epilogue: work.GLU, Act: work.SiLU}),
		"down": of(work.Linear{Rows: []int{4096}, Cols: 14336, Epilogue: work.Add}),
		"head": of(work.Linear{Rows: []int{128256}, Cols: 4096, Norm: rms, Epilogue: work.Store}),
	}
}

func decodeGPU(dim int, enc layout.Enc, cap float32) work.DecodeGPU {
	return work.DecodeGPU{Blocks: 512, Attention: work.Attention{Phase: work.Decode, Heads: 32, KVHeads: 8, Dim: dim, Scale: 0.1,
		Window: 4096, Sink: 64, Softcap: cap, CacheEnc: enc, Page: 64, Split: 128}}
}

// allGPU is attention without a window.
func allGPU(p work.DecodeGPU) work.DecodeGPU {
	p.Window, p.Sink = 0, 0
	return p
}

func prefillGPU(dim int, enc layout.Enc, cap float32) work.PrefillGPU {
	a := decodeGPU(dim, enc, cap).Attention
	a.Phase, a.Split = work.Prefill, 0
	return work.PrefillGPU{Attention: a}
}

// quest is Llama-3-8B's selection of 64 pages.
var quest = work.PageSelect{Heads: 32, KVHeads: 8, Dim: 128, Scale: 0.1, CacheEnc: layout.F16, Page: 64, Summary: 16, Budget: 64, Every: 4}

var questAmong = work.PageSelect{Heads: 32, KVHeads: 8, Dim: 128, Scale: 0.1, CacheEnc: layout.F16, Page: 64, Summary: 16, Budget: 64, Every: 4, Among: 48, List: []int{0, 1, 3, 4, 6, 8, 9, 11}}

func pickedGPU() work.DecodeGPU {
	p := decodeGPU(128, layout.F16, 0)
	p.Window, p.Sink, p.Summary, p.Budget, p.Kept = 0, 0, quest.Summary, quest.Budget, true
	return p
}

func quantised(a work.Attention) work.Attention {
	a.CacheEnc = kvpage.Q4
	return a
}

func questOf(enc layout.Enc) work.PageSelect {
	p := quest
	p.CacheEnc = enc
	return p
}

// groupsGPU is attention of 8 kv heads that stand among 4 of a window's.
func groupsGPU(full work.Attention) work.HeadGroupsGPU {
	stream := full
	full.Window, full.Sink = 0, 0
	stream.Heads, stream.KVHeads, stream.Window, stream.Sink, stream.Summary, stream.Budget, stream.Kept = 16, 4, 257, 64, 0, 0, false
	return work.HeadGroupsGPU{Blocks: 264, HeadGroups: work.HeadGroups{Full: full, Stream: stream, List: []int{0, 1, 3, 4, 6, 8, 9, 11, 2, 5, 7, 10}}}
}

func prefillPicks(perHead bool) work.PrefillGPU {
	a := pickedGPU().Attention
	a.Phase, a.Split, a.PerHead = work.Prefill, 0, perHead
	return work.PrefillGPU{Attention: a}
}

// vocabularies are the heads of models whose tiles and columns divide unlike Llama's: a kernel for each
// number of rows that has one.
func vocabularies() []gpuKernel {
	var out []gpuKernel
	for _, h := range []struct {
		model      string
		rows, cols int
		cap        float32
	}{{"gemma2", 256000, 2304, 30}, {"gemma3", 262144, 1152, 0}, {"qwen2", 151936, 896, 0}, {"phi3", 32064, 3072, 0}} {
		for _, columns := range []int{8, 16, 32, 64} {
			l := work.Linear{Enc: layout.Q4_0, Rows: []int{h.rows}, Cols: h.cols, Tokens: work.Many, Dot: work.F16, Epilogue: work.Store, Softcap: h.cap}
			v := work.GEMV{Linear: l, Columns: columns}
			if !v.Crowded() {
				out = append(out, gpuKernel{fmt.Sprintf("head%d_%s", columns, h.model), v, nil})
			} else if columns == 64 { // 17 to 64 rows
				out = append(out, gpuKernel{"headgemm_" + h.model, work.GEMM{Linear: l, RowWarps: 2, Block: 64}, nil})
			}
		}
	}
	return out
}
