package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// summariser makes summaries of one page's keys for all kv heads or, with a warp, for one.
type summariser struct {
	k             *kernel.Kernel
	g             kernel.GPU
	kvHeads, dim  int
	page, summary int
	enc           layout.Enc
}

// at is where a physical page begins.
func (s summariser) at(page kernel.I64) kernel.Ptr[kernel.U8] {
	return kernel.Arg[kernel.U8](s.k, "cache").At(page.Times(work.PageStride(s.kvHeads, s.dim, s.page, s.summary, s.enc)))
}

// channels makes a summary of two channels of a head from its first count tokens: token by
// token, so that a warp reads whole entries. 2 dim bytes move a token.
func (s summariser) channels(page kernel.Ptr[kernel.U8], head, number, x kernel.I64, count kernel.I64) {
	k, g, pad, h := s.k, s.g, int64(kvpage.Pad(s.enc, s.dim)), halfOf(s.enc)
	zero := k.Float(0)
	first := number.Times(int64(s.summary))
	v := kernel.For(k, k.Int(0), count, 1, []kernel.F32{negInf(k), negInf(k), negInf(k), negInf(k)}, func(t kernel.I64, c []kernel.F32) []kernel.F32 {
		lo, hi := s.pair(page, head, first.Add(t), x)
		return []kernel.F32{g.MaxF(c[0], lo), g.MaxF(c[1], hi), g.MaxF(c[2], zero.Sub(lo)), g.MaxF(c[3], zero.Sub(hi))}
	})
	for j := range 2 {
		in := x.Plus(int64(j)).Lt(k.Int(int64(s.dim)))
		v[j] = kernel.Select(in, v[j], zero)
		v[2+j] = kernel.Select(in, zero.Sub(v[2+j]), zero)
	}
	to := page.Plus(work.PageBytes(s.kvHeads, s.dim, s.page, s.enc)).
		At(head.Times(int64(s.page / s.summary)).Add(number).Times(2 * pad).Add(x).Times(2))
	kernel.StoreWords(to, []kernel.I32{g.Pack(h, v[0], v[1])})
	kernel.StoreWords(to.Plus(2*pad), []kernel.I32{g.Pack(h, v[2], v[3])})
}

// pair is channels x and x+1 of a head's key.
func (s summariser) pair(page kernel.Ptr[kernel.U8], head, token, x kernel.I64) (a, b kernel.F32) {
	p := kvpage.Page{Enc: s.enc, KVHeads: s.kvHeads, Dim: s.dim, Tokens: s.page, Machine: kvpage.GPU}
	key := page.At(head.Times(int64(s.page)).Add(token).Times(p.VectorBytes()))
	bits := kvpage.Bits(s.enc)
	if bits == 0 {
		return s.g.Unpack(halfOf(s.enc), kernel.LoadWords(key.At(x.Times(2)), 1)[0])
	}
	scale, zero := s.g.Unpack(kernel.Float16, kernel.LoadWords(page.At(scaleAtGPU(p, kvpage.Key, token, head)), 1)[0])
	a, b = codePair(bits, key, x)
	return a.FMA(scale, zero), b.FMA(scale, zero)
}

// summariseGPU makes the summary that ends with a row's token: a thread two channels of a
// head. A slot's first row also makes those before it of the page that it goes on with or
// follows: single rows make none, and PageSelectGPU makes those of pages that they close.
func summariseGPU(k *kernel.Kernel, p work.Summarise) {
	r := newRowGPU(k, p)
	s := summariser{k, r.g, p.KVHeads, p.Dim, p.Page, p.Summary, p.CacheEnc}
	n := k.Item()
	slot, i := cacheIndex(k, n)
	page := func(i kernel.I64) kernel.Ptr[kernel.U8] { return s.at(physical(k, slot, i.Over(int64(p.Page)))) }
	each := func(f func(head, x kernel.I64)) {
		pad := int64(kvpage.Pad(p.CacheEnc, p.Dim))
		r.each(p.KVHeads*int(pad), 2, func(at kernel.I64) { f(at.Over(pad), at.Modulo(pad)) })
	}
	first := n.Eq(kernel.LoadI32(kernel.Arg[kernel.I32](k, "slot_start").At(slot)).I64())
	kernel.When(k, first.And(k.Int(0).Lt(i)), func() {
		last := i.Plus(-1)
		before := page(last)
		whole := last.Modulo(int64(p.Page)).Plus(1).Over(int64(p.Summary))
		each(func(head, x kernel.I64) {
			kernel.Each(k, k.Int(0), whole, 1, func(number kernel.I64) { s.channels(before, head, number, x, k.Int(int64(p.Summary))) })
		})
	})
	next := n.Plus(1).Min(k.Dim("N").Plus(-1))
	last := next.Eq(n).Or(kernel.LoadI32(kernel.Arg[kernel.I32](k, "row_slot").At(next)).I64().Ne(slot))
	kernel.When(k, last.Or(i.Plus(1).Modulo(int64(p.Summary)).Eq(k.Int(0))), func() {
		token := i.Modulo(int64(p.Page))
		here := page(i)
		each(func(head, x kernel.I64) {
			s.channels(here, head, token.Over(int64(p.Summary)), x, token.Modulo(int64(p.Summary)).Plus(1))
		})
	})
}

func halfOf(e layout.Enc) kernel.Half {
	if e == layout.BF16 {
		return kernel.BFloat16
	}
	return kernel.Float16
}
