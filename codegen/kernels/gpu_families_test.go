package kernels

import (
	"fmt"

	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// families are products as Llama has none: of Qwen3-8B, whose heads are normed, of Gemma 3, and
// of Gemma 2 9B, whose branches are normed.
func families() []gpuKernel {
	rms, offset := &work.RMSNorm{Eps: 1e-6}, &work.RMSNorm{Eps: 1e-6, Offset: 1}
	qwen := work.Linear{Enc: layout.Q4G128, Rows: []int{4096, 1024, 1024}, Cols: 4096, Dot: work.F16, Tokens: work.One, Norm: rms, Epilogue: work.QKV,
		QKV: &work.Heads{Heads: 32, KVHeads: 8, Dim: 128, RotaryDim: 128, Style: work.Half, QNorm: rms, KNorm: rms, CacheEnc: layout.F16, Page: 64}}
	gemma := work.Linear{Enc: layout.Q4_0, Rows: []int{1024, 256, 256}, Cols: 1152, Dot: work.F16, Tokens: work.One, Norm: offset, Epilogue: work.QKV,
		QKV: &work.Heads{Heads: 4, KVHeads: 1, Dim: 256, RotaryDim: 256, Style: work.Half, QNorm: offset, KNorm: offset, Apart: true}}
	out := []gpuKernel{{"gemv1_gemma3_qkv", work.GEMV{Linear: gemma, Columns: 1}, []string{"atom.global.gpu.inc.u32"}}}
	for _, columns := range []int{1, 8} {
		out = append(out, gpuKernel{fmt.Sprintf("gemv%d_qwen3_qkv", columns), work.GEMV{Linear: qwen, Columns: columns}, []string{"atom.global.gpu.inc.u32"}})
	}
	glu := work.Linear{Enc: layout.Q4G128, Rows: []int{14336, 14336}, Cols: 3584, Dot: work.F16, Tokens: work.One, Norm: offset, Epilogue: work.GLU, Act: work.GELUTanh}
	qkv := glu
	qkv.Rows, qkv.Epilogue, qkv.Act = []int{4096, 2048, 2048}, work.QKV, work.NoAct
	qkv.QKV = &work.Heads{Heads: 16, KVHeads: 8, Dim: 256, RotaryDim: 256, Style: work.Half, CacheEnc: layout.F16, Page: 64}
	for _, columns := range []int{1, 8} {
		for i, l := range []work.Linear{glu, qkv} {
			p := work.GEMV{Linear: l, Columns: columns, Join: offset}
			out = append(out, gpuKernel{fmt.Sprintf("gemv%d_gemma2_%s", columns, []string{"glu", "qkv"}[i]), p, []string{"shfl.sync.bfly.b32"}})
		}
	}
	qwen.Tokens, qwen.Norm = work.Many, nil
	for _, columns := range []int{16, 32} {
		out = append(out, gpuKernel{fmt.Sprintf("wide%d_qwen3_qkv", columns), work.GEMV{Linear: qwen, Columns: columns}, nil})
	}
	half := &work.Round{Dim: 14336, To: work.F16}
	wide := llama8B(layout.Q4G128, work.F16)["glu"]
	wide.Tokens, wide.Norm = work.Many, nil
	for _, columns := range []int{16, 32} {
		out = append(out, gpuKernel{fmt.Sprintf("wide%d_glu_round", columns), work.GEMV{Linear: wide, Columns: columns, Round: half}, []string{"cvt.rn.satfinite.f16x2.f32"}})
	}
	spans := &work.Round{Dim: 4096, To: work.F16, Span: 64}
	for _, v := range []struct {
		name string
		dim  int
		enc  layout.Enc
		cap  float32
	}{{"prefill_picks_256", 256, layout.F16, 0}, {"prefill_picks_cap", 128, layout.BF16, 50}, {"prefill_picks_q4", 128, kvpage.Q4, 0}, {"prefill_picks_q8_256", 256, kvpage.Q8, 0}} {
		p := prefillPicks(true)
		p.Dim, p.CacheEnc, p.Softcap = v.dim, v.enc, v.cap
		out = append(out, gpuKernel{v.name, p, []string{"ldmatrix"}})
	}
	out = append(out, gpuKernel{"norm_join", work.Norm{Dim: 3584, RMS: *offset, Join: offset, Round: &work.Round{Dim: 3584, To: work.F16, Span: 64}}, []string{"shfl.sync.bfly.b32"}})
	return append(out, gpuKernel{"norm_round", work.Norm{Dim: 4096, RMS: *rms, Round: spans}, []string{"cvt.rn.satfinite.f16x2.f32"}})
}
