package decoder

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"quire/frontends/weights"
	"quire/ir"
)

// hfKeys names the config.json key behind each field of a FieldError.
var hfKeys = map[string]string{
	"layers": "num_hidden_layers", "hidden": "hidden_size", "heads": "num_attention_heads", "kv_heads": "num_key_value_heads",
	"head_dim": "head_dim", "ffn": "intermediate_size", "vocab": "vocab_size", "context": "max_position_embeddings",
	"norm_eps": "rms_norm_eps", "attn_scale": "query_pre_attn_scalar", "attn_softcap": "attn_logit_softcapping",
	"final_softcap": "final_logit_softcapping", "window": "sliding_window", "window_layers": "layer_types",
	"rope.base": "rope_theta", "rope.local_base": "rope_local_base_freq", "rope.dim": "partial_rotary_factor",
	"rope.factor": "rope_scaling.factor", "rope.low": "rope_scaling.low_freq_factor", "rope.high": "rope_scaling.high_freq_factor",
	"rope.original": "rope_scaling.original_max_position_embeddings", "family": "architectures",
}

// hfActs names the activations of config.json.
var hfActs = map[string]Act{
	"silu": SiLU, "swish": SiLU, "gelu_pytorch_tanh": GELUTanh, "gelu_new": GELUTanh, "gelu_fast": GELUTanh, "gelu": GELU,
}

// FromHF reads the text of a config.json (transformers 4 and 5), whose path is named in errors.
func FromHF(file string, text []byte) (Config, error) {
	f, err := newFields(file, text)
	if err != nil {
		return Config{}, err
	}
	fam := hfFamily(f)
	if fam == nil {
		return Config{}, f.err()
	}
	f.packing()
	if inner := f.object("text_config"); inner != nil {
		f = inner
	}
	c := hfConfig(f.under(fam.defaults), fam)
	if err := f.err(); err != nil {
		return Config{}, err
	}
	return c, atKeys(c.Validate(), file, hfKeys, "")
}

// hfFamily finds the row of the table, or collects an error.
func hfFamily(f *fields) *Family {
	archs := f.texts("architectures")
	for _, fam := range families {
		for _, a := range archs {
			if slices.Contains(fam.HF, a) {
				return fam
			}
		}
	}
	var known []string
	for _, fam := range families {
		known = append(known, fam.HF...)
	}
	if len(archs) == 0 {
		f.errorf("architectures", "absent, expected one of %s", strings.Join(known, ", "))
	} else {
		f.errorf("architectures", "%q, expected one of %s", archs, strings.Join(known, ", "))
	}
	return nil
}

// hfConfig reads the model's own object, defaults filled in.
func hfConfig(f *fields, fam *Family) Config {
	c := Config{
		Family: fam.Name, QKNorm: fam.QKNorm, PostNorms: fam.Gemma,
		Layers: f.integer("num_hidden_layers", 0), Hidden: f.integer("hidden_size", 0), FFN: f.integer("intermediate_size", 0),
		Heads: f.integer("num_attention_heads", 0), HeadDim: f.integer("head_dim", 0),
		Vocab: f.integer("vocab_size", 0), MaxContext: f.integer("max_position_embeddings", 0),
		NormEps:        f.number("rms_norm_eps", 0),
		TiedEmbeddings: f.boolean("tie_word_embeddings", false),
		AttnCap:        f.number("attn_logit_softcapping", 0), FinalCap: f.number("final_logit_softcapping", 0),
	}
	c.KVHeads = f.integer("num_key_value_heads", c.Heads)
	bias := f.boolean("attention_bias", false)
	c.Bias = Bias{QKV: fam.QKVBias || bias, O: bias, MLP: f.boolean("mlp_bias", false)}
	if fam.Gemma {
		c.NormOffset, c.EmbedScale = 1, EmbedScale(c.Hidden)
	}
	c.Act = f.act()
	if f.has("query_pre_attn_scalar") {
		c.AttnScale = 1 / math.Sqrt(f.number("query_pre_attn_scalar", 0))
	}
	if f.boolean("use_bidirectional_attention", false) {
		f.errorf("use_bidirectional_attention", "true, expected a causal model")
	}
	f.windows(&c, fam)
	f.rope(&c)
	c.Complete()
	return c
}

// EmbedScale is sqrt(hidden) as transformers keeps it: a float32.
func EmbedScale(hidden int) float64 { return float64(float32(math.Sqrt(float64(max(hidden, 0))))) }

// act reads hidden_activation (Gemma) or hidden_act.
func (f *fields) act() Act {
	key := "hidden_act"
	if f.has("hidden_activation") {
		key = "hidden_activation"
	}
	name := f.text(key, "")
	a, ok := hfActs[name]
	if !ok {
		f.errorf(key, "%q, expected silu, gelu_pytorch_tanh or gelu", name)
	}
	return a
}

// windows reads which layers have a sliding window: layer_types, or the rule of the family.
func (f *fields) windows(c *Config, fam *Family) {
	if !f.has("sliding_window") || fam.Name == "llama" {
		return
	}
	if strings.HasPrefix(fam.Name, "qwen") && !f.boolean("use_sliding_window", false) {
		return
	}
	c.Window = f.integer("sliding_window", 0)
	switch {
	case f.has("layer_types"):
		f.layerTypes(c)
	case strings.HasPrefix(fam.Name, "qwen"):
		c.Windows, c.WindowN = WindowsFrom, f.integer("max_window_layers", 0)
	case fam.Gemma:
		c.Windows, c.WindowN = FullEvery, f.integer("_sliding_window_pattern", f.integer("sliding_window_pattern", 0))
		if c.WindowN == 2 {
			c.Windows, c.WindowN = EvenWindows, 0
		}
	default:
		c.Windows = AllWindows
	}
}

func (f *fields) layerTypes(c *Config) {
	list := f.texts("layer_types")
	if len(list) != c.Layers {
		f.errorf("layer_types", "%d layers, expected the %d of num_hidden_layers", len(list), c.Layers)
		return
	}
	windowed := make([]bool, len(list))
	for i, t := range list {
		switch t {
		case "sliding_attention":
			windowed[i] = true
		case "full_attention":
		default:
			f.errorf("layer_types", "layer %d is %q, expected full_attention or sliding_attention", i, t)
			return
		}
	}
	c.ListWindows(windowed)
}

// atKeys turns FieldErrors into errors that name a file and its own keys; prefix goes before each key.
func atKeys(err error, file string, keys map[string]string, prefix string) error {
	if err == nil {
		return nil
	}
	var out []error
	for _, e := range unjoin(err) {
		var fe *FieldError
		if !errors.As(e, &fe) {
			out = append(out, e)
			continue
		}
		key, ok := keys[fe.Field]
		if !ok {
			key, prefix = fe.Field, ""
		}
		out = append(out, &weights.Error{File: file, Key: prefix + key, Msg: fe.Msg})
	}
	return errors.Join(out...)
}

func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

// FromSource reads the configuration of an opened model.
func FromSource(src *weights.Source) (Config, error) {
	switch src.Format {
	case weights.GGUF:
		return FromGGUF(src)
	case weights.HuggingFace:
		c, err := FromHF(filepath.Join(src.Path, "config.json"), src.Config)
		c.Name = filepath.Base(filepath.Clean(src.Path))
		return c, err
	}
	return Config{}, &weights.Error{File: src.Path, Msg: "a safetensors file alone, expected a GGUF file or a directory with config.json, or a spec that names a family"}
}

// hfStyle is how Hugging Face checkpoints store the rotated pairs.
const hfStyle = ir.RopeHalf
