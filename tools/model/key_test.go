package model

import (
	"os"
	"path/filepath"
	"testing"

	"quire/ir/target"
)

// A Program for a GPU that was compiled without ptxas, or with another one, is not the one that is
// asked for; for a CPU it is.
func TestKeyKnowsPtxas(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	t.Setenv("QUIRE_CACHE_DIR", dir)
	states := func() (out [2]string) {
		for i, name := range []string{"sm_80", "x86-64-v3"} {
			tgt, err := target.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			e, err := Options{Target: tgt}.key(Ref{Kind: Directory, Path: dir})
			if err != nil {
				t.Fatal(err)
			}
			out[i] = e.state
		}
		return out
	}
	install := func(version string) {
		if err := os.MkdirAll(filepath.Join(dir, "cuda", "bin"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cuda", "bin", "ptxas"), []byte(version), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	none := states()
	install("one")
	one := states()
	install("another")
	another := states()
	if none[0] == one[0] || one[0] == another[0] || none[0] == another[0] {
		t.Errorf("states for a GPU %s, %s, %s, expected three", none[0], one[0], another[0])
	}
	if none[1] != another[1] {
		t.Errorf("states for a CPU %s and %s, expected one", none[1], another[1])
	}
}
