package ir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzParse: any text parses or gives a SyntaxError with a place; what parses
// prints to a fixed point; what verifies can be cloned and walked.
func FuzzParse(f *testing.F) {
	f.Add(kernelText)
	f.Add(Print(layer(f)))
	for _, b := range badTexts {
		if len(b.text) < 1<<12 {
			f.Add(b.text)
		}
	}
	seeds, _ := filepath.Glob("testdata/seeds/*.ir")
	for _, s := range seeds {
		b, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<14 {
			return
		}
		m, err := Parse("fuzz", text)
		if err != nil {
			var e *SyntaxError
			if !errors.As(err, &e) || e.Pos.Line < 1 || e.Pos.Col < 1 || e.Msg == "" {
				t.Fatalf("error without a place: %#v", err)
			}
			if c := e.Caret(); strings.Count(c, "\n") != 1 {
				t.Fatalf("caret of %d lines: %q", strings.Count(c, "\n")+1, c)
			}
			return
		}
		once := Print(m)
		again, err := Parse("printed", once)
		if err != nil {
			t.Fatalf("%v\n%s", err, once)
		}
		if twice := Print(again); twice != once {
			t.Fatalf("printed again:\n%s\nfirst:\n%s", twice, once)
		}
		if Verify(m) != nil {
			return
		}
		c := m.Clone()
		if err := Verify(c); err != nil {
			t.Fatalf("the copy does not verify: %v", err)
		}
		for _, fn := range c.Funcs {
			fn.Uses()
		}
		for _, w := range c.Weights {
			c.Sources(w)
		}
	})
}
