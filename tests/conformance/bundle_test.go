package conformance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"quire/codegen/llc"
)

// A bundle that models filled makes their programs where nothing compiles; without one of its kernels it does not.
func TestBundle(t *testing.T) {
	if _, err := llc.Find(context.Background()); err != nil {
		t.Skip(err)
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(args ...string) (string, error) {
		args = append([]string{"-test.run", "^TestGPU$/^(family_gemma2|variant_quest)$", "-bundle", dir}, args...)
		out, err := exec.Command(binary, args...).CombinedOutput()
		return string(out), err
	}
	if out, err := run(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := run("-device", "bundle"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	kernels, err := filepath.Glob(filepath.Join(dir, "*.ptx"))
	if err != nil || len(kernels) < 20 {
		t.Fatalf("a bundle of %d kernels, %v", len(kernels), err)
	}
	if err := os.Remove(kernels[0]); err != nil {
		t.Fatal(err)
	}
	if out, err := run("-device", "bundle"); err == nil {
		t.Errorf("programs were made without %s: %s", kernels[0], out)
	}
}
