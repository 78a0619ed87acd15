package chat_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"quire/frontends/weights"
	"quire/runtime/token/chat"
)

// published are the templates that llama.cpp's source package collects, and those in GGUF files, by name.
func published(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	dir := cached(t, "vocabs.sh", "vocab", "templates")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".jinja"); ok {
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			out[name] = string(text)
		}
	}
	maps.Copy(out, cppTemplates(t, filepath.Join(dir, "test-chat-template.cpp")))
	for _, v := range []string{"phi-3", "qwen2", "command-r", "gemma-4"} {
		out["gguf-"+v] = ggufTemplate(t, cached(t, "vocabs.sh", "vocab", "ggml-vocab-"+v+".gguf"))
	}
	return out
}

var (
	cppCase   = regexp.MustCompile(`/\* \.name= \*/ +"([^"]*)",`)
	cppField  = regexp.MustCompile(`/\* \.template_str= \*/`)
	cppString = regexp.MustCompile(`^\s*"((?:[^"\\]|\\.)*)"`)
)

// cppTemplates reads the templates that llama.cpp's own test holds as string literals.
func cppTemplates(t testing.TB, path string) map[string]string {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, m := range cppCase.FindAllSubmatchIndex(src, -1) {
		name := string(src[m[2]:m[3]])
		at := cppField.FindIndex(src[m[1]:])
		if at == nil {
			break
		}
		rest := src[m[1]+at[1]:]
		var text strings.Builder
		for lit := cppString.FindSubmatchIndex(rest); lit != nil; lit = cppString.FindSubmatchIndex(rest) {
			s, err := strconv.Unquote(`"` + strings.NewReplacer(`\'`, `'`, `\?`, `?`).Replace(string(rest[lit[2]:lit[3]])) + `"`)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			text.WriteString(s)
			rest = rest[lit[1]:]
		}
		if text.Len() > 0 {
			name, _, _ = strings.Cut(name, " (")
			out[name] = text.String()
		}
	}
	return out
}

func ggufTemplate(t testing.TB, path string) string {
	t.Helper()
	src, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	text, ok := src.KV.Text("tokenizer.chat_template")
	if !ok {
		t.Fatalf("%s has no chat template", path)
	}
	return strings.Clone(text)
}

// Every published template against Python's jinja2. Those whose texts are all equal are the built-in list.
func TestPublishedEqualsJinja2(t *testing.T) {
	templates := published(t)
	templates["smollm2"] = smollm2(t)
	names := chat.ListedNames()
	if *jinjaOracle != "" {
		names = writeKnown(t, templates)
	}
	listed := map[string]string{}
	for name, text := range templates {
		if _, ok := names[chat.SHA256(text)]; ok {
			listed[name] = text
		}
	}
	if len(listed) < len(templates)*9/10 {
		t.Errorf("%d of %d published templates are on the list", len(listed), len(templates))
	}
	compare(t, "published", listed, func(_, text string) (*chat.Template, error) { return chat.CompileListed(text, markers) })
}

// writeKnown writes known.go, the hashes of the templates that render as jinja2 renders them, and gives them.
func writeKnown(t *testing.T, templates map[string]string) map[string]string {
	t.Helper()
	_, ins := inputs(t)
	names := map[string]string{}
	for name, text := range templates {
		tpl, err := chat.CompileListed(text, markers)
		if err != nil {
			t.Logf("%s: %v", name, err)
			continue
		}
		equal, rendered := true, false
		for i, want := range render(t, text) {
			got, err := tpl.Render(ins[i])
			equal = equal && fits(want.digest(), got, err)
			_, text := want.any.(string)
			rendered = rendered || text
		}
		equal = equal && rendered
		if sum := chat.SHA256(text); equal && (names[sum] == "" || name < names[sum]) {
			names[sum] = name
		}
	}
	for _, name := range chat.BuiltinNames() {
		tpl, err := chat.Builtin(name, markers)
		if err != nil {
			t.Fatal(err)
		}
		names[chat.SHA256(tpl.Text())] = name
	}
	sums := slices.SortedFunc(maps.Keys(names), func(a, b string) int { return strings.Compare(names[a]+a, names[b]+b) })
	var b bytes.Buffer
	b.WriteString("package chat\n\n// known maps the sha256 of a normalised template to its name: our own, and published ones that render every\n" +
		"// conversation of testdata/inputs.json as Python's jinja2 does. go test -jinja-oracle writes this file.\n" +
		"var known = map[string]string{\n")
	for _, sum := range sums {
		fmt.Fprintf(&b, "\t%q: %q,\n", sum, names[sum])
	}
	b.WriteString("}\n")
	if err := os.WriteFile("known.go", b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return names
}
