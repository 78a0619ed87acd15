package ir

import (
	"fmt"
	"strings"
)

// Limits of text, so that hostile input costs little.
const (
	maxWord  = 256   // bytes of one identifier
	maxDepth = 32    // nesting of attribute literals
	maxDecls = 16384 // dims, tables, caches: each kind
)

// SyntaxError is one error in IR text.
type SyntaxError struct {
	Pos  Pos
	Msg  string
	Line string // the text of the line, for a caret
}

// Error returns "file:line:col: msg".
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.Pos.File, e.Pos.Line, e.Pos.Col, e.Msg)
}

// caretWidth is how much of a long line Caret shows before and after the column.
const caretWidth = 100

// Caret returns the offending line with a caret under the column; of a long line,
// the part around the column. Control bytes are shown as blanks.
func (e *SyntaxError) Caret() string {
	col := min(max(e.Pos.Col-1, 0), len(e.Line))
	start, end := max(col-caretWidth, 0), min(col+caretWidth, len(e.Line))
	line := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(e.Line[start:end], "?"))
	return line + "\n" + strings.Repeat(" ", col-start) + "^"
}

// lexer reads words and punctuation of IR text.
type lexer struct {
	file string
	src  string
	i    int
	line int
	bol  int // offset of the line's first byte
}

func (l *lexer) pos() Pos { return Pos{l.file, l.line, l.i - l.bol + 1} }

// fail aborts parsing; parse recovers it.
func (l *lexer) fail(pos Pos, format string, a ...any) {
	panic(&SyntaxError{Pos: pos, Msg: fmt.Sprintf(format, a...)})
}

func (l *lexer) failHere(format string, a ...any) { l.fail(l.pos(), format, a...) }

// skip passes blanks, newlines and // comments.
func (l *lexer) skip() {
	for l.i < len(l.src) {
		switch c := l.src[l.i]; {
		case c == '\n':
			l.i++
			l.line++
			l.bol = l.i
		case c == ' ' || c == '\t' || c == '\r':
			l.i++
		case c == '/' && strings.HasPrefix(l.src[l.i:], "//"):
			if n := strings.IndexByte(l.src[l.i:], '\n'); n >= 0 {
				l.i += n
			} else {
				l.i = len(l.src)
			}
		default:
			return
		}
	}
}

// peek returns the next significant byte, 0 at the end.
func (l *lexer) peek() byte {
	l.skip()
	if l.i >= len(l.src) {
		return 0
	}
	return l.src[l.i]
}

// atEnd reports whether nothing significant is left.
func (l *lexer) atEnd() bool {
	l.skip()
	return l.i >= len(l.src)
}

// is reports whether the text continues with s.
func (l *lexer) is(s string) bool {
	l.skip()
	return strings.HasPrefix(l.src[l.i:], s)
}

// accept takes s if the text continues with it.
func (l *lexer) accept(s string) bool {
	if !l.is(s) {
		return false
	}
	l.i += len(s)
	return true
}

// expect takes s or fails.
func (l *lexer) expect(s string) {
	if !l.accept(s) {
		l.failHere("saw %s, expected %q", l.saw(), s)
	}
}

// saw describes the next token.
func (l *lexer) saw() string {
	if l.atEnd() {
		return "the end of the text"
	}
	c := l.peek()
	j := l.i + 1
	for isWordByte(c, false) && j < len(l.src) && isWordByte(l.src[j], false) {
		j++
	}
	return fmt.Sprintf("%q", clip(l.src[l.i:j]))
}

func isWordByte(c byte, first bool) bool {
	letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
	return letter || !first && (c >= '0' && c <= '9' || c == '.' || c == '-')
}

// word takes an identifier.
func (l *lexer) word(what string) string {
	l.skip()
	start, pos := l.i, l.pos()
	if l.i < len(l.src) && isWordByte(l.src[l.i], true) {
		for l.i < len(l.src) && isWordByte(l.src[l.i], false) {
			// "->" ends a word; a dash inside one is part of it
			if l.src[l.i] == '-' && strings.HasPrefix(l.src[l.i:], "->") {
				break
			}
			// ".." is a range, not a part of a word
			if l.src[l.i] == '.' && strings.HasPrefix(l.src[l.i:], "..") {
				break
			}
			l.i++
		}
	}
	switch n := l.i - start; {
	case n == 0:
		l.failHere("saw %s, expected %s", l.saw(), what)
	case n > maxWord:
		l.fail(pos, "%s of %d bytes, expected at most %d", what, n, maxWord)
	}
	return l.src[start:l.i]
}

// isWord reports whether the next word is exactly w.
func (l *lexer) isWord(w string) bool {
	if !l.is(w) {
		return false
	}
	j := l.i + len(w)
	return j >= len(l.src) || !isWordByte(l.src[j], false) || strings.HasPrefix(l.src[j:], "->")
}

func (l *lexer) acceptWord(w string) bool {
	if !l.isWord(w) {
		return false
	}
	l.i += len(w)
	return true
}

// number takes the text of a number.
func (l *lexer) number() string {
	l.skip()
	start := l.i
	for l.i < len(l.src) && strings.IndexByte("0123456789+-.eEInfNa", l.src[l.i]) >= 0 {
		if strings.HasPrefix(l.src[l.i:], "..") {
			break
		}
		l.i++
	}
	if l.i == start {
		l.failHere("saw %s, expected a number", l.saw())
	}
	return l.src[start:l.i]
}

// quoted takes a Go-quoted string, quotes included.
func (l *lexer) quoted() string {
	l.skip()
	start := l.i
	l.expect(`"`)
	for l.i < len(l.src) && l.src[l.i] != '"' && l.src[l.i] != '\n' {
		if l.src[l.i] == '\\' {
			l.i++
		}
		l.i++
	}
	if l.i >= len(l.src) || l.src[l.i] != '"' {
		l.i = min(l.i, len(l.src))
		l.failHere("string without an end")
	}
	l.i++
	return l.src[start:l.i]
}
