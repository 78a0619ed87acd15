package runtime

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"quire/runtime/device"
	"quire/runtime/token"
)

// withTokenizer gives the fake a vocabulary of letters, words and halves of characters.
func withTokenizer(t testing.TB, p *Program) {
	t.Helper()
	d := token.Data{Model: token.SPM, BOS: -1, EOS: 0, UNK: -1, PAD: -1, EOG: []int32{0}}
	add := func(text string, typ token.Type) {
		d.Tokens, d.Types, d.Scores = append(d.Tokens, text), append(d.Types, typ), append(d.Scores, 0)
	}
	add("</s>", token.Control)
	for _, b := range []byte("é😀") {
		add(fmt.Sprintf("<0x%02X>", b), token.Byte)
	}
	for len(d.Tokens) < fakeVocab {
		n := len(d.Tokens)
		add(strings.Repeat(string(rune('a'+n%3)), 1+n%2)+string(rune('a'+n/3)), token.Normal)
	}
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	p.p.Tokenizer = raw
	q, err := newTokenizer(p.p)
	if err != nil {
		t.Fatal(err)
	}
	p.tok = q
}

// The pieces' texts join to what the tokens decode to, up to the first stop string, and
// never show a part of it or half a character.
func TestTextAndStops(t *testing.T) {
	p, _ := open(t, limits{})
	withTokenizer(t, p)
	stopped := 0
	for seed := range 40 {
		in := prompt(seed, 5)
		ref := reference(in, 24)
		if end := slices.Index(ref, 0); end >= 0 {
			ref = ref[:end]
		}
		whole, err := p.tok.Decode(ref, token.DecodeOptions{Continue: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, stop := range []string{"", "never here", cut(whole, 3, 5), cut(whole, 8, 15)} {
			want, _, found := strings.Cut(whole, stop)
			if stop == "" {
				want, found = whole, false
			}
			if found {
				stopped++
			}
			var got string
			var last Piece
			for piece, err := range session(t, p).Generate(t.Context(), GenerateOptions{Prompt: in, MaxTokens: 24, Stop: []string{stop}}) {
				if err != nil {
					t.Fatal(err)
				}
				got, last = got+piece.Text, piece
				if !strings.HasPrefix(want, got) {
					t.Fatalf("seed %d, stop %q: showed %q, want %q", seed, stop, got, want)
				}
			}
			if got != want || found && last.Finish != FinishStop {
				t.Errorf("seed %d, stop %q: %q (%s), want %q", seed, stop, got, last.Finish, want)
			}
		}
	}
	if stopped < 20 {
		t.Errorf("only %d replies were stopped", stopped)
	}
}

// cut takes runes from the middle of a text.
func cut(s string, from, to int) string {
	r := []rune(s)
	return string(r[min(from, len(r)):min(to, len(r))])
}

// Leaving the loop ends the reply; the session goes on from what it holds.
func TestLeavingEarly(t *testing.T) {
	p, _ := open(t, limits{})
	s := session(t, p)
	n := 0
	for range s.Generate(t.Context(), GenerateOptions{Prompt: prompt(1, 5), IgnoreEnd: true}) {
		if n++; n == 3 {
			break
		}
	}
	held := s.Tokens()
	if want := append(prompt(1, 5), reference(prompt(1, 5), len(held)-5)...); len(held) < 7 || !slices.Equal(held, want) {
		t.Errorf("the session holds %v, want %v", held, want)
	}
	text := append(held[:7:7], 9)
	kept, err := s.Rewind(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := generate(t.Context(), s, GenerateOptions{Prompt: text[kept:], MaxTokens: 5, IgnoreEnd: true})
	if want := reference(text, 5); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v (%v), want %v", got, err, want)
	}
}

// idle is a device that does nothing: what is left is the scheduler.
type idle struct{ *fake }

func (d idle) Step(b *device.Batch) (device.Output, error) {
	return device.Output{ArgMax: d.argmax[:len(b.Out)], Logits: d.logits[:len(b.Out)*fakeVocab]}, nil
}

func BenchmarkScheduler(b *testing.B) {
	for _, sessions := range []int{1, 16} {
		b.Run(fmt.Sprint("sessions=", sessions), func(b *testing.B) {
			data := fakeProgram(9)
			data.Context = 1 << 30
			d := idle{&fake{p: data, argmax: make([]int32, 64), logits: make([]float32, 64*fakeVocab)}}
			p := newProgram(data, nil, d, limits{context: 1 << 30, slots: 64, chunk: 64, pages: []int{1 << 28, 1 << 28}})
			defer p.Close(b.Context())
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range sessions {
				s := session(b, p)
				wg.Go(func() {
					for range s.Generate(b.Context(), GenerateOptions{Prompt: []int32{1}, MaxTokens: max(1, b.N/sessions), IgnoreEnd: true}) {
					}
				})
			}
			wg.Wait()
		})
	}
}
