package token

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// DecodeOptions is how ids become text; the zero value gives all text of the ids, without control tokens.
type DecodeOptions struct {
	Special  bool // control and unknown tokens show as they are spelled
	Continue bool // the ids follow others: a space at the start is kept
}

// TokenBytes is the text of one token: raw bytes, perhaps part of a character; nil outside the vocabulary.
func (t *Tokenizer) TokenBytes(id int32) []byte {
	if id < 0 || int(id) >= len(t.pieces) {
		return nil
	}
	return []byte(t.pieces[id])
}

// DecodeBytes gives the bytes that ids stand for. An id outside the vocabulary is an error.
func (t *Tokenizer) DecodeBytes(ids []int32, opt DecodeOptions) ([]byte, error) {
	var out []byte
	strip := t.data.StripSpace && !opt.Continue
	for i, id := range ids {
		if id < 0 || int(id) >= len(t.pieces) {
			return nil, fmt.Errorf("tokenizer: id %d at position %d, vocabulary has %d", id, i, len(t.pieces))
		}
		if t.IsSpecial(id) {
			if opt.Special {
				out = append(out, t.pieces[id]...)
			}
			continue
		}
		piece := t.pieces[id]
		if strip {
			piece = strings.TrimPrefix(piece, " ")
			strip = false
		}
		out = append(out, piece...)
	}
	return out, nil
}

// Decode is DecodeBytes as valid UTF-8: bytes that are part of no character become U+FFFD.
func (t *Tokenizer) Decode(ids []int32, opt DecodeOptions) (string, error) {
	b, err := t.DecodeBytes(ids, opt)
	return validUTF8(string(b)), err
}

// Stream decodes ids as they come and shows only whole characters.
type Stream struct {
	t     *Tokenizer
	opt   DecodeOptions
	strip bool
	held  []byte // the start of a character, at most 3 bytes
}

// NewStream starts a stream; opt.Continue is usual, since generated ids follow a prompt.
func (t *Tokenizer) NewStream(opt DecodeOptions) *Stream {
	return &Stream{t: t, opt: opt, strip: t.data.StripSpace && !opt.Continue}
}

// Push gives the text that id completes: valid UTF-8, perhaps "". An id outside the vocabulary shows as U+FFFD.
func (s *Stream) Push(id int32) string {
	piece := "\uFFFD"
	if id >= 0 && int(id) < len(s.t.pieces) {
		if s.t.IsSpecial(id) && !s.opt.Special {
			return ""
		}
		piece = s.t.pieces[id]
		if s.strip && !s.t.IsSpecial(id) {
			piece = strings.TrimPrefix(piece, " ")
			s.strip = false
		}
	}
	s.held = append(s.held, piece...)
	n := len(s.held) - unfinished(s.held)
	text := validUTF8(string(s.held[:n]))
	s.held = append(s.held[:0], s.held[n:]...)
	return text
}

// Flush gives what Push held back, as U+FFFD for each byte, and leaves the stream empty.
func (s *Stream) Flush() string {
	text := validUTF8(string(s.held))
	s.held = s.held[:0]
	return text
}

// unfinished counts the bytes at the end of b that are the start of a character still to be completed.
func unfinished(b []byte) int {
	for n := 1; n <= 3 && n <= len(b); n++ {
		tail := b[len(b)-n:]
		if utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return n
			}
			return 0
		}
	}
	return 0
}
