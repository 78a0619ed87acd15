package passes

import (
	"fmt"
	"io"
	"strings"

	"quire/ir"
)

// Steps prints, for every rule that fired, the lines that went and came.
func Steps(w io.Writer) Observer {
	last := ""
	return Observer{
		Before: func(e *Event) error {
			last = ir.Print(e.Module)
			return nil
		},
		Step: func(rule string, m *ir.Module) {
			text := ir.Print(m)
			fmt.Fprintf(w, "== %s\n%s", rule, lineDiff(last, text))
			last = text
		},
	}
}

// lineDiff lists lines that only one side has, by multiset: cheap, and enough to
// see what a rule did.
func lineDiff(a, b string) string {
	count := map[string]int{}
	for _, l := range strings.Split(a, "\n") {
		count[l]++
	}
	var added []string
	for _, l := range strings.Split(b, "\n") {
		if count[l]--; count[l] < 0 {
			added = append(added, l)
		}
	}
	var out strings.Builder
	for _, l := range strings.Split(a, "\n") {
		if count[l] > 0 {
			count[l]--
			out.WriteString("- " + strings.TrimSpace(l) + "\n")
		}
	}
	for _, l := range added {
		out.WriteString("+ " + strings.TrimSpace(l) + "\n")
	}
	return out.String()
}
