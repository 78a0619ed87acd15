package token_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"quire/runtime/token"
)

// The K cases of bad input: an error of our own type that says where, in less than a second, and little memory.
func TestRejectTokenizerJSON(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(file, model object)
		want string
	}{
		{"K1 merge of an unknown token", func(_, m object) { m["merges"] = []string{"a zz"} }, `merge 0 is of "a" and "zz"`},
		{"K1 merge into an unknown token", func(_, m object) { m["merges"] = []string{"a b"} }, `makes "ab", which is not a token`},
		{"K1 merge of one token", func(_, m object) { m["merges"] = []string{"ab"} }, `merge 0 is "ab"`},
		{"K1 merge of three", func(_, m object) { m["merges"] = [][]string{{"a", "a", "a"}} }, "merge 0 has 3 parts"},
		{"K1 merges of numbers", func(_, m object) { m["merges"] = []int{1} }, "model.merges"},
		{"K2 two tokens of one id", func(_, m object) { m["vocab"].(object)["zz"] = 5 }, "id 5 is both"},
		{"K2 added token of another's id", func(f, _ object) { f["added_tokens"] = []object{{"id": 5, "content": "<x>"}} }, "id 5 is both"},
		{"K2 added token with a second id", func(f, _ object) { f["added_tokens"] = []object{{"id": 264, "content": "aa"}} }, "has two ids, 256 and 264"},
		{"K3 gap", func(_, m object) { m["vocab"].(object)["zz"] = 300 }, "no token has id"},
		{"K3 id 2^31", func(_, m object) { m["vocab"].(object)["zz"] = 1 << 31 }, "id of \"zz\" is 2147483648"},
		{"K3 id below 0", func(_, m object) { m["vocab"].(object)["zz"] = -1 }, "is -1"},
		{"K3 id 1.5", func(_, m object) { m["vocab"].(object)["zz"] = 1.5 }, "a whole number"},
		{"K3 id text", func(_, m object) { m["vocab"].(object)["zz"] = "7" }, "expected a number"},
		{"K3 vocabulary is a list", func(_, m object) { m["vocab"] = []int{} }, "expected an object"},
		{"K4 regex without end", func(f, _ object) { f["pre_tokenizer"] = pre(split(`(a`), bytesOnly) }, "pattern"},
		{"K4 class in class", func(f, _ object) { f["pre_tokenizer"] = pre(split(`[a[b]]`), bytesOnly) }, "class in a class"},
		{"K4 regex of 1 MB", func(f, _ object) { f["pre_tokenizer"] = pre(split(strings.Repeat("a", 1<<20)), bytesOnly) }, "expected at most"},
		{"unigram", func(_, m object) { m["type"] = "Unigram" }, "expected BPE"},
		{"word suffix", func(_, m object) { m["end_of_word_suffix"] = "</w>" }, "end_of_word_suffix"},
		{"unknown step", func(f, _ object) { f["pre_tokenizer"] = object{"type": "BertPreTokenizer"} }, "pre_tokenizer: BertPreTokenizer: kind is unknown"},
		{"unknown normaliser", func(f, _ object) { f["normalizer"] = object{"type": "Precompiled"} }, "normalizer: Precompiled"},
		{"unknown decoder", func(f, _ object) { f["decoder"] = object{"type": "CTC"} }, "decoder: CTC"},
		{"unknown behaviour", func(f, _ object) { f["pre_tokenizer"].(object)["pretokenizers"].([]object)[0]["behavior"] = "x" }, `behaviour "x"`},
		{"steps in steps", func(f, _ object) { f["normalizer"] = nested(200) }, "more than 64 steps"},
		{"unk token unknown", func(_, m object) { m["unk_token"] = "<unk>" }, `"<unk>" is not a token`},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := smallJSON(c.edit)
			rejects(t, c.want, func() error {
				d, err := token.FromHF(file, smallConfig, nil, nil)
				if err == nil {
					_, err = token.New(d)
				}
				return err
			})
		})
	}
}

func nested(n int) object {
	var list []object
	for range n {
		list = append(list, object{"type": "NFC"})
	}
	return sequence("normalizers", list...)
}

// rejects runs f and checks its error, its time and its memory.
func rejects(t *testing.T, want string, f func() error) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	err := f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	var typed *token.Error
	if !errors.As(err, &typed) || !strings.Contains(err.Error(), want) {
		t.Fatalf("error is %v (%T), expected one about %q", err, err, want)
	}
	if took > time.Second {
		t.Errorf("took %s", took)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("allocated %d bytes", grown)
	}
	if len(err.Error()) > 1000 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
}

func TestRejectRawJSON(t *testing.T) {
	for _, c := range []struct{ name, file, config, generation, want string }{
		{"empty", ``, ``, ``, "tokenizer.json"},
		{"nesting", strings.Repeat("[", 200_000), ``, ``, "tokenizer.json"},
		{"K2 a token twice", `{"model":{"type":"BPE","vocab":{"a":0,"a":1},"merges":[]}}`, ``, ``, `"a" has two ids, 0 and 1`},
		{"number too large", `{"model":{"type":"BPE","vocab":{"a":1e400},"merges":[]}}`, ``, ``, "whole number"},
		{"no vocabulary", `{"model":{"type":"BPE","merges":[]}}`, ``, ``, "model.vocab"},
		{"empty vocabulary", `{"model":{"type":"BPE","vocab":{},"merges":[]}}`, ``, ``, "0 tokens"},
		{"config", `{"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}`, `[]`, ``, "tokenizer_config.json"},
		{"generation", `{"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}`, ``, `{"eos_token_id": [7]}`, "eos_token_id is 7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rejects(t, c.want, func() error {
				d, err := token.FromHF([]byte(c.file), []byte(c.config), []byte(c.generation), nil)
				if err == nil {
					_, err = token.New(d)
				}
				return err
			})
		})
	}
}

