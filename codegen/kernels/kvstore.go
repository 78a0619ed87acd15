package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// appendTo writes keys and values to the pages of a cache, as kvpage lays them out for a CPU:
// keys with lane = token, values with lane = channel.
type appendTo struct {
	k                  *kernel.Kernel
	kvHeads, dim, page int
	summary            int // tokens of a summary; 0: none
	enc                layout.Enc
	second             bool // the operands stream and stream_pages, not cache and pages
}

// cacheNames are the operands of a cache, which may be the second of a kernel, and its pages.
func cacheNames(second bool) (cache, pages string) {
	if second {
		return "stream", "stream_pages"
	}
	return "cache", "pages"
}

func (a appendTo) cache() string {
	name, _ := cacheNames(a.second)
	return name
}

// place is where one token's entry lies: its page, and the token within it.
type place struct{ page, token kernel.I64 }

// index is the row's position in its slot's cache.
func cacheIndex(k *kernel.Kernel, n kernel.I64) (slot, index kernel.I64) {
	at := func(name string, i kernel.I64) kernel.I64 {
		return kernel.LoadI32(kernel.Arg[kernel.I32](k, name).At(i)).I64()
	}
	slot = at("row_slot", n)
	return slot, at("slot_len", slot).Add(n).Sub(at("slot_start", slot))
}

// physical is the physical page of a slot's logical page, in the first cache.
func physical(k *kernel.Kernel, slot, page kernel.I64) kernel.I64 {
	return physicalOf(k, false, slot, page)
}

func physicalOf(k *kernel.Kernel, second bool, slot, page kernel.I64) kernel.I64 {
	_, pages := cacheNames(second)
	return kernel.LoadI32(kernel.Arg[kernel.I32](k, pages).At(slot.Mul(k.Dim("P")).Add(page))).I64()
}

// row finds the place of row n's entry.
func (a appendTo) row(n kernel.I64) place {
	slot, i := cacheIndex(a.k, n)
	return place{physicalOf(a.k, a.second, slot, i.Over(int64(a.page))), i.Modulo(int64(a.page))}
}

func (a appendTo) at() kvpage.Page {
	return kvpage.Page{Enc: a.enc, KVHeads: a.kvHeads, Dim: a.dim, Tokens: a.page, Summary: a.summary}
}

func (a appendTo) pad() int { return kvpage.Pad(a.enc, a.dim) }

// start is the address of a physical page.
func (a appendTo) start(page kernel.I64) kernel.Ptr[kernel.U8] {
	return kernel.Arg[kernel.U8](a.k, a.cache()).At(page.Times(a.at().Stride()))
}

// keys is where the keys of a head and of one token and channel 0 lie in a page; values where
// its value does.
func (a appendTo) keys(at place, head kernel.I64) kernel.Ptr[kernel.U8] {
	each := encSize(a.enc) // bytes of a token's neighbour
	return a.start(at.page).At(head.Times(a.at().VectorBytes() * int64(a.page))).At(at.token.Times(each))
}

func (a appendTo) values(at place, head kernel.I64) kernel.Ptr[kernel.U8] {
	return a.start(at.page).Plus(a.at().ValuesAt()).At(head.Times(int64(a.page)).Add(at.token).Times(a.at().VectorBytes()))
}

// store writes one element.
func store(e layout.Enc, p kernel.Ptr[kernel.U8], x kernel.F32) {
	switch e {
	case layout.F16:
		kernel.StoreF16(kernel.As[kernel.F16](p), x)
	case layout.BF16:
		kernel.StoreBF16(kernel.As[kernel.BF16](p), x)
	default:
		kernel.StoreF32(kernel.As[kernel.F32](p), x)
	}
}

// storeVec writes 16 neighbours.
func storeVec(e layout.Enc, p kernel.Ptr[kernel.U8], x kernel.Vec) {
	switch e {
	case layout.F16:
		kernel.StoreHalfs(kernel.As[kernel.F16](p), x)
	case layout.BF16:
		kernel.StoreBF16s(kernel.As[kernel.BF16](p), x)
	default:
		kernel.StoreVec(kernel.As[kernel.F32](p), x)
	}
}

// key scatters a head's key over its dims.
func (a appendTo) key(at place, head kernel.I64, x kernel.Ptr[kernel.F32]) {
	k := a.k
	if kvpage.Bits(a.enc) > 0 {
		a.quantise(kvpage.Key, at, head, x)
		return
	}
	base, size := a.keys(at, head), encSize(a.enc)
	kernel.Each(k, k.Int(0), k.Int(int64(a.dim)), 1, func(i kernel.I64) {
		store(a.enc, base.At(i.Times(int64(a.page)*size)), kernel.LoadF32(x.At(i)))
	})
}

// value stores a head's value.
func (a appendTo) value(at place, head kernel.I64, x kernel.Ptr[kernel.F32]) {
	if kvpage.Bits(a.enc) > 0 {
		a.quantise(kvpage.Value, at, head, x)
		return
	}
	base := a.values(at, head)
	kernel.Row(a.k, a.dim, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
		storeVec(a.enc, base.At(l.I.Times(encSize(a.enc))), l.Load(x)) // zeros beyond dim
		return nil
	})
}

func storeOf(k *kernel.Kernel, p work.KVStore) appendTo {
	return appendTo{k: k, kvHeads: p.KVHeads - p.Stream, dim: p.Dim, page: p.Page, summary: p.Summary, enc: p.CacheEnc}
}

// kvStore appends one row's keys and values.
func kvStore(k *kernel.Kernel, p work.KVStore) {
	first := storeOf(k, p)
	second := appendTo{k: k, kvHeads: p.Stream, dim: p.Dim, page: p.Page, enc: p.CacheEnc, second: true}
	n := k.Item()
	kernel.Each(k, k.Int(0), k.Int(int64(p.KVHeads)), 1, func(h kernel.I64) {
		off := n.Times(int64(p.KVHeads)).Add(h).Times(int64(p.Dim))
		placed(k, first, second, h, func(a appendTo, h kernel.I64) {
			at := a.row(n)
			a.key(at, h, kernel.Arg[kernel.F32](k, "k").At(off))
			a.value(at, h, kernel.Arg[kernel.F32](k, "v").At(off))
		})
	})
}

// placed gives the cache of kv head h, and h's place among the heads in it.
func placed(k *kernel.Kernel, first, second appendTo, h kernel.I64, f func(a appendTo, h kernel.I64)) {
	if second.kvHeads == 0 {
		f(first, h)
		return
	}
	at := kernel.LoadI32(kernel.Arg[kernel.I32](k, "place").At(h)).I64()
	either(k, at.Lt(k.Int(int64(first.kvHeads))), func() { f(first, at) }, func() { f(second, at.Plus(int64(-first.kvHeads))) })
}
