package chat

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

// The templates of this folder are our own, each for the markers of a family of models.
//
//go:embed templates/*.jinja
var files embed.FS

// family is a built-in template and the markers that a template must all have for it to stand in.
type family struct {
	name string
	has  []string
}

// families in the order of trying; the first that fits wins, chatml otherwise.
var families = []family{
	{"smollm2", []string{"<|im_start|>", "named SmolLM"}},
	{"qwen2", []string{"<|im_start|>", "You are a helpful assistant"}},
	{"chatml", []string{"<|im_start|>"}},
	{"llama3", []string{"<|start_header_id|>"}},
	{"gemma", []string{"<start_of_turn>"}},
	{"llama2", []string{"[INST]", "<<SYS>>"}},
	{"mistral", []string{"[INST]"}},
	{"phi3", []string{"<|user|>", "<|end|>"}},
	{"zephyr", []string{"<|user|>"}},
	{"vicuna", []string{"USER:"}},
	{"alpaca", []string{"### Instruction"}},
}

// Family names the built-in template that fits a template best.
func Family(text string) string {
	if len(text) > MaxTemplate {
		return "chatml"
	}
	for _, f := range families {
		if !slices.ContainsFunc(f.has, func(m string) bool { return !strings.Contains(text, m) }) {
			return f.name
		}
	}
	return "chatml"
}

// BuiltinNames lists the built-in templates, sorted.
func BuiltinNames() []string {
	entries, err := files.ReadDir("templates")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".jinja"))
	}
	return out
}

// Builtin compiles one of our own templates: chatml, llama2, llama3, mistral, gemma, phi3, qwen2, ...
func Builtin(name string, o Options) (*Template, error) {
	text, err := files.ReadFile("templates/" + name + ".jinja")
	if err != nil || strings.Contains(name, "/") {
		return nil, fmt.Errorf("chat template: %q is not built in, expected one of %s", name, strings.Join(BuiltinNames(), ", "))
	}
	return compile(name, string(text), o, true)
}
