package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// part is a row of the table, of one or more processes.
type part struct {
	name  string
	alone bool // it looks at what others would disturb
	runs  []func() result
}

func parts(ctx context.Context) ([]part, error) {
	names, err := os.ReadFile("kernels/TESTS")
	if err != nil {
		return nil, err
	}
	kernels := part{name: "kernels"}
	for _, name := range strings.Fields(string(names)) {
		kernels.runs = append(kernels.runs, test(ctx, "kernels-"+name, "./kernels.test", "^"+name+"$", "-bundle", "kernels", "-device", "cuda"))
	}
	const shards = 4 // a driver assembles what a process loads on one thread
	models := func(name, prefix string) part {
		p := part{name: name}
		for i := range shards {
			p.runs = append(p.runs, test(ctx, fmt.Sprintf("%s-%d", name, i), "./conformance.test", "^TestGPU$/^"+prefix+"_",
				"-bundle", "models", "-device", "cuda", "-shards", fmt.Sprint(shards), "-shard", fmt.Sprint(i)))
		}
		return p
	}
	steps := test(ctx, "steps", "./conformance.test", "^TestGPUSteps$", "-bundle", "models", "-device", "cuda")
	return []part{
		{name: "driver", runs: []func() result{test(ctx, "driver", "./driver.test", "^TestGPU")}},
		kernels,
		models("families", "family"),
		models("encodings", "encoding"),
		models("rewrites", "rewrites"),
		models("variants", "variant"),
		{name: "steps", alone: true, runs: []func() result{steps}},
		{name: "smollm2", runs: []func() result{func() result { return smollm2(ctx) }}},
		sanitizer(ctx, "memcheck", "ERROR SUMMARY: 0 errors"),
		sanitizer(ctx, "racecheck", "RACECHECK SUMMARY: 0 hazards"),
	}, nil
}

// sanitizers are where compute-sanitizer may be.
var sanitizers = []string{"compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer", "/usr/local/cuda/compute-sanitizer/compute-sanitizer"}

// sanitizer runs tiny models under a tool of compute-sanitizer, which ends with clean if it found nothing.
func sanitizer(ctx context.Context, tool, clean string) part {
	run := func(model string) func() result {
		return func() result {
			path := ""
			for _, s := range sanitizers {
				if p, err := exec.LookPath(s); err == nil && path == "" {
					path = p
				}
			}
			if path == "" {
				return result{notRun: []string{"there is no compute-sanitizer"}}
			}
			log, seconds, err := command(ctx, tool+"-"+model, path, "--tool", tool, "./conformance.test", "-test.v", "-test.run", "^TestGPU$/^"+model+"$/^sm_90a$",
				"-bundle", "models", "-device", "cuda")
			r := tests(log, nil)
			r.seconds = seconds
			switch {
			case errors.Is(err, errLimit):
				return result{notRun: []string{model + ": " + err.Error()}, seconds: seconds}
			case strings.Contains(log, clean) && r.failed == 0 && r.passed > 0 && err == nil:
				return result{passed: 1, seconds: seconds}
			case strings.Contains(log, clean) || !strings.Contains(log, "SUMMARY"):
				return result{notRun: []string{fmt.Sprintf("%s: compute-sanitizer could not run it: %s", model, complaint(log))}, seconds: seconds}
			}
			return result{failed: 1, failures: []string{model + ": " + complaint(log)}, seconds: seconds}
		}
	}
	return part{name: tool, alone: true, runs: []func() result{run("family_llama"), run("variant_quest")}}
}

// complaint is the first line of a sanitizer's log that says what it did not like.
func complaint(log string) string {
	for line := range strings.Lines(log) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "========= "); ok && !strings.HasPrefix(rest, "COMPUTE-SANITIZER") {
			return rest
		}
	}
	return last(log)
}
