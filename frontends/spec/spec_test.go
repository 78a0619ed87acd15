package spec

import (
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"quire/frontends/decoder"
	"quire/ir"
	"quire/ir/types"
)

const tiny = `family: llama
layers: 2
hidden: 64
heads: 4
kv_heads: 2
ffn: 96
vocab: 100
context: 256
norm_eps: 1e-5
`

func parse(t *testing.T, text string) *Spec {
	t.Helper()
	s, err := Parse("dir/m.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s
}

func TestEveryKey(t *testing.T) {
	s := parse(t, `name: all
family: gemma3
layers: 4
hidden: 64
heads: 4
kv_heads: 2
head_dim: 24
ffn: 96
vocab: 100
context: 256
norm_eps: 1e-5
norm_offset: 0
qk_norm: false
post_norms: false
act: gelu
tied_embeddings: false
bias: {qkv: true, o: true, mlp: true}
rope:
  base: 500000
  local_base: 10000
  dim: 12
  style: adjacent
  scaling: llama3
  factor: 8
  low: 1
  high: 4
  original: 128
window: 16
window_layers: [1, 3]
attn_scale: 0.5
attn_softcap: 50
final_softcap: 30
embed_scale: 2
seed: 7
quantisation: {embed: q8_0, attn: q4_1, mlp: q4_0, head: f16}
compute: f16
page: 32
kv: int8
awq: {bits: 3, group: 64}
duo: {heads: h.tsv, threshold: 0.25, sink: 4, recent: 8, prefill: chunked, chunk: 512}
quest: {budget: 128, page: 8, physical-page: 32, dense_layers: 1, per: query-head, reselect: 2}
`)
	threshold := 0.25
	want := decoder.Config{
		Name: "all", Family: "gemma3", Layers: 4, Hidden: 64, Heads: 4, KVHeads: 2, HeadDim: 24, FFN: 96, Vocab: 100, MaxContext: 256,
		NormEps: 1e-5, Act: decoder.GELU, Bias: decoder.Bias{QKV: true, O: true, MLP: true},
		Rope:   decoder.Rope{Base: 500000, LocalBase: 10000, RotaryDim: 12, Style: ir.RopeAdjacent, Scaling: ir.ScaleLlama3, Factor: 8, Low: 1, High: 4, Original: 128},
		Window: 16, Windows: decoder.OddWindows, AttnScale: 0.5, AttnCap: 50, FinalCap: 30, EmbedScale: 2,
		Compute: types.F16, CacheElem: types.F16, Page: 32,
	}
	if !reflect.DeepEqual(s.Config, want) {
		t.Errorf("config\n%+v\nexpected\n%+v", s.Config, want)
	}
	options := Options{
		AWQ: &AWQ{3, 64}, KV: "int8",
		Duo:   &Duo{Heads: "dir/h.tsv", Sparsity: 0.5, Threshold: &threshold, Sink: 4, Recent: 8, Prefill: "chunked", Chunk: 512},
		Quest: &Quest{Budget: 128, Page: 8, PhysicalPage: 32, DenseLayers: 1, Per: "query-head", Reselect: 2},
	}
	if !reflect.DeepEqual(s.Options, options) {
		t.Errorf("options %+v", s.Options)
	}
	if !reflect.DeepEqual(s.Encodings, decoder.Encodings{"embed": "q8_0", "attn": "q4_1", "mlp": "q4_0", "head": "f16"}) || *s.Seed != 7 {
		t.Errorf("encodings %v, seed %v", s.Encodings, *s.Seed)
	}
}

func TestFamilyDefaults(t *testing.T) {
	gemma := strings.Replace(tiny, "llama", "gemma2", 1)
	c := parse(t, gemma+"window: 32\nquery_scale: 100\n").Config
	if !c.PostNorms || c.NormOffset != 1 || c.EmbedScale != 8 || !c.TiedEmbeddings || c.Act != decoder.GELUTanh || c.Windows != decoder.EvenWindows || c.AttnScale != 0.1 {
		t.Errorf("gemma2: %+v", c)
	}
	s := parse(t, gemma)
	if s.ForGGUF(); s.Config.NormOffset != 0 || s.Config.Windows != decoder.NoWindows {
		t.Errorf("gemma2 in GGUF: %+v", s.Config)
	}
	s = parse(t, tiny)
	if s.ForGGUF(); s.Config.Rope.Style != ir.RopeAdjacent {
		t.Error("llama in GGUF: rope is not adjacent")
	}
	s = parse(t, tiny+"rope: {style: half}\n")
	if s.ForGGUF(); s.Config.Rope.Style != ir.RopeHalf {
		t.Error("llama in GGUF with a style: it is not the given one")
	}
	if c := parse(t, strings.Replace(tiny, "llama", "qwen2", 1)).Config; !c.Bias.QKV || c.Bias.O || c.Name != "m" || c.HeadDim != 16 || c.Rope.Base != 1e4 {
		t.Errorf("qwen2: %+v", c)
	}
	if c := parse(t, tiny+"window: 8\nwindow_layers: {from: 1}\n").Config; c.Windowed(0) || !c.Windowed(1) {
		t.Errorf("from: %+v", c)
	}
	if s := parse(t, "weights: sub/model.gguf\ncontext: 100\nkv: f16\n"); s.Described || s.Weights != filepath.Join("dir", "sub/model.gguf") || s.Config.CacheElem != types.F16 {
		t.Errorf("weights alone: %+v", s)
	}
	if s := parse(t, "weights: /abs\nawq: bits=3,group=32\nduo: h.tsv,sparsity=0.25\nquest: budget=64\n"); s.Weights != "/abs" || *s.Options.AWQ != (AWQ{3, 32}) ||
		s.Options.Duo.Sparsity != 0.25 || s.Options.Quest.Budget != 64 {
		t.Errorf("options as on a command line: %+v", s.Options)
	}
}

// Each bad spec, the place of its first error and what it says. No case may take another way out than Errors.
func TestBadSpecs(t *testing.T) {
	for i, c := range []struct{ text, want string }{
		{"", "m.yaml:1:1: empty, expected a mapping of keys to values"},
		{"- 1\n- 2\n", "a list, expected a mapping"},
		{"just text", "m.yaml:1:1: a value, expected a mapping"},
		{"family: [\n", "not YAML: "},
		{"a: b: c\n", "not YAML: "},
		{"\tfamily: llama\n", "not YAML: "},
		{"family: llama\nfamily: llama\n", "m.yaml:2:1: not YAML: "},
		{tiny + "---\n" + tiny, "a second document, expected one"},
		{"family: &a llama\nname: *a\n", "a YAML Anchor, expected plain values"},
		{"<<: {family: llama}\n", "a YAML merge, expected plain values"},
		{"family: !!str llama\n", "a YAML Tag, expected plain values"},
		{"a: " + strings.Repeat("[", 1000), "brackets nested deeper than 8"},
		{strings.Repeat("- ", 5000), "expected"},
		{strings.Repeat("#", 70000), "expected a spec of at most 16384"},
		{"a: {b: {c: {d: {e: {f: {g: {h: 1}}}}}}}\n", "a: no such key"},
		{"family: mamba\n", `m.yaml:1:9: family: mamba, expected llama, mistral,`},
		{"layers: 2\n", "neither family nor weights, expected a family of [llama"},
		{"family: llama\n", "m.yaml:1:9: family: layers of llama is absent, expected a value"},
		{tiny + "layer: 3\n", "m.yaml:10:1: layer: no such key, expected perhaps layers"},
		{tiny + "xyzzy: 3\n", "xyzzy: no such key, expected one of name family layers"},
		{tiny + "rope: {bass: 3}\n", "m.yaml:10:8: rope.bass: no such key, expected perhaps rope.base"},
		{tiny + "rope: 10000\n", "m.yaml:10:7: rope: a value, expected mapping"},
		{tiny + "rope: [1]\n", "rope: a list, expected mapping"},
		{tiny + "act: {silu: 1}\n", "act: a mapping, expected silu, gelu_tanh or gelu"},
		{tiny + "act: relu\n", "m.yaml:10:6: act: relu, expected silu, gelu_tanh or gelu"},
		{tiny + "head_dim: 16.5\n", "m.yaml:10:11: head_dim: 16.5, expected a whole number"},
		{tiny + "head_dim: '16'\n", `head_dim: "16", expected a whole number`},
		{tiny + "head_dim: 99999999999999999999\n", "expected a whole number"},
		{tiny + "head_dim:\n", `head_dim: null, expected a whole number`},
		{tiny + "head_dim: 0\n", "head_dim: 0, expected 1 or more"},
		{tiny + "head_dim: 15\n", "rope.dim: 15, expected an even number"},
		{tiny + "rope: {base: .nan}\n", "m.yaml:10:14: rope.base: .nan, expected a number"},
		{tiny + "rope: {base: 1e999}\n", "rope.base: 1e999, expected a number"},
		{tiny + "rope: {base: 0}\n", "m.yaml:10:14: rope.base: 0, expected more than 0"},
		{tiny + "rope: {scaling: yarn}\n", "rope.scaling: yarn, expected none, linear or llama3"},
		{tiny + "rope: {scaling: linear}\n", "m.yaml:10:7: rope.factor: 0, expected a number above 0"},
		{tiny + "qk_norm: yes\n", "qk_norm: yes, expected true or false"},
		{tiny + "window: 0\n", "window: 0, expected 1 or more"},
		{tiny + "window_layers: all\n", "m.yaml:10:16: window_layers: without window"},
		{tiny + "window: 8\nwindow_layers: most\n", "window_layers: most, expected none, all, even, odd"},
		{tiny + "window: 8\nwindow_layers: [0, 5]\n", "m.yaml:11:16: window_layers: layer 5, expected 0 to 1"},
		{tiny + "window: 8\nwindow_layers: [0, x]\n", "window_layers: x, expected a whole number"},
		{tiny + "window: 8\nwindow_layers: [999999999]\n", "layer 999999999, expected one of the model's"},
		{tiny + "window: 8\nwindow_layers: {full_every: 0}\n", "window_layers: 0, expected 1 or more"},
		{tiny + "quantisation: q9_0\n", "m.yaml:10:15: quantisation: q9_0, expected one of f32 f16"},
		{tiny + "quantisation: {mlp: q5g128}\n", "quantisation.mlp: q5g128, expected one of"},
		{tiny + "quantisation: {attn: q4_k}\n", "m.yaml:10:22: quantisation.attn: model.layers.0.self_attn.q_proj: rows of 64 elements, expected a multiple of q4_k's block of 256"},
		{tiny + "quantisation: q4_0\nweights: x.gguf\n", "m.yaml:10:15: quantisation: beside weights"},
		{"weights: x.gguf\nhidden: 64\n", "m.yaml:2:9: hidden: given without family"},
		{tiny + "name: ''\n", "name: empty, expected text"},
		{tiny + "seed: 1.5\n", "seed: 1.5, expected a whole number"},
		{tiny + "kv: f64\n", "kv: f64, expected f32, f16, bf16, int8 or int4"},
		{tiny + "query_scale: 0\n", "query_scale: 0, expected more than 0"},
		{strings.Replace(tiny, "kv_heads: 2", "kv_heads: 3", 1), "m.yaml:5:11: kv_heads: 3, expected a divisor of the 4 query heads"},
		{strings.Replace(tiny, "layers: 2", "layers: 1000000000", 1), "m.yaml:2:9: layers: 1000000000, expected 1 to 1024"},
		{strings.Replace(tiny, "vocab: 100", "vocab: 2147483648", 1), "m.yaml:7:8: vocab: 2147483648, expected 1 to"},
		{tiny + "awq: {bits: 5}\n", "m.yaml:10:13: awq.bits: 5, expected 4 or 3"},
		{tiny + "awq: bits=4,groop=128\n", "m.yaml:10:6: awq.groop: no such key, expected perhaps awq.group"},
		{tiny + "duo: {sink: 4}\n", "m.yaml:10:6: duo: no heads, expected a table of gates"},
		{tiny + "duo: a.tsv,sparsity=2\n", "duo.sparsity: 2, expected 0 to 1"},
		{tiny + "duo: a.tsv,sparsity=0.5,threshold=0.1\n", "duo.threshold: beside sparsity, expected one of them"},
		{tiny + "duo: a.tsv,chunk=8\n", "duo.chunk: 8 with prefill strict"},
		{tiny + "quest: {page: 16}\n", "quest: no budget"},
		{tiny + "quest: budget=64,page=48\n", "quest.page: 48, expected a divisor of the physical page 64"},
		{tiny + "quest: budget=64,reselect=24\n", "quest.reselect: 24, expected a divisor of the physical page 64"},
		{tiny + "quest: budget=64,budget=65\n", "quest.budget: twice, expected once"},
		{tiny + "quest: [64]\n", "quest: a list, expected mapping, or text"},
	} {
		_, err := Parse("m.yaml", []byte(c.text))
		var typed Errors
		if err == nil || !errors.As(err, &typed) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "m.yaml:") {
			t.Errorf("%d: error %v, expected ...%s...\n%.200s", i, err, c.want, c.text)
		}
	}
}

