package checkpoint

import (
	"encoding/json"
	"io"
	"path/filepath"

	"quire/frontends/weights"
	"quire/ir/types/packed"
	"quire/runtime/token"
)

// files writes what is not tensors; config.json, which makes the directory a model, last.
func (w *writer) files(dir string) error {
	src := w.m.Source
	if src == nil || src.Format == weights.GGUF {
		if err := w.fromGGUF(dir); err != nil {
			return err
		}
	} else {
		for name, text := range map[string][]byte{
			"tokenizer.json": src.Tokenizer, "tokenizer_config.json": src.TokenizerConfig, "special_tokens_map.json": src.SpecialTokens,
			"chat_template.jinja": src.ChatTemplate, "generation_config.json": src.GenerationConfig,
		} {
			if err := carry(dir, name, text); err != nil {
				return err
			}
		}
	}
	config, err := w.config()
	if err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, "config.json"), config)
}

func carry(dir, name string, text []byte) error {
	if text == nil {
		return nil
	}
	return replace(filepath.Join(dir, name), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// fromGGUF writes the tokenizer and the generation defaults that GGUF keeps in keys.
func (w *writer) fromGGUF(dir string) error {
	d, err := w.m.TokenData()
	if err != nil || d == nil {
		return err
	}
	tokenizer, config, err := token.ToHF(d)
	if err != nil {
		return err
	}
	if err := carry(dir, "tokenizer.json", tokenizer); err != nil {
		return err
	}
	if err := carry(dir, "tokenizer_config.json", config); err != nil {
		return err
	}
	g := map[string]any{}
	if d.BOS != token.None {
		g["bos_token_id"] = d.BOS
	}
	switch {
	case len(d.EOG) > 0:
		g["eos_token_id"] = d.EOG
	case d.EOS != token.None:
		g["eos_token_id"] = d.EOS
	}
	for key, x := range map[string]*float64{"temperature": w.m.Generation.Temperature, "top_p": w.m.Generation.TopP,
		"min_p": w.m.Generation.MinP, "repetition_penalty": w.m.Generation.RepetitionPenalty} {
		if x != nil {
			g[key] = *x
		}
	}
	if k := w.m.Generation.TopK; k != nil {
		g["top_k"] = *k
	}
	return writeJSON(filepath.Join(dir, "generation_config.json"), g)
}

// config is the model's own with what is packed.
func (w *writer) config() (map[string]json.RawMessage, error) {
	c := map[string]json.RawMessage{}
	src := w.m.Source
	if src != nil && src.Config != nil {
		if err := json.Unmarshal(src.Config, &c); err != nil {
			return nil, err
		}
	} else {
		var err error
		if c, err = w.m.Config.HFConfig(); err != nil {
			return nil, err
		}
		if d, err := w.m.TokenData(); err == nil && d != nil {
			for key, id := range map[string]int32{"bos_token_id": d.BOS, "eos_token_id": d.EOS} {
				if id != token.None {
					c[key], _ = json.Marshal(id)
				}
			}
		}
	}
	delete(c, "dtype")
	c["torch_dtype"] = json.RawMessage(`"float16"`)
	q, err := json.Marshal(w.quantization())
	c["quantization_config"] = q
	return c, err
}

// quantization is what loaders are told (AutoAWQ's, and compressed-tensors' as llm-compressor writes it).
func (w *writer) quantization() map[string]any {
	var left any
	if !w.m.Config.TiedEmbeddings {
		left = []string{"lm_head"}
	}
	if w.o.Format == packed.AWQGemm {
		return map[string]any{"quant_method": "awq", "version": "gemm", "bits": w.o.Bits, "group_size": w.o.Group, "zero_point": true, "modules_to_not_convert": left}
	}
	return map[string]any{
		"quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed", "ignore": []string{"lm_head"},
		"kv_cache_scheme": nil,
		"config_groups": map[string]any{"group_0": map[string]any{
			"targets": []string{"Linear"}, "input_activations": nil, "output_activations": nil,
			"weights": map[string]any{"num_bits": w.o.Bits, "type": "int", "symmetric": false, "strategy": "group", "group_size": w.o.Group, "dynamic": false, "actorder": nil},
		}},
	}
}
