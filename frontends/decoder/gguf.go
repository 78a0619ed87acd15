package decoder

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"quire/frontends/weights"
	"quire/ir"
	"quire/ir/types/block"
)

// ggufKeys names the key, below "<architecture>.", behind each field of a FieldError.
var ggufKeys = map[string]string{
	"layers": "block_count", "hidden": "embedding_length", "heads": "attention.head_count", "kv_heads": "attention.head_count_kv",
	"head_dim": "attention.key_length", "ffn": "feed_forward_length", "vocab": "vocab_size", "context": "context_length",
	"norm_eps": "attention.layer_norm_rms_epsilon", "attn_scale": "attention.scale", "attn_softcap": "attn_logit_softcapping",
	"final_softcap": "final_logit_softcapping", "window": "attention.sliding_window", "window_layers": "attention.sliding_window_pattern",
	"rope.base": "rope.freq_base", "rope.local_base": "rope.freq_base_swa", "rope.dim": "rope.dimension_count",
	"rope.factor": "rope.scaling.factor",
}

// FromGGUF reads the metadata of a GGUF file. What it leaves out has llama.cpp's defaults: RoPE base 10000; Gemma 2's
// softcaps 50 and 30 and window 4096; Gemma 3's window 512, every sixth layer full, local base 10000.
func FromGGUF(src *weights.Source) (Config, error) {
	g := &gguf{src: src, kv: src.KV}
	g.arch, _ = g.kv.Text("general.architecture")
	i := slices.IndexFunc(families, func(f *Family) bool { return f.GGUF != "" && f.GGUF == g.arch })
	if i < 0 {
		var known []string
		for _, f := range families {
			if f.GGUF != "" {
				known = append(known, f.GGUF)
			}
		}
		return Config{}, &weights.Error{File: src.Path, Key: "general.architecture", Msg: fmt.Sprintf("%q, expected one of %s", g.arch, strings.Join(known, ", "))}
	}
	c := g.config(families[i])
	if len(g.errs) > 0 {
		return Config{}, errors.Join(g.errs...)
	}
	return c, atKeys(c.Validate(), src.Path, ggufKeys, g.arch+".")
}

// gguf reads keys below the architecture's name and collects errors.
type gguf struct {
	src  *weights.Source
	kv   weights.Metadata
	arch string
	errs []error
}

func (g *gguf) errorf(key, format string, a ...any) {
	g.errs = append(g.errs, &weights.Error{File: g.src.Path, Key: g.arch + "." + key, Msg: fmt.Sprintf(format, a...)})
}

func (g *gguf) has(key string) bool { _, ok := g.kv[g.arch+"."+key]; return ok }

// integer reads a whole number; a list of one number a layer counts when all are the same.
func (g *gguf) integer(key string, otherwise int) int {
	if !g.has(key) {
		return otherwise
	}
	n, ok := g.kv.Ints(g.arch + "." + key)
	if !ok || len(n) == 0 || int64(int(n[0])) != n[0] {
		g.errorf(key, "%.60v, expected a whole number", fmt.Sprint(g.kv[g.arch+"."+key]))
		return otherwise
	}
	for _, v := range n {
		if v != n[0] {
			g.errorf(key, "%d and %d, expected the same in every layer", n[0], v)
			return otherwise
		}
	}
	return int(n[0])
}

// number reads a float. A float32 is read as the shortest decimal that it stands for: 1e-05, not 9.9999997e-06.
func (g *gguf) number(key string, otherwise float64) float64 {
	if !g.has(key) {
		return otherwise
	}
	x, ok := g.kv.Float(g.arch + "." + key)
	if !ok {
		g.errorf(key, "%.60v, expected a number", fmt.Sprint(g.kv[g.arch+"."+key]))
		return otherwise
	}
	if single, ok := g.kv[g.arch+"."+key].(float32); ok {
		x, _ = strconv.ParseFloat(strconv.FormatFloat(float64(single), 'g', -1, 32), 64)
	}
	return x
}

func (g *gguf) config(fam *Family) Config {
	c := Config{
		Family: fam.Name, Act: fam.Act, QKNorm: fam.QKNorm, PostNorms: fam.Gemma,
		Layers: g.integer("block_count", 0), Hidden: g.integer("embedding_length", 0), FFN: g.integer("feed_forward_length", 0),
		Heads: g.integer("attention.head_count", 0), HeadDim: g.integer("attention.key_length", 0),
		MaxContext: g.integer("context_length", 0),
		NormEps:    g.number("attention.layer_norm_rms_epsilon", 0),
		AttnScale:  g.number("attention.scale", 0),
	}
	c.Name, _ = g.kv.Text("general.name")
	c.KVHeads = g.integer("attention.head_count_kv", c.Heads)
	if n := g.integer("expert_count", 0); n != 0 {
		g.errorf("expert_count", "%d, expected a model without experts", n)
	}
	c.Vocab = g.vocab()
	c.TiedEmbeddings = g.src.Tensor("output.weight") == nil
	// Biases are where their tensors are.
	c.Bias.QKV = g.anyTensor("attn_q.bias", "attn_qkv.bias")
	c.Bias.O = g.anyTensor("attn_output.bias")
	c.Bias.MLP = g.anyTensor("ffn_gate.bias", "ffn_down.bias")
	if fam.Gemma {
		c.EmbedScale = EmbedScale(c.Hidden)
		g.gemma(&c)
	}
	if fam.Name == "gemma2" {
		c.AttnCap, c.FinalCap = g.number("attn_logit_softcapping", 50), g.number("final_logit_softcapping", 30)
	}
	g.rope(&c, fam)
	g.windows(&c, fam)
	c.Complete()
	if v := g.integer("attention.value_length", c.HeadDim); v != c.HeadDim {
		g.errorf("attention.value_length", "%d, expected the %d elements of a key", v, c.HeadDim)
	}
	return c
}

