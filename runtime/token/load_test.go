package token_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"quire/frontends/weights"
	"quire/runtime/token"
)

// cached gives the path of a file in the product's cache, which tests/fetch fills. Without it the test skips,
// or fails where QUIRE_REQUIRE_DATA=1 says that it must be there.
func cached(t testing.TB, script string, path ...string) string {
	t.Helper()
	dir := os.Getenv("QUIRE_CACHE_DIR")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(base, "quire")
	}
	full := filepath.Join(append([]string{dir}, path...)...)
	if _, err := os.Stat(full); errors.Is(err, fs.ErrNotExist) {
		if os.Getenv("QUIRE_REQUIRE_DATA") == "1" {
			t.Fatalf("%s is missing: run tests/fetch/%s", full, script)
		}
		t.Skipf("%s is missing: tests/fetch/%s brings it", full, script)
	}
	return full
}

// vocabFile is the GGUF file of a vocabulary: llama.cpp's test files, and the default model.
func vocabFile(t testing.TB, name string) string {
	t.Helper()
	if name == "smollm2" {
		return cached(t, "smollm2.sh", "models", "smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
	}
	return cached(t, "vocabs.sh", "vocab", "ggml-vocab-"+name+".gguf")
}

var loaded sync.Map // vocabulary name to *token.Tokenizer

func ggufData(t testing.TB, path string) token.Data {
	t.Helper()
	src, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	d, err := token.FromGGUF(src.KV)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func vocab(t testing.TB, name string) *token.Tokenizer {
	t.Helper()
	path := vocabFile(t, name)
	if tok, ok := loaded.Load(name); ok {
		return tok.(*token.Tokenizer)
	}
	tok, err := token.New(ggufData(t, path))
	if err != nil {
		t.Fatal(err)
	}
	loaded.Store(name, tok)
	return tok
}

// jsonLines reads testdata/name.jsonl.gz, a value a line.
func jsonLines[T any](t testing.TB, name string) []T {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bufio.NewReader(z))
	var out []T
	for dec.More() {
		var v T
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("%s line %d: %v", name, len(out)+1, err)
		}
		out = append(out, v)
	}
	return out
}
