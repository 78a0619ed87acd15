package token_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"quire/runtime/token"
)

// byteSpelling is GPT-2's byte alphabet, written down once more.
func byteSpelling(b byte) string {
	if b >= 0x21 && b <= 0x7e || b >= 0xa1 && b <= 0xac || b >= 0xae {
		return string(rune(b))
	}
	n := rune(256)
	for c := range int(b) {
		if !(c >= 0x21 && c <= 0x7e || c >= 0xa1 && c <= 0xac || c >= 0xae) {
			n++
		}
	}
	return string(n)
}

// smallJSON is a byte-level tokenizer.json with a few merges and special tokens, changed by edit.
func smallJSON(edit func(file, model object)) []byte {
	vocab := object{}
	for b := range 256 {
		vocab[byteSpelling(byte(b))] = b
	}
	merges := []string{"a a", "aa aa", "t h", "th e", "Ġ the", "Ċ Ċ", "Ã ©", "0 0"}
	for i, word := range []string{"aa", "aaaa", "th", "the", "Ġthe", "ĊĊ", "Ã©", "00"} {
		vocab[word] = 256 + i
	}
	model := object{"type": "BPE", "vocab": vocab, "merges": merges}
	file := object{
		"added_tokens": []object{
			{"id": 264, "content": "<|end|>", "special": true},
			{"id": 265, "content": "<user>", "special": false},
			{"id": 266, "content": "<|begin|>", "special": true, "rstrip": true},
		},
		"pre_tokenizer": pre(split(llamaHF), bytesOnly),
		"decoder":       byteDecode,
		"model":         model,
	}
	if edit != nil {
		edit(file, model)
	}
	out, err := json.Marshal(file)
	if err != nil {
		panic(err)
	}
	return out
}

var smallConfig = []byte(`{"bos_token": "<|begin|>", "eos_token": {"content": "<|end|>"}, "add_bos_token": true}`)

func small(t testing.TB, edit func(file, model object)) *token.Tokenizer {
	t.Helper()
	d, err := token.FromHF(smallJSON(edit), smallConfig, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := token.New(d)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// smallSPM is a SentencePiece vocabulary as GGUF has it.
func smallSPM() map[string]any {
	tokens := []string{"<unk>", "<s>", "</s>"}
	types := []int32{2, 3, 3}
	scores := []float32{0, 0, 0}
	for b := range 256 {
		tokens, types, scores = append(tokens, fmt.Sprintf("<0x%02X>", b)), append(types, 6), append(scores, 0)
	}
	for i, piece := range []string{"▁▁", "th", "▁t", "▁the", "he", "▁", "a", "e", "h", "t", "é", "aa", "aaaa"} {
		tokens, types, scores = append(tokens, piece), append(types, 1), append(scores, -float32(i))
	}
	return map[string]any{
		"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types,
		"tokenizer.ggml.scores": scores, "tokenizer.ggml.bos_token_id": uint32(1), "tokenizer.ggml.eos_token_id": uint32(2),
		"tokenizer.ggml.unknown_token_id": uint32(0),
	}
}

func spm(t testing.TB) *token.Tokenizer {
	t.Helper()
	d, err := token.FromGGUF(smallSPM())
	if err != nil {
		t.Fatal(err)
	}
	tok, err := token.New(d)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}
