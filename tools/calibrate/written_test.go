package calibrate_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"quire/frontends"
	"quire/ir/types/block"
	"quire/ir/types/packed"
	"quire/tools/calibrate"
)

// keep is a folder for the checkpoints of TestWritten, for tests/e2e/reference/quantised/read.py, which makes
// testdata/written.json of them.
var keep = flag.String("keep", "", "folder to leave the written checkpoints in")

// AutoAWQ, gptqmodel (which reads AutoAWQ's layout) and compressed-tensors dequantise what is written here to the matrices that we read from it, bit for bit:
// testdata/written.json holds the digests of theirs. Rounded to nearest, so that the bytes are the same on every machine.
func TestWritten(t *testing.T) {
	text, err := os.ReadFile("testdata/written.json")
	if err != nil && *keep == "" {
		t.Fatal(err)
	}
	want := map[string]map[string]string{}
	if err == nil {
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		bits   int
		format packed.Format
	}{
		{"awq_w4", 4, packed.AWQGemm}, {"ct_w4", 4, packed.CompressedTensors}, {"ct_w3", 3, packed.CompressedTensors},
	} {
		o := options(t)
		o.Bits, o.Format, o.Search, o.Clip = c.bits, c.format, calibrate.None, false
		dir := filepath.Join(t.TempDir(), c.name)
		if *keep != "" {
			dir = filepath.Join(*keep, c.name)
		}
		if _, err := calibrate.Run(t.Context(), tiny, dir, o); err != nil {
			t.Fatal(err)
		}
		if *keep != "" {
			continue
		}
		m, err := frontends.Load(dir, frontends.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		readers := []string{c.name}
		if c.format == packed.AWQGemm {
			readers = append(readers, c.name+" by gptqmodel")
		}
		for _, by := range readers {
			if len(want[by]) != 14 {
				t.Fatalf("%s: %d digests, expected 14", by, len(want[by]))
			}
			for name, digest := range want[by] {
				if got := float16Digest(t, m, name); got != digest {
					t.Errorf("%s: %s: sha256 %s, its package's %s", by, name, got, digest)
				}
			}
		}
	}
}

// float16Digest is the sha256 of a matrix in float16.
func float16Digest(t *testing.T, m *frontends.Model, name string) string {
	t.Helper()
	x, err := m.Float32(name)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 2*len(x))
	if err := block.Encode("f16", x, data); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
