package frontends

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"quire/frontends/spec"
	"quire/ir"
	"quire/ir/types"
	"quire/ir/types/block"
	"quire/ir/types/noise"
)

// smollm2 is the default model's file in the product's cache, or a skip.
func smollm2(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(cache, "quire/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s", path)
	}
	return path
}

func TestSmolLM2(t *testing.T) {
	path := smollm2(t)
	best := time.Hour
	var m *Model
	for range 3 { // the fastest of three: the machine is shared
		start := time.Now()
		var err error
		if m, err = Load(path, Options{}); err != nil {
			t.Fatal(err)
		}
		text := ir.Print(m.Module)
		if err := ir.Verify(m.Module); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(start))
		defer m.Close()
		for _, want := range []string{
			"weight @model.layers.29.mlp.down_proj: q4_1[576, 1536]\n",
			"weight @model.embed_tokens: q8_0[49152, 576]\n",
			"weight @model.norm: f32[576]\n",
			"rope.table %pos {dim = 64, base = 100000}",
			"style = adjacent",
			"cache @kv0: kv<f32>[3, 64] on @full\n",
			"%logits: f32[M, 49152] = matmul",
			"return %logits, %argmax, %logsumexp, ",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in the module", want)
			}
		}
	}
	if best > 100*time.Millisecond {
		t.Errorf("loaded, printed and verified in %v, expected less than 100 ms", best)
	}
	c := m.Config
	if c.Layers != 30 || c.Heads != 9 || c.KVHeads != 3 || c.HeadDim != 64 || c.FFN != 1536 || c.MaxContext != 8192 || !c.TiedEmbeddings {
		t.Errorf("config %+v", c)
	}
	if !slices.Equal(m.Generation.EOS, []int32{2}) || m.Tokenizer.GGUF == nil || !strings.Contains(m.ChatTemplate, "<|im_start|>") {
		t.Errorf("eos %v, tokenizer %v, template %q", m.Generation.EOS, m.Tokenizer.GGUF != nil, m.ChatTemplate)
	}
	if got := c.KVBytesPerToken(); got != 4*11520 {
		t.Errorf("%d bytes of cache a token, expected %d", got, 4*11520)
	}
}

