package work

import (
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
)

// SelectPages is the number of pages that an item of PageSelect scores.
const SelectPages = 32

// PageSelect picks the pages of a cache that the one new row of a slot reads: the last
// one and those whose keys' products with the row's queries can be largest, by the page's
// best summary (Quest, arXiv 2406.10774, alg. 1; LServe, arXiv 2502.14866, for pages of
// several summaries), ties to the lower. A list has min(pages of the slot, Budget) pages,
// ascending. The query heads of a kv head share a list (each head's scores less its best,
// the largest of the heads), or with PerHead have one each. Slots with several new rows
// have no list.
//
// With List q holds kv heads of another cache, too: Among heads in all.
//
// Operands: q f32[N, Heads or Among, Dim], cache, slot_start, slot_new, slot_len, pages,
// (List: list i32[KVHeads] (Const)), scores (Temp), pick i32[N, Lists, Budget]; S, P, C. With Every in pick's place: kept (a cache of
// KeptBytes a page). Lists then lie with the page of the row itself, each after the stretch
// of Every tokens that it was made for; a row that finds one of its own stretch, after no
// prompt, makes none.
//
// Items: (slot * KVHeads + kv head) * chunks + chunk, with ceil(pages of C / SelectPages)
// chunks, which are also the group of Last.
type PageSelect struct {
	Heads, KVHeads, Dim int
	Scale               float32
	PerHead             bool
	CacheEnc            layout.Enc
	Page, Summary       int
	Budget              int   // pages of a list, the last among them
	Every               int   // tokens that a list serves, a divisor of Page; 0: one, and lists are not kept
	Among               int   // with List: query heads of q
	List                []int // the place of each kv head among those of q; nil: q holds no others
}

// Family implements Params.
func (p PageSelect) Family() string { return "pageselect" }

// Key implements Params.
func (p PageSelect) Key() string {
	return key("pageselect", "heads", p.Heads, "kv", p.KVHeads, "dim", p.Dim, "scale", p.Scale, "perhead", p.PerHead,
		"cache", p.CacheEnc, "page", p.Page, "summary", p.Summary, "budget", p.Budget, "every", p.Every, "among", p.Among)
}

// Validate implements Params.
func (p PageSelect) Validate() error {
	c := &check{family: "pageselect"}
	c.positive("heads", p.Heads)
	c.positive("kv heads", p.KVHeads)
	c.that(p.KVHeads > 0 && p.Heads%p.KVHeads == 0, "%d heads, expected a multiple of the %d kv heads", p.Heads, p.KVHeads)
	c.positive("head dim", p.Dim)
	c.that(p.Scale > 0, "scale is %v, expected more than 0", p.Scale)
	c.cache(p.CacheEnc, p.Page)
	c.positive("summary", p.Summary)
	c.summary(p.Page, p.Summary)
	c.positive("budget", p.Budget)
	c.that(p.Every >= 0 && (p.Every == 0 || p.Page%p.Every == 0), "lists for %d tokens, expected a divisor of the page's %d", p.Every, p.Page)
	c.that((p.Among > 0) == (len(p.List) > 0), "%d heads in q and a list of %d kv heads", p.Among, len(p.List))
	if p.Among > 0 && c.err() == nil {
		group := p.Heads / p.KVHeads
		c.that(len(p.List) == p.KVHeads && p.Among%group == 0, "a list of %d kv heads among %d heads, expected %d in groups of %d", len(p.List), p.Among, p.KVHeads, group)
		c.list(p.List, p.Among/group)
	}
	return c.err()
}

// Operands implements Params.
func (p PageSelect) Operands() []Operand {
	out := join(read(Float, "q"), read(Cache, "cache"), read(Int, "slot_start", "slot_new", "slot_len", "pages"))
	if len(p.List) > 0 {
		out = append(out, read(Const, "list")...)
	}
	out = append(out, one("scores", Float, Temp)...)
	if p.Every > 0 {
		return join(out, one("kept", Cache, Update), dims("S", "P", "C"))
	}
	return join(out, one("pick", Int, Write), dims("S", "P", "C"))
}

// Constant implements Constants.
func (p PageSelect) Constant(string) []int32 { return int32s(p.List) }

// CheckConstant implements Constants.
func (p PageSelect) CheckConstant(_ string, list []int32) error {
	return checkList(list, p.KVHeads, p.Among/(p.Heads/p.KVHeads))
}

// Lists is the number of lists of a row.
func (p PageSelect) Lists() int {
	if p.PerHead {
		return p.Heads
	}
	return p.KVHeads
}

func (p PageSelect) pages(d Dims) int64 { return ceil(d.C, int64(p.Page)) }

// Items implements Params.
func (p PageSelect) Items(d Dims) int64 { return d.S * int64(p.KVHeads) * p.Group(d) }

// Group implements Params.
func (p PageSelect) Group(d Dims) int64 { return max(1, ceil(p.pages(d), SelectPages)) }

// Scratch implements Params: the queries of a group times Scale, those above 0 and those
// below apart.
func (p PageSelect) Scratch() int64 {
	return up64(2 * 4 * int64(p.Heads/p.KVHeads) * int64(kvpage.Pad(p.CacheEnc, p.Dim)))
}

// Temp implements Params: scores [slot][head][page], pages up to whole vectors.
func (p PageSelect) Temp(d Dims) int64 {
	return 4 * d.S * int64(p.Heads) * ((p.pages(d) + 15) &^ 15)
}

// KeptBytes is the size of a page's kept lists: each its stretch, then Budget pages.
func KeptBytes(lists, budget int) int64 { return up64(4 * int64(lists) * int64(1+budget)) }
