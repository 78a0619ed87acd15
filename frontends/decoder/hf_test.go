package decoder

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"quire/frontends/weights"
	"quire/ir"
)

const reference = "../../tests/e2e/reference"

// edited is a reference model's config.json with keys changed (raw JSON; "" deletes).
func edited(t testing.TB, name string, edits map[string]string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(reference, name, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	for k, v := range edits {
		if v == "" {
			delete(m, k)
			continue
		}
		m[k] = json.RawMessage(v)
	}
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Numbers are those of the list of bad inputs that a loader must survive: C1 to C3, and what else a config.json may
// ask for that no module can be.
func TestBadConfigs(t *testing.T) {
	for _, c := range []struct{ id, model, key, value, want string }{
		{"C1 heads", "llama2", "num_attention_heads", "0", `key "num_attention_heads": 0, expected 1 to`},
		{"C1 divisor", "llama2", "num_key_value_heads", "2", `key "num_key_value_heads": 2, expected a divisor of the 3 query heads`},
		{"C1 negative", "llama2", "hidden_size", "-4096", `key "hidden_size": -4096, expected 1 to`},
		{"C2 vocab", "llama2", "vocab_size", "2147483648", `key "vocab_size": 2147483648, expected 1 to`},
		{"C2 theta 0", "llama2", "rope_parameters", `{"rope_theta": 0, "rope_type": "default"}`, `key "rope_theta": 0, expected more than 0`},
		{"C2 theta", "llama2", "rope_parameters", `{"rope_theta": "nan"}`, `key "rope_parameters.rope_theta": "nan", expected a number`},
		{"C2 theta negative", "llama31_old", "rope_theta", "-1", `key "rope_theta": -1, expected more than 0`},
		{"C3 layers", "llama2", "num_hidden_layers", "1000000000", `key "num_hidden_layers": 1000000000, expected 1 to 1024`},
		{"C3 huge", "llama2", "num_hidden_layers", "1e400", `key "num_hidden_layers": 1e400, expected a whole number`},
		{"C3 fraction", "llama2", "num_hidden_layers", "2.5", `key "num_hidden_layers": 2.5, expected a whole number`},
		{"type", "llama2", "hidden_size", `"48"`, `key "hidden_size": "48", expected a whole number`},
		{"list", "llama2", "hidden_size", `[48]`, `key "hidden_size": [48], expected a whole number`},
		{"absent", "llama2", "intermediate_size", "", `key "intermediate_size": 0, expected 1 to`},
		{"architecture", "llama2", "architectures", `["MambaForCausalLM"]`, `key "architectures": ["MambaForCausalLM"], expected one of LlamaForCausalLM, `},
		{"no architecture", "llama2", "architectures", "", `key "architectures": absent, expected one of`},
		{"act", "llama2", "hidden_act", `"relu"`, `key "hidden_act": "relu", expected silu`},
		{"odd head", "llama2", "head_dim", "15", `key "partial_rotary_factor": 15, expected an even number`},
		{"hidden", "llama31_old", "num_attention_heads", "5", `key "head_dim": 0, expected 1 to`},
		{"yarn", "llama2", "rope_parameters", `{"rope_theta": 1e4, "rope_type": "yarn", "factor": 4}`, `key "rope_parameters.rope_type": "yarn", expected default, linear or llama3`},
		{"longrope", "phi3", "rope_parameters", `{"rope_theta": 1e4, "rope_type": "longrope"}`, `"longrope", expected default, linear or llama3`},
		{"old dynamic", "llama_linear", "rope_scaling", `{"type": "dynamic", "factor": 2}`, `key "rope_scaling.type": "dynamic", expected`},
		{"factor 0", "llama_linear", "rope_scaling", `{"type": "linear", "factor": 0}`, `key "rope_scaling.factor": 0, expected a number above 0`},
		{"llama3 bands", "llama31_old", "rope_scaling", `{"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}`, `key "rope_scaling.high_freq_factor": 4, expected more than`},
		{"partial", "phi3", "rope_parameters", `{"rope_theta": 1e4, "partial_rotary_factor": 1.5}`, `key "partial_rotary_factor": 1.5, expected more than 0`},
		{"local scaling", "gemma3", "rope_parameters", `{"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4, "rope_type": "linear"}}`, `key "rope_parameters.sliding_attention.rope_type": "linear", expected default`},
		{"layer types", "qwen2_window", "layer_types", `["full_attention", "chunked_attention", "full_attention"]`, `key "layer_types": layer 1 is "chunked_attention", expected full_attention or sliding_attention`},
		{"layer types short", "qwen2_window", "layer_types", `["full_attention"]`, `key "layer_types": 1 layers, expected the 3 of num_hidden_layers`},
		{"window", "mistral", "sliding_window", "-1", `key "sliding_window": -1, expected 1 or more`},
		{"bidirectional", "gemma3", "use_bidirectional_attention", "true", `key "use_bidirectional_attention": true, expected a causal model`},
		{"scale 0", "gemma2", "query_pre_attn_scalar", "0", `key "query_pre_attn_scalar": +Inf, expected a finite number`},
		{"quant method", "llama2", "quantization_config", `{"quant_method": "bitsandbytes"}`, `key "quantization_config.quant_method": "bitsandbytes", expected awq, gptq or compressed-tensors`},
		{"awq version", "llama2", "quantization_config", `{"quant_method": "awq", "version": "ipex"}`, `key "quantization_config.version": "ipex", expected gemm, gemv, gemv_fast or marlin`},
		{"awq bits", "llama2", "quantization_config", `{"quant_method": "awq", "bits": 3}`, `key "quantization_config.bits": 3, expected 4`},
		{"awq marlin zeros", "llama2", "quantization_config", `{"quant_method": "awq", "version": "marlin"}`, `key "quantization_config.zero_point": true with version marlin, expected false`},
		{"group 0", "llama2", "quantization_config", `{"quant_method": "awq", "group_size": 0}`, `key "quantization_config.group_size": 0, expected a positive number of columns, or -1`},
		{"gptq format", "llama2", "quantization_config", `{"quant_method": "gptq", "checkpoint_format": "bitblas"}`, `key "quantization_config.checkpoint_format": "bitblas", expected gptq, gptq_v2 or marlin`},
		{"gptq bits", "llama2", "quantization_config", `{"quant_method": "gptq", "bits": 8}`, `key "quantization_config.bits": 8, expected 4 or 3`},
		{"ct format", "llama2", "quantization_config", `{"quant_method": "compressed-tensors", "format": "float-quantized"}`, `key "quantization_config.format": "float-quantized", expected pack-quantized`},
		{"ct no groups", "llama2", "quantization_config", `{"quant_method": "compressed-tensors", "format": "pack-quantized"}`, `key "quantization_config.config_groups": absent, expected a group`},
		{"ct activations", "llama2", "quantization_config", `{"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"a": {"input_activations": {}, "weights": {"num_bits": 4, "group_size": 32}}}}`,
			`key "quantization_config.config_groups.a.input_activations": quantised, expected weights alone`},
		{"ct type", "llama2", "quantization_config", `{"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"a": {"weights": {"num_bits": 4, "group_size": 32, "type": "float"}}}}`,
			`key "quantization_config.config_groups.a.weights.type": "float", expected int`},
		{"ct group", "llama2", "quantization_config", `{"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"a": {"weights": {"num_bits": 4}}}}`,
			`key "quantization_config.config_groups.a.weights.group_size": 0, expected a positive number`},
		{"absurd product", "llama2", "intermediate_size", "1048576", ""},
	} {
		t.Run(c.id, func(t *testing.T) {
			edits := map[string]string{c.key: c.value}
			if c.id == "absurd product" { // each size is legal
				edits = map[string]string{"intermediate_size": "1048576", "hidden_size": "98304", "num_hidden_layers": "1024"}
				c.want = `key "hidden_size": the sizes make 3.`
			}
			start := time.Now()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := FromHF("DIR/config.json", edited(t, c.model, edits))
			runtime.ReadMemStats(&after)
			var typed *weights.Error
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &typed) || !strings.HasPrefix(err.Error(), "DIR/config.json: ") {
				t.Fatalf("error %v, expected ...%s...", err, c.want)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 || time.Since(start) > time.Second {
				t.Errorf("%d bytes allocated in %v", grown, time.Since(start))
			}
		})
	}
	for _, text := range []string{"", "null", "[]", "{", `{"rope_theta": NaN}`, strings.Repeat("[", 200000)} {
		if _, err := FromHF("c", []byte(text)); err == nil || !strings.Contains(err.Error(), "expected a JSON object") {
			t.Errorf("%.20q: %v, expected an error that wants a JSON object", text, err)
		}
	}
}

// Several mistakes come together.
func TestConfigErrorsAreCollected(t *testing.T) {
	_, err := FromHF("c", edited(t, "llama2", map[string]string{"num_attention_heads": "0", "vocab_size": "0", "rms_norm_eps": "-1"}))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Fatalf("%v, expected three errors", err)
	}
}

func TestConfigs(t *testing.T) {
	read := func(model string, edits map[string]string) Config {
		t.Helper()
		c, err := FromHF("c", edited(t, model, edits))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	windows := func(c Config) (s string) {
		for i := range c.Layers {
			s += map[bool]string{true: "w", false: "-"}[c.Windowed(i)]
		}
		return s
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"gemma3 windows", windows(read("gemma3", nil)), "wwwww-w"},
		{"gemma3 rule", read("gemma3", nil).Windows, FullEvery},
		{"gemma3 old pattern", windows(read("gemma3_old", nil)), "ww-w"},
		{"gemma3 default pattern", windows(read("gemma3_old", map[string]string{"sliding_window_pattern": "", "num_hidden_layers": "7"})), "wwwww-w"},
		{"gemma2 old", windows(read("gemma2_old", nil)), "w-w"},
		{"mistral", windows(read("mistral", nil)), "ww"},
		{"mistral null", windows(read("mistral", map[string]string{"sliding_window": "null"})), "--"},
		{"mistral's default window is beyond the context", windows(read("mistral", map[string]string{"sliding_window": ""})), "--"},
		{"qwen2 switched off", windows(read("qwen2", nil)), "--"},
		{"qwen2 from layer 2", windows(read("qwen2_window", map[string]string{"layer_types": ""})), "--w"},
		{"llama has no windows", windows(read("llama2", map[string]string{"sliding_window": "8"})), "--"},
		{"listed", windows(read("qwen2_window", map[string]string{"layer_types": `["full_attention", "sliding_attention", "full_attention"]`})), "-w-"},
		{"scale of scores", read("gemma3_old", nil).AttnScale, 1 / math.Sqrt(24)},
		{"local base", read("gemma3", nil).Rope.LocalBase, 10000.0},
		{"local base old", read("gemma3_old", nil).Rope.LocalBase, 10000.0},
		{"scaling old", read("gemma3_old", nil).Rope.Scaling, ir.ScaleLinear},
		{"partial", read("phi3", map[string]string{"rope_parameters": `{"rope_theta": 1e4, "partial_rotary_factor": 0.5}`}).Rope.RotaryDim, 8},
		{"head_dim", read("llama31_old", nil).HeadDim, 24},
		{"whole float", read("llama2", map[string]string{"head_dim": "16.0"}).HeadDim, 16},
		{"kv heads", read("llama2", map[string]string{"num_key_value_heads": ""}).KVHeads, 3},
		{"embedding scale is a float32", read("gemma3", nil).EmbedScale, float64(float32(math.Sqrt(40)))},
		{"biases", read("llama_bias", nil).Bias, Bias{true, true, true}},
		{"qwen's biases", read("qwen2", nil).Bias, Bias{QKV: true}},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %v, expected %v", c.what, c.got, c.want)
		}
	}
}

// Gemma 3's larger models nest the text model, and leave out what transformers has as a default.
func TestNestedTextConfig(t *testing.T) {
	c, err := FromHF("c", []byte(`{"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "vision_config": {},
		"text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
		"rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Heads != 8 || c.KVHeads != 4 || c.HeadDim != 256 || c.Vocab != 262208 || c.Window != 1024 || c.WindowN != 6 || !c.TiedEmbeddings ||
		c.Rope.Base != 1e6 || c.Rope.LocalBase != 1e4 || c.Rope.Factor != 8 || c.MaxContext != 131072 || c.Act != GELUTanh {
		t.Errorf("%+v", c)
	}
}

func FuzzFromHF(f *testing.F) {
	for _, name := range []string{"llama31", "llama_linear", "gemma3", "gemma3_old", "phi3", "qwen2_window"} {
		f.Add(edited(f, name, nil))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := FromHF("c", text)
		if err != nil {
			return
		}
		// What is accepted can be built.
		if c.Layers > 8 {
			t.Skip("more layers than are built here")
		}
		b, err := RandomBindings(c, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Build(c, b); err != nil {
			t.Fatalf("%v\n%+v", err, c)
		}
	})
}
