package kernels

import (
	"math"

	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// Summaries are made from the keys as they are stored, from the first token of a summary
// to the newest, each time one is appended: what was in the memory before, and tokens
// that a shorter sequence has forgotten, cannot show. 16 tokens of a channel are one load.

// summaryAt is the element at which the summary of a place's tokens begins: the largest
// of each channel, then, pad elements on, the least.
func (a appendTo) summaryAt(at place, head kernel.I64) kernel.I64 {
	each := int64(a.page / a.summary)
	number := head.Times(each).Add(at.token.Over(int64(a.summary)))
	return at.page.Times(a.stride()).Plus(2 * a.half()).Add(number.Times(int64(2 * a.pad())))
}

// summarise makes the summary of a head's keys that ends with the token at a place.
func (a appendTo) summarise(at place, head kernel.I64) {
	k, pad := a.k, int64(a.pad())
	to := a.summaryAt(at, head)
	count := at.token.Modulo(int64(a.summary)).Plus(1)
	first := at.token.Plus(1).Sub(count)
	keys := at.page.Times(a.stride()).Add(head.Times(pad * int64(a.page))).Add(first)
	cache := kernel.Arg[kernel.U8](k, a.cache())
	none := k.Vec(float32(math.Inf(-1)))
	kernel.Each(k, k.Int(0), k.Int(int64(a.dim)), 1, func(d kernel.I64) {
		row := keys.Add(d.Times(int64(a.page)))
		hi, lo := none, none // the least is the largest of the negated
		for j := 0; j < a.summary; j += layout.Lanes {
			x := loadEnc(a.enc, cache.At(row.Plus(int64(j)).Times(encSize(a.enc))))
			live := k.Iota().Lt(count.Plus(int64(-j)).I32().Splat())
			hi, lo = live.Select(x, none).Max(hi), live.Select(x.Neg(), none).Max(lo)
		}
		a.store(to.Add(d), hi.ReduceMax())
		a.store(to.Plus(pad).Add(d), k.Float(0).Sub(lo.ReduceMax()))
	})
	for d := int64(a.dim); d < pad; d++ {
		a.store(to.Plus(d), k.Float(0))
		a.store(to.Plus(pad+d), k.Float(0))
	}
}

// summariseRows makes the summaries that a step's rows have touched, each at the last row
// that touches it.
func (a appendTo) summariseRows() {
	k := a.k
	rowSlot := kernel.Arg[kernel.I32](k, "row_slot")
	kernel.Each(k, k.Int(0), k.Dim("N"), 1, func(n kernel.I64) {
		slot, i := cacheIndex(k, n)
		next := n.Plus(1).Min(k.Dim("N").Plus(-1))
		last := next.Eq(n).Or(kernel.LoadI32(rowSlot.At(next)).I64().Ne(slot))
		kernel.When(k, last.Or(i.Plus(1).Modulo(int64(a.summary)).Eq(k.Int(0))), func() {
			at := a.row(n)
			kernel.Each(k, k.Int(0), k.Int(int64(a.kvHeads)), 1, func(h kernel.I64) { a.summarise(at, h) })
		})
	})
}

// kvStoreBody is a row's keys and values, and, after all rows, summaries.
func kvStoreBody(p work.KVStore) kernel.Body {
	b := kernel.Body{Main: func(k *kernel.Kernel) { kvStore(k, p) }}
	if p.Summary > 0 {
		b.Last = func(k *kernel.Kernel) { storeOf(k, p).summariseRows() }
	}
	return b
}

// summarised is a Many product's body, and, after all its items, summaries.
func summarised(p work.Linear, b kernel.Body) kernel.Body {
	if p.QKV != nil && p.QKV.Summary > 0 {
		b.Last = func(k *kernel.Kernel) { epilogue{k, p}.cache().summariseRows() }
	}
	return b
}
