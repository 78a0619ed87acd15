package token

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// finder finds the leftmost longest added token in a text: a byte trie, so a search is linear in the text
// for any number of tokens.
type finder struct {
	starts [256]bool
	edges  map[uint32]int32 // node<<8 | byte to node
	ends   []*Added         // node to the token that ends there, or nil
}

func (f *finder) add(text string, a *Added) {
	if f.edges == nil {
		f.edges = map[uint32]int32{}
		f.ends = []*Added{nil}
	}
	f.starts[text[0]] = true
	node := int32(0)
	for i := range len(text) {
		key := uint32(node)<<8 | uint32(text[i])
		next, ok := f.edges[key]
		if !ok {
			next = int32(len(f.ends))
			f.ends = append(f.ends, nil)
			f.edges[key] = next
		}
		node = next
	}
	f.ends[node] = a
}

// at gives the longest token that starts at text[i], and its end.
func (f *finder) at(text string, i int) (best *Added, end int) {
	node := int32(0)
	for j := i; j < len(text); j++ {
		next, ok := f.edges[uint32(node)<<8|uint32(text[j])]
		if !ok {
			break
		}
		node = next
		if a := f.ends[node]; a != nil && !(a.SingleWord && insideWord(text, i, j+1)) {
			best, end = a, j+1
		}
	}
	return best, end
}

func (a *Added) space(r rune) bool {
	return unicode.IsSpace(r) && (r < utf8.RuneSelf || !a.ASCIISpace)
}

func insideWord(text string, start, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:start])
	after, _ := utf8.DecodeRuneInString(text[end:])
	return start > 0 && isWordRune(before) || end < len(text) && isWordRune(after)
}

func isWordRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }

// cut calls emit for each stretch of text and each token in it, in order: a stretch with id None, a token
// with an empty stretch. first says that a stretch starts the text.
func (f *finder) cut(text string, emit func(stretch string, id int32, first bool) error) error {
	start := 0
	for i := 0; i < len(text) && f.edges != nil; {
		if !f.starts[text[i]] {
			i++
			continue
		}
		a, end := f.at(text, i)
		if a == nil {
			i++
			continue
		}
		left := text[start:i]
		if a.LStrip {
			left = strings.TrimRightFunc(left, a.space)
		}
		if left != "" {
			if err := emit(left, None, start == 0); err != nil {
				return err
			}
		}
		if err := emit("", a.ID, false); err != nil {
			return err
		}
		if a.RStrip {
			end = len(text) - len(strings.TrimLeftFunc(text[end:], a.space))
		}
		start, i = end, end
	}
	if start < len(text) {
		return emit(text[start:], None, start == 0)
	}
	return nil
}

func (t *Tokenizer) indexAdded() error {
	for i := range t.data.Added {
		a := &t.data.Added[i]
		text := t.data.Tokens[a.ID]
		plain, marked := &t.plain, &t.marked
		if a.Normalized {
			plain, marked = &t.normPlain, &t.normMark
			for _, n := range t.norms {
				text = n(text, true)
			}
		}
		if text == "" {
			continue // padding
		}
		marked.add(text, a)
		if !a.Special {
			plain.add(text, a)
		}
	}
	return nil
}
