package token

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// Behaviour says what becomes of the matches of a splitting step; the names are those of tokenizer.json.
type Behaviour string

const (
	Isolated       Behaviour = "Isolated" // a match is a word, and so is the text between two matches
	Removed        Behaviour = "Removed"
	MergedWithPrev Behaviour = "MergedWithPrevious"
	MergedWithNext Behaviour = "MergedWithNext"
	Contiguous     Behaviour = "Contiguous" // neighbouring matches are one word
)

// Split is one splitting step; steps apply in order, each to every word of the one before.
type Split struct {
	Pattern   string // a regular expression, or plain text
	Literal   bool
	Invert    bool // matches are what the pattern does not match
	Spelled   bool // the pattern sees GPT-2's byte alphabet instead of the text (steps after ByteLevel)
	Behaviour Behaviour
}

// Regular expressions come from model files: one that backtracks without end must not hang the program.
const (
	matchTimeout     = 500 * time.Millisecond
	splitTimeout     = 2 * time.Second
	splitTimePerByte = 10 * time.Microsecond
	maxBacktrack     = 1 << 20
	maxPattern       = 1 << 16
)

// span is a stretch of a word: its end, counted from the start of the word, and whether it is a match.
type span struct {
	end   int
	match bool
}

// cutter appends the spans of text, in order and without holes.
type cutter func(s *scratch, text string) error

type splitter struct {
	cut       cutter
	behaviour Behaviour
	invert    bool
}

func (p Split) compile() (splitter, error) {
	out, err := p.compileText()
	if p.Spelled && err == nil {
		out.cut = spelledCutter(out.cut)
	}
	return out, err
}

// spelledCutter lets a cutter see text in the byte alphabet, where each byte is a character.
func spelledCutter(c cutter) cutter {
	return func(s *scratch, text string) error {
		spelled := make([]rune, len(text))
		for i := range len(text) {
			spelled[i] = byteRunes[text[i]]
		}
		if err := c(s, string(spelled)); err != nil {
			return err
		}
		at, bytes := 0, 0
		for i := range s.spans {
			for bytes < s.spans[i].end {
				bytes += runeLen(spelled[at])
				at++
			}
			s.spans[i].end = at
		}
		return nil
	}
}

func (p Split) compileText() (splitter, error) {
	out := splitter{behaviour: p.Behaviour, invert: p.Invert}
	switch p.Behaviour {
	case Isolated, Removed, MergedWithPrev, MergedWithNext, Contiguous:
	default:
		return out, fmt.Errorf("behaviour %q is unknown", p.Behaviour)
	}
	switch {
	case p.Pattern == "":
		return out, errors.New("pattern is empty")
	case len(p.Pattern) > maxPattern:
		return out, fmt.Errorf("pattern of %d bytes, expected at most %d", len(p.Pattern), maxPattern)
	case p.Literal:
		out.cut = literalCutter(p.Pattern)
		return out, nil
	}
	if c, ok := scanners[p.Pattern]; ok {
		out.cut = c
		return out, nil
	}
	var err error
	out.cut, err = regexCutter(p.Pattern)
	return out, err
}

func literalCutter(text string) cutter {
	return func(s *scratch, word string) error {
		for at := 0; at < len(word); {
			i := strings.Index(word[at:], text)
			if i < 0 {
				s.spans = append(s.spans, span{len(word), false})
				return nil
			}
			s.gap(at + i)
			at += i + len(text)
			s.spans = append(s.spans, span{at, true})
		}
		return nil
	}
}

// gap appends what lies between the last span and a match at start, if anything.
func (s *scratch) gap(start int) {
	last := 0
	if n := len(s.spans); n > 0 {
		last = s.spans[n-1].end
	}
	if start > last {
		s.spans = append(s.spans, span{start, false})
	}
}

func regexCutter(pattern string) (cutter, error) {
	re, err := regexp2.Compile(pattern, regexp2.OptionMaxBacktrackingStackSize(maxBacktrack))
	if err != nil {
		return nil, fmt.Errorf("pattern %.80q: %w", pattern, err)
	}
	re.MatchTimeout = matchTimeout
	return func(s *scratch, word string) error {
		s.runes = append(s.runes[:0], []rune(word)...)
		at, byteAt := 0, 0 // rune and byte up to which the word is cut
		advance := func(to int) int {
			for ; at < to; at++ {
				byteAt += runeLen(s.runes[at])
			}
			return byteAt
		}
		late := false
		err := re.FindRunesMatches(s.runes, 0, func(m regexp2.MatchView) bool {
			start, n, _ := m.GroupRange(0)
			s.gap(advance(start))
			if n > 0 {
				s.spans = append(s.spans, span{advance(start + n), true})
			}
			late = time.Now().After(s.deadline)
			return !late
		})
		if err != nil || late { // regexp2's own error quotes the text, which is nobody's business
			why := "it takes too long"
			if errors.Is(err, regexp2.ErrBacktrackingStackLimit) {
				why = "it backtracks too deeply"
			}
			return &Error{fmt.Errorf("tokenizer: splitting a text of %d bytes by %.80q: %s", len(word), pattern, why)}
		}
		s.gap(len(word))
		return nil
	}, nil
}

func runeLen(r rune) int {
	switch {
	case r < 0x80:
		return 1
	case r < 0x800:
		return 2
	case r < 0x10000:
		return 3
	}
	return 4
}

// words cuts a stretch into the words that merging sees. The result is valid until the next call.
func (t *Tokenizer) words(s *scratch, stretch string) ([]string, error) {
	in := append(s.words[:0], stretch)
	for i := range t.splits {
		p := &t.splits[i]
		out := make([]string, 0, len(in)*2)
		for _, w := range in {
			s.spans = s.spans[:0]
			if err := p.cut(s, w); err != nil {
				return nil, err
			}
			out = p.take(out, w, s.spans)
		}
		in = out
	}
	if t.glued != nil {
		out := make([]string, 0, len(in)*2)
		for _, w := range in {
			if utf8.ValidString(w) { // a unit of broken text may reach over a border
				out = t.cutSpaces(out, w)
			} else {
				out = append(out, w)
			}
		}
		in = out
	}
	s.words = in
	return in, nil
}

// take appends the words that the spans of one word make under the step's behaviour.
func (p *splitter) take(out []string, word string, spans []span) []string {
	start := 0
	for i := 0; i < len(spans); i++ {
		match := spans[i].match != p.invert
		end := spans[i].end
		switch p.behaviour {
		case Removed:
			if match {
				start = end
				continue
			}
		case MergedWithPrev:
			if !match && i+1 < len(spans) && spans[i+1].match != p.invert {
				continue // the match after it joins it
			}
		case MergedWithNext:
			if match && i+1 < len(spans) && spans[i+1].match == p.invert {
				continue
			}
		case Contiguous:
			if i+1 < len(spans) && spans[i+1].match == spans[i].match {
				continue
			}
		}
		if end > start {
			out = append(out, word[start:end])
		}
		start = end
	}
	return out
}
