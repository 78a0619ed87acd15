package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
)

// result is what came of a part.
type result struct {
	passed, failed int
	notRun         []string // what, and why
	failures       []string // what a failed test said
	seconds        float64
}

func (r *result) add(o result) {
	r.passed += o.passed
	r.failed += o.failed
	r.notRun = append(r.notRun, o.notRun...)
	r.failures = append(r.failures, o.failures...)
	r.seconds += o.seconds
}

func main() {
	only := flag.String("only", "", "parts to run, by commas; all of them if empty")
	jobs := flag.Int("jobs", max(1, runtime.NumCPU()/2), "processes at once")
	limit := flag.Duration("limit", 24*time.Hour, "time for all parts: what has not ended then is counted as not run")
	flag.Parse()
	if err := os.MkdirAll("logs", 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "gpucheck:", err)
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), *limit, errLimit)
	defer cancel()
	list, err := parts(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gpucheck:", err)
		os.Exit(2)
	}
	code := check(list, *only, *jobs)
	cancel()
	os.Exit(code)
}

// check runs the parts, together but for those that want the device for themselves, and prints the table.
func check(list []part, only string, jobs int) int {
	start := time.Now()
	results := make([]result, len(list))
	wanted := func(i int) bool { return only == "" || strings.Contains(","+only+",", ","+list[i].name+",") }
	slots := make(chan struct{}, jobs)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i, p := range list {
		if !wanted(i) || p.alone {
			continue
		}
		for _, run := range p.runs {
			wg.Go(func() {
				slots <- struct{}{}
				r := run()
				<-slots
				mu.Lock()
				results[i].add(r)
				mu.Unlock()
			})
		}
	}
	wg.Wait()
	for i, p := range list {
		if wanted(i) && p.alone {
			for _, run := range p.runs {
				results[i].add(run())
			}
		}
	}
	return table(list, results, wanted, time.Since(start))
}

// table prints a row a part, then failures, then what did not run.
func table(list []part, results []result, wanted func(int) bool, took time.Duration) int {
	fmt.Printf("%-12s %7s %7s %8s %9s\n", "part", "passed", "failed", "not run", "seconds")
	var all result
	for i, p := range list {
		r := results[i]
		if !wanted(i) {
			r.notRun = append(r.notRun, "left out by -only")
		}
		fmt.Printf("%-12s %7d %7d %8d %9.1f\n", p.name, r.passed, r.failed, len(r.notRun), r.seconds)
		for j := range r.notRun {
			r.notRun[j] = p.name + ": " + r.notRun[j]
		}
		for j := range r.failures {
			r.failures[j] = p.name + ": " + r.failures[j]
		}
		all.add(r)
	}
	show("FAILED", all.failures, 24)
	show("not run", all.notRun, 12)
	fmt.Printf("%d passed, %d failed, %d not run, in %.0f s\n", all.passed, all.failed, len(all.notRun), took.Seconds())
	switch {
	case all.failed > 0:
		return 1
	case len(all.notRun) > 0 || all.passed == 0:
		return 3
	}
	return 0
}

func show(what string, lines []string, most int) {
	for i, l := range lines {
		if i == most {
			fmt.Printf("%s: and %d more, see logs/\n", what, len(lines)-most)
			return
		}
		if len(l) > 300 {
			l = l[:300] + "..."
		}
		fmt.Printf("%s %s\n", what, l)
	}
}
