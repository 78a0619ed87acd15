package token

import (
	"hash/maphash"
	"strings"
)

// wordCache remembers the ids of short words: texts repeat them. It is direct-mapped, so it never grows.
type wordCache [4096]cachedWord

type cachedWord struct {
	word string
	n    int8
	ids  [6]int32
}

const maxCached = 24 // bytes of a word

// cacheSeed decides which words share a slot, and nothing else.
var cacheSeed = maphash.MakeSeed()

// of gives a word's slot, and whether the word is in it. A word that is too long has none.
func (c *wordCache) of(word string) (slot *cachedWord, hit bool) {
	if len(word) > maxCached || len(word) < 2 {
		return nil, false
	}
	slot = &c[maphash.String(cacheSeed, word)%uint64(len(c))]
	return slot, slot.word == word
}

// put fills a slot. The word is copied: it must not keep a whole text alive.
func (c *cachedWord) put(word string, ids []int32) {
	if c != nil && len(ids) <= len(c.ids) {
		c.word, c.n = strings.Clone(word), int8(copy(c.ids[:], ids))
	}
}