// gemma sets the scale of scores of the 27B models, whose query_pre_attn_scalar is hidden / heads and stands in no key.
func (g *gguf) gemma(c *Config) {
	big := map[string]int{"gemma2": 46, "gemma3": 62}[c.Family]
	if c.AttnScale == 0 && c.Layers == big && c.Hidden > 0 && c.Heads > 0 {
		c.AttnScale = 1 / math.Sqrt(float64(c.Hidden)/float64(c.Heads))
	}
}

// vocab is vocab_size, or the number of tokens, or the rows of the embedding table.
func (g *gguf) vocab() int {
	rows := 0
	if t := g.src.Tensor("token_embd.weight"); t != nil && len(t.Shape) == 2 && t.Shape[0] <= math.MaxInt32 {
		rows = int(t.Shape[0])
	}
	if g.has("vocab_size") {
		return g.integer("vocab_size", 0)
	}
	if tokens, ok := g.kv.Texts("tokenizer.ggml.tokens"); ok && len(tokens) > 0 && rows == 0 {
		return len(tokens)
	}
	return rows
}

func (g *gguf) anyTensor(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return g.src.Tensor("blk.0."+n) != nil })
}

func (g *gguf) rope(c *Config, fam *Family) {
	r := &c.Rope
	r.Style = fam.GGUFRope
	r.Base = g.number("rope.freq_base", 10000)
	r.RotaryDim = g.integer("rope.dimension_count", 0)
	if fam.Name == "gemma3" {
		r.LocalBase = g.number("rope.freq_base_swa", 10000)
	}
	kind, _ := g.kv.Text(g.arch + ".rope.scaling.type")
	switch kind {
	case "", "none":
		if f := g.number("rope.scale_linear", 1); f != 1 {
			r.Scaling, r.Factor = ir.ScaleLinear, f
		}
	case "linear":
		r.Scaling, r.Factor = ir.ScaleLinear, g.number("rope.scaling.factor", 0)
	default:
		g.errorf("rope.scaling.type", "%q, expected none or linear", kind)
	}
	for _, name := range []string{"rope_factors_long.weight", "rope_factors_short.weight"} {
		if g.src.Tensor(name) != nil {
			g.errs = append(g.errs, &weights.Error{File: g.src.Path, Tensor: name, Msg: "longrope scaling, expected a model with none, linear or llama3 scaling"})
			return
		}
	}
	g.factors(r)
}

// factors reads rope_freqs.weight, which divides the frequencies (Llama 3.1).
func (g *gguf) factors(r *Rope) {
	t := g.src.Tensor("rope_freqs.weight")
	if t == nil {
		return
	}
	bad := func(err error, format string, a ...any) {
		g.errs = append(g.errs, &weights.Error{File: g.src.Path, Tensor: t.Name, Msg: fmt.Sprintf(format, a...), Err: err})
	}
	if t.Enc != "f32" || len(t.Shape) != 1 || t.Shape[0] > 1<<12 {
		bad(nil, "%s%v, expected a vector of f32, one a rotated pair", t.Enc, t.Shape)
		return
	}
	data := make([]byte, t.Bytes)
	if _, err := t.ReadAt(data, 0); err != nil {
		bad(err, "")
		return
	}
	r.Factors = make([]float32, t.Shape[0])
	if err := block.Decode("f32", data, r.Factors); err != nil {
		bad(err, "")
	}
}

func (g *gguf) windows(c *Config, fam *Family) {
	otherwise := map[string]int{"gemma2": 4096, "gemma3": 512}[fam.Name]
	if c.Window = g.integer("attention.sliding_window", otherwise); c.Window == 0 {
		return
	}
	const key = "attention.sliding_window_pattern"
	switch v, ok := g.kv[g.arch+"."+key].([]bool); {
	case ok && len(v) == c.Layers:
		c.ListWindows(v)
	case ok:
		g.errorf(key, "%d layers, expected the %d of block_count", len(v), c.Layers)
	case fam.Name == "gemma2" && !g.has(key):
		c.Windows = EvenWindows
	case fam.Gemma:
		c.Windows, c.WindowN = FullEvery, g.integer(key, 6)
	default:
		c.Windows = AllWindows
	}
}
