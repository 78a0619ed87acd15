package work

import (
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
)

// Phase says which shape of attention a kernel is made for; both take any rows.
type Phase string

// Decode splits one row's cache over items; Prefill takes blocks of rows.
const (
	Decode  Phase = "decode"
	Prefill Phase = "prefill"
)

// QueryBlock is the number of rows of an item of Prefill.
const QueryBlock = 32

// Attention is causal grouped-query attention over a paged cache that holds the rows'
// own keys already. A row at cache index i sees j <= i where i - j < Window (0: all)
// or j < Sink; Chunked: where slot_len - j < Window. Scores are q.k * Scale, then Softcap * tanh(score / Softcap) if set.
//
// With Budget a slot's only new row sees but the pages of its list, made by PageSelect; the
// rows of a prompt see all. In Decode every row must be its slot's only one.
//
// Operands: q f32[N, Heads, Dim], cache, (Budget: in Prefill slot_new, and pick), row_slot, slot_start, slot_len, pages,
// part (Decode: Temp), o f32[N, Heads, Dim]; N, P and, for Decode, C.
//
// Items: Decode ((row * KVHeads) + kv head) * splits + split, with ceil(C / Split)
// splits, which are also the group of Last, or with Budget ceil(Budget * Page / Split), and
// with PerHead heads instead of kv heads; Prefill (block of rows) * KVHeads + kv head.
type Attention struct {
	Phase               Phase
	Heads, KVHeads, Dim int
	Scale               float32
	Window, Sink        int
	Chunked             bool // Prefill: all rows of a step have the window of their slot's first
	Softcap             float32
	CacheEnc            layout.Enc
	Page                int
	Summary             int  // tokens of a page summary; 0: pages have none
	Split               int  // Decode: tokens of an item, a multiple of Page
	Budget              int  // pages of a list, at most; 0: no lists
	PerHead             bool // each query head has a list; else each kv head
	Kept                bool // pick is the cache that PageSelect keeps lists in
}

// Family implements Params.
func (p Attention) Family() string { return "attention" }

// Key implements Params.
func (p Attention) Key() string {
	return key("attention", "phase", p.Phase, "heads", p.Heads, "kv", p.KVHeads, "dim", p.Dim, "scale", p.Scale,
		"window", p.Window, "sink", p.Sink, "chunked", p.Chunked, "softcap", p.Softcap, "cache", p.CacheEnc, "page", p.Page, "summary", p.Summary, "split", p.Split,
		"budget", p.Budget, "perhead", p.PerHead, "kept", p.Kept)
}

// Validate implements Params.
func (p Attention) Validate() error {
	c := &check{family: "attention"}
	c.that(p.Phase == Decode || p.Phase == Prefill, "phase %q, expected decode or prefill", p.Phase)
	c.positive("heads", p.Heads)
	c.positive("kv heads", p.KVHeads)
	c.that(p.KVHeads > 0 && p.Heads%p.KVHeads == 0, "%d heads, expected a multiple of the %d kv heads", p.Heads, p.KVHeads)
	c.positive("head dim", p.Dim)
	c.that(p.Window >= 0 && p.Sink >= 0, "window %d, sink %d, expected at least 0", p.Window, p.Sink)
	c.that(p.Softcap >= 0, "softcap is %v, expected at least 0", p.Softcap)
	c.that(p.Sink == 0 || p.Window > 0, "sink %d without a window", p.Sink)
	c.that(!p.Chunked || p.Window > 0 && p.Phase == Prefill, "chunked in phase %s under a window of %d, expected a window, and prefill", p.Phase, p.Window)
	c.cache(p.CacheEnc, p.Page)
	c.summary(p.Page, p.Summary)
	c.that(p.Budget >= 0 && (p.Budget > 0 || !p.PerHead && !p.Kept), "budget of %d pages", p.Budget)
	c.that(p.Budget == 0 || p.Window == 0, "lists of pages under a window of %d", p.Window)
	if p.Phase == Decode {
		c.that(p.Split > 0 && p.Page > 0 && p.Split%p.Page == 0, "split of %d tokens, expected a multiple of the page's %d", p.Split, p.Page)
	} else {
		c.that(p.Split == 0, "prefill with a split of %d, expected 0", p.Split)
	}
	return c.err()
}

