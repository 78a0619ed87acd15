package spec

import (
	"fmt"
	"strings"
)

// Error is one mistake in a spec or in a command-line option.
type Error struct {
	File      string // path of the spec, or the flag ("--awq")
	Line, Col int    // from 1; 0 for a flag
	Text      string // the line
	Msg       string // the key, what was seen, what was expected
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Msg
	}
	s := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Col, e.Msg)
	const widest = 200
	if e.Text == "" || len(e.Text) > widest || e.Col > len(e.Text)+1 {
		return s
	}
	// The caret's line repeats tabs, so that it stands right whatever their width.
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string([]rune(e.Text)[:min(e.Col-1, len([]rune(e.Text)))]))
	return fmt.Sprintf("%s\n  %s\n  %s^", s, e.Text, pad)
}

// Errors is every mistake that one reading found, in the order of the text.
type Errors []*Error

func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}
