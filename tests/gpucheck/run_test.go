package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

const failing = `=== RUN   TestGPU
=== RUN   TestGPU/family_llama
=== RUN   TestGPU/family_llama/sm_80
    gpu_test.go:12: N=1 S=1: logits of row 0 are far
    gpu_test.go:12: and more
=== RUN   TestGPU/family_llama/sm_90a
=== RUN   TestGPU/quest
    gpu_test.go:40: refused: lower.select-kernels: no kernel of a GPU
--- FAIL: TestGPU (1.00s)
    --- FAIL: TestGPU/family_llama (1.00s)
        --- FAIL: TestGPU/family_llama/sm_80 (0.50s)
        --- PASS: TestGPU/family_llama/sm_90a (0.50s)
    --- SKIP: TestGPU/quest (0.00s)
FAIL
`

func TestTests(t *testing.T) {
	for _, c := range []struct {
		name, log string
		err       error
		want      result
	}{
		{"innermost tests", failing, errors.New("exit status 1"), result{passed: 1, failed: 1,
			notRun:   []string{"TestGPU/quest: refused: lower.select-kernels: no kernel of a GPU"},
			failures: []string{"TestGPU/family_llama/sm_80: N=1 S=1: logits of row 0 are far"}}},
		{"a crash", "=== RUN   TestA\n--- PASS: TestA (0.00s)\n=== RUN   TestB\npanic: oh\n\ngoroutine 1\n", errors.New("exit status 2"),
			result{passed: 1, failed: 1, failures: []string{"exit status 2: panic: oh"}}},
		{"no time", "=== RUN   TestA\n--- PASS: TestA (0.00s)\n=== RUN   TestB\n", errLimit,
			result{passed: 1, notRun: []string{"what follows TestB: the time was over"}}},
		{"no such test", "testing: warning: no tests to run\nPASS\n", nil, result{notRun: []string{"no test of that name"}}},
	} {
		if got := tests(c.log, c.err); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// What compute-sanitizer refuses is not run; what it finds is a failure; a clean end is a pass.
func TestSanitizer(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("logs", 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	test := "echo '--- PASS: TestGPU (0.1s)'\n"
	for _, c := range []struct {
		name, script          string
		passed, failed, noRun int
	}{
		{"clean", test + "echo '========= ERROR SUMMARY: 0 errors'\n", 1, 0, 0},
		{"errors", test + "echo '========= Invalid __global__ write'\necho '========= ERROR SUMMARY: 1 error'\nexit 1\n", 0, 1, 0},
		{"refusal", "echo '========= Error: Device not supported'\nexit 1\n", 0, 0, 1},
		{"no test ran", "echo '--- SKIP: TestGPU (0.1s)'\necho '========= ERROR SUMMARY: 0 errors'\n", 0, 0, 1},
	} {
		if err := os.WriteFile(filepath.Join(dir, "compute-sanitizer"), []byte("#!/bin/sh\n"+c.script), 0o755); err != nil {
			t.Fatal(err)
		}
		r := sanitizer(t.Context(), "memcheck", "ERROR SUMMARY: 0 errors").runs[0]()
		if r.passed != c.passed || r.failed != c.failed || len(r.notRun) != c.noRun {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// What takes longer than there is time for is ended, and what would follow it is not begun: neither has failed.
func TestLimit(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("logs", 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errLimit)
	defer cancel()
	for i := range 2 {
		_, _, err := command(ctx, "slow", "sleep", "20")
		if r := tests("", err); r.failed != 0 || r.passed != 0 || len(r.notRun) != 1 {
			t.Errorf("command %d: %v, %+v", i, err, r)
		}
	}
}

// The exit code tells a failure from what did not run.
func TestVerdict(t *testing.T) {
	all := func(int) bool { return true }
	list := []part{{name: "a"}, {name: "b"}}
	for _, c := range []struct {
		results []result
		want    int
	}{
		{[]result{{passed: 3}, {passed: 1}}, 0},
		{[]result{{passed: 3}, {notRun: []string{"b"}}}, 3},
		{[]result{{failed: 1}, {notRun: []string{"b"}}}, 1},
		{[]result{{}, {}}, 3},
	} {
		if got := table(list, c.results, all, 0); got != c.want {
			t.Errorf("%+v: exit code %d, want %d", c.results, got, c.want)
		}
	}
}
