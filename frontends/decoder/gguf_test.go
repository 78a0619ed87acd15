package decoder

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quire/frontends/weights"
	"quire/ir"
)

// ggufFile is a reference GGUF taken apart, to be changed and written again.
type ggufFile struct {
	kv      []weights.KV
	tensors []weights.TensorData
}

func readGGUF(t testing.TB, name string) *ggufFile {
	t.Helper()
	src, err := weights.Open(filepath.Join(reference, "gguf", name, "model.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	f := &ggufFile{}
	for _, k := range src.Keys {
		f.kv = append(f.kv, weights.KV{Key: k, Value: src.KV[k]})
	}
	for _, x := range src.Tensors {
		f.tensors = append(f.tensors, weights.TensorData{Name: x.Name, Enc: x.Enc, Shape: x.Shape, Data: bytes.Clone(x.Data())})
	}
	return f
}

// set changes, adds or (nil) deletes a key.
func (f *ggufFile) set(key string, value any) {
	f.kv = slices.DeleteFunc(f.kv, func(kv weights.KV) bool { return kv.Key == key })
	if value != nil {
		f.kv = append(f.kv, weights.KV{Key: key, Value: value})
	}
}

func (f *ggufFile) tensor(name string) *weights.TensorData {
	i := slices.IndexFunc(f.tensors, func(x weights.TensorData) bool { return x.Name == name })
	return &f.tensors[i]
}

func (f *ggufFile) drop(name string) {
	f.tensors = slices.DeleteFunc(f.tensors, func(x weights.TensorData) bool { return x.Name == name })
}

// add appends an f32 tensor of zeros.
func (f *ggufFile) add(name string, shape ...int64) {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	f.tensors = append(f.tensors, weights.TensorData{Name: name, Enc: "f32", Shape: shape, Data: make([]byte, 4*n)})
}

func (f *ggufFile) open(t testing.TB) *weights.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.gguf")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(weights.WriteGGUF(out, f.kv, f.tensors), out.Close()); err != nil {
		t.Fatal(err)
	}
	src, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

func TestBadGGUF(t *testing.T) {
	set := func(key string, v any) func(*ggufFile) { return func(f *ggufFile) { f.set(key, v) } }
	for _, c := range []struct {
		id, model string
		change    func(*ggufFile)
		want      string
	}{
		{"architecture", "llama31", set("general.architecture", "mamba"), `key "general.architecture": "mamba", expected one of llama, qwen2`},
		{"no architecture", "llama31", set("general.architecture", nil), `key "general.architecture": "", expected one of`},
		{"heads", "llama31", set("llama.attention.head_count", uint32(0)), `key "llama.attention.head_count": 0, expected 1 to`},
		{"divisor", "smollm2", set("llama.attention.head_count_kv", uint32(2)), `key "llama.attention.head_count_kv": 2, expected a divisor of the 3`},
		{"layers", "llama31", set("llama.block_count", uint32(1e9)), `key "llama.block_count": 1000000000, expected 1 to 1024`},
		{"vocab", "llama31", set("llama.vocab_size", uint32(1<<31)), `key "llama.vocab_size": 2147483648, expected 1 to`},
		{"base", "llama31", set("llama.rope.freq_base", float32(0)), `key "llama.rope.freq_base": 0, expected more than 0`},
		{"base nan", "llama31", set("llama.rope.freq_base", float32(math.NaN())), `key "llama.rope.freq_base": NaN, expected a finite number`},
		{"type", "llama31", set("llama.embedding_length", "64"), `key "llama.embedding_length": 64, expected a whole number`},
		{"eps type", "llama31", set("llama.attention.layer_norm_rms_epsilon", "x"), `layer_norm_rms_epsilon": x, expected a number`},
		{"per layer", "llama31", set("llama.attention.head_count_kv", []uint32{1, 2}), `1 and 2, expected the same in every layer`},
		{"experts", "llama31", set("llama.expert_count", uint32(8)), `key "llama.expert_count": 8, expected a model without experts`},
		{"yarn", "qwen3", set("qwen3.rope.scaling.type", "yarn"), `key "qwen3.rope.scaling.type": "yarn", expected none or linear`},
		{"value length", "llama31", set("llama.attention.value_length", uint32(16)), `16, expected the 32 elements of a key`},
		{"longrope", "phi3", func(f *ggufFile) { f.add("rope_factors_long.weight", 8) }, `tensor "rope_factors_long.weight": longrope scaling`},
		{"factors shape", "llama31", func(f *ggufFile) { f.tensor("rope_freqs.weight").Shape = []int64{4, 4} }, `tensor "rope_freqs.weight": f32[4 4], expected a vector of f32`},
		{"factors count", "llama31", func(f *ggufFile) { f.drop("rope_freqs.weight"); f.add("rope_freqs.weight", 8) }, `rope.factors": 8 factors, expected 16`},
		{"factors 0", "llama31", func(f *ggufFile) { clear(f.tensor("rope_freqs.weight").Data) }, `factor 0 is 0, expected a number above 0`},
		{"window pattern", "gemma3", set("gemma3.attention.sliding_window_pattern", []bool{true}), `1 layers, expected the 7 of block_count`},

		{"absent", "llama31", func(f *ggufFile) { f.drop("blk.1.ffn_up.weight") }, `tensor "blk.1.ffn_up.weight": absent, expected [80 64] for model.layers.1.mlp.up_proj`},
		{"absent norm", "llama31", func(f *ggufFile) { f.drop("output_norm.weight") }, `tensor "output_norm.weight": absent, expected [64] for model.norm`},
		{"shape", "llama31", func(f *ggufFile) { f.tensor("blk.0.attn_k.weight").Shape = []int64{64, 32} }, `tensor "blk.0.attn_k.weight": shape [64 32], expected [32 64] for`},
		{"norm shape", "llama31", func(f *ggufFile) { f.tensor("blk.0.attn_norm.weight").Shape = []int64{2, 32} }, `tensor "blk.0.attn_norm.weight": shape [2 32], expected [64] for`},
		{"fused shape", "phi3", func(f *ggufFile) { f.tensor("blk.0.attn_qkv.weight").Shape = []int64{48, 80} }, `tensor "blk.0.attn_qkv.weight": shape [48 80], expected [80 48] for`},
		{"embedding rows", "llama31", set("llama.vocab_size", uint32(97)), `tensor "token_embd.weight": shape [96 64], expected [97 64] for`},
		{"encoding", "llama31", func(f *ggufFile) {
			x := f.tensor("blk.0.attn_k.weight")
			x.Enc, x.Data = "f64", make([]byte, 8*32*64)
		}, `tensor "blk.0.attn_k.weight": encoding f64, expected one of f32 f16`},
		{"more layers", "llama31", set("llama.block_count", uint32(1)), `tensor "blk.1.attn_norm.weight": read by nothing in a llama of 1 layers`},
		{"unknown part", "llama31", func(f *ggufFile) { f.add("blk.0.attn_q_norm.weight", 32) }, `tensor "blk.0.attn_q_norm.weight": read by nothing`},
		{"bias of one", "qwen25", func(f *ggufFile) { f.drop("blk.1.attn_k.bias") }, `tensor "blk.1.attn_k.bias": absent, expected [`},
	} {
		t.Run(c.id, func(t *testing.T) {
			f := readGGUF(t, c.model)
			c.change(f)
			src := f.open(t)
			cfg, err := FromSource(src)
			if err == nil {
				_, err = Bind(cfg, src)
			}
			var typed *weights.Error
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &typed) || !strings.HasPrefix(err.Error(), src.Path) {
				t.Fatalf("error %v, expected ...%s...", err, c.want)
			}
		})
	}
}