func load(t *testing.T, path string, o Options) *Model {
	t.Helper()
	m, err := Load(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestOptions(t *testing.T) {
	dir := filepath.Join(reference, "qwen25") // has biases, which are f32 beside f16 activations
	m := load(t, dir, Options{Context: 100, Compute: types.F16, Options: spec.Options{KV: "bf16"}})
	text := ir.Print(m.Module)
	for _, want := range []string{
		"dim N launch 0..100\n", "dim C device 0..100\n", "kv<bf16>", "f16[N, 64] = embed", "f32[M, 96] = matmul", "f16[64] = cast @model.layers.0.self_attn.q_proj.bias",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if m := load(t, dir, Options{Options: spec.Options{KV: "int8"}}); m.Options.KV != "int8" || !strings.Contains(ir.Print(m.Module), "kv<f32>") {
		t.Errorf("kv %q: expected a pass to make it of caches of floats", m.Options.KV)
	}
	_, err := Load(dir, Options{Context: 257})
	if err == nil || !strings.Contains(err.Error(), "257 tokens, expected 1 to the model's 256") {
		t.Errorf("context beyond the model's: %v", err)
	}
	if m := load(t, dir, Options{NoMmap: true}); m.Module == nil {
		t.Error("no module without mmap")
	}
}

// Windows that cover the context are left out, as are their tables.
func TestWindowBeyondContext(t *testing.T) {
	for _, c := range []struct {
		context int
		want    bool
	}{{8, false}, {9, true}} {
		m := load(t, filepath.Join(reference, "mistral"), Options{Context: c.context})
		if got := strings.Contains(ir.Print(m.Module), "table @window"); got != c.want {
			t.Errorf("context %d with window 8: window table %v, expected %v", c.context, got, c.want)
		}
	}
}

func TestGenerationDefaults(t *testing.T) {
	for _, c := range []struct {
		dir string
		eos []int32
	}{{"smollm2", []int32{2}}, {"gemma3_old", []int32{1, 3}}} {
		m := load(t, filepath.Join(reference, c.dir), Options{})
		if !slices.Equal(m.Generation.EOS, c.eos) || m.Generation.Temperature != nil {
			t.Errorf("%s: %+v, expected eos %v and no sampling", c.dir, m.Generation, c.eos)
		}
	}
	m := load(t, filepath.Join(reference, "smollm2"), Options{})
	if m.ChatTemplate == "" || m.Tokenizer.JSON == nil || m.Tokenizer.Config == nil || m.Tokenizer.GGUF != nil {
		t.Error("smollm2: chat template or tokenizer is absent")
	}
}

// copyDir copies a reference model into a folder of the test, changing or adding (text) files.
func copyDir(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(reference, name))); err != nil {
		t.Fatal(err)
	}
	for f, text := range files {
		if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSamplingAndTemplates(t *testing.T) {
	dir := copyDir(t, "llama2", map[string]string{
		"generation_config.json": `{"do_sample": true, "top_p": 0.9, "eos_token_id": [2, 7], "repetition_penalty": 1.1}`,
		"tokenizer_config.json":  `{"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]}`,
	})
	m := load(t, dir, Options{})
	g := m.Generation
	if *g.Temperature != 1 || *g.TopP != 0.9 || *g.RepetitionPenalty != 1.1 || g.TopK != nil || !slices.Equal(g.EOS, []int32{2, 7}) {
		t.Errorf("generation %+v", g)
	}
	if m.ChatTemplate != "D" {
		t.Errorf("template %q, expected the default one", m.ChatTemplate)
	}
	for _, files := range []map[string]string{
		{"generation_config.json": `{"eos_token_id": "x"}`},
		{"tokenizer_config.json": `{"chat_template": 3}`},
		{"quantize_config.json": `{}`},
	} {
		if m, err := Load(copyDir(t, "llama2", files), Options{}); err == nil {
			m.Close()
			t.Errorf("%v: no error", files)
		}
	}
}

const llama2Spec = `family: llama
layers: 2
hidden: 48
heads: 3
ffn: 72
vocab: 96
context: 256
norm_eps: 1e-5
weights: WEIGHTS
`

const smollm2Spec = `family: llama
layers: 2
hidden: 48
heads: 3
kv_heads: 1
ffn: 72
vocab: 320
context: 256
norm_eps: 1e-5
rope: {base: 100000}
tied_embeddings: true
weights: WEIGHTS
`

// A spec that describes a model gives the module that the model's own file gives.
func TestSpecWithWeights(t *testing.T) {
	for _, c := range []struct{ name, weights, text string }{
		{"hf", filepath.Join(reference, "llama2"), llama2Spec},
		{"gguf", filepath.Join(reference, "gguf/smollm2/model.gguf"), smollm2Spec},
		{"gguf itself", filepath.Join(reference, "gguf/smollm2/model.gguf"), "weights: WEIGHTS\n"},
		{"safetensors", filepath.Join(reference, "smollm2/model.safetensors"), smollm2Spec},
	} {
		t.Run(c.name, func(t *testing.T) {
			abs, err := filepath.Abs(c.weights)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "m.yaml")
			text := "name: x\n" + strings.Replace(c.text, "WEIGHTS", abs, 1)
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			got := load(t, path, Options{})
			own := load(t, strings.TrimSuffix(c.weights, "model.safetensors"), Options{})
			own.Module.Name = "x"
			if g, w := ir.Print(got.Module), ir.Print(own.Module); g != w {
				t.Errorf("module of the spec\n%s\nmodule of the file\n%s", g, w)
			}
			if got.Name != "x" || len(got.Bindings) != len(own.Bindings) {
				t.Errorf("name %q, %d bindings, expected x and %d", got.Name, len(got.Bindings), len(own.Bindings))
			}
		})
	}
}

func TestRandomWeights(t *testing.T) {
	path := "spec/examples/smollm2-135m.yaml"
	m, same, other := load(t, path, Options{}), load(t, path, Options{}), load(t, path, Options{Seed: 1})
	name := "model.layers.3.mlp.down_proj"
	x, err := m.Float32(name)
	if err != nil {
		t.Fatal(err)
	}
	var sq float64
	for _, v := range x {
		sq += float64(v) * float64(v)
	}
	if std, want := math.Sqrt(sq/float64(len(x))), 1/math.Sqrt(1536); math.Abs(std/want-1) > 0.05 {
		t.Errorf("standard deviation %v, expected %v", std, want)
	}
	data := make([]byte, len(x)/32*20)
	if err := block.EncodeRows("q4_1", 1536, x, data); err != nil {
		t.Fatal(err)
	}
	again := make([]float32, len(x))
	if err := block.DecodeRows("q4_1", 1536, data, again); err != nil {
		t.Fatal(err)
	}
	for i := range x {
		if d := math.Abs(float64(again[i] - x[i])); d > 1e-3 {
			t.Fatalf("element %d: %v, which q4_1 holds as %v: not rounded as its encoding does", i, x[i], again[i])
		}
	}
	y, _ := same.Float32(name)
	z, _ := other.Float32(name)
	if !slices.Equal(x, y) || slices.Equal(x, z) {
		t.Error("values must depend on the seed and on nothing else")
	}
	norm, _ := m.Float32("model.norm")
	for _, v := range norm {
		if v < 0.7 || v > 1.3 {
			t.Fatalf("norm weight %v, expected near 1", v)
		}
	}
	if _, err := m.Float32("nope"); err == nil {
		t.Error("unknown weight: no error")
	}
	if !reflect.DeepEqual(m.Bindings[name].Elem(), types.Quantised("q4_1")) {
		t.Errorf("element %v", m.Bindings[name].Elem())
	}
}

// What a Program is told of a weight leads to the same values: bytes of a file, or a stream of random ones.
func TestSegments(t *testing.T) {
	for _, path := range []string{filepath.Join(reference, "gguf/phi3/model.gguf"), filepath.Join(reference, "llama3"), "spec/examples/smollm2-135m.yaml"} {
		m := load(t, path, Options{})
		sources, err := m.Sources()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"model.layers.1.self_attn.v_proj", "model.layers.0.mlp.up_proj", "model.norm"} {
			s, err := m.Segment(name)
			if err != nil {
				t.Fatal(err)
			}
			want, err := m.Float32(name)
			if err != nil {
				t.Fatal(err)
			}
			cols := len(want) / s.Rows
			got, data := make([]float32, len(want)), make([]byte, s.Bytes)
			if s.Source < 0 {
				noise.Fill(got, s.Seed, 0, s.Mean, s.Std)
				e, _ := block.Lookup(s.Elem)
				data = make([]byte, len(want)/e.Block*e.Bytes)
				err = block.EncodeRows(s.Elem, cols, got, data)
			} else {
				var f *os.File
				if f, err = os.Open(sources[s.Source].Path); err == nil {
					_, err = f.ReadAt(data, s.Offset)
					f.Close()
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := block.DecodeRows(s.Elem, cols, data, got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: the segment of %s holds other values", path, name)
			}
		}
	}
	if _, err := load(t, filepath.Join(reference, "llama3"), Options{}).Segment("nope"); err == nil {
		t.Error("unknown weight: no error")
	}
}