func TestRejectGGUF(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(kv map[string]any)
		want string
	}{
		{"no tokenizer", func(kv map[string]any) { delete(kv, "tokenizer.ggml.model") }, "key is missing"},
		{"kind", func(kv map[string]any) { kv["tokenizer.ggml.model"] = "bert" }, `kind "bert"`},
		{"no tokens", func(kv map[string]any) { delete(kv, "tokenizer.ggml.tokens") }, "tokenizer.ggml.tokens"},
		{"tokens of another type", func(kv map[string]any) { kv["tokenizer.ggml.tokens"] = []int32{1} }, "[]int32, expected an array of strings"},
		{"types too few", func(kv map[string]any) { kv["tokenizer.ggml.token_type"] = []int32{1} }, "1 types for"},
		{"scores too few", func(kv map[string]any) { kv["tokenizer.ggml.scores"] = []float32{1} }, "1 scores for"},
		{"a token twice", func(kv map[string]any) { kv["tokenizer.ggml.tokens"].([]string)[5] = "a" }, `are both "a"`},
		{"K1 merge of an unknown token", func(kv map[string]any) {
			kv["tokenizer.ggml.model"] = "gpt2"
			kv["tokenizer.ggml.merges"] = []string{"a zz"}
		}, `merge 0 is of "a" and "zz"`},
		{"pre-tokeniser", func(kv map[string]any) {
			kv["tokenizer.ggml.model"] = "gpt2"
			kv["tokenizer.ggml.pre"] = "nosuch"
		}, `pre-tokeniser "nosuch" is unknown`},
		{"bos of another type", func(kv map[string]any) { kv["tokenizer.ggml.bos_token_id"] = "1" }, "expected an integer"},
		{"flag of another type", func(kv map[string]any) { kv["tokenizer.ggml.add_bos_token"] = uint32(1) }, "expected a bool"},
	} {
		t.Run(c.name, func(t *testing.T) {
			kv := smallSPM()
			c.edit(kv)
			rejects(t, c.want, func() error {
				d, err := token.FromGGUF(kv)
				if err == nil {
					_, err = token.New(d)
				}
				return err
			})
		})
	}
}

// K4: a regular expression that backtracks forever ends in an error.
func TestK4BacktrackingEnds(t *testing.T) {
	tok := small(t, func(f, _ object) { f["pre_tokenizer"] = pre(split(`(x+x+)+[yz]`), bytesOnly) })
	start := time.Now()
	_, err := tok.Encode(strings.Repeat("x", 60)+"w", token.EncodeOptions{})
	var typed *token.Error
	if !errors.As(err, &typed) || !strings.Contains(err.Error(), "takes too long") {
		t.Errorf("error is %v", err)
	}
	if strings.Contains(err.Error(), "xxx") {
		t.Errorf("the error quotes the text: %v", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
}

// K5: long runs take linear time, and nothing in a text stops the tokenizer or makes a special token of it.
func TestK5LongRuns(t *testing.T) {
	for name, tok := range map[string]*token.Tokenizer{"bytes": small(t, nil), "spm": spm(t)} {
		for _, run := range []string{"a", " ", "\n", "0", "é", "\x00", "\xff", "<", "the "} {
			text := strings.Repeat(run, 1_000_000/len(run))
			start := time.Now()
			ids, err := tok.Encode(text, token.EncodeOptions{BOS: token.AddNever})
			if err != nil || len(ids) == 0 {
				t.Fatalf("%s of %q: %d ids, %v", name, run, len(ids), err)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%s: 10^6 bytes of %q took %s", name, run, took)
			}
		}
	}
}

func TestK5OddText(t *testing.T) {
	for name, tok := range map[string]*token.Tokenizer{"bytes": small(t, nil), "spm": spm(t)} {
		for _, text := range []string{"\x00", "a\x00b", "\xed\xa0\x80", "\xed\xa0\x80\xed\xb0\x80", "\xff\xfe", "\xf0\x9f", "\xc0\x80", "<|end|>", "</s>",
			"x<|end|>y<|begin|> z", "<s>hi</s>", "<0x41>", "<unk>"} {
			ids, err := tok.Encode(text, token.EncodeOptions{BOS: token.AddNever})
			if err != nil {
				t.Errorf("%s of %q: %v", name, text, err)
			}
			if slices.ContainsFunc(ids, tok.IsSpecial) {
				t.Errorf("%s of %q: special token in %v", name, text, ids)
			}
		}
	}
	tok := small(t, nil)
	ids, err := tok.Encode("x<|end|>y<|begin|> z<user>", token.EncodeOptions{Special: true})
	want := []int32{266, 'x', 264, 'y', 266, 'z', 265}
	if err != nil || !slices.Equal(ids, want) {
		t.Errorf("got %v, %v, expected %v", ids, err, want)
	}
}
