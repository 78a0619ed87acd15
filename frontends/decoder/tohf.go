package decoder

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"quire/frontends/weights"
	"quire/ir"
)

// Layer is the layer of a weight, -1 outside layers.
func (n Need) Layer() int { return n.layer }

// Linear reports whether the weight is a linear of a layer: what quantisation packs.
func (n Need) Linear() bool { return n.Kind == KindAttn || n.Kind == KindMLP }

// HFName is a weight's module in a Hugging Face checkpoint of the source's spelling, and the place of its rows there: those of
// a fused module (Phi-3) hold several weights.
func (c *Config) HFName(src *weights.Source, n Need) (module, suffix string, fused bool) {
	name := hfNames(&weights.Source{})
	if src != nil && src.Format != weights.GGUF {
		name = hfNames(src)
	}
	if c.Family == "phi3" {
		for _, f := range fusions {
			if slices.Contains(f.ids, n.role.id) && n.Linear() {
				return name(f.hf, "", n.layer, ""), n.suffix(), true
			}
		}
	}
	return name(n.role.hf, "", n.layer, ""), n.suffix(), false
}

// HFRows says which row of our weight is each row of Hugging Face's, nil for the same: GGUF keeps the rotated pairs of q and k
// next to each other, Hugging Face halves of a head apart.
func (c *Config) HFRows(n Need) []int {
	if c.Rope.Style != ir.RopeAdjacent || n.role.id != "q" && n.role.id != "k" {
		return nil
	}
	out := make([]int, n.Rows)
	for r := range out {
		head, i := r/c.HeadDim*c.HeadDim, r%c.HeadDim
		if half := c.Rope.RotaryDim / 2; i < 2*half {
			i = i % half * 2
			if r%c.HeadDim >= half {
				i++
			}
		}
		out[r] = head + i
	}
	return out
}

// HFNormOffset is what Hugging Face adds to a norm's gain of the family less what we add.
func (c *Config) HFNormOffset(n Need) float64 {
	f := LookupFamily(c.Family)
	if n.Kind != KindNorm || f == nil || !f.Gemma {
		return 0
	}
	return 1 - c.NormOffset
}

// HFConfig is a config.json for a configuration that did not come with one.
func (c *Config) HFConfig() (map[string]json.RawMessage, error) {
	f := LookupFamily(c.Family)
	if f == nil || f.Gemma || f.Name == "phi3" {
		return nil, fmt.Errorf("%s without a config.json: expected llama, mistral, qwen2 or qwen3, or a Hugging Face directory", c.Family)
	}
	if c.Rope.Factors != nil {
		return nil, fmt.Errorf("factors of rotation without a config.json, expected a Hugging Face directory, which says what they come from")
	}
	v := map[string]any{
		"architectures": []string{f.HF[0]}, "model_type": f.Name, "hidden_act": map[Act]string{SiLU: "silu", GELU: "gelu", GELUTanh: "gelu_pytorch_tanh"}[c.Act],
		"hidden_size": c.Hidden, "intermediate_size": c.FFN, "num_hidden_layers": c.Layers, "num_attention_heads": c.Heads,
		"num_key_value_heads": c.KVHeads, "head_dim": c.HeadDim, "vocab_size": c.Vocab, "max_position_embeddings": c.MaxContext,
		"rms_norm_eps": c.NormEps, "rope_theta": c.Rope.Base, "tie_word_embeddings": c.TiedEmbeddings,
	}
	if c.Rope.RotaryDim != c.HeadDim || math.Abs(c.AttnScale*math.Sqrt(float64(c.HeadDim))-1) > 1e-6 || c.AttnCap != 0 || c.FinalCap != 0 || c.EmbedScale != 0 {
		return nil, fmt.Errorf("%s with a rotation, scale or cap of its own, without a config.json: expected a Hugging Face directory", c.Family)
	}
	if c.Rope.Scaling == ir.ScaleLinear {
		v["rope_scaling"] = map[string]any{"rope_type": "linear", "type": "linear", "factor": c.Rope.Factor}
	}
	if f.Name == "llama" || f.Name == "qwen3" {
		v["attention_bias"] = c.Bias.QKV || c.Bias.O
	}
	if f.Name == "llama" {
		v["mlp_bias"] = c.Bias.MLP
	}
	if err := c.hfWindows(v); err != nil {
		return nil, err
	}
	out := map[string]json.RawMessage{}
	for k, x := range v {
		text, err := json.Marshal(x)
		if err != nil {
			return nil, err
		}
		out[k] = text
	}
	return out, nil
}

// hfWindows says which layers have a window.
func (c *Config) hfWindows(v map[string]any) error {
	if c.Window <= 0 || c.Windows == NoWindows {
		v["sliding_window"] = nil
		if strings.HasPrefix(c.Family, "qwen") {
			v["use_sliding_window"] = false
		}
		return nil
	}
	v["sliding_window"] = c.Window
	if c.Family == "mistral" && c.Windows == AllWindows {
		return nil
	}
	return fmt.Errorf("%s with windows, without a config.json: expected a Hugging Face directory", c.Family)
}
