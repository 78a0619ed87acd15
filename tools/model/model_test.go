package model_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"quire/ir"
	"quire/ir/target"
	"quire/passes"
	"quire/passes/pipeline"
	"quire/runtime/program"
	"quire/tools/model"
)

// TestMain gives the tests a cache of their own.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "quire-model-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("QUIRE_CACHE_DIR", dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// TestReadme holds the README's example to the one that is compiled and run.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(source), "func Example() {\n")
	body, _, _ = strings.Cut(body, "\t// Output: ")
	want := strings.TrimSpace(regexp.MustCompile(`(?m)^\t`).ReplaceAllString(body, ""))
	_, shown, _ := strings.Cut(string(readme), "```go\n")
	shown, _, _ = strings.Cut(shown, "```")
	if strings.TrimSpace(shown) != want {
		t.Errorf("README.md shows\n%s\nexpected the body of Example:\n%s", shown, want)
	}
	if n := strings.Count(string(readme), "\n"); n >= 150 {
		t.Errorf("README.md has %d lines, expected less than 150", n)
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"m.gguf", "m.yaml", "m.yml", "m.quire", "odd"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, kind := range map[string]model.Kind{
		"m.gguf": model.File, "odd": model.File, "m.yaml": model.Spec, "m.yml": model.Spec, "m.quire": model.Compiled, ".": model.Directory,
	} {
		r, err := model.Resolve(filepath.Join(dir, name), dir)
		if err != nil || r.Kind != kind {
			t.Errorf("%s: %v, %v, expected %s", name, r, err, kind)
		}
	}
	var missing *model.MissingError
	if _, err := model.Resolve("smollm2", dir); !errors.As(err, &missing) || !missing.Known {
		t.Errorf("smollm2 in an empty cache: %v, expected a model to pull", err)
	}
	if _, err := model.Resolve("nothing", dir); !errors.As(err, &missing) || missing.Known {
		t.Errorf("nothing: %v, expected an unknown model", err)
	}
}

// TestResume finds the passes that are left for every dump of a pipeline, by its name and by its text.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	host, err := target.Host()
	if err != nil {
		t.Skip(err)
	}
	ref := model.Ref{Kind: model.Directory, Path: file}
	_, _, err = model.Compile(t.Context(), ref, model.Options{Target: host, PlanOnly: true, Observers: []passes.Observer{passes.Dump(dir, false)}})
	if err != nil {
		t.Fatal(err)
	}
	list := pipeline.Standard(pipeline.Options{})
	end := dump(t, dir, len(list))
	for n := range len(list) + 1 {
		path := dump(t, dir, n)
		renamed := filepath.Join(dir, "renamed.ir")
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(renamed, text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{path, renamed} {
			m, rest, err := model.Resume(from, list)
			if err != nil {
				t.Fatal(err)
			}
			if from == path && len(rest) != len(list)-n {
				t.Errorf("%s: %d passes left, expected %d", filepath.Base(path), len(rest), len(list)-n)
			}
			if _, err := rest.Run(m); err != nil {
				t.Errorf("%s: %v", filepath.Base(path), err)
				continue
			}
			want, err := os.ReadFile(end)
			if err != nil {
				t.Fatal(err)
			}
			if ir.Print(m) != string(want) {
				t.Errorf("%s: the rest of the pipeline ends elsewhere", filepath.Base(from))
			}
		}
	}
}

func dump(t *testing.T, dir string, n int) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, fmt.Sprintf("%02d-*.ir", n)))
	if err != nil || len(found) != 1 {
		t.Fatalf("dumps of pass %d: %v, %v, expected one", n, found, err)
	}
	return found[0]
}

func TestPlan(t *testing.T) {
	recent := 100
	p := &program.Program{
		Slots:   []string{"N*64, 1024", "M*4"},
		Tables:  []program.Table{{Page: 64}, {Page: 64, Recent: &recent}},
		Caches:  []program.Cache{{Table: 0, PageBytes: 10}, {Table: 1, PageBytes: 1000}},
		Weights: []program.Weight{{Bytes: 7}, {Bytes: 8}},
	}
	got, err := model.Plan(p, 1000, 512)
	if err != nil {
		t.Fatal(err)
	}
	// 512 rows of 64 bytes and one of 4; 16 pages of the first table, 2, the one being left and one more of the second
	want := model.Memory{Weights: 15, Steps: 512*64 + 4, Caches: 16*10 + 4*1000}
	if got != want || got.Total() != want.Weights+want.Steps+want.Caches {
		t.Errorf("plan is %+v, expected %+v", got, want)
	}
}
