package token_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"quire/frontends/weights"
	"quire/runtime/token"
)

// oracle is the program that tests/fetch/oracle/build.sh builds. With it the expectations of the strings of our
// own making are written anew, and differences show what was expected.
var oracle = flag.String("oracle", "", "path of llama.cpp's tokenizer: rewrite testdata/own")

const (
	ownSeed  = 20261125
	ownCount = 5200
)

// digest is 16 bits of the CRC of a list of ids: enough to notice, small enough to commit.
func digest(ids []int32) uint16 {
	h := crc32.NewIEEE()
	binary.Write(h, binary.LittleEndian, ids)
	return uint16(h.Sum32())
}

// askOracle runs the oracle on a vocabulary; pre overrides the file's pre-tokeniser unless it is "".
func askOracle(t *testing.T, vocab string, special bool, pre string, texts []string) [][]int32 {
	t.Helper()
	mode := "0"
	if special {
		mode = "1"
	}
	return runOracle(t, exec.Command(*oracle, vocab, mode, pre), texts)
}

// runOracle gives texts to a program that prints a line of ids for each.
func runOracle(t *testing.T, cmd *exec.Cmd, texts []string) [][]int32 {
	t.Helper()
	var in bytes.Buffer
	for _, s := range texts {
		binary.Write(&in, binary.LittleEndian, uint32(len(s)))
		in.WriteString(s)
	}
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]int32
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var ids []int32
		if err := json.Unmarshal(lines.Bytes(), &ids); err != nil {
			t.Fatal(err)
		}
		all = append(all, ids)
	}
	return all
}

// Strings of our own making: ids by llama.cpp, kept as a digest each.
func TestOwnStrings(t *testing.T) {
	texts := corpus(ownSeed, ownCount)
	for _, name := range []string{"smollm2", "llama-bpe", "qwen2", "qwen35", "llama-spm", "phi-3", "gpt-2", "falcon", "starcoder", "refact",
		"mpt", "deepseek-llm", "deepseek-coder", "command-r", "gemma-4", "aquila", "baichuan"} {
		t.Run(name, func(t *testing.T) { checkOwn(t, vocab(t, name), vocabFile(t, name), name, false, "", texts) })
	}
	for _, name := range []string{"smollm2", "phi-3", "command-r", "gemma-4", "llama-bpe", "qwen2", "llama-spm", "starcoder", "deepseek-llm"} {
		t.Run(name+".special", func(t *testing.T) {
			checkOwn(t, vocab(t, name), vocabFile(t, name), name+".special", true, "", texts)
		})
	}
}

// Every set of regular expressions, on a vocabulary that was made for another one. Where the published regular
// expression is followed instead of llama.cpp's, hf_own_test.go has the test.
func TestOwnStringsPreTokenisers(t *testing.T) {
	texts := corpus(ownSeed+1, 400) // more would be slow: most of these go through regexp2
	seen := map[string]bool{}
	for _, name := range token.PreTokenisers() {
		path := vocabFile(t, "llama-bpe")
		if slices.Contains(byCharacter, name) {
			path = vocabFile(t, "gemma-4")
		}
		d := overridden(t, path, name)
		if key := fmt.Sprint(d.Splits, d.IgnoreMerges, d.ByteLevel, d.NewlineRuns); seen[key] || slices.Contains(published, name) {
			continue
		} else {
			seen[key] = true
		}
		t.Run(name, func(t *testing.T) {
			tok, err := token.New(d)
			if err != nil {
				t.Fatal(err)
			}
			checkOwn(t, tok, path, "pre/"+name, false, name, texts)
		})
	}
}

var byCharacter = []string{"sarvam-moe", "granite-embed-multi-311m", "gemma4"}

// published are the names whose regular expressions llama.cpp only approximates: it has no letter cases, no class
// subtraction, ASCII digits in \d, and groups the digits of AFMoE and Tiny Aya together with what stands before them.
var published = []string{"afmoe", "cohere2moe", "gpt-4o", "kanana2", "kimi-k2", "llama4", "minimax-m2", "superbpe", "talkie",
	"tekken", "tiny_aya", "youtu"}

var ggufCache = map[string]weights.Metadata{}

func overridden(t *testing.T, path, pre string) token.Data {
	t.Helper()
	kv, ok := ggufCache[path]
	if !ok {
		src, err := weights.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		kv = src.KV
		ggufCache[path] = kv
	}
	kv["tokenizer.ggml.pre"] = pre
	kv["tokenizer.ggml.model"] = "gpt2"
	d, err := token.FromGGUF(kv)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func checkOwn(t *testing.T, tok *token.Tokenizer, path, name string, special bool, pre string, texts []string) {
	t.Helper()
	file := filepath.Join("testdata", "own", filepath.FromSlash(name)+".crc16")
	var known [][]int32
	if *oracle != "" {
		known = askOracle(t, path, special, pre, texts)
		var sums bytes.Buffer
		for _, ids := range known {
			binary.Write(&sums, binary.LittleEndian, digest(ids))
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, sums.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	compareDigests(t, tok, file, texts, known, token.EncodeOptions{BOS: token.AddNever, Special: special})
}

// compareDigests compares a tokenizer's ids with a file of digests; known are the ids that those are of, if at hand.
func compareDigests(t *testing.T, tok *token.Tokenizer, file string, texts []string, known [][]int32, opt token.EncodeOptions) {
	t.Helper()
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 2*len(texts) {
		t.Fatalf("%s has %d digests for %d strings", file, len(want)/2, len(texts))
	}
	unequal := 0
	for i, text := range texts {
		got, err := tok.Encode(text, opt)
		if err != nil {
			t.Fatalf("string %d: %v", i, err)
		}
		if digest(got) == binary.LittleEndian.Uint16(want[2*i:]) {
			continue
		}
		if unequal++; unequal > 3 {
			continue
		}
		t.Errorf("string %d %q:\n got %v %s", i, text, got, show(tok, got))
		if known != nil {
			t.Logf("want %v %s", known[i], show(tok, known[i]))
		}
	}
	t.Logf("%d of %d strings equal", len(texts)-unequal, len(texts))
}
