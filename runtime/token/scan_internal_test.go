package token

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// reference splits by a regular expression with regexp2, whether or not a scanner is written for it.
func reference(t testing.TB, pattern string) cutter {
	t.Helper()
	c, err := regexCutter(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func cutWords(t interface{ Fatal(...any) }, c cutter, text string) []string {
	return splitWords(t, splitter{cut: c, behaviour: Isolated}, text)
}

func splitWords(t interface{ Fatal(...any) }, p splitter, text string) []string {
	s := &scratch{deadline: time.Now().Add(time.Minute), runes: make([][]rune, 1)}
	var out []string
	err := p.split(s, 0, text, func(w string) error {
		out = append(out, w)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// narrow has the characters that the regular expressions tell apart. U+017F is not among them: it folds to s in some
// engines only. For \b and \d, engines differ beyond ASCII digits.
var narrow = []rune("aZsTrReEvVlLmMdD'09½²٣Ⅷ \t\n\r\u00a0\u3000\u2028\u0085!/-<.é中\u0301\u0903😀\u200b")

var word = []rune("aé_ \n.,'0123456789")

// Every scanner written by hand cuts as regexp2 does.
func TestScannersEqualRegexp2(t *testing.T) {
	for pattern, scanner := range scanners {
		t.Run(pattern, func(t *testing.T) {
			alphabet := narrow
			if pattern == patTinyAya || pattern == patSuperBPE {
				alphabet = word
			}
			slow := reference(t, pattern)
			texts := rapid.StringOfN(rapid.RuneFrom(alphabet), 0, 40, -1)
			rapid.Check(t, func(r *rapid.T) {
				text := texts.Draw(r, "text")
				got, want := cutWords(r, scanner, text), cutWords(r, slow, text)
				if !slices.Equal(got, want) {
					r.Fatalf("%q is cut into %q, by regexp2 into %q", text, got, want)
				}
			})
		})
	}
}

func FuzzScanners(f *testing.F) {
	f.Add("I'Ll go 12345 ½ \r\n\r\n  x\u3000 'sé\u0301")
	patterns := []string{patGPT2, patLlama3, patQwen2, patQwen35, patLines, patDigit, patThousands}
	var slow []cutter
	for _, p := range patterns {
		slow = append(slow, reference(f, p))
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = validUTF8(text)
		for i, p := range patterns {
			if got, want := cutWords(t, scanners[p], text), cutWords(t, slow[i], text); !slices.Equal(got, want) {
				t.Fatalf("%s: %q is cut into %q, by regexp2 into %q", p, text, got, want)
			}
		}
	})
}

// Each behaviour on a word with matches at both ends and two neighbours, as the tokenizers library documents them.
func TestBehaviours(t *testing.T) {
	for _, c := range []struct {
		behaviour Behaviour
		invert    bool
		want      []string
	}{
		{Isolated, false, []string{"-", "the", "-", "-", "final", "-"}},
		{Removed, false, []string{"the", "final"}},
		{Removed, true, []string{"-", "-", "-", "-"}},
		{MergedWithPrev, false, []string{"-", "the-", "-", "final-"}},
		{MergedWithNext, false, []string{"-the", "-", "-final", "-"}},
		{Contiguous, false, []string{"-", "the", "--", "final", "-"}},
	} {
		p, err := Split{Pattern: "-", Literal: true, Behaviour: c.behaviour, Invert: c.invert}.compile()
		if err != nil {
			t.Fatal(err)
		}
		if got := splitWords(t, p, "-the--final-"); !slices.Equal(got, c.want) {
			t.Errorf("%s (invert %v): %q, expected %q", c.behaviour, c.invert, got, c.want)
		}
	}
}

func TestPortRegex(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`a$`, `(?m:a$)`},
		{`[\p{L}&&[^\p{Han}]]+`, `(?m:[\p{L}-[\p{Han}]]+)`},
		{`[\[a]\]`, `(?m:[\[a]\])`},
		{patGPT2HF, patGPT2HF},
		{`[a[b]]`, ""},
		{`[a&&b]`, ""},
		{`[a&&[^b]c]`, ""},
		{`\h+`, ""},
		{`[]a]`, ""},
	} {
		got, err := portRegex(c.in)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v, expected %q", c.in, got, err, c.want)
		}
	}
}
