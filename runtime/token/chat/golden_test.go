package chat_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

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
