package weights_test

import (
	"os"
	"path/filepath"
	"testing"

	"quire/frontends/weights"
	"quire/ir/types/block"
)

// smollm2 is the path of the default model, fetched by tests/fetch; the test is skipped where it is absent, unless
// QUIRE_REQUIRE_DATA=1 asks for it.
func smollm2(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("QUIRE_CACHE_DIR")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache", "quire")
	}
	path := filepath.Join(cache, "models", "smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("QUIRE_REQUIRE_DATA") == "1" {
			t.Fatalf("%v: tests/fetch/smollm2.sh puts it there", err)
		}
		t.Skipf("the model is absent (%v); tests/fetch/smollm2.sh fetches it", err)
	}
	return path
}

func TestSmolLM2(t *testing.T) {
	for _, o := range []weights.Options{{}, {NoMmap: true}} {
		s, err := weights.OpenWith(smollm2(t), o)
		if err != nil {
			t.Fatal(err)
		}
		count, size := map[string]int{}, map[string]int64{}
		var total int64
		for _, x := range s.Tensors {
			count[x.Enc]++
			size[x.Enc] += x.Bytes
			total += x.Bytes
			if !x.Aligned() {
				t.Errorf("%v at %d, expected aligned", x, x.Offset)
			}
		}
		if len(s.Tensors) != 272 || count["q4_1"] != 210 || count["q8_0"] != 1 || count["f32"] != 61 || total != 96_576_768 {
			t.Errorf("%d tensors of %d bytes, %v, expected 272 of 96,576,768: 210 q4_1, 1 q8_0, 61 f32", len(s.Tensors), total, count)
		}
		if s.Format != weights.GGUF || s.Files[0].Size != 98_362_432 {
			t.Errorf("%s of %d bytes", s.Format, s.Files[0].Size)
		}
		emb := s.Tensor("token_embd.weight")
		if emb == nil || emb.Enc != "q8_0" || emb.Shape[0] != 49152 || emb.Shape[1] != 576 {
			t.Errorf("token_embd.weight is %v, expected q8_0[49152 576]", emb)
		}
		if up := s.Tensor("blk.29.ffn_up.weight"); up == nil || up.Shape[0] != 1536 || up.Shape[1] != 576 {
			t.Errorf("blk.29.ffn_up.weight is %v, expected [out, in] = [1536 576]", up)
		}
		if s.Tensor("output.weight") != nil {
			t.Error("output.weight is there, expected the embedding tied")
		}
		wantInt(t, s, "llama.block_count", 30)
		wantInt(t, s, "llama.embedding_length", 576)
		wantInt(t, s, "llama.attention.head_count_kv", 3)
		if base, ok := s.KV.Float("llama.rope.freq_base"); !ok || base != 100000 {
			t.Errorf("llama.rope.freq_base = %v, expected 100000", base)
		}
		if pre, _ := s.KV.Text("tokenizer.ggml.pre"); pre != "smollm" {
			t.Errorf("tokenizer.ggml.pre = %q, expected smollm", pre)
		}
		if tokens, _ := s.KV.Texts("tokenizer.ggml.tokens"); len(tokens) != 49152 || tokens[2] != "<|im_end|>" {
			t.Errorf("%d tokens, expected 49152 with <|im_end|> at 2", len(tokens))
		}
		if types, ok := s.KV["tokenizer.ggml.token_type"].([]int32); !ok || len(types) != 49152 {
			t.Errorf("token_type is %T, expected 49152 int32", s.KV["tokenizer.ggml.token_type"])
		}
		norm := s.Tensor("output_norm.weight")
		f := make([]float32, norm.Elems())
		if err := block.Decode(norm.Enc, norm.Data(), f); err != nil || f[0] == 0 {
			t.Errorf("output_norm: %v, %v", f[:4], err)
		}
		if err := s.Check(); err != nil {
			t.Error(err)
		}
		if sum, err := s.Files[0].SHA256(); err != nil || sum != "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53" {
			t.Errorf("sha256 %s, %v", sum, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func wantInt(t *testing.T, s *weights.Source, key string, want int64) {
	t.Helper()
	if n, ok := s.KV.Int(key); !ok || n != want {
		t.Errorf("%s = %v, expected %d", key, s.KV[key], want)
	}
}
