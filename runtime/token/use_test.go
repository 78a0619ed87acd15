package token_test

import (
	"fmt"
	"slices"
	"testing"

	"quire/runtime/token"
)

// What the vocabularies say about their special tokens, by llama.cpp's reading of the same files.
func TestSpecialTokens(t *testing.T) {
	for _, c := range []struct {
		vocab    string
		size     int
		bos, eos int32
		eog      []int32
		hello    []int32 // "Hello" with what encoding adds
	}{
		{"smollm2", 49152, 1, 2, []int32{0, 2, 4}, []int32{19556}},
		{"llama-bpe", 128256, 128000, 128001, []int32{128001, 128009}, []int32{128000, 9906}},
		{"qwen2", 151936, 151643, 151643, []int32{128247, 151643, 151645}, []int32{9707}},
		{"llama-spm", 32000, 1, 2, []int32{2}, []int32{1, 15043}},
		{"phi-3", 32064, 1, 32000, []int32{2, 32000, 32007}, []int32{1, 15043}},
		{"gpt-2", 50257, 50256, 50256, []int32{50256}, []int32{15496}},
		{"falcon", 65024, 11, 11, []int32{11}, []int32{9856}},
		{"starcoder", 49152, 0, 0, []int32{0, 4}, []int32{8302}},
		{"refact", 49216, 0, 0, []int32{0, 4, 18}, []int32{8279}},
		{"mpt", 50432, 0, 0, []int32{0}, []int32{12092}},
		{"command-r", 256000, 5, 255001, []int32{0, 255001}, []int32{5, 28339}},
		{"gemma-4", 262144, 2, 1, []int32{1, 50, 106}, []int32{2, 9259}},
		{"deepseek-llm", 102400, 100000, 100001, []int32{100001}, []int32{100000, 17464}},
		{"deepseek-coder", 32256, 32013, 32014, []int32{32014}, []int32{32013, 17535}},
		{"aquila", 100008, 0, 0, []int32{0, 100007}, []int32{22299}},
		{"baichuan", 64000, 1, 2, []int32{2}, []int32{1, 24568}},
	} {
		t.Run(c.vocab, func(t *testing.T) {
			tok := vocab(t, c.vocab)
			var eog []int32
			for id := range int32(tok.Size()) {
				if tok.IsEOG(id) {
					eog = append(eog, id)
				}
			}
			hello, err := tok.Encode("Hello", token.EncodeOptions{})
			got := fmt.Sprint(tok.Size(), tok.BOS(), tok.EOS(), eog, hello, err)
			if want := fmt.Sprint(c.size, c.bos, c.eos, c.eog, c.hello, nil); got != want {
				t.Errorf("got %s, expected %s", got, want)
			}
			if tok.AddsBOS() != (len(c.hello) > 1) {
				t.Errorf("adds bos: %v", tok.AddsBOS())
			}
		})
	}
}

func TestBeginAndEnd(t *testing.T) {
	tok := small(t, func(file, _ object) {
		file["post_processor"] = object{"type": "TemplateProcessing",
			"single":         []object{{"SpecialToken": object{"id": "<|begin|>"}}, {"Sequence": object{"id": "A"}}, {"SpecialToken": object{"id": "<|end|>"}}},
			"special_tokens": object{"<|begin|>": object{"ids": []int{266}}, "<|end|>": object{"ids": []int{264}}}}
	})
	for _, c := range []struct {
		bos  token.Add
		want []int32
	}{
		{token.AddDefault, []int32{266, 259, 264}},
		{token.AddNever, []int32{259}},
		{token.AddAlways, []int32{266, 259, 264}},
	} {
		got, err := tok.Encode("the", token.EncodeOptions{BOS: c.bos})
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%d: got %v, %v, expected %v", c.bos, got, err, c.want)
		}
	}
	if !tok.AddsBOS() || !tok.AddsEOS() || !tok.IsEOG(264) || tok.IsEOG(-1) || !tok.IsSpecial(266) || tok.IsSpecial(265) || tok.IsSpecial(1<<30) {
		t.Error("special tokens are not what the file says")
	}
	if id, ok := tok.Lookup("<|end|>"); id != 264 || !ok || tok.Text(264) != "<|end|>" || tok.Text(-1) != "" {
		t.Errorf("lookup gives %d, %v", id, ok)
	}
	got, err := tok.Encode("", token.EncodeOptions{BOS: token.AddNever})
	if err != nil || len(got) != 0 {
		t.Errorf("empty text: %v, %v", got, err)
	}
}

