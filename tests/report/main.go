package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// allowed are the reasons for which CI skips: what no machine of its has.
var allowed = []string{"no GPU: "}

func main() {
	if len(os.Args) < 3 || os.Args[2] != "test" {
		fmt.Fprintln(os.Stderr, "report: expected a go test command, as in: report go test ./...")
		os.Exit(2)
	}
	args := slices.Insert(slices.Clone(os.Args[2:]), 1, "-json")
	cmd := exec.Command(os.Args[1], args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
	skips, err := read(out, os.Stdout)
	if waited := cmd.Wait(); err == nil {
		err = waited
	}
	strict := os.Getenv("QUIRE_REQUIRE_DATA") != ""
	for _, s := range skips {
		fmt.Println(s)
		if strict && !s.allowed() {
			err = fmt.Errorf("%s was skipped: here nothing may be missing", s.test)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// skip is a test that did not run.
type skip struct{ pack, test, reason string }

func (s skip) String() string { return fmt.Sprintf("SKIP\t%s\t%s: %s", s.pack, s.test, s.reason) }

func (s skip) allowed() bool {
	return slices.ContainsFunc(allowed, func(p string) bool { return strings.HasPrefix(s.reason, p) })
}

// event is a line of test2json (cmd/test2json's documentation).
type event struct{ Action, Package, Test, Output string }

type name struct{ pack, test string }

// read prints a package's own lines, and of a test what it said if it failed. It returns
// the tests that were skipped, in the order in which they ended.
func read(from io.Reader, to io.Writer) ([]skip, error) {
	said := map[name][]string{}
	var skips []skip
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(to, lines.Text()) // a build's own words
			continue
		}
		n := name{e.Package, e.Test}
		switch e.Action {
		case "output":
			if e.Test != "" {
				said[n] = append(said[n], e.Output)
			} else if e.Output != "PASS\n" {
				fmt.Fprint(to, e.Output)
			}
		case "build-output":
			fmt.Fprint(to, e.Output)
		case "skip":
			if e.Test != "" {
				skips = append(skips, skip{e.Package, e.Test, reason(said[n])})
			}
			delete(said, n)
		case "fail":
			for _, l := range said[n] {
				if !strings.HasPrefix(l, "=== ") {
					fmt.Fprint(to, l)
				}
			}
			delete(said, n)
		case "pass":
			delete(said, n)
		}
	}
	return skips, lines.Err()
}

// reason is what a test said last, without the place.
func reason(said []string) string {
	var last string
	for _, l := range said {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "=== ") || strings.HasPrefix(l, "--- ") {
			continue
		}
		last = l
	}
	if _, text, ok := strings.Cut(last, ".go:"); ok {
		if _, text, ok = strings.Cut(text, ": "); ok {
			return strings.Join(strings.Fields(text), " ")
		}
	}
	if last == "" {
		return "no reason given"
	}
	return last
}
