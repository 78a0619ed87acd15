package token_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"unicode/utf8"

	"quire/runtime/token"
)

// hfOracle is a Python that has the package tokenizers: tests/fetch/oracle/hf.py then gives the expectations.
var hfOracle = flag.String("hf-oracle", "", "python with the package tokenizers: rewrite testdata/own/hf")

type object = map[string]any

func split(regex string) object {
	return object{"type": "Split", "pattern": object{"Regex": regex}, "behavior": "Isolated", "invert": false}
}

func sequence(key string, of ...object) object { return object{"type": "Sequence", key: of} }

func pre(of ...object) object { return sequence("pretokenizers", of...) }

var (
	bytesOnly  = object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
	bytesWords = object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	byteDecode = object{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}
	spaceMark  = object{"type": "Replace", "pattern": object{"String": " "}, "content": "\u2581"}
	spmDecode  = sequence("decoders", object{"type": "Replace", "pattern": object{"String": "\u2581"}, "content": " "},
		object{"type": "ByteFallback"}, object{"type": "Fuse"}, object{"type": "Strip", "content": " ", "start": 1, "stop": 0})
)

// Regular expressions as the models' own tokenizer.json files spell them.
const (
	tail     = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	llamaHF  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}` + tail
	qwenHF   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}` + tail
	qwen35HF = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	upHF     = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
	lowHF    = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
	slashHF  = `| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	suffixHF = `(?i:'s|'t|'re|'ve|'m|'ll|'d)?`
	tekkenHF = `[^\r\n\p{L}\p{N}]?` + upHF + `*` + lowHF + `+|[^\r\n\p{L}\p{N}]?` + upHF + `+` + lowHF + `*|\p{N}` + slashHF
	gpt4oHF  = `[^\r\n\p{L}\p{N}]?` + upHF + `*` + lowHF + `+` + suffixHF + `|[^\r\n\p{L}\p{N}]?` + upHF + `+` + lowHF + `*` + suffixHF +
		`|\p{N}{1,3}` + slashHF
	youtuHF = `[^\r\n\p{L}\p{N}]?` + upHF + `*` + lowHF + `+` + suffixHF + `|[^\r\n\p{L}\p{N}]?` + upHF + `+` + lowHF + `*` + suffixHF +
		`|\p{N}` + slashHF
	upKimi  = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]`
	lowKimi = `[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]`
	kimiHF  = `[\p{Han}]+|[^\r\n\p{L}\p{N}]?` + upKimi + `*` + lowKimi + `+` + suffixHF + `|[^\r\n\p{L}\p{N}]?` + upKimi + `+` +
		lowKimi + `*` + suffixHF + `|\p{N}{1,3}` + tail
	asianHF     = "[一-鿿㐀-䶿\u8c48-\ufaff\u3040-ゟ゠-ヿ･-ﾟ⼀-\u2fdfเ-\u0e7f\u0e80-\u0effក-\u17ffက-႟ꩠ-ꩿꧠ-\ua9ff가-\ud7afᄀ-ᇿ]+"
	bailingHF   = `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`
	deepseek3HF = `[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + "`" + `{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+` +
		`| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

type hfCase struct {
	name, base string
	file       func(t *testing.T, d token.Data) object // the parts of tokenizer.json beside model and added_tokens
	gguf       string                                  // pre-tokeniser whose ids by FromGGUF must be the same, if any
}

func parts(preTokenizer object) func(*testing.T, token.Data) object {
	return func(*testing.T, token.Data) object {
		return object{"pre_tokenizer": preTokenizer, "decoder": byteDecode}
	}
}

var hfCases = []hfCase{
	{"smollm", "smollm2", parts(pre(object{"type": "Digits", "individual_digits": true}, bytesWords)), "smollm"},
	{"gpt-2", "gpt-2", parts(bytesWords), "gpt-2"},
	{"prefix-space", "gpt-2", parts(object{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}), ""},
	{"llama3", "llama-bpe", parts(pre(split(llamaHF), bytesOnly)), "dbrx"},
	{"qwen2", "qwen2", parts(pre(split(qwenHF), bytesOnly)), "qwen2"},
	{"qwen2-nfc", "qwen2", func(*testing.T, token.Data) object {
		return object{"normalizer": object{"type": "NFC"}, "pre_tokenizer": pre(split(qwenHF), bytesOnly), "decoder": byteDecode}
	}, ""},
	{"qwen35", "qwen2", parts(pre(split(qwen35HF), bytesOnly)), "qwen35"},
	{"tekken", "llama-bpe", parts(pre(split(tekkenHF), bytesOnly)), ""},
	{"gpt-4o", "llama-bpe", parts(pre(split(gpt4oHF), bytesOnly)), "gpt-4o"},
	{"deepseek-v3", "llama-bpe", parts(pre(split(`\p{N}{1,3}`), split("[一-龥\u3040-ゟ゠-ヿ]+"), split(deepseek3HF), bytesOnly)), "deepseek-v3"},
	{"falcon", "falcon", parts(pre(object{"type": "Punctuation", "behavior": "Contiguous"}, bytesWords,
		object{"type": "Digits", "individual_digits": false}, split(`[0-9][0-9][0-9]`))), ""},
	{"superbpe", "llama-bpe", parts(pre(split(`\p{N}+`), split(`(?=(\d{3})+(?!\d))`), bytesOnly)), "superbpe"},
	{"tiny_aya", "llama-bpe", parts(pre(split(`\d{1,3}(?=(?:\d{3})*\b)`), split(gpt4oHF), bytesOnly)), "tiny_aya"},
	{"youtu", "llama-bpe", parts(pre(split("[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-ゟ゠-ヿ]+"), split(youtuHF), bytesOnly)), ""},
	{"possessive", "llama-bpe", parts(pre(split(bailingHF), bytesOnly)), ""},
	{"kimi-k2", "llama-bpe", parts(pre(split(kimiHF), bytesOnly)), "kimi-k2"},
	{"afmoe", "llama-bpe", parts(pre(split(`\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))`), split(asianHF), split(deepseek3HF), bytesOnly)), "afmoe"},
	{"llama2", "llama-spm", func(*testing.T, token.Data) object {
		return object{"normalizer": sequence("normalizers", object{"type": "Prepend", "prepend": "\u2581"}, spaceMark), "decoder": spmDecode}
	}, ""},
	{"mistral", "llama-spm", func(*testing.T, token.Data) object {
		meta := object{"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": false}
		return object{"pre_tokenizer": meta, "decoder": spmDecode}
	}, ""},
	{"metaspace-split", "llama-spm", func(*testing.T, token.Data) object {
		meta := object{"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": true}
		return object{"pre_tokenizer": meta, "decoder": meta}
	}, ""},
	{"gemma", "gemma-4", func(*testing.T, token.Data) object {
		cut := object{"type": "Split", "pattern": object{"String": " "}, "behavior": "MergedWithPrevious", "invert": false}
		return object{"normalizer": spaceMark, "pre_tokenizer": cut, "decoder": spmDecode}
	}, ""},
}

// hfFile writes a vocabulary as tokenizer.json, with the given other parts.
func hfFile(d token.Data, rest object) []byte {
	vocab := object{}
	added := []object{}
	for id, text := range d.Tokens {
		vocab[text] = id
	}
	for _, a := range d.Added {
		added = append(added, object{"id": a.ID, "content": d.Tokens[a.ID], "special": a.Special, "normalized": false,
			"lstrip": a.LStrip, "rstrip": a.RStrip, "single_word": a.SingleWord})
	}
	merges := [][2]string{}
	for _, m := range hfMerges(d) {
		merges = append(merges, [2]string{d.Tokens[m.Left], d.Tokens[m.Right]})
	}
	model := object{"type": "BPE", "vocab": vocab, "merges": merges, "byte_fallback": d.ByteFallback, "fuse_unk": true,
		"dropout": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "unk_token": nil}
	if d.ByteFallback {
		model["unk_token"] = d.Tokens[d.UNK]
	}
	file := object{"version": "1.0", "truncation": nil, "padding": nil, "normalizer": nil, "pre_tokenizer": nil,
		"post_processor": nil, "decoder": nil, "added_tokens": added, "model": model}
	for k, v := range rest {
		file[k] = v
	}
	out, err := json.Marshal(file)
	if err != nil {
		panic(err)
	}
	return out
}

// hfMerges gives a vocabulary's merges; those of an SPM vocabulary are all pairs of tokens that spell a token, by its
// score, as transformers' converter makes them.
func hfMerges(d token.Data) []token.Merge {
	if d.Model == token.BPE {
		return d.Merges
	}
	ids := map[string]int32{}
	for id, text := range d.Tokens {
		ids[text] = int32(id)
	}
	type scored struct {
		token.Merge
		score float32
	}
	var all []scored
	for id, text := range d.Tokens {
		for cut := range text {
			if cut == 0 || d.Types[id] != token.Normal {
				continue
			}
			l, ok1 := ids[text[:cut]]
			r, ok2 := ids[text[cut:]]
			if ok1 && ok2 {
				all = append(all, scored{token.Merge{Left: l, Right: r}, d.Scores[id]})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	out := make([]token.Merge, len(all))
	for i, s := range all {
		out[i] = s.Merge
	}
	return out
}

// tokenizer.json in the forms that models publish: ids by the tokenizers library, kept as a digest each.
func TestHFIDsEqualTokenizers(t *testing.T) {
	texts := slices.DeleteFunc(corpus(ownSeed+2, 500), func(s string) bool { return !utf8.ValidString(s) })
	for _, c := range hfCases {
		t.Run(c.name, func(t *testing.T) {
			d := vocab(t, c.base).Data()
			file := hfFile(d, c.file(t, d))
			got, err := token.FromHF(file, nil, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			tok, err := token.New(got)
			if err != nil {
				t.Fatal(err)
			}
			sums := filepath.Join("testdata", "own", "hf", c.name+".crc16")
			known := askTokenizers(t, file, sums, texts)
			opt := token.EncodeOptions{BOS: token.AddNever, Special: true}
			compareDigests(t, tok, sums, texts, known, opt)
			if c.gguf == "" {
				return
			}
			gguf, err := token.New(overridden(t, vocabFile(t, c.base), c.gguf))
			if err != nil {
				t.Fatal(err)
			}
			compareDigests(t, gguf, sums, texts, known, opt)
		})
	}
}

func askTokenizers(t *testing.T, file []byte, sums string, texts []string) [][]int32 {
	t.Helper()
	if *hfOracle == "" {
		return nil
	}
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(*hfOracle, "../../tests/fetch/oracle/hf.py", path)
	known := runOracle(t, cmd, texts)
	var out bytes.Buffer
	for _, ids := range known {
		binary.Write(&out, binary.LittleEndian, digest(ids))
	}
	if err := os.MkdirAll(filepath.Dir(sums), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sums, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return known
}
