package token

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Tokenizer is a checked and indexed [Data]. It is immutable and safe for concurrent use.
type Tokenizer struct {
	data   Data
	pieces []string // id to the bytes it decodes to
	eog    map[int32]bool

	plain, marked       finder // added tokens looked for in raw text: without and with the special ones
	normPlain, normMark finder // the same, in normalised text
	norms, lateNorms    []normaliser
	splits              []splitter

	vocab    map[string]int32 // units and whole words that text may become
	pairs    pairTable        // BPE: two ids to the merge that joins them
	ranks    []int32          // SPM: id to its place by score, 0 merges first; nil for BPE
	byteIDs  [256]int32       // the token of a single byte, or None
	glued    map[rune]bool    // characters that stand before a U+2581 within a token; nil: do not cut there
	scratchs sync.Pool
}

// New checks d and builds its tokenizer. It keeps d's slices: the caller must not change them afterwards.
func New(d Data) (*Tokenizer, error) {
	t, err := build(d)
	if err != nil {
		return nil, &Error{err}
	}
	return t, nil
}

func build(d Data) (*Tokenizer, error) {
	if err := d.validate(); err != nil {
		return nil, err
	}
	t := &Tokenizer{data: d, eog: make(map[int32]bool, len(d.EOG))}
	t.scratchs.New = func() any { return &scratch{runes: make([][]rune, len(d.Splits))} }
	for _, id := range d.EOG {
		t.eog[id] = true
	}
	t.indexPieces()
	t.indexMerges()
	t.indexSpaces()
	for i, n := range d.Norms {
		f, err := n.compile()
		if err != nil {
			return nil, fmt.Errorf("tokenizer: normaliser %d: %w", i, err)
		}
		if n.Late {
			t.lateNorms = append(t.lateNorms, f)
		} else {
			t.norms = append(t.norms, f)
		}
	}
	if err := t.indexAdded(); err != nil {
		return nil, err
	}
	for i, s := range d.Splits {
		f, err := s.compile()
		if err != nil {
			return nil, fmt.Errorf("tokenizer: splitting step %d: %w", i, err)
		}
		t.splits = append(t.splits, f)
	}
	return t, nil
}

// Add says whether encoding adds the model's begin and end tokens.
type Add uint8

const (
	AddDefault Add = iota // as the tokenizer's data says
	AddNever
	AddAlways // the begin token, even if the data says otherwise; the end token as the data says
)

// EncodeOptions is how a text is encoded; the zero value is for a prompt that a program wrote as plain text.
type EncodeOptions struct {
	BOS     Add
	Special bool // text that spells a special token becomes it: only for text that a chat template made
}

// Encode turns text into ids. Invalid UTF-8 becomes U+FFFD byte by byte, or byte tokens where the model is SPM.
// The only errors are a regular expression that ran out of time and text of 2 GiB or more.
func (t *Tokenizer) Encode(text string, opt EncodeOptions) ([]int32, error) {
	if len(text) >= math.MaxInt32 {
		return nil, fmt.Errorf("tokenizer: text of %d bytes, expected less than 2 GiB", len(text))
	}
	s := t.scratchs.Get().(*scratch)
	defer t.scratchs.Put(s)
	s.deadline = time.Now().Add(splitTimeout + time.Duration(len(text))*splitTimePerByte)
	s.out = make([]int32, 0, len(text)/4+2)
	if opt.BOS == AddAlways || opt.BOS == AddDefault && t.data.AddBOS {
		if t.data.BOS == None {
			return nil, fmt.Errorf("tokenizer: a bos token is asked for, but the vocabulary names none")
		}
		s.out = append(s.out, t.data.BOS)
	}
	raw, norm := &t.plain, &t.normPlain
	if opt.Special {
		raw, norm = &t.marked, &t.normMark
	}
	err := raw.cut(text, func(stretch string, id int32, first bool) error {
		if id != None {
			s.out = append(s.out, id)
			return nil
		}
		return t.encodeStretch(s, stretch, first, norm)
	})
	if err != nil {
		return nil, err
	}
	if t.data.AddEOS && opt.BOS != AddNever {
		s.out = append(s.out, t.data.EOS)
	}
	out := s.out
	s.out = nil
	return out, nil
}

// encodeStretch encodes text between added tokens; first says that it starts the whole text.
func (t *Tokenizer) encodeStretch(s *scratch, text string, first bool, norm *finder) error {
	if t.data.Model == BPE {
		text = validUTF8(text)
	}
	for _, n := range t.norms {
		text = n(text, first)
	}
	return norm.cut(text, func(stretch string, id int32, start bool) error {
		if id != None {
			s.out = append(s.out, id)
			return nil
		}
		for _, n := range t.lateNorms {
			stretch = n(stretch, first && start)
		}
		return t.encodeFrom(s, 0, stretch)
	})
}

// validUTF8 replaces each byte that is not part of a UTF-8 character by U+FFFD.
func validUTF8(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text) + 16)
	for _, r := range text {
		b.WriteRune(r)
	}
	return b.String()
}

// Size is the number of tokens.
func (t *Tokenizer) Size() int { return len(t.pieces) }

// BOS is the token that begins a text, or None.
func (t *Tokenizer) BOS() int32 { return t.data.BOS }

// EOS is the token that ends a text, or None.
func (t *Tokenizer) EOS() int32 { return t.data.EOS }

// AddsBOS says whether Encode begins with BOS unless told otherwise.
func (t *Tokenizer) AddsBOS() bool { return t.data.AddBOS }

// AddsEOS says whether Encode ends with EOS unless told otherwise.
func (t *Tokenizer) AddsEOS() bool { return t.data.AddEOS }

// IsEOG says whether generation ends at id.
func (t *Tokenizer) IsEOG(id int32) bool { return t.eog[id] }

// IsSpecial says whether id is a control or unknown token, which has no text of its own.
func (t *Tokenizer) IsSpecial(id int32) bool {
	if id < 0 || int(id) >= len(t.pieces) {
		return false
	}
	return t.data.Types[id] == Control || t.data.Types[id] == Unknown
}

// Data is what the tokenizer was built from. The caller must not change its slices.
func (t *Tokenizer) Data() Data { return t.data }

// Text is a token as the model file spells it, "" outside the vocabulary.
func (t *Tokenizer) Text(id int32) string {
	if id < 0 || int(id) >= len(t.data.Tokens) {
		return ""
	}
	return t.data.Tokens[id]
}

// Lookup finds a token by its spelling in the model file, special or not.
func (t *Tokenizer) Lookup(text string) (id int32, ok bool) {
	for i, s := range t.data.Tokens {
		if s == text && text != "" {
			return int32(i), true
		}
	}
	return None, false
}
