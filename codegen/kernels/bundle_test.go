package kernels

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A bundle that some tests filled has every kernel that they launch: without a compiler they run again, they
// and no others, although one's name begins another's. Without one of its kernels the run fails and names it.
func TestBundle(t *testing.T) {
	if _, err := findTools(); err != nil {
		t.Skip(err)
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(args ...string) (string, error) {
		out, err := exec.Command(binary, append([]string{"-test.v", "-bundle", dir}, args...)...).CombinedOutput()
		return string(out), err
	}
	const filled = "TestHeads TestLargePageSelectGPU TestReduce TestSweep"
	if out, err := run("-test.run", "^("+strings.ReplaceAll(filled, " ", "|")+")$"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := run("-device", "bundle")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range strings.Fields(filled) {
		if !strings.Contains(out, "--- PASS: "+name+" ") {
			t.Errorf("%s did not run from its bundle", name)
		}
	}
	if n := strings.Count("\n"+out, "\n--- "); n != len(strings.Fields(filled)) {
		t.Errorf("%d tests ran, expected those of %q: %s", n, filled, out)
	}
	kernels, err := filepath.Glob(filepath.Join(dir, "*.ptx"))
	if err != nil || len(kernels) < 4 {
		t.Fatalf("a bundle of %d kernels, %v", len(kernels), err)
	}
	if err := os.Remove(kernels[0]); err != nil {
		t.Fatal(err)
	}
	if out, err := run("-device", "bundle"); err == nil || !strings.Contains(out, " lacks kernel ") {
		t.Errorf("without %s: %v: %s", kernels[0], err, out)
	}
}
