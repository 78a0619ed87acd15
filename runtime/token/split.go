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

// yield takes the next stretch of a word: where it ends, counted from the start of the word, and whether it is a match.
type yield func(end int, match bool) error

// cutter yields the stretches of text in order and without holes; empty ones may be among them. depth is the number of
// the step, which has its own part of the scratch.
type cutter func(s *scratch, depth int, text string, y yield) error

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
	return func(s *scratch, depth int, text string, y yield) error {
		spelled := make([]rune, len(text))
		for i := range len(text) {
			spelled[i] = byteRunes[text[i]]
		}
		at, bytes := 0, 0
		return c(s, depth, string(spelled), func(end int, match bool) error {
			for ; bytes < end; at++ {
				bytes += runeLen(spelled[at])
			}
			return y(at, match)
		})
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
	return func(_ *scratch, _ int, word string, y yield) error {
		for at := 0; at < len(word); {
			i := strings.Index(word[at:], text)
			if i < 0 {
				return y(len(word), false)
			}
			if err := y(at+i, false); err != nil {
				return err
			}
			at += i + len(text)
			if err := y(at, true); err != nil {
				return err
			}
		}
		return nil
	}
}

func regexCutter(pattern string) (cutter, error) {
	re, err := regexp2.Compile(pattern, regexp2.OptionMaxBacktrackingStackSize(maxBacktrack))
	if err != nil {
		return nil, fmt.Errorf("pattern %.80q: %w", pattern, err)
	}
	re.MatchTimeout = matchTimeout
	return func(s *scratch, depth int, word string, y yield) error {
		runes := append(s.runes[depth][:0], []rune(word)...)
		s.runes[depth] = runes
		at, byteAt := 0, 0 // rune and byte up to which the word is cut
		advance := func(to int) int {
			for ; at < to; at++ {
				byteAt += runeLen(runes[at])
			}
			return byteAt
		}
		late := false
		var stop error
		err := re.FindRunesMatches(runes, 0, func(m regexp2.MatchView) bool {
			start, n, _ := m.GroupRange(0)
			if stop = y(advance(start), false); stop == nil && n > 0 {
				stop = y(advance(start+n), true)
			}
			late = time.Now().After(s.deadline)
			return stop == nil && !late
		})
		if stop != nil {
			return stop
		}
		if err != nil || late { // regexp2's own error quotes the text, which is nobody's business
			why := "it takes too long"
			if errors.Is(err, regexp2.ErrBacktrackingStackLimit) {
				why = "it backtracks too deeply"
			}
			return &Error{fmt.Errorf("tokenizer: splitting a text of %d bytes by %.80q: %s", len(word), pattern, why)}
		}
		return y(len(word), false)
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

// split calls emit for each word that the step makes of one word.
func (p *splitter) split(s *scratch, depth int, word string, emit func(word string) error) error {
	start, held, heldMatch := 0, 0, false // word[start:held] waits for what follows it
	flush := func() error {
		from, to := start, held
		start = held
		if from == to || p.behaviour == Removed && heldMatch {
			return nil
		}
		return emit(word[from:to])
	}
	err := p.cut(s, depth, word, func(end int, match bool) error {
		if end == held {
			return nil
		}
		match = match != p.invert
		joins := start < held && (p.behaviour == Contiguous && match == heldMatch ||
			p.behaviour == MergedWithPrev && match && !heldMatch ||
			p.behaviour == MergedWithNext && !match && heldMatch)
		if !joins {
			if err := flush(); err != nil {
				return err
			}
		}
		held, heldMatch = end, match
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// encodeFrom applies the splitting steps from a step on to a word, and encodes what comes out.
func (t *Tokenizer) encodeFrom(s *scratch, step int, word string) error {
	switch {
	case step < len(t.splits):
		return t.splits[step].split(s, step, word, func(w string) error { return t.encodeFrom(s, step+1, w) })
	case t.glued != nil && utf8.ValidString(word): // a unit of broken text may reach over a border
		t.encodeSpaced(s, word)
	default:
		t.encodeWord(s, word)
	}
	return nil
}
