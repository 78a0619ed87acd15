package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// appendTo writes keys and values to the pages of a cache: K [kv head][pad][page]
// (lane = token), then V [kv head][page][pad], where pad is dim up to whole vectors, then
// summaries if summary, their size in tokens, is not 0.
type appendTo struct {
	k                  *kernel.Kernel
	kvHeads, dim, page int
	summary            int
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

func (a appendTo) pad() int { return work.Padded(a.dim) }

// stride is the elements from page to page, half those of a page's keys.
func (a appendTo) stride() int64 {
	return work.PageStride(a.kvHeads, a.dim, a.page, a.summary, a.enc) / encSize(a.enc)
}
func (a appendTo) half() int64 { return int64(a.kvHeads * a.pad() * a.page) }

// store writes one element.
func (a appendTo) store(i kernel.I64, x kernel.F32) {
	switch a.enc {
	case layout.F16:
		kernel.StoreF16(kernel.Arg[kernel.F16](a.k, a.cache()).At(i), x)
	case layout.BF16:
		kernel.StoreBF16(kernel.Arg[kernel.BF16](a.k, a.cache()).At(i), x)
	default:
		kernel.StoreF32(kernel.Arg[kernel.F32](a.k, a.cache()).At(i), x)
	}
}

// storeVec writes 16 neighbours.
func (a appendTo) storeVec(i kernel.I64, x kernel.Vec) {
	switch a.enc {
	case layout.F16:
		kernel.StoreHalfs(kernel.Arg[kernel.F16](a.k, a.cache()).At(i), x)
	case layout.BF16:
		kernel.StoreBF16s(kernel.Arg[kernel.BF16](a.k, a.cache()).At(i), x)
	default:
		kernel.StoreVec(kernel.Arg[kernel.F32](a.k, a.cache()).At(i), x)
	}
}

// key scatters a head's key over its dims.
func (a appendTo) key(at place, head kernel.I64, x kernel.Ptr[kernel.F32]) {
	k := a.k
	base := at.page.Times(a.stride()).Add(head.Times(int64(a.pad() * a.page))).Add(at.token)
	kernel.Each(k, k.Int(0), k.Int(int64(a.dim)), 1, func(i kernel.I64) {
		a.store(base.Add(i.Times(int64(a.page))), kernel.LoadF32(x.At(i)))
	})
}

// value stores a head's value.
func (a appendTo) value(at place, head kernel.I64, x kernel.Ptr[kernel.F32]) {
	k := a.k
	base := at.page.Times(a.stride()).Plus(a.half()).
		Add(head.Times(int64(a.page)).Add(at.token).Times(int64(a.pad())))
	kernel.Row(k, a.dim, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
		a.storeVec(base.Add(l.I), l.Load(x)) // zeros beyond dim
		return nil
	})
}

func storeOf(k *kernel.Kernel, p work.KVStore) appendTo {
	return appendTo{k: k, kvHeads: p.KVHeads, dim: p.Dim, page: p.Page, summary: p.Summary, enc: p.CacheEnc}
}

// kvStore appends one row's keys and values.
func kvStore(k *kernel.Kernel, p work.KVStore) {
	a := storeOf(k, p)
	n := k.Item()
	at := a.row(n)
	kernel.Each(k, k.Int(0), k.Int(int64(p.KVHeads)), 1, func(h kernel.I64) {
		off := n.Times(int64(p.KVHeads)).Add(h).Times(int64(p.Dim))
		a.key(at, h, kernel.Arg[kernel.F32](k, "k").At(off))
		a.value(at, h, kernel.Arg[kernel.F32](k, "v").At(off))
	})
}
