package chat_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"quire/runtime/token/chat"
)

func TestMain(m *testing.M) {
	chat.ChildMain()
	os.Exit(m.Run())
}

// hostile are the T cases of bad input: each ends in an error, soon, and without the process.
var hostile = []struct {
	name, text string
	want       string // part of the error; of either, where a slow machine's child may use up its time first
	inProcess  bool   // what stops it works without a child too
}{
	{"T1 macro calls itself", `{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}`, "calls itself", true},
	{"T1 macros call each other", `{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}`, "calls itself", true},
	{"T1 macro handed around", `{% set ns = namespace(f=0) %}{% macro m() %}{{ ns.f() }}{% endmacro %}{% set ns.f = m %}{{ m() }}`, "deeper than", true},
	{"T1 caller calls itself", `{% set ns = namespace(f=0) %}{% macro m() %}{% set ns.f = caller %}{{ caller() }}{% endmacro %}` +
		`{% call m() %}{{ ns.f() }}{% endcall %}`, "deeper than", true},
	{"T2 range of 10^9", `{% for i in range(1000000000) %}{% endfor %}`, "range: more than", true},
	{"T2 range backwards", `{% for i in range(1000000000, 0, -1) %}{% endfor %}`, "range: more than", true},
	{"T2 range step 0", `{% for i in range(0, 5, 0) %}{% endfor %}`, "step is 0", true},
	{"T3 string times 2^31", `{{ ('x' * 2147483648) | length }}`, "", false},
	{"T3 string doubled", `{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}`, "a string of|CPU time", true},
	{"T3 printed without end", `{% for i in range(90000) %}{{ 'x' * 1000 }}{% endfor %}`, "bytes printed|CPU time", true},
	{"T3 replace squared", `{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(9) %}{% set ns.s = ns.s | replace('x', ns.s) %}{% endfor %}`, "", false},
	{"T4 nested loops", `{% for a in range(9000) %}{% for b in 'x' * 9000 %}{% for c in 'x' * 9000 %}{% endfor %}{% endfor %}{% endfor %}`, "steps|CPU time", true},
	{"T4 a long expression", `{{ ` + strings.Repeat(`('x' * 30000) | replace('x', 'yy') | length + `, 3000) + `0 }}`, "CPU time", false},
	{"raise_exception always", `{{ raise_exception('no') }}`, "refused: no", true},
	{"brackets", `{{ ` + strings.Repeat("(", 100_000) + `1` + strings.Repeat(")", 100_000) + ` }}`, "brackets nest", true},
	{"negations", `{{ ` + strings.Repeat("not ", 50_000) + `1 }}`, "negations", true},
	{"blocks", strings.Repeat(`{% if 1 %}`, 5_000) + strings.Repeat(`{% endif %}`, 5_000), "blocks nest", true},
	{"256 KiB and more", strings.Repeat("x", chat.MaxTemplate+1), "expected at most", true},
	{"no end of a tag", `{% if x`, "without an end", true},
	{"no end of a string", `{{ "x }}`, "without an end", true},
	{"our own name", `{{ quire_step }}`, "which is ours", true},
	{"nonsense", `{% frobnicate %}`, "frobnicate", true},
}

func says(err error, want string) bool {
	return err != nil && slices.ContainsFunc(strings.Split(want, "|"), func(w string) bool { return strings.Contains(err.Error(), w) })
}

func TestAdmitHostile(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			_, err := chat.Admit(context.Background(), c.text, markers, chat.Reexec)
			if !says(err, c.want) {
				t.Fatalf("error is %v, expected one about %q", err, c.want)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("error has %d bytes", len(err.Error()))
			}
			// The child has 1 s of CPU time; the rest is for a busy machine.
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("took %s", took)
			}
			t.Logf("%.150s (%s)", err, time.Since(start).Round(time.Millisecond))
		})
	}
}

