package work

import (
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
)

// PageStride is the bytes from one page of one layer's cache to the next: what a page has,
// and the summaries of its keys, if it keeps any.
func PageStride(kvHeads, dim, page, summary int, enc layout.Enc) int64 {
	return kvpage.Page{Enc: enc, KVHeads: kvHeads, Dim: dim, Tokens: page, Summary: summary}.Stride()
}

func (c *check) summary(page, summary int) {
	c.that(summary == 0 || summary > 0 && summary%16 == 0 && page%summary == 0,
		"summaries of %d tokens in a page of %d, expected a multiple of 16 that divides it", summary, page)
}
