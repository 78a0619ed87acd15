package work

import (
	"strings"
	"testing"

	"quire/ir/types/layout"
)

func names(p Params) string {
	var b []string
	for _, o := range p.Operands() {
		b = append(b, o.Name)
	}
	return strings.Join(b, " ")
}

// The order of args is a contract between three rooms: a change here is a change there.
func TestOperandOrder(t *testing.T) {
	rms := &RMSNorm{Eps: 1e-5}
	heads := &Heads{Heads: 9, KVHeads: 3, Dim: 64, RotaryDim: 64, Style: Adjacent, QNorm: rms, KNorm: rms, CacheEnc: layout.F16, Page: 64}
	for _, c := range []struct {
		p    Params
		want string
	}{
		{Linear{Enc: layout.Q4_1, Rows: []int{576}, Cols: 1536, Tokens: Many, Dot: F32, Epilogue: Add}, "x w res y N"},
		{Linear{Enc: layout.Q4_1, Rows: []int{1536, 1536}, Cols: 576, Tokens: One, Dot: F32, Norm: rms, Epilogue: GLU, Act: SiLU}, "x g w y N"},
		{Linear{Enc: layout.Q4_1, Rows: []int{576, 192, 192}, Cols: 576, Tokens: One, Dot: F32, Norm: rms, Bias: true, Epilogue: QKV, QKV: heads},
			"x g w b cs qn kn q cache row_slot slot_start slot_len pages N P"},
		{Norm{Dim: 576, RMS: *rms, Gather: true}, "x g out y M"},
		{Norm{Dim: 576, RMS: *rms, Add: true}, "x g res y N"},
		{RopeTable{RotaryDim: 4, Freq: []float32{1, 0.01}}, "pos cs N"},
		{Rope{Heads: 9, Dim: 64, RotaryDim: 64, Style: Half}, "x cs y N"},
		{Embed{Enc: layout.Q8_0, Vocab: 49152, Dim: 576}, "tok w y N"},
		{Gather{Dim: 576}, "x out y M"},
		{TakeHeads{Total: 9, Dim: 64, List: []int{0, 1, 2}}, "x list y N"},
		{MergeHeads{A: 1, B: 2, Dim: 64, List: []int{1, 0, 2}}, "a b list y N"},
		{Slice{Dim: 960, First: 576, Count: 192}, "x y N"},
		{KVStore{KVHeads: 3, Dim: 64, CacheEnc: layout.F32, Page: 64}, "k v cache row_slot slot_start slot_len pages N P"},
		{Attention{Phase: Decode, Heads: 9, KVHeads: 3, Dim: 64, Scale: 0.125, CacheEnc: layout.F16, Page: 64, Split: 512},
			"q cache row_slot slot_start slot_len pages part o N P C"},
		{Attention{Phase: Prefill, Heads: 9, KVHeads: 3, Dim: 64, Scale: 0.125, CacheEnc: layout.F16, Page: 64},
			"q cache row_slot slot_start slot_len pages o N P"},
		{DecodeGPU{Blocks: 264, Attention: Attention{Phase: Decode, Heads: 9, KVHeads: 3, Dim: 64, Scale: 0.125, CacheEnc: layout.F16, Page: 64, Split: 128, Budget: 4}},
			"q cache pick row_slot slot_start slot_len pages part o N P"},
		{PrefillGPU{Attention{Phase: Prefill, Heads: 9, KVHeads: 3, Dim: 64, Scale: 0.125, CacheEnc: layout.BF16, Page: 64}},
			"q cache row_slot slot_start slot_len pages o N S P"},
		{Summarise{KVHeads: 3, Dim: 64, CacheEnc: layout.F16, Page: 64, Summary: 16}, "cache row_slot slot_start slot_len pages N P"},
		{PageSelectGPU{Blocks: 264, PageSelect: PageSelect{Heads: 9, KVHeads: 3, Dim: 64, Scale: 0.125, CacheEnc: layout.F16, Page: 64, Summary: 16, Budget: 4}},
			"q cache slot_start slot_new slot_len pages scores pick S P"},
		{PageSelectGPU{Blocks: 264, PageSelect: PageSelect{Among: 15, List: []int{0, 2, 3}, Heads: 9, KVHeads: 3, Dim: 64, Scale: 0.125, CacheEnc: layout.F16, Page: 64, Summary: 16, Budget: 4}},
			"q cache slot_start slot_new slot_len pages list scores pick S P"},
		{HeadGroupsGPU{Blocks: 264, HeadGroups: HeadGroups{List: []int{1, 0, 2}, Full: Attention{Phase: Decode, Heads: 6, KVHeads: 2, Dim: 64, Scale: 0.125, CacheEnc: layout.F16, Page: 64, Split: 128},
			Stream: Attention{Phase: Decode, Heads: 3, KVHeads: 1, Dim: 64, Scale: 0.125, CacheEnc: layout.F16, Page: 64, Split: 128, Window: 9}}},
			"q cache row_slot slot_start slot_len pages stream stream_pages list part o N P"},
		{PrefillGPU{Attention{Phase: Prefill, Heads: 9, KVHeads: 3, Dim: 64, Scale: 0.125, CacheEnc: layout.BF16, Page: 64, Budget: 4}},
			"q cache slot_new pick row_slot slot_start slot_len pages o N S P"},
		{Reduce{Vocab: 49152, Op: ArgMax}, "x y M"},
		{Sweep{}, "x y N"},
		{Noise{Enc: layout.Q4G128, From: layout.F16, Cols: 256}, "how y N"},
		{Sample{Vocab: 100, Tops: true}, "x state M"},
		{Sample{Vocab: 100}, "x how draws turn state y M"},
		{Round{Dim: 576, To: I8}, "x y N"},
		{Map{Dim: 576, Expr: []MapStep{{Op: MapIn}, {Op: MapSiLU}, {Op: MapIn, Arg: 1}, {Op: MapMul}}}, "a0 a1 y N"},
	} {
		if err := c.p.Validate(); err != nil {
			t.Errorf("%s: %v", c.p.Key(), err)
		}
		if got := names(c.p); got != c.want {
			t.Errorf("%s: operands %q, want %q", c.p.Family(), got, c.want)
		}
	}
}