// The same without a child, for a caller that vouched for the template: what the checks and meters catch.
func TestTrustedHostile(t *testing.T) {
	for _, c := range hostile {
		if !c.inProcess {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			tpl, err := chat.Trusted(c.text, markers)
			if err == nil {
				_, err = tpl.Render(chat.Input{Messages: []chat.Message{{Role: "user", Content: "x"}}})
			}
			if !says(err, c.want) {
				t.Fatalf("error is %v, expected one about %q", err, c.want)
			}
		})
	}
}

func TestAdmitHarmless(t *testing.T) {
	// A field that no message has is empty text, as in Jinja.
	text := `{% for m in messages %}[{{ m.role }}|{{ m.nosuch }}|{{ m.content }}]{% endfor %}`
	tpl, err := chat.Admit(context.Background(), text, markers, chat.Reexec)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tpl.Render(chat.Input{Messages: []chat.Message{{Role: "user", Content: "Hi"}}})
	if err != nil || got != "[user||Hi]" {
		t.Errorf("got %q, %v", got, err)
	}
	if tpl.Name() != "admitted" {
		t.Errorf("name is %q", tpl.Name())
	}
}

func TestAdmitChildFails(t *testing.T) {
	for name, run := range map[string]chat.Runner{
		"error":   func(context.Context, []byte) ([]byte, error) { return nil, errors.New("no child") },
		"garbage": func(context.Context, []byte) ([]byte, error) { return []byte("hello"), nil },
	} {
		if _, err := chat.Admit(context.Background(), "x", markers, run); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := chat.Admit(ctx, "x", markers, chat.Reexec); err == nil {
		t.Error("cancelled: no error")
	}
}

// Only a process that Reexec started is a child.
func TestChildArgument(t *testing.T) {
	cmd := exec.Command(os.Args[0], "chat-template-probe")
	cmd.Stdin = strings.NewReader("no JSON")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "reading the template") {
		t.Errorf("got %v, %s", err, out)
	}
}

func TestNewTakesTheListAlone(t *testing.T) {
	if _, err := chat.New(`{{ messages[0].content }} <|start_header_id|>`, markers); err == nil {
		t.Error("no error")
	} else if u := (*chat.UntrustedError)(nil); !errors.As(err, &u) || u.Family != "llama3" || len(u.SHA256) != 64 {
		t.Errorf("got %v (%#v)", err, err)
	}
	for _, name := range chat.BuiltinNames() {
		tpl, err := chat.Builtin(name, markers)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := chat.New(tpl.Text()+"\n", markers); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := chat.Builtin("../chat", markers); err == nil {
		t.Error("a path is not a name")
	}
}

func TestSmolLM2(t *testing.T) {
	text := smollm2(t)
	tpl, err := chat.New(text, chat.Options{BOS: "<|im_start|>", EOS: "<|im_end|>"})
	if err != nil {
		t.Fatal(err)
	}
	const system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
	for _, c := range []struct {
		in   []chat.Message
		want string
	}{
		{[]chat.Message{{Role: "user", Content: "Hi"}}, system + "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"},
		{[]chat.Message{{Role: "system", Content: "S"}, {Role: "user", Content: "Hi"}},
			"<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"},
	} {
		got, err := tpl.Render(chat.Input{Messages: c.in, AddGenerationPrompt: true})
		if err != nil || got != c.want {
			t.Errorf("got %q, %v, expected %q", got, err, c.want)
		}
	}
	if chat.Family(text) != "smollm2" {
		t.Errorf("family is %q", chat.Family(text))
	}
}

func TestRenderIsConcurrent(t *testing.T) {
	tpl, err := chat.Builtin("llama2", markers)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for i := range 8 {
		go func() {
			for range 50 {
				text := fmt.Sprint("text ", i)
				got, err := tpl.Render(chat.Input{Messages: []chat.Message{{Role: "user", Content: text}}})
				if want := "<s>[INST] " + text + " [/INST]"; err != nil || got != want {
					done <- fmt.Errorf("got %q, %v, expected %q", got, err, want)
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
