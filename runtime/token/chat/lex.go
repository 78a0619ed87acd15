package chat

import (
	"fmt"
	"strings"
	"unicode"
)

// The engine strips white space around tags, but looks past neighbouring tags for it and loses some that Jinja keeps.
// So this file does Jinja's lexing (jinja2/lexer.py, with trim_blocks and lstrip_blocks as transformers sets them), and
// rewrite.go hands the engine a template without any text of its own.

// part is a stretch of text, or the code of a tag.
type part struct {
	line int
	kind byte // 0 text, '%' a statement, '{' an expression
	text string
}

// word is the first word of a statement.
func (p *part) word() string {
	if p.kind != '%' {
		return ""
	}
	i := strings.IndexFunc(p.text, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if i < 0 {
		return p.text
	}
	return p.text[:i]
}

type lexer struct {
	src       string
	pos       int
	line      int
	lineStart bool // what was read last ends with a line feed (or nothing was read)
	out       []part
}

// lex cuts a normalised template into parts; comments are gone and white space is as Jinja leaves it.
func lex(src string) ([]part, error) {
	l := &lexer{src: src, line: 1, lineStart: true}
	for l.pos < len(l.src) {
		start := nextTag(l.src, l.pos)
		if start < 0 {
			l.emitText(l.src[l.pos:], 0, 0)
			l.skip(len(l.src))
			break
		}
		kind, sign := l.src[start+1], byte(0)
		if start+2 < len(l.src) && (l.src[start+2] == '-' || l.src[start+2] == '+') {
			sign = l.src[start+2]
		}
		l.emitText(l.src[l.pos:start], kind, sign)
		l.skip(start + 2)
		if sign != 0 {
			l.skip(l.pos + 1)
		}
		if err := l.tag(kind); err != nil {
			return nil, err
		}
	}
	return l.out, nil
}

// nextTag finds the next {{, {% or {#.
func nextTag(src string, from int) int {
	for i := from; i+1 < len(src); i++ {
		if src[i] == '{' && (src[i+1] == '{' || src[i+1] == '%' || src[i+1] == '#') {
			return i
		}
	}
	return -1
}

// skip moves on to pos and counts lines.
func (l *lexer) skip(pos int) {
	read := l.src[l.pos:pos]
	l.line += strings.Count(read, "\n")
	if read != "" {
		l.lineStart = read[len(read)-1] == '\n'
	}
	l.pos = pos
}

// emitText emits the text before a tag of a kind and sign, stripped on its right as these say.
func (l *lexer) emitText(text string, kind, sign byte) {
	switch {
	case sign == '-':
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	case sign != '+' && (kind == '%' || kind == '#'):
		at := strings.LastIndexByte(text, '\n') + 1
		if (at > 0 || l.lineStart) && strings.TrimFunc(text[at:], unicode.IsSpace) == "" {
			text = text[:at]
		}
	}
	if text != "" {
		l.out = append(l.out, part{line: l.line, text: text})
	}
}

// tag reads a tag whose opening is behind it.
func (l *lexer) tag(kind byte) error {
	line := l.line
	closing := map[byte]string{'%': "%}", '{': "}}", '#': "#}"}[kind]
	end, err := l.find(kind, closing)
	if err != nil {
		return err
	}
	code, sign := l.src[l.pos:end], byte(0)
	if n := len(code); n > 0 && (code[n-1] == '-' || code[n-1] == '+' && kind != '{') {
		code, sign = code[:n-1], code[n-1]
	}
	l.close(end+2, kind, sign)
	p := part{line: line, kind: kind, text: strings.TrimFunc(code, unicode.IsSpace)}
	switch {
	case kind == '#':
	case p.word() == "raw" && p.text == "raw":
		return l.raw(line, sign)
	default:
		l.out = append(l.out, p)
	}
	return nil
}

// close moves past a tag's end and the white space that goes with it.
func (l *lexer) close(pos int, kind, sign byte) {
	switch {
	case sign == '-':
		rest := l.src[pos:]
		pos += len(rest) - len(strings.TrimLeftFunc(rest, unicode.IsSpace))
	case sign != '+' && kind != '{' && strings.HasPrefix(l.src[pos:], "\n"):
		pos++
	}
	l.skip(pos)
}

// find gives where a tag closes: outside strings, and outside brackets in an expression or statement.
func (l *lexer) find(kind byte, closing string) (int, error) {
	if kind == '#' {
		if i := strings.Index(l.src[l.pos:], closing); i >= 0 {
			return l.pos + i, nil
		}
		return 0, fmt.Errorf("chat template: line %d: a comment without an end", l.line)
	}
	depth := 0
	for i := l.pos; i < len(l.src); i++ {
		switch c := l.src[i]; c {
		case '\'', '"':
			end := stringEnd(l.src, i)
			if end < 0 {
				return 0, fmt.Errorf("chat template: line %d: a string without an end", l.line)
			}
			i = end
		case '(', '[', '{':
			if depth++; depth > maxBrackets {
				return 0, fmt.Errorf("chat template: line %d: brackets nest deeper than %d", l.line, maxBrackets)
			}
		case ')', ']':
			depth--
		case '}', '%':
			if depth <= 0 && strings.HasPrefix(l.src[i:], closing) {
				return i, nil
			}
			if c == '}' {
				depth--
			}
		}
	}
	return 0, fmt.Errorf("chat template: line %d: a tag without an end", l.line)
}

// stringEnd gives the index of the quote that closes the string at i, or -1.
func stringEnd(src string, i int) int {
	for j := i + 1; j < len(src); j++ {
		switch src[j] {
		case '\\':
			j++
		case src[i]:
			return j
		}
	}
	return -1
}

// raw emits everything up to {% endraw %} as text.
func (l *lexer) raw(line int, sign byte) error {
	from := l.pos
	if sign != '-' && l.src[from-1] == '\n' { // Jinja drops no line feed after {% raw %}
		from--
	}
	for at := l.pos; ; {
		i := strings.Index(l.src[at:], "{%")
		if i < 0 {
			return fmt.Errorf("chat template: line %d: raw without endraw", line)
		}
		start := at + i
		rest := l.src[start+2:]
		n := strings.Index(rest, "%}")
		if n < 0 {
			return fmt.Errorf("chat template: line %d: raw without endraw", line)
		}
		if strings.Trim(rest[:n], "-+ \t\n") != "endraw" {
			at = start + 2
			continue
		}
		before, after := byte(0), byte(0)
		if rest[0] == '-' || rest[0] == '+' {
			before = rest[0]
		}
		if c := rest[n-1]; c == '-' || c == '+' {
			after = c
		}
		l.emitText(l.src[from:start], '%', before)
		l.close(start+2+n+2, '%', after)
		return nil
	}
}
