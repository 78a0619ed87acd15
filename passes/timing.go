package passes

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Timing prints a line a pass: seconds and ops before and after.
func Timing(w io.Writer) Observer {
	return Observer{After: func(e *Event) error {
		_, err := fmt.Fprintf(w, "%-28s %9.3f ms %6d -> %6d ops\n", e.Pass.Name, e.Seconds*1e3, e.OpsBefore, e.OpsAfter)
		return err
	}}
}

// Stats prints how often each rule fired, sorted by name.
func Stats(w io.Writer) Observer {
	return Observer{After: func(e *Event) error {
		for _, rule := range slices.Sorted(maps.Keys(e.Counts)) {
			if _, err := fmt.Fprintf(w, "%-28s %-28s %6d\n", e.Pass.Name, rule, e.Counts[rule]); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Missed prints why rules did not fire.
func Missed(w io.Writer) Observer {
	return Observer{After: func(e *Event) error {
		for _, m := range e.Misses {
			if _, err := fmt.Fprintf(w, "missed %s: %s\n", e.Pass.Name, m); err != nil {
				return err
			}
		}
		return nil
	}}
}

// FormatCounts renders counters as "rule=n, rule=n", sorted.
func FormatCounts(counts map[string]int) string {
	parts := make([]string, 0, len(counts))
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s=%d", k, counts[k]))
	}
	return strings.Join(parts, ", ")
}
