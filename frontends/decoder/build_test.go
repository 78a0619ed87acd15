package decoder

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"quire/ir"
	"quire/ir/types"
)

// drawConfig is a small legal model of any family.
func drawConfig(t *rapid.T) Config {
	kv := rapid.IntRange(1, 3).Draw(t, "kv_heads")
	c := Config{
		Family: rapid.SampledFrom(Families()).Draw(t, "family"),
		Layers: rapid.IntRange(1, 7).Draw(t, "layers"), Hidden: 8 * rapid.IntRange(1, 4).Draw(t, "hidden"),
		KVHeads: kv, Heads: kv * rapid.IntRange(1, 3).Draw(t, "group"), HeadDim: 2 * rapid.IntRange(1, 8).Draw(t, "head_dim"),
		FFN: rapid.IntRange(1, 40).Draw(t, "ffn"), Vocab: rapid.IntRange(1, 50).Draw(t, "vocab"), MaxContext: rapid.IntRange(1, 20000).Draw(t, "context"),
		NormEps: 1e-5, QKNorm: rapid.Bool().Draw(t, "qk_norm"), PostNorms: rapid.Bool().Draw(t, "post_norms"),
		Act:     Act(rapid.IntRange(0, 2).Draw(t, "act")),
		Bias:    Bias{rapid.Bool().Draw(t, "qkv"), rapid.Bool().Draw(t, "o"), rapid.Bool().Draw(t, "mlp")},
		Window:  rapid.IntRange(1, 100).Draw(t, "window"),
		Windows: Windows(rapid.IntRange(0, 5).Draw(t, "windows")), WindowN: rapid.IntRange(1, 7).Draw(t, "n"),
		TiedEmbeddings: rapid.Bool().Draw(t, "tied"),
		Compute:        rapid.SampledFrom([]types.DType{types.F32, types.F16, types.BF16}).Draw(t, "compute"),
	}
	c.Rope = Rope{Base: 10000, LocalBase: rapid.SampledFrom([]float64{0, 500}).Draw(t, "local"), Style: ir.RopeStyle(rapid.IntRange(0, 1).Draw(t, "style"))}
	c.AttnCap = rapid.SampledFrom([]float64{0, 50}).Draw(t, "cap")
	c.FinalCap = c.AttnCap
	c.Complete()
	return c
}

// Every legal configuration builds, its module survives its text, and its weights are exactly those of Needs.
func TestEveryConfigBuilds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		b, err := RandomBindings(c, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Build(c, b)
		if err != nil {
			t.Fatal(err)
		}
		text := ir.Print(m)
		back, err := ir.Parse("m", text)
		if err != nil || ir.Print(back) != text {
			t.Fatalf("%v\n%s", err, text)
		}
		if len(m.Weights) != len(c.Needs()) || len(m.Caches) != c.Layers {
			t.Fatalf("%d weights and %d caches, expected %d and %d", len(m.Weights), len(m.Caches), len(c.Needs()), c.Layers)
		}
		read := map[string]bool{}
		m.Func("step").Walk(func(v *ir.Value) {
			for _, a := range v.Args {
				read[ir.WeightName(a)] = true
			}
		})
		for _, w := range m.Weights {
			if !read[w.Name] {
				t.Fatalf("weight %s is read by nothing", w.Name)
			}
		}
		for i, want := range []string{"logits", "argmax", "logsumexp"} {
			if got := m.Func("step").Results[i].Name; got != want {
				t.Fatalf("result %d is %q, expected %s", i, got, want)
			}
		}
	})
}

// The simplest rule that marks the listed layers is found, and marks them.
func TestListWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		c.Window, c.MaxContext = 8, 64
		list := rapid.SliceOfN(rapid.Bool(), c.Layers, c.Layers).Draw(t, "list")
		c.ListWindows(list)
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		for i, w := range list {
			if c.Windowed(i) != w {
				t.Fatalf("layer %d: %v, expected %v by %s", i, !w, w, c.Windows)
			}
		}
	})
}

