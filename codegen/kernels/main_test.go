package kernels

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"quire/ir/target"
	"quire/ir/work"
)

// TestMain holds a whole run of the tests to every family that has a kernel for a GPU: one
// that none of them launched, for either target, fails the run. Into a bundle it writes which
// tests there are for a GPU, and from one that is read it runs no others.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := onlyPacked(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	code := m.Run()
	if code == 0 && filling() {
		if err := os.WriteFile(filepath.Join(*bundle, "TESTS"), []byte(launched.list()), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if whole := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.list").Value.String() == ""; code == 0 && whole {
		for _, f := range launched.missing() {
			fmt.Printf("FAIL: no test launches %s\n", f)
			code = 1
		}
	}
	os.Exit(code)
}

// onlyPacked chooses the tests that a bundle was filled for, unless a flag names some of them. Each is named whole:
// without the ends of a name TestPrefillGPU would run TestPrefillGPUInChunks too, for which there may be no kernels.
func onlyPacked() error {
	run := flag.Lookup("test.run")
	if *device == "simt" || run.Value.String() != "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(*bundle, "TESTS"))
	if err == nil && len(text) == 0 {
		err = fmt.Errorf("%s names no test", filepath.Join(*bundle, "TESTS"))
	}
	if err != nil {
		return err
	}
	return run.Value.Set("^(" + strings.Join(strings.Fields(string(text)), "|") + ")$")
}

// launched are the kernels that tests launched on a GPU, simulated or not.
var launched = launches{tests: map[string]bool{}, families: map[string]bool{}}

type launches struct {
	mu              sync.Mutex
	tests, families map[string]bool
}

func familyOn(t target.Target, p work.Params) string { return p.Family() + " on " + t.Name }

func (l *launches) add(test string, t target.Target, p work.Params) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name, _, _ := strings.Cut(test, "/")
	l.tests[name] = true
	l.families[familyOn(t, p)] = true
}

// list is the tests, a line each.
func (l *launches) list() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for name := range l.tests {
		names = append(names, name+"\n")
	}
	slices.Sort(names)
	return strings.Join(names, "")
}

// missing are the families of which nothing was launched.
func (l *launches) missing() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, name := range []string{"sm_80", "sm_90a"} {
		tgt, err := target.Parse(name)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		for _, p := range work.Families() {
			if _, ok := bodyGPU(p); ok && !l.families[familyOn(tgt, p)] {
				out = append(out, familyOn(tgt, p))
			}
		}
	}
	return out
}

// Every family of ir/work has a kernel for a GPU, or is a CPU's alone.
func TestFamiliesOnGPUs(t *testing.T) {
	var none []string
	for _, p := range work.Families() {
		if _, ok := bodyGPU(p); !ok {
			none = append(none, p.Family())
		}
	}
	want := []string{"linear", "attention", "groups", "pageselect"}
	if !slices.Equal(none, want) {
		t.Errorf("families without a kernel for a GPU: %v, expected %v", none, want)
	}
}
