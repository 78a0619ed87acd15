package work

import (
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
)

// Reader is a kernel whose work on a cache depends on the length of each sequence, so that
// no Dims tell it: a window, pages that are picked.
type Reader interface {
	Params
	// Read is the bytes that a step reads of the cache for a slot that had before tokens
	// and has rows new ones, each byte counted once a launch, and the multiply-adds on
	// them, times 2.
	Read(before, rows int64) (bytes, flops int64)
}

// Read implements Reader: keys and values of the tokens that some row sees. A list is of
// whole pages, of which the last may hold fewer tokens; lists of query heads are counted
// apart, though they may share pages.
func (p Attention) Read(before, rows int64) (bytes, flops int64) {
	tokens, lists := before+rows, int64(p.KVHeads)
	switch {
	case rows == 0:
		return 0, 0
	case p.Window > 0:
		tokens = min(tokens, int64(p.Window+p.Sink)+rows-1)
	case p.Budget > 0 && rows == 1 && p.closed(before) >= int64(p.Budget):
		tokens = int64(p.Budget-1)*int64(p.Page) + tokens - p.closed(before)*int64(p.Page)
		lists = int64(p.Lists())
	}
	return 2 * lists * vectorBytes(p.CacheEnc, p.Dim) * tokens, 4 * int64(p.Heads*p.Dim) * rows * tokens
}

// vectorBytes is what a head's key or value of one token takes, its scales with it, its
// padding without.
func vectorBytes(e layout.Enc, dim int) int64 {
	if b := kvpage.Bits(e); b > 0 {
		return int64(dim*b+7)/8 + kvpage.ScaleBytes(e)
	}
	if e == layout.F32 {
		return 4 * int64(dim)
	}
	return 2 * int64(dim)
}

// closed is the number of pages before that of the token at index i.
func (p Attention) closed(i int64) int64 { return i / int64(p.Page) }

// Read implements Reader: the summaries of closed pages, where a list cannot name all.
func (p PageSelect) Read(before, rows int64) (bytes, flops int64) {
	closed := before / int64(p.Page)
	if rows != 1 || closed < int64(p.Budget) || p.Every > 0 && before%int64(p.Every) != 0 {
		return 0, 0
	}
	summaries := closed * int64(p.Page/p.Summary)
	return 2 * int64(p.KVHeads) * vectorBytes(kvpage.SummaryEnc(p.CacheEnc), p.Dim) * summaries, 4 * int64(p.Heads*p.Dim) * summaries
}
