package runtime

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// A text that was repeated is one that was fed again and again.
func TestRepeat(t *testing.T) {
	ctx := context.Background()
	p, dev := open(t, limits{chunk: 8})
	in := prompt(3, 16)
	s := session(t, p)
	if _, err := s.Prefill(ctx, in); err != nil {
		t.Fatal(err)
	}
	steps := dev.steps.Load()
	if err := s.Repeat(ctx, 44); err != nil {
		t.Fatal(err)
	}
	if n := dev.steps.Load(); n != steps {
		t.Errorf("%d steps, expected none", n-steps)
	}
	all := slices.Concat(in, in, in, in[:12])
	if !slices.Equal(s.Tokens(), all) {
		t.Errorf("holds %v", s.Tokens())
	}
	next := prompt(4, 5)
	want := reference(slices.Concat(all, next), 20)
	got, _, err := generate(ctx, s, GenerateOptions{Prompt: next, MaxTokens: 20, IgnoreEnd: true})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v (%v), want %v", got, err, want)
	}
}

func TestRepeatRefuses(t *testing.T) {
	ctx := context.Background()
	p, _ := open(t, limits{})
	s := session(t, p)
	for _, c := range []struct {
		feed, n int
		want    string
	}{{0, 4, "no tokens"}, {6, 4, "6 tokens held, expected whole pages of 4"}, {2, 2000, "context"}, {0, 0, "no tokens"}} {
		if c.feed > 0 {
			if _, err := s.Prefill(ctx, prompt(1, c.feed)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Repeat(ctx, c.n); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d held, repeat %d: %v, expected %q", s.Len(), c.n, err, c.want)
		}
	}
}