// Operands implements Params.
func (p Attention) Operands() []Operand {
	in := join(read(Float, "q"), read(Cache, "cache"), p.pick(), rowmap())
	if p.Phase == Decode {
		return join(in, one("part", Float, Temp), one("o", Float, Write), dims("N", "P", "C"))
	}
	return join(in, one("o", Float, Write), dims("N", "P"))
}

func (p Attention) pick() []Operand {
	var out []Operand
	if p.Budget > 0 && p.Phase == Prefill {
		out = read(Int, "slot_new")
	}
	switch {
	case p.Kept:
		return append(out, read(Cache, "pick")...)
	case p.Budget > 0:
		return append(out, read(Int, "pick")...)
	}
	return nil
}

// Lists is the number of lists of a row, if there are any.
func (p Attention) Lists() int {
	if p.PerHead {
		return p.Heads
	}
	return p.KVHeads
}

// group is the queries of an item that share a key.
func (p Attention) group() int {
	if p.Phase == Decode {
		return p.Heads / p.Lists()
	}
	return p.Heads / p.KVHeads
}

func (p Attention) splits(d Dims) int64 {
	if p.Budget > 0 {
		return p.PickSplits()
	}
	return max(1, ceil(d.C, int64(p.Split)))
}

// PickSplits is how many items share the pages of a list.
func (p Attention) PickSplits() int64 { return ceil(int64(p.Budget*p.Page), int64(p.Split)) }

// Items implements Params.
func (p Attention) Items(d Dims) int64 {
	if p.Phase == Decode {
		return d.N * int64(p.Lists()) * p.splits(d)
	}
	return ceil(d.N, QueryBlock) * int64(p.KVHeads)
}

// Group implements Params.
func (p Attention) Group(d Dims) int64 {
	if p.Phase == Decode {
		return p.splits(d)
	}
	return 0
}

// PartFloats is the size of one item's partial result: for each query of the group the
// running maximum, the sum of exponentials (padded to 16 floats) and the values.
func (p Attention) PartFloats() int64 { return int64(p.group()) * (16 + int64(p.Pad())) }

// Padded is a head's elements in whole vectors of 16.
func Padded(dim int) int { return (dim + 15) &^ 15 }

// Pad is the elements that a head takes in the cache.
func (p Attention) Pad() int { return kvpage.Pad(p.CacheEnc, p.Dim) }

// At is how the cache lies in memory.
func (p Attention) At(m kvpage.Machine) kvpage.Page {
	return kvpage.Page{Enc: p.CacheEnc, KVHeads: p.KVHeads, Dim: p.Dim, Tokens: p.Page, Summary: p.Summary, Machine: m}
}

// Scratch implements Params. Decode: scores of one page, scaled queries, and four floats a
// query. Prefill: a page of keys and of values as f32, scaled queries, scores, running maxima
// and sums, and outputs.
func (p Attention) Scratch() int64 {
	page, d, g := int64(p.Page), int64(p.Pad()), int64(p.group())
	if p.Phase == Decode {
		return up64(g*page*4) + up64(g*d*4) + up64(4*g*4) + 1024
	}
	q := QueryBlock * g
	q = (q + 15) &^ 15
	return up64(2*page*d*4) + up64(2*q*d*4) + up64(q*page*4) + up64(4*q*4) + 1024
}

// Temp implements Params.
func (p Attention) Temp(d Dims) int64 {
	if p.Phase == Decode {
		return p.Items(d) * p.PartFloats() * 4
	}
	return 0
}

