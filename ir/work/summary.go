package work

import "quire/ir/types/layout"

// SummaryBytes is the size of the summaries of one page of one layer's cache, which
// follow its keys and values: for each kv head, and in it for each summary tokens of the
// page, the largest and then the least of each channel of their keys as stored, padded
// as keys are, in the cache's encoding: [kv head][page / summary][2][dim]. No summaries
// (0) take no bytes.
func SummaryBytes(kvHeads, dim, page, summary int, enc layout.Enc) int64 {
	if summary == 0 {
		return 0
	}
	return 2 * int64(kvHeads) * int64(page/summary) * int64(Padded(dim)) * encBytes(enc)
}

// PageStride is the bytes from one page of one layer's cache to the next.
func PageStride(kvHeads, dim, page, summary int, enc layout.Enc) int64 {
	return PageBytes(kvHeads, dim, page, enc) + SummaryBytes(kvHeads, dim, page, summary, enc)
}

func encBytes(e layout.Enc) int64 {
	if e == layout.F32 {
		return 4
	}
	return 2
}

func (c *check) summary(page, summary int) {
	c.that(summary == 0 || summary > 0 && summary%16 == 0 && page%summary == 0,
		"summaries of %d tokens in a page of %d, expected a multiple of 16 that divides it", summary, page)
}