const oneLayer = `module "tiny"
dim N launch 0..64
dim S launch 1..256
dim M launch 0..64
dim C device 0..64
table @full {page = 64}
cache @kv0: kv<f32>[1, 4] on @full
weight @model.embed_tokens: f32[10, 8]
weight @model.layers.0.input_layernorm: f32[8]
weight @model.layers.0.self_attn.q_proj: f32[8, 8]
weight @model.layers.0.self_attn.q_proj.bias: f32[8]
weight @model.layers.0.self_attn.k_proj: f32[4, 8]
weight @model.layers.0.self_attn.k_proj.bias: f32[4]
weight @model.layers.0.self_attn.v_proj: f32[4, 8]
weight @model.layers.0.self_attn.v_proj.bias: f32[4]
weight @model.layers.0.self_attn.o_proj: f32[8, 8]
weight @model.layers.0.post_attention_layernorm: f32[8]
weight @model.layers.0.mlp.gate_proj: f32[12, 8]
weight @model.layers.0.mlp.up_proj: f32[12, 8]
weight @model.layers.0.mlp.down_proj: f32[8, 12]
weight @model.norm: f32[8]
`

// The text of one layer: what passes, goldens and people see.
func TestOneLayer(t *testing.T) {
	c := Config{
		Name: "tiny", Family: "qwen2", Layers: 1, Hidden: 8, Heads: 2, KVHeads: 1, HeadDim: 4, FFN: 12, Vocab: 10, MaxContext: 64,
		NormEps: 1e-5, Bias: Bias{QKV: true}, TiedEmbeddings: true, Rope: Rope{Base: 10000},
	}
	c.Complete()
	b, err := RandomBindings(c, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Build(c, b)
	if err != nil {
		t.Fatal(err)
	}
	text := ir.Print(m)
	head, _, _ := strings.Cut(text, "func ")
	if head != oneLayer {
		t.Errorf("declarations\n%s\nexpected\n%s", head, oneLayer)
	}
	at := 0
	for _, want := range []string{
		"@step(%tok: i32[N], %pos: i32[N], %seq: rows[N, S], %out: i32[M], %kv0: @kv0) -> (f32[M, 10], i32[M], f32[M], @kv0)",
		"= embed %tok, @model.embed_tokens", "= rope.table %pos {dim = 4, base = 10000}",
		"scope layers.0.attn", "rmsnorm", "= matmul %", "= add %", ", @model.layers.0.self_attn.q_proj.bias", "= unflatten", "= rope %", "= kv.append %kv0,",
		"= attention %", "{scale = 0.5}", "= flatten", ", @model.layers.0.self_attn.o_proj", "= add %",
		"scope layers.0.mlp", "@model.layers.0.post_attention_layernorm", "= silu %", "= mul %", ", @model.layers.0.mlp.down_proj",
		"scope head", "= gather %", ", @model.norm", "%logits: f32[M, 10] = matmul %", ", @model.embed_tokens",
		"%argmax: i32[M] = argmax %logits", "%logsumexp: f32[M] = logsumexp %logits", "return %logits, %argmax, %logsumexp, %",
	} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("no %q after byte %d of\n%s", want, at, text)
		}
		at += i + len(want)
	}
}

func TestBuildNeedsEveryWeight(t *testing.T) {
	c := Config{Family: "llama", Layers: 1, Hidden: 8, Heads: 2, FFN: 8, Vocab: 8, MaxContext: 8, Rope: Rope{Base: 1e4}}
	c.Complete()
	b, err := RandomBindings(c, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	delete(b, "model.norm")
	if _, err := Build(c, b); err == nil || !strings.Contains(err.Error(), "weight model.norm: bound to nothing") {
		t.Errorf("error %v", err)
	}
	if _, err := RandomBindings(c, 1, Encodings{KindMLP: "q4_0"}); err == nil || !strings.Contains(err.Error(), "rows of 8 elements, expected a multiple of q4_0's block of 32") {
		t.Errorf("error %v", err)
	}
	if b, err := RandomBindings(c, 1, Encodings{KindMLP: "q4g8"}); err != nil || b["model.layers.0.mlp.up_proj"].Enc != "q4g8" {
		t.Errorf("grouped integers: error %v", err)
	}
}
