package model

import (
	"strings"
	"testing"

	"quire/passes"
)

func TestUnselected(t *testing.T) {
	why := passes.Miss{Why: "layer 0 is one of the first 2, which read everything"}
	for _, c := range []struct {
		r    passes.Record
		want string
	}{
		{passes.Record{Name: "quest.select-pages", Misses: []passes.Miss{why}}, "quest: no layer picks pages: layer 0"},
		{passes.Record{Name: "quest.select-pages", Misses: []passes.Miss{why}, Counts: map[string]int{"select-pages": 3}}, ""},
		{passes.Record{Name: "canon.simplify", Misses: []passes.Miss{why}}, ""},
	} {
		if got := strings.Join(unselected([]passes.Record{c.r}), "; "); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%+v: %q, expected %q", c.r, got, c.want)
		}
	}
}