func TestValidateSaysWhere(t *testing.T) {
	for _, c := range []struct {
		p    Params
		want string
	}{
		{Linear{Enc: layout.Q4_1, Rows: []int{16}, Cols: 33, Tokens: One, Dot: F32, Epilogue: Store}, "33 columns, expected a multiple of q4_1's block of 32"},
		{Linear{Enc: "q9", Rows: []int{16}, Cols: 32, Tokens: One, Dot: F32, Epilogue: Store}, `encoding "q9": expected one of`},
		{Linear{Enc: layout.F32, Rows: []int{16, 8}, Cols: 32, Tokens: One, Dot: F32, Epilogue: GLU, Act: SiLU}, "rows [16 8], expected two equal segments"},
		{Map{Dim: 4, Expr: []MapStep{{Op: MapAdd}}}, "step 0: add takes 2 values, the stack holds 0"},
		{Noise{Enc: layout.IQ4_NL, Cols: 32}, "enc is iq4_nl, expected one whose scales do not depend"},
		{Noise{Enc: layout.Q4_0, From: layout.Q8_0, Cols: 32}, "from is q8_0, expected f32, f16 or bf16"},
		{Noise{Enc: layout.Q4G128, Cols: 64}, "64 columns, expected a multiple of 128"},
		{Norm{Dim: 0}, "dim is 0, expected more than 0"},
	} {
		err := c.p.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want it to say %q", c.p.Family(), err, c.want)
		}
	}
}

func TestItems(t *testing.T) {
	a := Attention{Phase: Decode, Heads: 9, KVHeads: 3, Dim: 64, Scale: 1, CacheEnc: layout.F16, Page: 64, Split: 512}
	if got := a.Items(Dims{N: 2, C: 1025}); got != 2*3*3 {
		t.Errorf("decode attention: %d items, want 18", got)
	}
	l := Linear{Enc: layout.F32, Rows: []int{33, 16}, Cols: 8, Tokens: Many, Dot: F32, Epilogue: Store}
	if got := l.Items(Dims{N: Block + 1}); got != (2+1)*2 {
		t.Errorf("linear: %d items, want 6", got)
	}
	l.Tokens = One
	if got := l.Items(Dims{N: 1}); got != 4 {
		t.Errorf("linear: %d items, want 4", got)
	}
}
