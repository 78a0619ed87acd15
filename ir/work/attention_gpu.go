package work

import (
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
)

// QueriesGPU is the number of queries of one kv head that an item of DecodeGPU takes: the
// columns of a tensor core's product. Larger groups are cut into even shares.
const QueriesGPU = 8

// TileGPU is the number of tokens that a block of DecodeGPU or PrefillGPU takes at once; a
// page holds a whole number of them.
const TileGPU = 64

// CounterBytes is the size of the counters that a GPU kernel's Temp may begin with. They are
// zero before its first launch and after each one, so kernels may share the memory.
const CounterBytes = 64 << 10

// DecodeGPU is Attention with Phase Decode on a GPU: few rows, long caches. A page lies as
// KVStore writes it there: keys [kv head][token][dim], then values [kv head][token][dim],
// dims padded to 16.
//
// The grid does not depend on any length: a row's kv head has Splits items whatever its
// cache holds, and each finds its tokens by slot_len. Items share a cache evenly, tile by
// tile, but none takes less than Split tokens: those beyond leave at once. The last item of
// a row's kv head to finish merges the others' partial results.
//
// Operands: q f32[N, Heads, Dim], cache, pick (Budget), row_slot, slot_start, slot_len,
// pages, part (Temp), o f32[N, Heads, Dim]; N, P.
//
// Items: ((row * KVHeads + kv head) * shares + share of the group) * Splits + split; with
// PerHead heads instead of kv heads.
type DecodeGPU struct {
	Attention
	Blocks int // items that fill the device: Splits shares them among rows and heads
}

// MaxSplits bounds what one item of DecodeGPU must merge.
const MaxSplits = 128

// Family implements Params.
func (p DecodeGPU) Family() string { return "attention_decode_gpu" }

// Key implements Params.
func (p DecodeGPU) Key() string {
	return key("attention_decode_gpu", "of", p.Attention.Key(), "blocks", p.Blocks)
}

// Validate implements Params.
func (p DecodeGPU) Validate() error {
	c := &check{family: "attention_decode_gpu"}
	c.gpuCache(p.Attention)
	c.that(p.Phase == Decode, "phase %q, expected decode", p.Phase)
	c.that(p.Blocks > 0, "%d blocks, expected more than 0", p.Blocks)
	if err := p.Attention.Validate(); err != nil {
		return err
	}
	return c.err()
}

// gpuCache says what the tensor cores' attention can read.
func (c *check) gpuCache(p Attention) {
	c.that(p.CacheEnc != layout.F32, "cache %q, expected f16, bf16, q8 or q4", p.CacheEnc)
	c.that(p.Page%TileGPU == 0, "page of %d tokens, expected a multiple of %d", p.Page, TileGPU)
	c.that(p.Pad() <= 256, "head dim %d, expected at most 256", p.Dim)
}

// Operands implements Params.
func (p DecodeGPU) Operands() []Operand {
	return join(read(Float, "q"), read(Cache, "cache"), p.pick(), rowmap(),
		one("part", Float, Temp), one("o", Float, Write), dims("N", "P"))
}

// Shares is the number of items that share a kv head's group of queries.
func (p DecodeGPU) Shares() int { return (p.group() + QueriesGPU - 1) / QueriesGPU }

// Queries is the number of queries of an item (the last share may have fewer).
func (p DecodeGPU) Queries() int { return (p.group() + p.Shares() - 1) / p.Shares() }

// Splits is the number of items of one row's share of a kv head.
func (p DecodeGPU) Splits(rows int64) int64 {
	return max(1, min(MaxSplits, int64(p.Blocks)/max(1, rows*p.Groups())))
}

// Groups is the number of shares of a row's heads: what is merged on its own.
func (p DecodeGPU) Groups() int64 { return int64(p.Lists() * p.Shares()) }

// Items implements Params.
func (p DecodeGPU) Items(d Dims) int64 { return d.N * p.Groups() * p.Splits(d.N) }

// Group implements Params: the kernel itself finds the last of a group's items, since only
// the device knows how many have tokens.
func (p DecodeGPU) Group(Dims) int64 { return 0 }

// PartFloats is the size of one item's partial result: for each query the values [dim],
// the running maximum and the sum of exponentials (padded to 4 floats).
func (p DecodeGPU) PartFloats() int64 {
	return int64(p.Queries()) * int64(p.Pad()+4)
}

// BlocksPerSM is how many items of decode attention of a cache a multiprocessor takes at once.
// Codes need more warps, for what becomes of them, and fewer registers: measured on an H200
// with 32 query and 8 kv heads of 128 dims.
func BlocksPerSM(cache layout.Enc) int {
	if kvpage.Bits(cache) > 0 {
		return 3
	}
	return 2
}

