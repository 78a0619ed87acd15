package script

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"quire/frontends/weights"
)

// quire is the built binary, cache the folder that scripts share.
var quire, cache string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "quire-script-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	quire, cache = filepath.Join(dir, "bin", "quire"), filepath.Join(dir, "cache")
	out, err := exec.Command("go", "build", "-o", quire, "quire/tools/quire").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "building quire: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func TestScripts(t *testing.T) {
	ref, err := filepath.Abs("../e2e/reference")
	if err != nil {
		t.Fatal(err)
	}
	real, err := realModel()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:       "testdata",
		Condition: func(name string) (bool, error) { return real && name == "smollm2", nil },
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(quire)+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("REF", ref)
			e.Setenv("CACHE", cache)
			e.Setenv("QUIRE_CACHE_DIR", cache)
			return vocabulary(filepath.Join(e.WorkDir, "vocab.gguf"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":      func(ts *testscript.TestScript, neg bool, args []string) { exits(ts, neg, args) },
			"refuses":    refuses,
			"object":     object,
			"field":      field,
			"interrupts": interrupts,
		},
	})
}

// realModel links the default model into the shared cache, if tests/fetch/smollm2.sh has brought it.
func realModel() (bool, error) {
	dir := os.Getenv("QUIRE_CACHE_DIR")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return false, err
		}
		dir = filepath.Join(user, "quire")
	}
	models := filepath.Join(dir, "models", "smollm2")
	if _, err := os.Stat(models); err != nil {
		if os.Getenv("QUIRE_REQUIRE_DATA") != "" {
			return false, fmt.Errorf("%w, expected the default model: tests/fetch/smollm2.sh", err)
		}
		return false, nil
	}
	if err := os.MkdirAll(filepath.Join(cache, "models"), 0o755); err != nil {
		return false, err
	}
	return true, os.Symlink(models, filepath.Join(cache, "models", "smollm2"))
}

// vocabulary writes a GGUF file that holds a tokenizer and no model.
func vocabulary(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	tokens := []string{"<unk>", "<s>", "</s>", "\u2581", "h", "i", "hi", "\u2581hi", "<0x21>"}
	scores := []float32{0, 0, 0, -4, -5, -6, -2, -1, 0}
	types := []int32{2, 3, 3, 1, 1, 1, 1, 1, 6}
	err = weights.WriteGGUF(f, []weights.KV{
		{Key: "general.architecture", Value: "llama"},
		{Key: "tokenizer.ggml.model", Value: "llama"},
		{Key: "tokenizer.ggml.tokens", Value: tokens},
		{Key: "tokenizer.ggml.scores", Value: scores},
		{Key: "tokenizer.ggml.token_type", Value: types},
		{Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)},
		{Key: "tokenizer.ggml.eos_token_id", Value: uint32(2)},
	}, nil)
	return errors.Join(err, f.Close())
}

// exits runs quire and compares its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec("quire", args[1:]...); err != nil {
		var e *exec.ExitError
		if !errors.As(err, &e) {
			ts.Fatalf("quire: %v", err)
		}
		got = e.ExitCode()
	}
	stderr := ts.ReadFile("stderr")
	if got != want {
		ts.Fatalf("quire %s ended with %d, expected %d: %s", strings.Join(args[1:], " "), got, want, stderr)
	}
	if want != 0 && !strings.HasPrefix(stderr, "quire: ") {
		ts.Fatalf("stderr begins with %.40q, expected \"quire: \"", stderr)
	}
	if strings.Contains(stderr, "goroutine ") || strings.Contains(stderr, "panic") {
		ts.Fatalf("stderr holds a Go trace: %s", stderr)
	}
}

// refuses is exits with an empty stdout.
func refuses(ts *testscript.TestScript, neg bool, args []string) {
	exits(ts, neg, args)
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("stdout is %.80q, expected nothing", out)
	}
}

// value is the one JSON value on stdout.
func value(ts *testscript.TestScript) any {
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	var v, more any
	if err := d.Decode(&v); err != nil {
		ts.Fatalf("stdout is no JSON: %v", err)
	}
	if err := d.Decode(&more); err != io.EOF {
		ts.Fatalf("stdout holds more than one JSON value")
	}
	return v
}

var typeNames = map[string]reflect.Kind{"string": reflect.String, "number": reflect.Float64, "bool": reflect.Bool, "array": reflect.Slice, "object": reflect.Map}

func object(ts *testscript.TestScript, neg bool, args []string) {
	m, ok := value(ts).(map[string]any)
	if neg || !ok {
		ts.Fatalf("stdout is no JSON object")
	}
	for _, a := range args {
		path, typ, _ := strings.Cut(a, ":")
		v, ok := at(m, path)
		kind, known := typeNames[typ]
		switch {
		case !known && typ != "any":
			ts.Fatalf("type %q, expected one of string number bool array object any", typ)
		case !ok:
			ts.Fatalf("no field %s", path)
		case known && (v == nil || reflect.TypeOf(v).Kind() != kind):
			ts.Fatalf("field %s is %T, expected %s", path, v, typ)
		}
	}
}

// at follows a path of names and numbers.
func at(v any, path string) (any, bool) {
	for part := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			next, ok := x[part]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(x) {
				return nil, false
			}
			v = x[i]
		default:
			return nil, false
		}
	}
	return v, true
}

func field(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: field PATH VALUE")
	}
	v, ok := at(value(ts), args[0])
	if !ok {
		ts.Fatalf("no field %s", args[0])
	}
	got, err := json.Marshal(v)
	ts.Check(err)
	if (string(got) == args[1]) == neg {
		ts.Fatalf("field %s is %s, compared with %s", args[0], got, args[1])
	}
}

// interrupts starts quire, waits until it computes, and sends SIGINT.
func interrupts(ts *testscript.TestScript, neg bool, args []string) {
	cmd := exec.Command(quire, args...)
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = append(os.Environ(), "QUIRE_CACHE_DIR="+cache)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	ts.Check(cmd.Start())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	time.Sleep(time.Second)
	ts.Check(cmd.Process.Signal(os.Interrupt))
	var err error
	select {
	case err = <-done:
	case <-time.After(20 * time.Second):
		cmd.Process.Kill()
		ts.Fatalf("quire still runs 20 s after SIGINT")
	}
	var e *exec.ExitError
	if neg || !errors.As(err, &e) || e.ExitCode() != 130 || stdout.Len() > 0 || strings.TrimSpace(stderr.String()) != "quire: interrupted" {
		ts.Fatalf("after SIGINT: %v, stdout %.80q, stderr %.200q, expected exit code 130, nothing, and \"quire: interrupted\"", err, stdout.String(), stderr.String())
	}
}
