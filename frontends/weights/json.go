package weights

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// scan reads JSON of a known shape out of a mapping without copying it: object by object, key by key, with the byte
// where it went wrong. (encoding/json would buffer the whole header, take the last of two equal keys and round
// numbers.) The first error stays and every later call returns at once.
type scan struct {
	b    []byte
	at   int
	fail *scanError
}

type scanError struct {
	at  int
	msg string
}

func (e *scanError) Error() string { return fmt.Sprintf("byte %d: %s", e.at, e.msg) }

const maxDepth = 64 // of values that are skipped

func (s *scan) errorf(format string, args ...any) {
	if s.fail == nil {
		s.fail = &scanError{s.at, fmt.Sprintf(format, args...)}
	}
}

// next skips white space and returns the byte there, 0 at the end or after an error.
func (s *scan) next() byte {
	for s.fail == nil && s.at < len(s.b) {
		switch c := s.b[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// seen names what stands at the cursor, for messages.
func (s *scan) seen() string {
	if s.at >= len(s.b) {
		return "the end"
	}
	return strconv.QuoteToASCII(string(s.b[s.at : s.at+1]))
}

func (s *scan) expect(c byte) bool {
	if s.next() == c && s.fail == nil {
		s.at++
		return true
	}
	s.errorf("%s, expected %q", s.seen(), c)
	return false
}

// object calls member with each key, the cursor at its value, which member must consume. A key that comes twice is
// an error.
func (s *scan) object(member func(key string)) {
	if !s.expect('{') {
		return
	}
	if s.next() == '}' {
		s.at++
		return
	}
	seen := map[string]bool{}
	for s.fail == nil {
		s.next()
		start := s.at
		key := s.str(maxName)
		if s.fail == nil && seen[key] {
			s.at = start
			s.errorf("key %s twice, expected once", brief(key))
		}
		seen[key] = true
		if !s.expect(':') {
			return
		}
		member(key)
		if s.next() == '}' {
			s.at++
			return
		}
		s.expect(',')
	}
}

// array calls element for each element, the cursor at its value.
func (s *scan) array(element func()) {
	if !s.expect('[') {
		return
	}
	if s.next() == ']' {
		s.at++
		return
	}
	for s.fail == nil {
		element()
		if s.next() == ']' {
			s.at++
			return
		}
		s.expect(',')
	}
}

// str reads a string of at most limit bytes as written.
func (s *scan) str(limit int) string {
	start, escaped := s.quoted(limit)
	if s.fail != nil {
		return ""
	}
	raw := s.b[start:s.at]
	if !escaped {
		if !utf8.Valid(raw) {
			s.errorf("string that is not UTF-8")
			return ""
		}
		return string(raw[1 : len(raw)-1])
	}
	var v string
	if err := json.Unmarshal(raw, &v); err != nil {
		s.at = start
		s.errorf("string %s, expected valid escapes", brief(string(raw)))
	}
	return v
}

// quoted moves past a string and says where it starts and whether it has escapes.
func (s *scan) quoted(limit int) (start int, escaped bool) {
	s.next()
	start = s.at
	if !s.expect('"') {
		return start, false
	}
	for ; s.at < len(s.b); s.at++ {
		switch c := s.b[s.at]; {
		case s.at-start > limit:
			s.at = start
			s.errorf("string longer than %d bytes", limit)
			return start, escaped
		case c == '"':
			s.at++
			return start, escaped
		case c == '\\':
			escaped = true
			s.at++
		case c < 0x20:
			s.errorf("control byte %#02x in a string, expected it escaped", c)
			return start, escaped
		}
	}
	s.at = len(s.b)
	s.errorf("the end, expected '\"'")
	return start, escaped
}

// natural reads an integer from 0 to 2^63-1, digits only.
func (s *scan) natural() int64 {
	s.next()
	start := s.at
	for s.fail == nil && s.at < len(s.b) && s.at-start < 64 && numeric(s.b[s.at]) {
		s.at++
	}
	if s.fail != nil {
		return 0
	}
	text := string(s.b[start:s.at])
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || text[0] == '+' || len(text) > 1 && text[0] == '0' {
		s.at = start
		if text == "" {
			text = s.seen()
		}
		s.errorf("%s, expected an integer from 0 to 2^63-1", text)
		return 0
	}
	return int64(n)
}

func numeric(c byte) bool {
	return '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}

// skip moves past any value, nested at most maxDepth deep.
func (s *scan) skip(depth int) {
	if depth == maxDepth {
		s.errorf("nested %d deep, expected less", maxDepth)
		return
	}
	switch c := s.next(); {
	case c == '{':
		s.object(func(string) { s.skip(depth + 1) })
	case c == '[':
		s.array(func() { s.skip(depth + 1) })
	case c == '"':
		s.quoted(len(s.b))
	default:
		start := s.at
		for s.at < len(s.b) && (numeric(s.b[s.at]) || 'a' <= s.b[s.at] && s.b[s.at] <= 'z') {
			s.at++
		}
		if s.fail == nil && !json.Valid(s.b[start:s.at]) {
			s.at = start
			s.errorf("%s, expected a value", s.seen())
		}
	}
}

// end checks that only white space is left.
func (s *scan) end() {
	if s.next(); s.fail == nil && s.at < len(s.b) {
		s.errorf("%s, expected the end", s.seen())
	}
}
