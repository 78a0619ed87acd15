package token_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
	"quire/runtime/token"
)

var anyText = rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("aeht é中😀\n\t 01'sS▁Ġ<|>\u3000\u0301"))), rapid.Custom(func(t *rapid.T) string {
	return corpus(rapid.Uint64().Draw(t, "seed"), 1)[0]
}))

func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// Byte-level BPE loses nothing: decoding an encoded text gives the text.
func TestRoundTripBytes(t *testing.T) {
	toks := map[string]*token.Tokenizer{"small": small(t, nil)}
	for _, name := range []string{"smollm2", "llama-bpe", "qwen2", "gpt-2"} {
		t.Run(name, func(t *testing.T) { toks[name] = vocab(t, name) })
	}
	for name, tok := range toks {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				text := valid(anyText.Draw(r, "text"))
				if name == "smollm2" { // it has no tokens for most control characters: they are lost
					text = strings.Map(func(c rune) rune {
						if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
							return -1
						}
						return c
					}, text)
				}
				ids, err := tok.Encode(text, token.EncodeOptions{BOS: token.AddNever})
				if err != nil {
					r.Fatal(err)
				}
				back, err := tok.Decode(ids, token.DecodeOptions{})
				if err != nil || back != text {
					r.Fatalf("%q became %v, which is %q (%v)", text, ids, back, err)
				}
			})
		})
	}
}

// SentencePiece BPE falls back to bytes, so it loses nothing either, but cannot tell U+2581 from a space: of broken
// text, a byte that promises more bytes may take a space with it and turn it into U+2581, as in llama.cpp.
func TestRoundTripSPM(t *testing.T) {
	tok := spm(t)
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.OneOf(anyText, rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(r, "text")
		ids, err := tok.Encode(text, token.EncodeOptions{})
		if err != nil {
			r.Fatal(err)
		}
		back, err := tok.DecodeBytes(ids, token.DecodeOptions{})
		want := strings.ReplaceAll(text, "▁", " ")
		if got := strings.ReplaceAll(string(back), "▁", " "); err != nil || got != want {
			r.Fatalf("%q became %v, which is %q (%v)", text, ids, back, err)
		}
	})
}

// A stream shows the same text as decoding at once, in valid pieces.
func TestStreamEqualsDecode(t *testing.T) {
	for name, tok := range map[string]*token.Tokenizer{"small": small(t, nil), "spm": spm(t)} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				ids := rapid.SliceOf(rapid.Int32Range(0, int32(tok.Size()-1))).Draw(r, "ids")
				opt := token.DecodeOptions{Special: rapid.Bool().Draw(r, "special"), Continue: rapid.Bool().Draw(r, "continue")}
				want, err := tok.Decode(ids, opt)
				if err != nil {
					r.Fatal(err)
				}
				s := tok.NewStream(opt)
				var got strings.Builder
				for _, id := range ids {
					piece := s.Push(id)
					if !utf8.ValidString(piece) {
						r.Fatalf("%q is not UTF-8", piece)
					}
					got.WriteString(piece)
				}
				got.WriteString(s.Flush())
				if got.String() != want {
					r.Fatalf("%v: stream %q, at once %q", ids, got.String(), want)
				}
			})
		})
	}
}

// Data survives gob and JSON: it is stored in compiled programs.
func TestDataSurvivesEncoding(t *testing.T) {
	for name, tok := range map[string]*token.Tokenizer{"small": small(t, nil), "spm": spm(t)} {
		d := tok.Data()
		var buf bytes.Buffer
		var viaGob, viaJSON token.Data
		if err := gob.NewEncoder(&buf).Encode(d); err != nil {
			t.Fatal(err)
		}
		if err := gob.NewDecoder(&buf).Decode(&viaGob); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &viaJSON); err != nil {
			t.Fatal(err)
		}
		for via, got := range map[string]token.Data{"gob": viaGob, "JSON": viaJSON} {
			again, err := token.New(got)
			if err != nil {
				t.Fatalf("%s via %s: %v", name, via, err)
			}
			for _, s := range corpus(1, 200) {
				a, err1 := tok.Encode(s, token.EncodeOptions{})
				b, err2 := again.Encode(s, token.EncodeOptions{})
				if err1 != nil || err2 != nil || !slices.Equal(a, b) {
					t.Fatalf("%s via %s: %q became %v (%v), before %v (%v)", name, via, s, b, err2, a, err1)
				}
			}
		}
	}
}

func FuzzEncode(f *testing.F) {
	for _, s := range corpus(7, 40) {
		f.Add(s, false)
	}
	f.Add("x<|end|>y<|begin|> z\xff", true)
	bytesTok, spmTok := small(f, nil), spm(f)
	f.Fuzz(func(t *testing.T, text string, special bool) {
		for _, tok := range []*token.Tokenizer{bytesTok, spmTok} {
			ids, err := tok.Encode(text, token.EncodeOptions{BOS: token.AddNever, Special: special})
			if err != nil {
				t.Fatal(err)
			}
			back, err := tok.DecodeBytes(ids, token.DecodeOptions{Special: true})
			if err != nil {
				t.Fatal(err)
			}
			if tok == bytesTok && !special && utf8.ValidString(text) && string(back) != text {
				t.Fatalf("%q became %q", text, back)
			}
		}
	})
}

// Any bytes as tokenizer.json: an error, or a tokenizer that encodes.
func FuzzTokenizerJSON(f *testing.F) {
	f.Add(smallJSON(nil), smallConfig, "the text<|end|> 123")
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0,"<unk>":1},"merges":[["a","a"]],"unk_token":"<unk>","byte_fallback":true}}`), []byte(`{}`), "ab")
	f.Add([]byte(`{"model":{"vocab":{"▁a":0,"▁":1,"a":2},"merges":["▁ a"]},"pre_tokenizer":{"type":"Metaspace","replacement":"▁"}}`), []byte(``), "a a")
	f.Fuzz(func(t *testing.T, file, config []byte, text string) {
		d, err := token.FromHF(file, config, nil, nil)
		if err != nil {
			return
		}
		tok, err := token.New(d)
		if err != nil {
			return
		}
		ids, err := tok.Encode(text, token.EncodeOptions{Special: true})
		if err != nil {
			return
		}
		if _, err := tok.Decode(ids, token.DecodeOptions{}); err != nil {
			t.Fatal(err)
		}
	})
}