func TestErrorsTogether(t *testing.T) {
	_, err := Parse("m.yaml", []byte(strings.Replace(tiny, "hidden: 64", "hidden: wide", 1)+"colour: red\nact: relu\n"))
	want := `m.yaml:3:9: hidden: wide, expected a whole number
  hidden: wide
          ^
m.yaml:10:1: colour: no such key, expected one of name family`
	if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "m.yaml:11:6: act: relu") {
		t.Fatalf("%v\nexpected\n%s", err, want)
	}
	many := tiny
	for range 100 {
		many += "x" + strings.Repeat("y", len(many)%50) + string(rune('a'+len(many)%26)) + ": 1\n"
	}
	var es Errors
	if _, err := Parse("m.yaml", []byte(many)); !errors.As(err, &es) || len(es) > maxErrors {
		t.Fatalf("%d errors, expected at most %d", len(es), maxErrors)
	}
}

func TestParseOption(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"awq", "bits=5", "--awq: awq.bits: 5, expected 4 or 3"},
		{"awq", "4", `--awq: awq.4: no such key, expected one of bits group`},
		{"duo", "", "--duo: duo: no heads"},
		{"duo", "sparsity=0.5", "--duo: duo: no heads"},
		{"quest", "page=16", "--quest: quest: no budget"},
		{"quest", "budget=x", "--quest: quest.budget: x, expected a whole number"},
		{"kv", "f8", "--kv: kv: f8, expected f32"},
		{"layers", "3", "--layers: no such model option, expected awq, duo, quest or kv"},
	} {
		var o Options
		if err := ParseOption(&o, c.name, c.text); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s %q: %v, expected %s", c.name, c.text, err, c.want)
		}
		if !reflect.DeepEqual(o, Options{}) {
			t.Errorf("%s %q: options were changed: %+v", c.name, c.text, o)
		}
	}
	var o Options
	for _, c := range []struct{ name, text string }{{"awq", ""}, {"duo", "h.tsv"}, {"quest", "budget=4096,dense-layers=0"}, {"kv", "f16"}} {
		if err := ParseOption(&o, c.name, c.text); err != nil {
			t.Error(err)
		}
	}
	want := Options{
		AWQ: &AWQ{Bits: 4}, KV: "f16", Duo: &Duo{Heads: "h.tsv", Sparsity: 0.5, Sink: 64, Recent: 256, Prefill: "strict"},
		Quest: &Quest{Budget: 4096, Page: 16, PhysicalPage: 64, Per: "kv-group", Reselect: 1},
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("%+v", o)
	}
	if got := (Options{KV: "f32"}).Or(o); got.KV != "f32" || got.AWQ != o.AWQ {
		t.Errorf("Or: %+v", got)
	}
}

func TestReadAbsent(t *testing.T) {
	if _, err := Read(filepath.Join(t.TempDir(), "none.yaml")); err == nil || !strings.Contains(err.Error(), "no such spec") {
		t.Errorf("error %v", err)
	}
	if _, err := Read(t.TempDir()); err == nil {
		t.Error("a folder: no error")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(tiny))
	f.Add([]byte(tiny + "rope: {scaling: llama3, factor: 8, low: 1, high: 4, original: 128}\nwindow: 8\nwindow_layers: [0]\n"))
	f.Add([]byte("weights: a\nawq: bits=3\nduo: {heads: a, threshold: 0.5}\nquest: budget=1\n"))
	files, _ := fs.Glob(Examples(), "*.yaml")
	for _, name := range files {
		text, err := fs.ReadFile(Examples(), name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("m.yaml", text)
		if err != nil {
			var es Errors
			if !errors.As(err, &es) || len(es) == 0 || err.Error() == "" {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		if s.Described {
			if err := s.Config.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
