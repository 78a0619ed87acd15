package kernels

import (
	"math"

	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// Summaries are made from the keys as they are stored, from the first token of a summary
// to the newest, each time one is appended: what was in the memory before, and tokens
// that a shorter sequence has forgotten, cannot show. 16 tokens of a channel are one load.

// summaryAt is where the summary of a place's tokens begins: the largest of each channel,
// then, pad elements on, the least.
func (a appendTo) summaryAt(at place, head kernel.I64) kernel.Ptr[kernel.U8] {
	each := int64(a.page / a.summary)
	number := head.Times(each).Add(at.token.Over(int64(a.summary)))
	return a.start(at.page).Plus(a.at().SummariesAt()).At(number.Times(int64(2*a.pad()) * a.summarySize()))
}

// summarySize is the bytes of an element of a summary.
func (a appendTo) summarySize() int64 { return encSize(kvpage.SummaryEnc(a.enc)) }

// summarise makes the summary of a head's keys that ends with the token at a place: of
// quantised keys, from what is read back of them.
func (a appendTo) summarise(at place, head kernel.I64) {
	k, pad, size, enc := a.k, int64(a.pad()), a.summarySize(), kvpage.SummaryEnc(a.enc)
	to := a.summaryAt(at, head)
	count := at.token.Modulo(int64(a.summary)).Plus(1)
	first := place{at.page, at.token.Plus(1).Sub(count)}
	keys := a.keys(first, head)
	none := k.Vec(float32(math.Inf(-1)))
	channel := func(d kernel.I64, load func(j int) kernel.Vec) {
		hi, lo := none, none // the least is the largest of the negated
		for j := 0; j < a.summary; j += layout.Lanes {
			x := load(j)
			live := k.Iota().Lt(count.Plus(int64(-j)).I32().Splat())
			hi, lo = live.Select(x, none).Max(hi), live.Select(x.Neg(), none).Max(lo)
		}
		store(enc, to.At(d.Times(size)), hi.ReduceMax())
		store(enc, to.At(d.Plus(pad).Times(size)), k.Float(0).Sub(lo.ReduceMax()))
	}
	switch bits := kvpage.Bits(a.enc); bits {
	case 0:
		kernel.Each(k, k.Int(0), k.Int(int64(a.dim)), 1, func(d kernel.I64) {
			row := keys.At(d.Times(int64(a.page) * encSize(a.enc)))
			channel(d, func(j int) kernel.Vec { return loadEnc(a.enc, row.Plus(int64(j)*encSize(a.enc))) })
		})
	default: // channels whose codes share bytes go together
		s := a.scales(kvpage.Key, first, head)
		each := int64(8 / bits)
		kernel.Each(k, k.Int(0), k.Int(int64(a.dim)), each, func(d kernel.I64) {
			row := keys.At(d.Over(each).Times(int64(a.page)))
			for c := range each {
				channel(d.Plus(c), func(j int) kernel.Vec {
					scale, zero := kernel.LoadHalfs(s[0].Plus(int64(j))), kernel.LoadHalfs(s[1].Plus(int64(j)))
					return loadCodes(k, bits, c == 0, row.Plus(int64(j))).FMA(scale, zero)
				})
			}
		})
	}
	for d := int64(a.dim); d < pad; d++ {
		store(enc, to.Plus(d*size), k.Float(0))
		store(enc, to.Plus((pad+d)*size), k.Float(0))
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
