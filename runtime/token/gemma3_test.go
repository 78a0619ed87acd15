package token_test

import (
	"slices"
	"testing"

	"quire/frontends/weights"
	"quire/runtime/token"
)

// Gemma 3 is a SentencePiece vocabulary (scores, user-defined tokens, no space prefix). Gemma 4's file holds the
// same tokens without scores: its pieces stand in order of merging, which is all that a score says; user-defined ones score 0.
func TestGemma3IDsEqualLlamaCpp(t *testing.T) {
	src, err := weights.Open(vocabFile(t, "gemma-4"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	tokens := slices.Clone(src.KV["tokenizer.ggml.tokens"].([]string))
	types := slices.Clone(src.KV["tokenizer.ggml.token_type"].([]int32))
	tokens[105], tokens[106] = "<start_of_turn>", "<end_of_turn>"
	scores := make([]float32, len(tokens))
	for id := range tokens {
		scores[id] = -float32(id)
		// 107 to 237: runs of line feeds and of spaces, HTML tags
		if id > 4 && id < 105 || id > 106 && id < 238 {
			types[id] = int32(token.UserDefined)
			scores[id] = 0
		}
	}
	d, err := token.FromGGUF(map[string]any{
		"tokenizer.ggml.model":            "llama",
		"tokenizer.ggml.tokens":           tokens,
		"tokenizer.ggml.token_type":       types,
		"tokenizer.ggml.scores":           scores,
		"tokenizer.ggml.add_space_prefix": false,
		"tokenizer.ggml.bos_token_id":     uint32(2),
		"tokenizer.ggml.eos_token_id":     uint32(1),
		"tokenizer.ggml.unknown_token_id": uint32(3),
	})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := token.New(d)
	if err != nil {
		t.Fatal(err)
	}
	checkIDs(t, tok, jsonLines[string](t, "strings"), jsonLines[[]int32](t, "gemma3"), false)
}
