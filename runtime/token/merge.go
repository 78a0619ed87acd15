package token

import (
	"strings"
	"time"
)

// scratch is the working memory of one Encode.
type scratch struct {
	out      []int32
	word     int      // where in out the ids of the present word begin
	runes    [][]rune // for each splitting step
	units    []unit
	heap     []candidate
	cache    wordCache
	deadline time.Time
}

// unit is a stretch of a word that is (or may become) one token; units of a word form a list in place.
type unit struct {
	prev, next int32
	start, end int32
	id         int32
}

// candidate is a pair of units that may be merged. It is stale once either of them changed.
type candidate struct {
	rank, left, right int32
	size              int32 // bytes of both units when the candidate was made
	id                int32
}

func (c candidate) before(d candidate) bool {
	return c.rank < d.rank || c.rank == d.rank && c.left < d.left
}

// encodeWord appends the ids of one word.
func (t *Tokenizer) encodeWord(s *scratch, word string) {
	slot, hit := s.cache.of(word)
	if hit {
		s.out = append(s.out, slot.ids[:slot.n]...)
		return
	}
	s.word = len(s.out)
	t.mergeWord(s, word)
	slot.put(word, s.out[s.word:])
}

// mergeWord merges a word's units, best pair first: n units take O(n log n) steps whatever they are.
func (t *Tokenizer) mergeWord(s *scratch, word string) {
	if t.data.IgnoreMerges || t.data.NewlineRuns && strings.Trim(word, "\n") == "" {
		if id, ok := t.vocab[word]; ok {
			s.out = append(s.out, id)
			return
		}
	}
	t.cutUnits(s, word)
	s.heap = s.heap[:0]
	for i := int32(1); i < int32(len(s.units)); i++ {
		t.propose(s, word, i-1, i)
	}
	for len(s.heap) > 0 {
		c := s.pop()
		l, r := &s.units[c.left], &s.units[c.right]
		if l.end == l.start || r.end == r.start || r.end-l.start != c.size || l.next != c.right {
			continue
		}
		l.end, l.id, l.next = r.end, c.id, r.next
		r.start = r.end
		if r.next >= 0 {
			s.units[r.next].prev = c.left
		}
		t.propose(s, word, l.prev, c.left)
		t.propose(s, word, c.left, l.next)
	}
	for i := int32(0); i >= 0 && len(s.units) > 0; i = s.units[i].next {
		u := &s.units[i]
		if u.id != None {
			s.out = append(s.out, u.id)
		} else {
			t.missing(s, word[u.start:u.end])
		}
	}
}

// cutUnits fills s.units with the bytes of a word, or its characters. Broken UTF-8 is cut as its first
// byte promises, so that every byte is in a unit.
func (t *Tokenizer) cutUnits(s *scratch, word string) {
	s.units = s.units[:0]
	for i := 0; i < len(word); {
		n, id := 1, None
		if t.data.ByteLevel {
			id = t.byteIDs[word[i]]
		} else {
			n = min(charLen(word[i]), len(word)-i)
			if v, ok := t.vocab[word[i:i+n]]; ok {
				id = v
			}
		}
		if id == None && t.data.SkipMissing {
			i += n
			continue
		}
		k := int32(len(s.units))
		s.units = append(s.units, unit{prev: k - 1, next: k + 1, start: int32(i), end: int32(i + n), id: id})
		i += n
	}
	if k := len(s.units); k > 0 {
		s.units[k-1].next = -1
	}
}

func charLen(first byte) int {
	switch {
	case first >= 0xf0:
		return 4
	case first >= 0xe0:
		return 3
	case first >= 0xc0:
		return 2
	}
	return 1
}

// propose queues the merge of two neighbouring units if the vocabulary has it.
func (t *Tokenizer) propose(s *scratch, word string, left, right int32) {
	if left < 0 || right < 0 {
		return
	}
	l, r := &s.units[left], &s.units[right]
	c := candidate{left: left, right: right, size: r.end - l.start}
	if t.ranks == nil {
		if l.id == None || r.id == None {
			return
		}
		m, ok := t.pairs.find(l.id, r.id)
		if !ok {
			return
		}
		c.rank, c.id = m.rank, m.id
	} else {
		id, ok := t.vocab[word[l.start:r.end]]
		if !ok {
			return
		}
		c.rank, c.id = t.ranks[id], id
	}
	s.push(c)
}

// missing appends what stands for a unit that has no token.
func (t *Tokenizer) missing(s *scratch, text string) {
	if t.data.ByteFallback && t.hasBytes(text) {
		for i := range len(text) {
			s.out = append(s.out, t.byteIDs[text[i]])
		}
		return
	}
	if !t.data.MissingIsUNK {
		return
	}
	if n := len(s.out); t.data.FuseUNK && n > s.word && s.out[n-1] == t.data.UNK {
		return
	}
	s.out = append(s.out, t.data.UNK)
}

func (t *Tokenizer) hasBytes(text string) bool {
	for i := range len(text) {
		if t.byteIDs[text[i]] == None {
			return false
		}
	}
	return true
}

func (s *scratch) push(c candidate) {
	h := append(s.heap, c)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !h[i].before(h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	s.heap = h
}

func (s *scratch) pop() candidate {
	h := s.heap
	top, n := h[0], len(h)-1
	h[0] = h[n]
	h = h[:n]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < n; c++ {
			if h[c].before(h[least]) {
				least = c
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	s.heap = h
	return top
}
