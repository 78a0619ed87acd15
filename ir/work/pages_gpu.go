package work

import (
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
)

// Summarise makes the summaries of pages' keys that a step's rows have touched, from the
// keys as stored: on a GPU, where the blocks that append rows do not wait for each other,
// it follows them as a launch of its own. A row does the work of its summary if it is the
// summary's last token or its slot's last row; a slot's first row makes those before it of
// its page (of the page before, if it opens one), for steps of single rows have no such
// launch; the others leave.
//
// Operands: cache, row_slot, slot_start, slot_len, pages; N, P. An item is a row.
type Summarise struct {
	perRow
	KVHeads, Dim  int
	CacheEnc      layout.Enc
	Page, Summary int
}

// Family implements Params.
func (p Summarise) Family() string { return "summarise" }

// Key implements Params.
func (p Summarise) Key() string {
	return key("summarise", "kv", p.KVHeads, "dim", p.Dim, "cache", p.CacheEnc, "page", p.Page, "summary", p.Summary)
}

// Validate implements Params.
func (p Summarise) Validate() error {
	c := &check{family: "summarise"}
	c.positive("kv heads", p.KVHeads)
	c.positive("head dim", p.Dim)
	c.cache(p.CacheEnc, p.Page)
	c.that(p.CacheEnc != layout.F32, "cache %q, expected f16, bf16, q8 or q4", p.CacheEnc)
	c.positive("summary", p.Summary)
	c.summary(p.Page, p.Summary)
	return c.err()
}

// Operands implements Params.
func (p Summarise) Operands() []Operand {
	return join(one("cache", Cache, Update), rowmap(), dims("N", "P"))
}

// Items implements Params.
func (p Summarise) Items(d Dims) int64 { return d.N }

// Grid implements Gridded: a thread has two channels of a head.
func (p Summarise) Grid() Grid { return rowGrid(8 * p.KVHeads * kvpage.Pad(p.CacheEnc, p.Dim)) }

// PageSelectGPU is PageSelect on a GPU, where the grid depends on no length: a slot's kv
// head has Splits items, which share its pages. The last of them to finish makes the lists.
// A row that opens a page has the summaries of the page before made on the way.
//
// Operands: q f32[N, Heads or Among, Dim], cache (Update), slot_start, slot_new, slot_len,
// pages, (List: list i32[KVHeads] (Const)), scores (Temp), pick i32[N, Lists, Budget] or,
// with Every, kept; S, P.
//
// Items: (slot * KVHeads + kv head) * Splits + split.
type PageSelectGPU struct {
	PageSelect
	Blocks int // items that fill the device
	Keys   int // pages or tiles of a slot whose scores are chosen from in shared memory
}

// Family implements Params.
func (p PageSelectGPU) Family() string { return "pageselect_gpu" }

// Key implements Params.
func (p PageSelectGPU) Key() string {
	return key("pageselect_gpu", "of", p.PageSelect.Key(), "blocks", p.Blocks, "keys", p.Keys)
}

// Validate implements Params.
func (p PageSelectGPU) Validate() error {
	c := &check{family: "pageselect_gpu"}
	c.that(p.CacheEnc != layout.F32, "cache %q, expected f16, bf16, q8 or q4", p.CacheEnc)
	c.that(p.Blocks > 0, "%d blocks, expected more than 0", p.Blocks)
	if err := p.PageSelect.Validate(); err != nil {
		return err
	}
	per := p.Page / p.Summary
	c.that(per&(per-1) == 0 && per <= 16, "%d summaries of a page, expected a power of two up to 16", per)
	c.that(p.Keys >= 0 && p.Grid().Shared <= maxShared, "room for %d keys, expected at least 0, and at most %d bytes of shared memory", p.Keys, maxShared)
	return c.err()
}

// Operands implements Params.
func (p PageSelectGPU) Operands() []Operand {
	var out []Operand
	for _, o := range p.PageSelect.Operands() {
		switch o.Name {
		case "cache":
			o.Mode = Update
		case "C":
			continue // it is known to the device alone
		}
		out = append(out, o)
	}
	return out
}

// Splits is the number of items of a slot's kv head.
func (p PageSelectGPU) Splits(slots int64) int64 {
	return max(1, min(MaxSplits, int64(p.Blocks)/max(1, slots*int64(p.KVHeads))))
}

// Items implements Params.
func (p PageSelectGPU) Items(d Dims) int64 { return d.S * int64(p.KVHeads) * p.Splits(d.S) }

// Group implements Params: the kernel itself finds the last of a group's items.
func (p PageSelectGPU) Group(Dims) int64 { return 0 }

// Scratch implements Params.
func (p PageSelectGPU) Scratch() int64 { return 0 }

// TilePages is the number of pages of a tile: of what a warp scores at once.
func (p PageSelectGPU) TilePages() int { return selectTile * p.Summary / p.Page }

// Coarse reports whether lists are made of the best tiles' pages alone.
func (p PageSelectGPU) Coarse() bool {
	return p.TilePages() > 1 && (p.Budget-1)*p.TilePages() <= p.Keys
}

// Temp implements Params: a counter for each slot's kv head, the best scores of items
// [slot][MaxSplits][head] and of tiles [slot][tile][head], scores [slot][head][P], and keys of
// lists [slot][list][P].
func (p PageSelectGPU) Temp(d Dims) int64 {
	tiles := ceil(d.P, int64(p.TilePages()))
	return CounterBytes + 4*d.S*(int64(p.Heads)*(MaxSplits+tiles+d.P)+int64(p.Lists())*d.P)
}

// SelectWarps is the number of warps of a block of PageSelectGPU: a thread for each value of
// a digit of eight bits. A warp scores a tile of selectTile summaries at a time.
const (
	SelectWarps = 8
	selectTile  = 16
)

// RoomAt is where the last part of the shared memory begins: values of warps, 256 counts of a
// digit of scores, four words and the best scores of warps come first.
func (p PageSelectGPU) RoomAt() int64 {
	group := p.Heads / max(1, p.KVHeads)
	return (4*int64(32+256+4+SelectWarps*group) + 15) &^ 15
}

// Grid implements Gridded. The last part of the shared memory has the columns of queries,
// 2 KiB for 32 channels, and later keys and the tiles that were picked.
func (p PageSelectGPU) Grid() Grid {
	words := int64(p.Keys)
	if p.Page > 0 && p.Coarse() {
		words += int64(p.Budget)
	}
	columns := 2048 * ceil(int64(kvpage.Pad(p.CacheEnc, p.Dim)), 32)
	return Grid{Warps: SelectWarps, PerBlock: 1, Whole: true, Room: 2, Shared: p.RoomAt() + max(columns, 4*words)}
}
