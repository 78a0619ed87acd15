package token

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// spellings maps a token's text to its id. Tokens without text are padding and never made from text.
func spellings(tokens []string) (map[string]int32, error) {
	ids := make(map[string]int32, len(tokens))
	for id, text := range tokens {
		if text == "" {
			continue
		}
		if first, ok := ids[text]; ok {
			return nil, fmt.Errorf("tokenizer: tokens %d and %d are both %q", first, id, text)
		}
		ids[text] = int32(id)
	}
	return ids, nil
}

// indexPieces fills pieces, vocab and byteIDs. Text only ever becomes tokens that are neither control, unknown nor
// byte tokens, whatever it spells; added tokens are found before and byte tokens by byteIDs.
func (t *Tokenizer) indexPieces() {
	d := &t.data
	t.pieces = make([]string, len(d.Tokens))
	lookUp := !d.ByteLevel || d.IgnoreMerges || d.NewlineRuns
	if lookUp {
		t.vocab = make(map[string]int32, len(d.Tokens))
	}
	for b := range t.byteIDs {
		t.byteIDs[b] = None
	}
	for i, text := range d.Tokens {
		piece, key := t.piece(Type(d.Types[i]), text, int32(i))
		t.pieces[i] = piece
		if key == "" {
			continue
		}
		if d.ByteLevel && len(key) == 1 {
			t.byteIDs[key[0]] = int32(i)
		}
		if lookUp {
			t.vocab[key] = int32(i)
		}
	}
}

// piece gives the bytes that a token decodes to, and the text that becomes it in merging, "" if none does.
func (t *Tokenizer) piece(kind Type, text string, id int32) (piece, key string) {
	d := &t.data
	switch kind {
	case Control, Unknown:
		return text, ""
	case Byte:
		b, ok := fallbackByte(text)
		if !ok {
			return text, ""
		}
		t.byteIDs[b] = id
		return string([]byte{b}), ""
	}
	if d.ByteLevel {
		if raw, ok := unspell(text); ok && kind != UserDefined {
			return raw, raw
		}
		return text, ""
	}
	if d.Metaspace {
		return strings.ReplaceAll(text, metaspace, " "), text
	}
	return text, text
}

func (t *Tokenizer) indexMerges() {
	d := &t.data
	if d.Model == SPM {
		t.ranks = ranksByScore(d.Scores)
		return
	}
	t.pairs = newPairTable(len(d.Merges))
	for i, m := range d.Merges {
		t.pairs.add(m.Left, m.Right, pairMerge{rank: int32(i), id: m.Result})
	}
}

// ranksByScore gives equal scores equal ranks, so that ties fall to the leftmost pair.
func ranksByScore(scores []float32) []int32 {
	order := make([]int32, len(scores))
	for i := range order {
		order[i] = int32(i)
	}
	sort.SliceStable(order, func(a, b int) bool { return scores[order[a]] > scores[order[b]] })
	ranks := make([]int32, len(scores))
	for i, id := range order {
		ranks[id] = int32(i)
		if i > 0 && scores[order[i-1]] == scores[id] {
			ranks[id] = ranks[order[i-1]]
		}
	}
	return ranks
}

const metaspace = "\u2581"

// indexSpaces finds where a text with U+2581 for spaces may be cut before merging: in front of a U+2581, since hardly
// any token has one inside. Then words are short and repeat, instead of one word being the whole text.
func (t *Tokenizer) indexSpaces() {
	d := &t.data
	if _, ok := t.vocab[metaspace]; !ok || !d.Metaspace || d.ByteLevel || d.IgnoreMerges || d.SkipMissing {
		return
	}
	t.glued = map[rune]bool{'\u2581': true}
	glue := func(text string) {
		for at := 1; at < len(text); {
			i := strings.Index(text[at:], metaspace)
			if i < 0 {
				return
			}
			r, _ := utf8.DecodeLastRuneInString(text[:at+i])
			t.glued[r] = true
			at += i + len(metaspace)
		}
	}
	for text := range t.vocab {
		glue(text)
	}
	for _, m := range d.Merges {
		glue(d.Tokens[m.Result])
	}
}

// encodeSpaced encodes a word cut before each U+2581 that no token can join to what stands before it.
func (t *Tokenizer) encodeSpaced(s *scratch, word string) {
	start := 0
	for at := 1; at < len(word); {
		i := strings.Index(word[at:], metaspace)
		if i < 0 {
			break
		}
		at += i
		if r, _ := utf8.DecodeLastRuneInString(word[:at]); !t.glued[r] {
			t.encodeWord(s, word[start:at])
			start = at
		}
		at += len(metaspace)
	}
	t.encodeWord(s, word[start:])
}
