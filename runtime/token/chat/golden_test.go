package chat_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"quire/frontends/weights"
	"quire/runtime/token/chat"
)

// jinjaOracle is a Python that has jinja2: tests/fetch/oracle/jinja.py then gives the expectations.
var jinjaOracle = flag.String("jinja-oracle", "", "python with jinja2: rewrite testdata/expect.json")

var markers = chat.Options{BOS: "<s>", EOS: "</s>"}

// clock is the moment that the oracle's strftime_now shows.
var clock = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type rawInput struct {
	Messages []struct {
		Role, Content string
		ToolCalls     []struct {
			ID       string
			Function struct {
				Name      string
				Arguments json.RawMessage
			}
		} `json:"tool_calls"`
		ToolCallID string `json:"tool_call_id"`
		Name       string
	}
	Tools               []json.RawMessage
	AddGenerationPrompt bool `json:"add_generation_prompt"`
	Vars                map[string]any
}

func (r *rawInput) input() chat.Input {
	in := chat.Input{Tools: r.Tools, AddGenerationPrompt: r.AddGenerationPrompt, Vars: r.Vars, Now: clock}
	for _, m := range r.Messages {
		msg := chat.Message{Role: m.Role, Content: m.Content, ToolCallID: m.ToolCallID, Name: m.Name}
		for _, c := range m.ToolCalls {
			msg.ToolCalls = append(msg.ToolCalls, chat.ToolCall{ID: c.ID, Name: c.Function.Name, Arguments: c.Function.Arguments})
		}
		in.Messages = append(in.Messages, msg)
	}
	return in
}

func inputs(t testing.TB) (raws []json.RawMessage, ins []chat.Input) {
	t.Helper()
	text, err := os.ReadFile("testdata/inputs.json")
	if err != nil {
		t.Fatal(err)
	}
	var parsed []rawInput
	if err := errors.Join(json.Unmarshal(text, &raws), json.Unmarshal(text, &parsed)); err != nil {
		t.Fatal(err)
	}
	for i := range parsed {
		ins = append(ins, parsed[i].input())
	}
	return raws, ins
}

// cached gives a path in the product's cache, which tests/fetch fills; see QUIRE_REQUIRE_DATA in runtime/token.
func cached(t testing.TB, script string, path ...string) string {
	t.Helper()
	dir := os.Getenv("QUIRE_CACHE_DIR")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(base, "quire")
	}
	full := filepath.Join(append([]string{dir}, path...)...)
	if _, err := os.Stat(full); errors.Is(err, fs.ErrNotExist) {
		if os.Getenv("QUIRE_REQUIRE_DATA") == "1" {
			t.Fatalf("%s is missing: run tests/fetch/%s", full, script)
		}
		t.Skipf("%s is missing: tests/fetch/%s brings it", full, script)
	}
	return full
}

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

func smollm2(t testing.TB) string {
	return ggufTemplate(t, cached(t, "smollm2.sh", "models", "smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"))
}

// What stands in place of a digest: the template refused the input, or Python stopped at something undefined. The engine
// is lenient there, so such an input may render as anything.
const (
	refused = "refused"
	failed  = "failed"
)

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// expectations has, for each template, a digest of each input's text by Python's jinja2.
func expectations(t *testing.T, group string, templates map[string]string) map[string][]string {
	t.Helper()
	file := filepath.Join("testdata", group+".json")
	if *jinjaOracle != "" {
		writeExpectations(t, file, templates)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string][]string
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func writeExpectations(t *testing.T, file string, templates map[string]string) {
	t.Helper()
	raws, _ := inputs(t)
	out := map[string][]string{}
	for name, text := range templates {
		for _, want := range render(t, text) {
			out[name] = append(out[name], want.digest())
		}
		if len(out[name]) != len(raws) {
			t.Fatalf("%s: %d texts for %d inputs", name, len(out[name]), len(raws))
		}
	}
	text, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// answer is what the oracle rendered: a string, false or nil.
type answer struct{ any }

func (a *answer) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &a.any) }

func (a answer) digest() string {
	switch v := a.any.(type) {
	case string:
		return digest(v)
	case bool:
		return refused
	}
	return failed
}

// fits says whether a rendering is what the oracle's digest asks for.
func fits(want, text string, err error) bool {
	if want == refused {
		var raised *chat.RaisedError
		return errors.As(err, &raised)
	}
	return want == failed || err == nil && digest(text) == want
}

// render asks the oracle for a template's text of every input.
func render(t *testing.T, template string) []answer {
	t.Helper()
	raws, _ := inputs(t)
	var jobs []job
	for _, raw := range raws {
		jobs = append(jobs, job{template, markers.BOS, markers.EOS, raw})
	}
	return ask(t, jobs)
}

// renderAll asks the oracle for every template's text of no messages at all.
func renderAll(t *testing.T, templates []string) []answer {
	t.Helper()
	var jobs []job
	for _, text := range templates {
		jobs = append(jobs, job{text, markers.BOS, markers.EOS, json.RawMessage(`{"messages":[]}`)})
	}
	return ask(t, jobs)
}

type job struct {
	Template string          `json:"template"`
	BOS      string          `json:"bos_token"`
	EOS      string          `json:"eos_token"`
	Input    json.RawMessage `json:"input"`
}

func ask(t *testing.T, jobs []job) []answer {
	t.Helper()
	in, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(*jinjaOracle, "../../../tests/fetch/oracle/jinja.py")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var out []answer
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// compare renders every input of every template and counts what equals the expectation.
func compare(t *testing.T, group string, templates map[string]string, compile func(name, text string) (*chat.Template, error)) {
	t.Helper()
	want := expectations(t, group, templates)
	_, ins := inputs(t)
	names := make([]string, 0, len(templates))
	for name := range templates {
		names = append(names, name)
	}
	slices.Sort(names)
	equal, all := 0, 0
	for _, name := range names {
		if len(want[name]) != len(ins) {
			t.Errorf("%s: %d expectations for %d inputs", name, len(want[name]), len(ins))
			continue
		}
		tpl, err := compile(name, templates[name])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, in := range ins {
			all++
			text, err := tpl.Render(in)
			if fits(want[name][i], text, err) {
				equal++
				continue
			}
			t.Errorf("%s, input %d: text %s (error: %v), expected %s", name, i, digest(text), err, want[name][i])
			if *jinjaOracle != "" {
				if w, ok := render(t, templates[name])[i].any.(string); ok {
					at := 0
					for at < len(text) && at < len(w) && text[at] == w[at] {
						at++
					}
					t.Logf("got      %.60q\nexpected %.60q", text[at:], w[at:])
				}
			}
		}
	}
	t.Logf("%d of %d texts equal, %d templates", equal, all, len(names))
}

// Our own templates against Python's jinja2.
func TestBuiltinEqualsJinja2(t *testing.T) {
	templates := map[string]string{}
	for _, name := range chat.BuiltinNames() {
		tpl, err := chat.Builtin(name, markers)
		if err != nil {
			t.Fatal(err)
		}
		templates[name] = tpl.Text()
	}
	compare(t, "builtin", templates, func(name, _ string) (*chat.Template, error) { return chat.Builtin(name, markers) })
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