// What GGUF files leave out.
func TestGGUFDefaults(t *testing.T) {
	read := func(model string, change func(*ggufFile)) Config {
		t.Helper()
		f := readGGUF(t, model)
		change(f)
		c, err := FromSource(f.open(t))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := read("gemma3", func(f *ggufFile) {
		f.set("gemma3.rope.freq_base_swa", nil)
		f.set("gemma3.attention.sliding_window", nil)
		f.set("gemma3.context_length", uint32(32768))
	})
	if c.Rope.LocalBase != 10000 || c.Window != 512 || c.Windows != FullEvery || c.WindowN != 6 || c.NormOffset != 0 {
		t.Errorf("gemma3: %+v", c)
	}
	c = read("gemma3", func(f *ggufFile) {
		f.set("gemma3.attention.sliding_window_pattern", []bool{true, false, true, true, true, true, true})
	})
	if c.Windows != ListedWindows || c.Windowed(1) || !c.Windowed(2) {
		t.Errorf("gemma3 with a list: %+v", c)
	}
	c = read("gemma2_old", func(f *ggufFile) {
		f.set("gemma2.attn_logit_softcapping", nil)
		f.set("gemma2.final_logit_softcapping", nil)
		f.set("gemma2.block_count", uint32(46)) // as the 27B has
	})
	if c.AttnCap != 50 || c.FinalCap != 30 || c.Windows != EvenWindows || c.Rope.Base != 10000 || c.AttnScale != 1/math.Sqrt(48./4) {
		t.Errorf("gemma2: %+v", c)
	}
	c = read("llama31", func(f *ggufFile) { f.set("llama.rope.scale_linear", float32(2)); f.drop("output.weight") })
	if c.Rope.Scaling != ir.ScaleLinear || c.Rope.Factor != 2 || c.Rope.Style != ir.RopeAdjacent || !c.TiedEmbeddings || c.NormEps != 1e-5 {
		t.Errorf("llama: %+v", c)
	}
	c = read("smollm2", func(f *ggufFile) { f.set("llama.vocab_size", nil); f.set("llama.attention.key_length", nil) })
	if c.Vocab != 320 || c.HeadDim != 16 {
		t.Errorf("smollm2: %+v", c)
	}
	if c := read("qwen3", func(*ggufFile) {}); c.Rope.Style != ir.RopeHalf || !c.QKNorm || c.Bias.QKV {
		t.Errorf("qwen3: %+v", c)
	}
}

// Phi-3's fused tensors are read as ranges of rows.
func TestFusedRows(t *testing.T) {
	src := readGGUF(t, "phi3").open(t)
	c, err := FromSource(src)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Bind(c, src)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		weight, tensor string
		row, rows      int64
	}{
		{"model.layers.1.self_attn.q_proj", "blk.1.attn_qkv.weight", 0, 48},
		{"model.layers.1.self_attn.k_proj", "blk.1.attn_qkv.weight", 48, 16},
		{"model.layers.1.self_attn.v_proj", "blk.1.attn_qkv.weight", 64, 16},
		{"model.layers.0.mlp.gate_proj", "blk.0.ffn_up.weight", 0, 72},
		{"model.layers.0.mlp.up_proj", "blk.0.ffn_up.weight", 72, 72},
	} {
		got := b[want.weight]
		if got.Tensor == nil || got.Tensor.Name != want.tensor || got.Row != want.row || got.Rows != want.rows {
			t.Errorf("%s: %+v, expected rows %d+%d of %s", want.weight, got, want.row, want.rows, want.tensor)
			continue
		}
		off, size := got.Extent()
		if off != got.Tensor.Offset+want.row*96 || size != want.rows*96 {
			t.Errorf("%s: bytes %d+%d", want.weight, off, size)
		}
		x, err := got.Float32()
		if err != nil || len(x) != int(want.rows*48) {
			t.Errorf("%s: %d values, %v", want.weight, len(x), err)
		}
	}
}

// A GGUF and the checkpoint that it was made from bind the same weights.
func TestNamesAgree(t *testing.T) {
	for _, name := range []string{"llama31", "qwen25", "gemma3", "phi3"} {
		var names [2][]string
		for i, path := range []string{filepath.Join(reference, name), filepath.Join(reference, "gguf", name, "model.gguf")} {
			src, err := weights.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			c, err := FromSource(src)
			if err != nil {
				t.Fatal(err)
			}
			b, err := Bind(c, src)
			if err != nil {
				t.Fatal(err)
			}
			for n := range b {
				names[i] = append(names[i], n)
			}
			slices.Sort(names[i])
		}
		if !slices.Equal(names[0], names[1]) {
			t.Errorf("%s: %v\nand %v", name, names[0], names[1])
		}
	}
}
