package token_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"quire/runtime/token"
)

// Each vocabulary's ids of the same 500 strings, by llama.cpp: nothing added, special tokens not parsed
// (and parsed, for the default model).
func TestIDsEqualLlamaCpp(t *testing.T) {
	texts := jsonLines[string](t, "strings")
	for _, c := range []struct {
		vocab, ids string
		special    bool
	}{
		{"smollm2", "smollm2", false},
		{"smollm2", "smollm2.special", true},
		{"llama-bpe", "llama-bpe", false},
		{"qwen2", "qwen2", false},
		{"llama-spm", "llama-spm", false},
		{"phi-3", "phi-3", false},
		{"gpt-2", "gpt-2", false},
		{"falcon", "falcon", false},
		{"starcoder", "starcoder", false},
		{"deepseek-llm", "deepseek-llm", false},
	} {
		t.Run(c.ids, func(t *testing.T) {
			tok := vocab(t, c.vocab)
			want := jsonLines[[]int32](t, c.ids)
			checkIDs(t, tok, texts, want, c.special)
		})
	}
}

func checkIDs(t *testing.T, tok *token.Tokenizer, texts []string, want [][]int32, special bool) {
	t.Helper()
	if len(want) != len(texts) {
		t.Fatalf("%d expectations for %d strings", len(want), len(texts))
	}
	equal := 0
	for i, text := range texts {
		got, err := tok.Encode(text, token.EncodeOptions{BOS: token.AddNever, Special: special})
		if err != nil {
			t.Fatalf("string %d: %v", i, err)
		}
		if slices.Equal(got, want[i]) {
			equal++
		} else if i-equal < 5 {
			t.Errorf("string %d %q:\n got %v %s\nwant %v %s", i, text, got, show(tok, got), want[i], show(tok, want[i]))
		}
	}
	t.Logf("%d of %d strings equal", equal, len(texts))
	if equal != len(texts) {
		t.Fail()
	}
}

func show(tok *token.Tokenizer, ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&b, "%q ", tok.TokenBytes(id))
	}
	return b.String()
}

// The .inp and .out files beside llama.cpp's vocabularies.
func TestPublishedPairs(t *testing.T) {
	for _, name := range []string{"llama-bpe", "qwen2", "qwen35", "llama-spm", "phi-3", "gpt-2", "falcon", "starcoder", "refact", "mpt",
		"deepseek-llm", "deepseek-coder", "command-r", "gemma-4"} {
		t.Run(name, func(t *testing.T) {
			tok := vocab(t, name)
			path := vocabFile(t, name)
			inputs, outputs := pairs(t, path)
			for i, text := range inputs {
				got, err := tok.Encode(text, token.EncodeOptions{BOS: token.AddNever})
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, outputs[i]) {
					t.Errorf("%q:\n got %v %s\nwant %v %s", text, got, show(tok, got), outputs[i], show(tok, outputs[i]))
				}
			}
			t.Logf("%d pairs", len(inputs))
		})
	}
}

func pairs(t *testing.T, path string) (inputs []string, outputs [][]int32) {
	t.Helper()
	inp, err := os.ReadFile(path + ".inp")
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(path + ".out")
	if err != nil {
		t.Fatal(err)
	}
	const between = "\n__ggml_vocab_test__\n"
	inputs = strings.Split(strings.TrimSuffix(string(inp), between), between)
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(inputs) != len(lines) {
		t.Fatalf("%d inputs, %d outputs", len(inputs), len(lines))
	}
	for _, line := range lines {
		ids := []int32{}
		for _, f := range strings.Fields(line) {
			id, err := strconv.ParseInt(f, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, int32(id))
		}
		outputs = append(outputs, ids)
	}
	return inputs, outputs
}
