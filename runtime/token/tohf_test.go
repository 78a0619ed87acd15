package token_test

import (
	"slices"
	"strings"
	"testing"

	"quire/runtime/token"
)

// A GGUF's tokenizer written as tokenizer.json gives the same ids, special tokens and texts.
func TestToHF(t *testing.T) {
	for _, name := range []string{"smollm2", "gpt-2"} {
		d := ggufData(t, vocabFile(t, name))
		text, config, err := token.ToHF(&d)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		back, err := token.FromHF(text, config, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if back.BOS != d.BOS || back.EOS != d.EOS || back.AddBOS != d.AddBOS || back.Template != d.Template {
			t.Errorf("%s: begin %d, end %d, begin added %v, a template of %d bytes; expected %d, %d, %v, %d",
				name, back.BOS, back.EOS, back.AddBOS, len(back.Template), d.BOS, d.EOS, d.AddBOS, len(d.Template))
		}
		a, err := token.New(d)
		if err != nil {
			t.Fatal(err)
		}
		b, err := token.New(back)
		if err != nil {
			t.Fatal(err)
		}
		for _, special := range []bool{false, true} {
			for _, s := range append(corpus(ownSeed, 300), "<|im_start|>user\nhi<|im_end|>") {
				o := token.EncodeOptions{Special: special}
				x, err := a.Encode(s, o)
				if err != nil {
					t.Fatal(err)
				}
				y, err := b.Encode(s, o)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(x, y) {
					t.Fatalf("%s: %q gives %v, expected %v", name, s, y, x)
				}
			}
		}
	}
	d := ggufData(t, vocabFile(t, "llama-spm"))
	if _, _, err := token.ToHF(&d); err == nil || !strings.Contains(err.Error(), "byte-level BPE") {
		t.Errorf("SentencePiece: %v", err)
	}
}
