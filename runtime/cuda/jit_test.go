package cuda_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/runtime/cuda"
	"quire/runtime/cuda/driver"
	"quire/runtime/cuda/driver/fake"
	"quire/runtime/program"
)

// jitted loads a Program for sm_80 with a folder for code, on a device of a capability, and says how
// often the driver's compiler ran.
func jitted(t *testing.T, dir string, sm int, edit func(*program.Program)) int {
	t.Helper()
	d := &fake.Driver{Kernels: toyKernels, SM: sm}
	p, o := toy(t), options(d)
	o.CacheDir = dir
	if edit != nil {
		edit(p)
	}
	m, err := cuda.Load(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := chat(t, m); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	empty(t, d)
	return d.Counts[driver.LinkComplete]
}

// What the driver makes of PTX is made once for a text and a device; a Program for sm_80 runs on
// what is newer.
func TestCodeIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "jit")
	newer := func(p *program.Program) { p.Object = []byte("// another toy") }
	cubin := func(p *program.Program) { p.Cubin = []byte("\x7fELF toy") }
	for i, c := range []struct {
		sm   int
		edit func(*program.Program)
		want int
	}{{80, nil, 1}, {80, nil, 0}, {90, nil, 1}, {120, nil, 1}, {90, nil, 0}, {90, newer, 1}, {80, cubin, 0}} {
		if n := jitted(t, dir, c.sm, c.edit); n != c.want {
			t.Errorf("load %d, sm_%d: code was made %d times, want %d", i, c.sm, n, c.want)
		}
	}
	kept, err := filepath.Glob(filepath.Join(dir, "*.cubin"))
	if err != nil || len(kept) != 4 {
		t.Fatalf("%v, %v: want 4 files", kept, err)
	}
	for _, path := range kept {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-1] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := jitted(t, dir, 80, nil); n != 1 {
		t.Errorf("damaged code was made again %d times, want 1", n)
	}
	if n := jitted(t, "", 80, nil); n != 0 {
		t.Errorf("without a folder code was made %d times, want 0: the driver loads text", n)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if n := jitted(t, file, 80, nil); n != 1 {
		t.Errorf("where no folder can be, code was made %d times, want 1", n)
	}
}

// Code that is refused says why, and keeps nothing.
func TestRefusedCodeIsNotKept(t *testing.T) {
	dir := t.TempDir()
	d := &fake.Driver{Kernels: toyKernels, Refuse: "toy"}
	o := options(d)
	o.CacheDir = dir
	if _, err := cuda.Load(t.Context(), toy(t), o); err == nil || !strings.Contains(err.Error(), "ptxas: line 1: unexpected toy") {
		t.Errorf("error %v", err)
	}
	empty(t, d)
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("%v, %v: want nothing", list, err)
	}
}

func TestJITOutOfMemory(t *testing.T) {
	for k := 1; k < 8; k++ {
		d := &fake.Driver{Kernels: toyKernels, FailAt: k}
		o := options(d)
		o.CacheDir = t.TempDir()
		if _, err := cuda.Load(t.Context(), toy(t), o); err == nil || !strings.Contains(err.Error(), "OUT_OF_MEMORY") {
			t.Errorf("allocation %d: %v", k, err)
		}
		empty(t, d)
	}
}