// Grid implements Gridded: the warps' results, which later hold the weights of the splits,
// the warps' maxima and sums, and a flag.
func (p DecodeGPU) Grid() Grid {
	q, warps := int64(p.Queries()), int64(TileGPU/16)
	out := max(warps*q*int64(p.Pad()), q*MaxSplits)
	room := 2
	if p.Pad() <= 128 {
		room = BlocksPerSM(p.CacheEnc)
	}
	return Grid{Warps: int(warps), PerBlock: 1, Whole: true, Room: room, Shared: 4*(out+2*warps*QueriesGPU) + 16}
}

// Scratch implements Params.
func (p DecodeGPU) Scratch() int64 { return 0 }

// Temp implements Params: a counter for each row's group first, which is 0 between launches.
func (p DecodeGPU) Temp(d Dims) int64 {
	return CounterBytes + p.Items(d)*p.PartFloats()*4
}

// PrefillGPU is Attention with Phase Prefill on a GPU: blocks of rows on tensor cores. A
// block takes Rows rows of one slot, all queries of a kv head. With Budget a slot's only new
// row reads the pages of its lists, one after the other if query heads have their own.
//
// Operands: q f32[N, Heads, Dim], cache, (Budget: slot_new, pick), row_slot, slot_start, slot_len, pages,
// o f32[N, Heads, Dim]; N, S, P. slot_start rises with the slot.
//
// Items: (tile * KVHeads) + kv head. Slot s has the tiles from slot_start / rows + s on,
// those beyond its own are idle: there are at most N / rows + S.
type PrefillGPU struct{ Attention }

// QueryTile is the number of queries of a block of PrefillGPU.
const QueryTile = 128

// Family implements Params.
func (p PrefillGPU) Family() string { return "attention_prefill_gpu" }

// Key implements Params.
func (p PrefillGPU) Key() string { return key("attention_prefill_gpu", "of", p.Attention.Key()) }

// Validate implements Params.
func (p PrefillGPU) Validate() error {
	c := &check{family: "attention_prefill_gpu"}
	c.gpuCache(p.Attention)
	c.that(p.Phase == Prefill, "phase %q, expected prefill", p.Phase)
	c.that(p.KVHeads == 0 || p.group() <= QueryTile, "%d queries of a kv head, expected at most %d", p.Heads, QueryTile)
	if err := p.Attention.Validate(); err != nil {
		return err
	}
	return c.err()
}

// Operands implements Params.
func (p PrefillGPU) Operands() []Operand {
	return join(read(Float, "q"), read(Cache, "cache"), p.pick(), rowmap(), one("o", Float, Write), dims("N", "S", "P"))
}

// Rows is the number of rows of a tile.
func (p PrefillGPU) Rows() int { return QueryTile / p.group() }

// Items implements Params.
func (p PrefillGPU) Items(d Dims) int64 {
	if d.N == 0 {
		return 0
	}
	return (d.N/int64(p.Rows()) + d.S) * int64(p.KVHeads)
}

// Group implements Params.
func (p PrefillGPU) Group(Dims) int64 { return 0 }

// SharedRow is the bytes of a row of dims two-byte numbers in shared memory: an odd number
// of 16 bytes.
func SharedRow(dims int) int64 { return int64(2*dims+16) | 16 }

// Grid implements Gridded: queries, two tiles of keys and two of values; of a quantised cache
// one of each, and the codes of two. A warp takes 32
// queries, so that what it reads of keys and values serves two products, or 16 where its
// registers do not hold the results: heads of more than 128 dims, or of more than 96 under
// a window, a softcap or lists of pages, or of more than 64 that are made of codes.
func (p PrefillGPU) Grid() Grid {
	row := SharedRow(p.Pad())
	g := Grid{Warps: 4, PerBlock: 1, Whole: true, Shared: (QueryTile + 4*TileGPU) * row}
	most := 128
	switch at := p.At(kvpage.GPU); {
	case kvpage.Bits(p.CacheEnc) > 0:
		g.Shared = (QueryTile+2*TileGPU)*row + 4*TileGPU*(at.VectorBytes()+kvpage.ScaleBytes(p.CacheEnc))
		most = 64
	case p.Window > 0 || p.Softcap > 0 || p.Budget > 0:
		most = 96
	}
	if p.Pad() > most {
		g.Warps = 8
	}
	return g
}

// Scratch implements Params.
func (p PrefillGPU) Scratch() int64 { return 0 }

// Temp implements Params.
func (p PrefillGPU) Temp(Dims) int64 { return 0 }
