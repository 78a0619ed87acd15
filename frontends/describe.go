package frontends

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"

	"quire/frontends/weights"
	"quire/runtime/program"
)

// describe reads what the source says beside weights: tokenizer, chat template, generation defaults.
func (m *Model) describe() error {
	if m.Source.Format == weights.GGUF {
		m.describeGGUF(m.Source.KV)
		return nil
	}
	s := m.Source
	m.Tokenizer = Tokenizer{JSON: s.Tokenizer, Config: s.TokenizerConfig, SpecialTokens: s.SpecialTokens}
	var err error
	if m.ChatTemplate, err = hfTemplate(s); err != nil {
		return err
	}
	m.Generation, err = hfGeneration(s)
	return err
}

// describeGGUF reads the keys of GGUF. Sampling defaults stand in general.sampling.* of newer files.
func (m *Model) describeGGUF(kv weights.Metadata) {
	if _, ok := kv.Texts("tokenizer.ggml.tokens"); ok {
		m.Tokenizer.GGUF = kv
	}
	m.ChatTemplate, _ = kv.Text("tokenizer.chat_template")
	g := &m.Generation
	for key, p := range map[string]**float64{
		"temp": &g.Temperature, "top_p": &g.TopP, "min_p": &g.MinP, "penalty_repeat": &g.RepetitionPenalty,
	} {
		if x, ok := kv.Float("general.sampling." + key); ok {
			*p = shortest(x)
		}
	}
	if n, ok := kv.Int("general.sampling.top_k"); ok {
		k := int(n)
		g.TopK = &k
	}
	for _, key := range []string{"eos_token_id", "eot_token_id", "eom_token_id"} {
		if n, ok := kv.Int("tokenizer.ggml." + key); ok && n >= 0 && n < int64(m.Config.Vocab) {
			g.EOS = append(g.EOS, int32(n))
		}
	}
}

// shortest is the decimal that a float32 of a file stands for.
func shortest(x float64) *float64 {
	x, _ = strconv.ParseFloat(strconv.FormatFloat(x, 'g', -1, 32), 64)
	return &x
}

// ids is a token id or a list of them.
type ids []int32

func (t *ids) UnmarshalJSON(text []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(text)), "[") {
		return json.Unmarshal(text, (*[]int32)(t))
	}
	var one *int32
	if err := json.Unmarshal(text, &one); err != nil || one == nil {
		return err
	}
	*t = ids{*one}
	return nil
}

// generation is what generation_config.json and config.json say; transformers samples only where do_sample is true.
type generation struct {
	EOS               ids      `json:"eos_token_id"`
	DoSample          bool     `json:"do_sample"`
	Temperature       *float64 `json:"temperature"`
	TopK              *int     `json:"top_k"`
	TopP              *float64 `json:"top_p"`
	MinP              *float64 `json:"min_p"`
	RepetitionPenalty *float64 `json:"repetition_penalty"`
}

func hfGeneration(s *weights.Source) (program.Generation, error) {
	var out program.Generation
	var g generation
	if s.GenerationConfig != nil {
		if err := json.Unmarshal(s.GenerationConfig, &g); err != nil {
			return out, &weights.Error{File: filepath.Join(s.Path, "generation_config.json"), Err: err}
		}
	}
	if g.EOS == nil && s.Config != nil {
		var c generation
		if err := json.Unmarshal(s.Config, &c); err != nil {
			return out, &weights.Error{File: filepath.Join(s.Path, "config.json"), Err: err}
		}
		g.EOS = c.EOS
	}
	out = program.Generation{EOS: g.EOS, RepetitionPenalty: g.RepetitionPenalty}
	if g.DoSample {
		out.Temperature, out.TopK, out.TopP, out.MinP = g.Temperature, g.TopK, g.TopP, g.MinP
		if out.Temperature == nil {
			one := 1.0
			out.Temperature = &one
		}
	}
	return out, nil
}

// hfTemplate is chat_template.jinja, or chat_template of tokenizer_config.json: a text, or a list of named ones.
func hfTemplate(s *weights.Source) (string, error) {
	if s.ChatTemplate != nil {
		return string(s.ChatTemplate), nil
	}
	if s.TokenizerConfig == nil {
		return "", nil
	}
	var c struct {
		Template json.RawMessage `json:"chat_template"`
	}
	file := filepath.Join(s.Path, "tokenizer_config.json")
	if err := json.Unmarshal(s.TokenizerConfig, &c); err != nil {
		return "", &weights.Error{File: file, Err: err}
	}
	var text string
	if c.Template == nil || json.Unmarshal(c.Template, &text) == nil {
		return text, nil
	}
	var named []struct{ Name, Template string }
	if err := json.Unmarshal(c.Template, &named); err != nil {
		return "", &weights.Error{File: file, Key: "chat_template", Msg: "expected a text or a list of named texts", Err: err}
	}
	for _, n := range named {
		if n.Name == "default" {
			return n.Template, nil
		}
	}
	return "", nil
}
