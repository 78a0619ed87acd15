package weights_test

import (
	"os"
	"path/filepath"
	"testing"

	"quire/frontends/weights"
)

// use opens a file of any bytes and, when it opens, touches all that it offers: no panic, no byte outside the file.
func use(t *testing.T, path string) {
	s, err := weights.Open(path)
	if err != nil {
		return
	}
	defer s.Close()
	size := s.Files[0].Size
	var sum byte
	for _, x := range s.Tensors {
		if x.Offset < 0 || x.Bytes < 0 || x.Offset+x.Bytes > size || x.Elems() < 0 {
			t.Fatalf("%v at %d of %d bytes in a file of %d", x, x.Offset, x.Bytes, size)
		}
		for _, b := range x.Data() {
			sum += b
		}
		if s.Tensor(x.Name) != x {
			t.Fatalf("%v is found as %v", x, s.Tensor(x.Name))
		}
	}
	if len(s.Keys) != len(s.KV) {
		t.Fatalf("%d keys in order, %d in the map", len(s.Keys), len(s.KV))
	}
}

func fuzz(f *testing.F, name string) {
	path := filepath.Join(f.TempDir(), name)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		use(t, path)
	})
}

// The seeds are in testdata/fuzz: the official files and hostile ones.

func FuzzGGUF(f *testing.F)        { fuzz(f, "m.gguf") }
func FuzzSafetensors(f *testing.F) { fuzz(f, "m.safetensors") }

func FuzzShardIndex(f *testing.F) {
	d := f.TempDir()
	for name, text := range map[string]string{"config.json": "{}", "m-1.safetensors": "\x02\x00\x00\x00\x00\x00\x00\x00{}"} {
		if err := os.WriteFile(filepath.Join(d, name), []byte(text), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(d, "model.safetensors.index.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := weights.Open(d)
		if err == nil { // the only shard is empty: no index can be right
			_ = s.Close()
			t.Fatalf("index %q opened", data)
		}
	})
}
