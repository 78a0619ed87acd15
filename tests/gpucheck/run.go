package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// patience is how long a process may take: a kernel that hangs ends there.
const patience = 8 * time.Minute

// errLimit ends what -limit leaves no time for.
var errLimit = errors.New("the time was over")

// command runs a program, keeps what it says in logs/, and returns it.
func command(ctx context.Context, name, path string, args ...string) (log string, seconds float64, err error) {
	if ctx.Err() != nil {
		return "", 0, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no end after %v", patience))
	defer cancel()
	start := time.Now()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if werr := os.WriteFile(filepath.Join("logs", name+".txt"), out, 0o644); werr != nil && err == nil {
		err = werr
	}
	return string(out), time.Since(start).Seconds(), err
}

// test runs tests of a binary.
func test(ctx context.Context, name, path, run string, args ...string) func() result {
	return func() result {
		log, seconds, err := command(ctx, name, path, append([]string{"-test.v", "-test.run", run}, args...)...)
		r := tests(log, err)
		r.seconds = seconds
		return r
	}
}

var verdict = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (\S+)`)

// tests counts the tests of a log that have no tests inside them. An error that none of them shows is a failure too.
func tests(log string, err error) result {
	type outcome struct{ how, said string }
	outcomes, order, said, at := map[string]outcome{}, []string{}, map[string]string{}, ""
	for line := range strings.Lines(log) {
		line = strings.TrimRight(line, "\n")
		if rest, ok := strings.CutPrefix(line, "=== RUN   "); ok {
			at = rest
			continue
		}
		if m := verdict.FindStringSubmatch(line); m != nil {
			outcomes[m[2]] = outcome{m[1], said[m[2]]}
			order = append(order, m[2])
			continue
		}
		if _, text, ok := strings.Cut(line, "_test.go:"); ok && said[at] == "" {
			_, text, _ = strings.Cut(text, ": ")
			said[at] = text
		}
	}
	var r result
	for _, name := range order {
		inner := false
		for other := range outcomes {
			inner = inner || strings.HasPrefix(other, name+"/")
		}
		o := outcomes[name]
		switch {
		case inner:
		case o.how == "PASS":
			r.passed++
		case o.how == "FAIL":
			r.failed++
			r.failures = append(r.failures, name+": "+o.said)
		default:
			r.notRun = append(r.notRun, name+": "+o.said)
		}
	}
	switch {
	case errors.Is(err, errLimit):
		r.notRun = append(r.notRun, strings.TrimSpace("what follows "+at)+": "+err.Error())
	case err != nil && r.failed == 0:
		r.failed++
		r.failures = append(r.failures, fmt.Sprintf("%v: %s", err, last(log)))
	case len(order) == 0:
		r.notRun = append(r.notRun, "no test of that name")
	}
	return r
}

func last(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	for _, l := range lines {
		if strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") {
			return l
		}
	}
	return lines[len(lines)-1]
}

// margin is how far float32's best logit must lead for its token to be the only right one, at the precision of a
// GPU's products.
const margin = 0.05

// smollm2 compares greedy tokens with those of tests/e2e/testdata/smollm2/greedy.json, a prompt a test.
func smollm2(ctx context.Context) result {
	var ref struct {
		Prompts []struct {
			Name   string
			IDs    []int32 `json:"prompt_ids"`
			Tokens []int32
			Margin []float64
		}
	}
	text, err := os.ReadFile("greedy.json")
	if err == nil {
		_, err = os.Stat("smollm2.quire")
	}
	if err != nil {
		return result{notRun: []string{"the folder was made without it: " + err.Error()}}
	}
	if err := json.Unmarshal(text, &ref); err != nil {
		return result{failed: 1, failures: []string{"greedy.json: " + err.Error()}}
	}
	var r result
	for _, p := range ref.Prompts {
		ids := strings.Trim(strings.ReplaceAll(fmt.Sprint(p.IDs), " ", ","), "[]")
		log, seconds, err := command(ctx, "smollm2-"+p.Name, "./quire", "run", "-m", "smollm2.quire", "--tokens", ids, "-n", fmt.Sprint(len(p.Tokens)),
			"--ignore-eos", "--temp", "0", "--device", "cuda", "--json")
		r.seconds += seconds
		if err != nil {
			if errors.Is(err, errLimit) {
				r.notRun = append(r.notRun, p.Name+": "+err.Error())
				continue
			}
			if strings.Contains(log, "no such device") {
				r.notRun = append(r.notRun, p.Name+": "+last(log))
				continue
			}
			r.failed++
			r.failures = append(r.failures, p.Name+": "+last(log))
			continue
		}
		var got struct{ Tokens []int32 }
		if i := strings.Index(log, "{"); i < 0 || json.Unmarshal([]byte(log[i:]), &got) != nil {
			r.failed++
			r.failures = append(r.failures, p.Name+": no JSON: "+last(log))
			continue
		}
		n := 0
		for n < len(p.Tokens) && n < len(got.Tokens) && got.Tokens[n] == p.Tokens[n] {
			n++
		}
		if n < len(p.Tokens) && (n >= len(got.Tokens) || p.Margin[n] > margin) {
			r.failed++
			r.failures = append(r.failures, fmt.Sprintf("%s: %d of %d tokens equal, then a margin of %g", p.Name, n, len(p.Tokens), p.Margin[n]))
			continue
		}
		r.passed++
	}
	return r
}
