package decoder

import (
	"fmt"
	"strings"
)

// Kind groups weights that one choice of encoding covers.
type Kind string

// The kinds.
const (
	KindEmbed Kind = "embed"
	KindAttn  Kind = "attn"
	KindMLP   Kind = "mlp"
	KindHead  Kind = "head"
	KindNorm  Kind = "norm" // f32 vectors in IR whatever the file holds; biases too
	KindBias  Kind = "bias"
)

// Need is one weight that a Config asks for.
type Need struct {
	Name string // in IR: Hugging Face's without ".weight"
	Kind Kind
	Rows int
	Cols int // 1 for a vector of Rows elements

	role  *role
	layer int // -1 outside layers
}

// Vector reports whether the weight is a norm or a bias.
func (n Need) Vector() bool { return n.Kind == KindNorm || n.Kind == KindBias }

// role is one row of the table of weights: what it is called and how large it is.
type role struct {
	id   string // the key of layer.weight in build.go
	hf   string // in IR and config.json's world; per layer below model.layers.N
	gguf string // per layer below blk.N
	kind Kind
	rows func(*Config) int
	cols func(*Config) int
	when func(*Config) bool // nil: always
	bias func(*Config) bool // nil: never
}

func one(*Config) int        { return 1 }
func hidden(c *Config) int   { return c.Hidden }
func ffn(c *Config) int      { return c.FFN }
func vocab(c *Config) int    { return c.Vocab }
func headDim(c *Config) int  { return c.HeadDim }
func queries(c *Config) int  { return c.Heads * c.HeadDim }
func keys(c *Config) int     { return c.KVHeads * c.HeadDim }
func qkNorm(c *Config) bool  { return c.QKNorm }
func post(c *Config) bool    { return c.PostNorms }
func noPost(c *Config) bool  { return !c.PostNorms }
func biasQKV(c *Config) bool { return c.Bias.QKV }
func biasO(c *Config) bool   { return c.Bias.O }
func biasMLP(c *Config) bool { return c.Bias.MLP }

var (
	embedRole  = role{id: "embed", hf: "model.embed_tokens", gguf: "token_embd", kind: KindEmbed, rows: vocab, cols: hidden}
	layerRoles = []role{
		{id: "attn_norm", hf: "input_layernorm", gguf: "attn_norm", kind: KindNorm, rows: hidden, cols: one},
		{id: "q", hf: "self_attn.q_proj", gguf: "attn_q", kind: KindAttn, rows: queries, cols: hidden, bias: biasQKV},
		{id: "k", hf: "self_attn.k_proj", gguf: "attn_k", kind: KindAttn, rows: keys, cols: hidden, bias: biasQKV},
		{id: "v", hf: "self_attn.v_proj", gguf: "attn_v", kind: KindAttn, rows: keys, cols: hidden, bias: biasQKV},
		{id: "q_norm", hf: "self_attn.q_norm", gguf: "attn_q_norm", kind: KindNorm, rows: headDim, cols: one, when: qkNorm},
		{id: "k_norm", hf: "self_attn.k_norm", gguf: "attn_k_norm", kind: KindNorm, rows: headDim, cols: one, when: qkNorm},
		{id: "o", hf: "self_attn.o_proj", gguf: "attn_output", kind: KindAttn, rows: hidden, cols: queries, bias: biasO},
		{id: "post_attn_norm", hf: "post_attention_layernorm", gguf: "post_attention_norm", kind: KindNorm, rows: hidden, cols: one, when: post},
		{id: "ffn_norm", hf: "pre_feedforward_layernorm", gguf: "ffn_norm", kind: KindNorm, rows: hidden, cols: one, when: post},
		{id: "ffn_norm", hf: "post_attention_layernorm", gguf: "ffn_norm", kind: KindNorm, rows: hidden, cols: one, when: noPost},
		{id: "gate", hf: "mlp.gate_proj", gguf: "ffn_gate", kind: KindMLP, rows: ffn, cols: hidden, bias: biasMLP},
		{id: "up", hf: "mlp.up_proj", gguf: "ffn_up", kind: KindMLP, rows: ffn, cols: hidden, bias: biasMLP},
		{id: "down", hf: "mlp.down_proj", gguf: "ffn_down", kind: KindMLP, rows: hidden, cols: ffn, bias: biasMLP},
		{id: "post_ffn_norm", hf: "post_feedforward_layernorm", gguf: "post_ffw_norm", kind: KindNorm, rows: hidden, cols: one, when: post},
	}
	normRole = role{id: "norm", hf: "model.norm", gguf: "output_norm", kind: KindNorm, rows: hidden, cols: one}
	headRole = role{id: "head", hf: "lm_head", gguf: "output", kind: KindHead, rows: vocab, cols: hidden,
		when: func(c *Config) bool { return !c.TiedEmbeddings }}
)

// fusions lists tensors that hold the rows of several roles, in order: Phi-3's. One is read where the first role's
// own tensor is absent.
var fusions = []struct {
	ids      []string
	hf, gguf string
}{
	{[]string{"q", "k", "v"}, "self_attn.qkv_proj", "attn_qkv"},
	{[]string{"gate", "up"}, "mlp.gate_up_proj", "ffn_up"},
}

// Needs lists every weight of the model, in the order in which the step reads them; a bias follows its linear.
func (c *Config) Needs() []Need {
	var out []Need
	add := func(r *role, layer int) {
		if r.when != nil && !r.when(c) {
			return
		}
		name := r.irName(layer)
		out = append(out, Need{name, r.kind, r.rows(c), r.cols(c), r, layer})
		if r.bias != nil && r.bias(c) {
			out = append(out, Need{name + ".bias", KindBias, r.rows(c), 1, r, layer})
		}
	}
	add(&embedRole, -1)
	for i := range c.Layers {
		for j := range layerRoles {
			add(&layerRoles[j], i)
		}
	}
	add(&normRole, -1)
	add(&headRole, -1)
	return out
}

func (r *role) irName(layer int) string {
	if layer < 0 {
		return r.hf
	}
	return fmt.Sprintf("model.layers.%d.%s", layer, r.hf)
}

// suffix is that of the need's tensor.
func (n Need) suffix() string {
	if strings.HasSuffix(n.Name, ".bias") {
		return ".bias"
	}
	return ".weight"
}
