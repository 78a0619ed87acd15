package decoder

import "quire/ir"

// Family is what the models of one architecture have in common: one row of a table.
type Family struct {
	Name     string
	HF       []string // values of "architectures" in config.json
	GGUF     string   // value of general.architecture; "" where GGUF has no name of its own
	Act      Act
	QKVBias  bool
	QKNorm   bool
	Gemma    bool // norms of 1 + w, embedding scale, post norms
	GGUFRope ir.RopeStyle

	// defaults of config.json fields, as transformers' configuration classes state them.
	defaults string
}

// families is the table.
var families = []*Family{
	{Name: "llama", HF: []string{"LlamaForCausalLM"}, GGUF: "llama", GGUFRope: ir.RopeAdjacent,
		defaults: `{"max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000, "hidden_act": "silu"}`},
	{Name: "mistral", HF: []string{"MistralForCausalLM"}, GGUFRope: ir.RopeAdjacent,
		defaults: `{"max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "rope_theta": 10000, "hidden_act": "silu",
			"num_key_value_heads": 8, "sliding_window": 4096}`},
	{Name: "qwen2", HF: []string{"Qwen2ForCausalLM"}, GGUF: "qwen2", QKVBias: true,
		defaults: `{"max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 10000, "hidden_act": "silu",
			"num_key_value_heads": 32, "sliding_window": 4096, "max_window_layers": 28}`},
	{Name: "qwen3", HF: []string{"Qwen3ForCausalLM"}, GGUF: "qwen3", QKNorm: true,
		defaults: `{"max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 10000, "hidden_act": "silu",
			"num_key_value_heads": 32, "head_dim": 128, "sliding_window": 4096, "max_window_layers": 28}`},
	{Name: "gemma2", HF: []string{"Gemma2ForCausalLM"}, GGUF: "gemma2", Act: GELUTanh, Gemma: true,
		defaults: `{"vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
			"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 8192,
			"rms_norm_eps": 1e-6, "rope_theta": 10000, "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": true,
			"query_pre_attn_scalar": 256, "sliding_window": 4096, "sliding_window_pattern": 2,
			"attn_logit_softcapping": 50, "final_logit_softcapping": 30}`},
	{Name: "gemma3", HF: []string{"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"}, GGUF: "gemma3",
		Act: GELUTanh, QKNorm: true, Gemma: true,
		defaults: `{"vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
			"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072,
			"rms_norm_eps": 1e-6, "rope_theta": 1000000, "rope_local_base_freq": 10000, "hidden_activation": "gelu_pytorch_tanh",
			"tie_word_embeddings": true, "query_pre_attn_scalar": 256, "sliding_window": 4096, "sliding_window_pattern": 6}`},
	{Name: "phi3", HF: []string{"Phi3ForCausalLM"}, GGUF: "phi3",
		defaults: `{"max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000, "hidden_act": "silu"}`},
}

// Families lists the names that Config.Family may have.
func Families() []string {
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = f.Name
	}
	return names
}

// LookupFamily finds a row by its name, nil when there is none.
func LookupFamily(name string) *Family {
	for _, f := range families {
		if f.Name == name {
			return f
		}
	}
	return nil
}