func TestConfigBeginsText(t *testing.T) {
	for _, c := range []struct {
		config string
		want   bool
	}{
		{`{"bos_token":"<|begin|>"}`, false},
		{`{"bos_token":"<|begin|>","add_bos_token":true}`, true},
		{`{"bos_token":null,"add_bos_token":true}`, false},
	} {
		d, err := token.FromHF(smallJSON(nil), []byte(c.config), []byte(`{"eos_token_id":[264,265]}`), []byte(`{"eos_token":"<|end|>"}`))
		if err != nil {
			t.Fatal(err)
		}
		if d.AddBOS != c.want || d.EOS != 264 || !slices.Equal(d.EOG, []int32{264, 265}) {
			t.Errorf("%s: %v, eos %d, eog %v", c.config, d.AddBOS, d.EOS, d.EOG)
		}
	}
}

func TestTemplateOfConfig(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                        "",
		`{"chat_template":null}`:    "",
		`{"chat_template":"{{x}}"}`: "{{x}}",
		`{"chat_template":[{"name":"tool_use","template":"t"},{"name":"default","template":"d"}]}`: "d",
	} {
		d, err := token.FromHF(smallJSON(nil), []byte(config), nil, nil)
		if err != nil || d.Template != want {
			t.Errorf("%s: %q, %v", config, d.Template, err)
		}
	}
}

func TestDecodeOptions(t *testing.T) {
	tok := spm(t)
	ids, err := tok.Encode("the é", token.EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		opt  token.DecodeOptions
		want string
	}{
		{token.DecodeOptions{}, "the é"},
		{token.DecodeOptions{Continue: true}, " the é"},
		{token.DecodeOptions{Special: true}, "<s>the é"},
	} {
		if got, err := tok.Decode(ids, c.opt); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v, expected %q", c.opt, got, err, c.want)
		}
	}
	if _, err := tok.Decode([]int32{1 << 20}, token.DecodeOptions{}); err == nil {
		t.Error("an id outside the vocabulary decodes")
	}
	if tok.TokenBytes(-1) != nil || string(tok.TokenBytes(3+0xe2)) != "\xe2" {
		t.Error("bytes of a token")
	}
	if s := tok.NewStream(token.DecodeOptions{}); s.Push(1<<20) != "\uFFFD" {
		t.Error("an id outside the vocabulary streams")
	}
}

// A stream holds back part of a character, and no more than that.
func TestStreamHoldsBack(t *testing.T) {
	tok := small(t, nil)
	s := tok.NewStream(token.DecodeOptions{Continue: true})
	var got []string
	for _, b := range []byte("a😀\xff\xe4\xb8b\xe4") {
		got = append(got, s.Push(int32(b)))
	}
	got = append(got, s.Flush())
	want := []string{"a", "", "", "", "😀", "\uFFFD", "", "", "\uFFFD\uFFFDb", "", "\uFFFD"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, expected %q", got, want)
	}
}

func BenchmarkEncode(b *testing.B) {
	var text string
	for _, s := range corpus(3, 3000) {
		text += s
	}
	english := jsonText(b)
	for _, name := range []string{"smollm2", "llama-bpe", "qwen2", "llama-spm", "deepseek-llm", "gemma-4"} {
		tok := vocab(b, name)
		for kind, in := range map[string]string{"mixed": text, "english": english} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				b.SetBytes(int64(len(in)))
				for b.Loop() {
					if _, err := tok.Encode(in, token.EncodeOptions{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// jsonText is text of the kind that prompts are made of: the words of a vocabulary in a fixed order.
func jsonText(b *testing.B) string {
	b.Helper()
	tok := vocab(b, "smollm2")
	var ids []int32
	d := dice(5)
	for range 100_000 {
		ids = append(ids, int32(300+d.roll(1+d.roll(20_000)))) // small ids are common words
	}
	text, err := tok.Decode(ids, token.DecodeOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return text
}

func BenchmarkNew(b *testing.B) {
	for _, name := range []string{"smollm2", "llama-bpe", "gemma-4"} {
		d := vocab(b, name).Data()
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := token.New(d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One tokenizer serves many goroutines.
func TestEncodeIsConcurrent(t *testing.T) {
	texts := corpus(11, 200)
	for name, tok := range map[string]*token.Tokenizer{"small": small(t, nil), "spm": spm(t)} {
		want := make([][]int32, len(texts))
		for i, s := range texts {
			ids, err := tok.Encode(s, token.EncodeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want[i] = ids
		}
		done := make(chan error)
		for g := range 8 {
			go func() {
				var err error
				for k := range texts {
					i := (k + g*25) % len(texts)
					ids, e := tok.Encode(texts[i], token.EncodeOptions{})
					if e != nil || !slices.Equal(ids, want[i]) {
						err = fmt.Errorf("%s: %q became %v (%v), alone %v", name, texts[i], ids, e, want[i])
					}
				}
				done <- err
			}()
		}
		for range 8 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}