// PageBytes is the size of one page of one layer's cache: keys, values, and scales of
// quantised ones.
func PageBytes(kvHeads, dim, page int, enc layout.Enc) int64 {
	return kvpage.Page{Enc: enc, KVHeads: kvHeads, Dim: dim, Tokens: page}.Stride()
}

// Quantises reports whether a cache can have the encoding and quantises with it.
func Quantises(enc string) bool { return kvpage.Bits(layout.Enc(enc)) > 0 }

// KVStore appends rows to a cache: the alternative to Linear's QKV epilogue, and all that
// quantises, since that takes whole heads.
//
// Operands: k f32[N, KVHeads, Dim], v f32[N, KVHeads, Dim], cache, row_slot, slot_start,
// slot_len, pages, and with Stream stream (the second cache), stream_pages, place
// i32[KVHeads] (Const); N, P. An item is a row. With Summary all items are one group, whose
// Last makes anew the summaries that the rows have touched, from the keys as stored.
type KVStore struct {
	KVHeads, Dim int
	CacheEnc     layout.Enc
	Page         int
	Summary      int   // tokens of a page summary; 0: pages have none
	Stream       int   // KV heads, of KVHeads, that a second cache holds; it has no summaries
	Place        []int // with Stream: the place of each KV head, those of the second cache behind those of the first
}

// At is how the first cache lies in memory.
func (p KVStore) At(m kvpage.Machine) kvpage.Page {
	return kvpage.Page{Enc: p.CacheEnc, KVHeads: p.KVHeads - p.Stream, Dim: p.Dim, Tokens: p.Page, Summary: p.Summary, Machine: m}
}

// Family implements Params.
func (p KVStore) Family() string { return "kvstore" }

// Key implements Params.
func (p KVStore) Key() string {
	return key("kvstore", "kv", p.KVHeads, "dim", p.Dim, "stream", p.Stream, "cache", p.CacheEnc, "page", p.Page, "summary", p.Summary)
}

// Validate implements Params.
func (p KVStore) Validate() error {
	c := &check{family: "kvstore"}
	c.positive("kv heads", p.KVHeads)
	c.positive("head dim", p.Dim)
	c.cache(p.CacheEnc, p.Page)
	c.summary(p.Page, p.Summary)
	c.second(p.KVHeads, p.Stream, p.Place)
	return c.err()
}

// second says what heads a second cache can have.
func (c *check) second(kvHeads, stream int, place []int) {
	c.that(stream >= 0 && (stream == 0 || stream < kvHeads), "%d of %d kv heads in the second cache, expected fewer", stream, kvHeads)
	c.that(stream == 0 && place == nil || stream > 0 && len(place) == kvHeads, "places of %d kv heads of %d, %d in a second cache", len(place), kvHeads, stream)
	c.list(place, kvHeads)
}

// Operands implements Params.
func (p KVStore) Operands() []Operand {
	out := join(read(Float, "k", "v"), one("cache", Cache, Update), rowmap())
	if p.Stream > 0 {
		out = join(out, one("stream", Cache, Update), read(Int, "stream_pages"), read(Const, "place"))
	}
	return join(out, dims("N", "P"))
}

// Constant implements Constants.
func (p KVStore) Constant(string) []int32 { return int32s(p.Place) }

// CheckConstant implements Constants.
func (p KVStore) CheckConstant(_ string, list []int32) error {
	return checkList(list, p.KVHeads, p.KVHeads)
}

// Items implements Params.
func (p KVStore) Items(d Dims) int64 { return d.N }

// Group implements Params.
func (p KVStore) Group(d Dims) int64 {
	if p.Summary == 0 {
		return 0
	}
	return p.Items(d)
}

// Scratch implements Params.
func (p KVStore) Scratch() int64 { return 0 }

// Temp implements Params.
func (p KVStore) Temp(Dims) int64 { return 0 }
