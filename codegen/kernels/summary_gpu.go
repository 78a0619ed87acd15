package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// summariseGPU makes the summary that ends with a row's token: a thread two channels of a
// head, token by token, so that a warp reads whole entries. 2 dim bytes move a token.
func summariseGPU(k *kernel.Kernel, p work.Summarise) {
	n := k.Item()
	slot, i := cacheIndex(k, n)
	next := n.Plus(1).Min(k.Dim("N").Plus(-1))
	last := next.Eq(n).Or(kernel.LoadI32(kernel.Arg[kernel.I32](k, "row_slot").At(next)).I64().Ne(slot))
	kernel.When(k, last.Or(i.Plus(1).Modulo(int64(p.Summary)).Eq(k.Int(0))), func() {
		pad, token := work.Padded(p.Dim), i.Modulo(int64(p.Page))
		page := kernel.Arg[kernel.U8](k, "cache").At(physical(k, slot, i.Over(int64(p.Page))).Times(work.PageStride(p.KVHeads, p.Dim, p.Page, p.Summary, p.CacheEnc)))
		count := token.Modulo(int64(p.Summary)).Plus(1)
		first := token.Plus(1).Sub(count)
		r := newRowGPU(k, p)
		h := halfOf(p.CacheEnc)
		r.each(p.KVHeads*pad, 2, func(at kernel.I64) {
			head, x := at.Over(int64(pad)), at.Modulo(int64(pad))
			keys := page.At(head.Times(int64(p.Page)).Add(first).Times(int64(pad)).Add(x).Times(2))
			v := kernel.For(k, k.Int(0), count, 1, []kernel.F32{negInf(k), negInf(k), negInf(k), negInf(k)}, func(t kernel.I64, c []kernel.F32) []kernel.F32 {
				w := kernel.LoadWords(keys.At(t.Times(int64(2*pad))), 1)[0]
				lo, hi := r.g.Unpack(h, w)
				zero := k.Float(0)
				return []kernel.F32{r.g.MaxF(c[0], lo), r.g.MaxF(c[1], hi), r.g.MaxF(c[2], zero.Sub(lo)), r.g.MaxF(c[3], zero.Sub(hi))}
			})
			for j := range 2 {
				in := x.Plus(int64(j)).Lt(k.Int(int64(p.Dim)))
				zero := k.Float(0)
				v[j] = kernel.Select(in, v[j], zero)
				v[2+j] = kernel.Select(in, zero.Sub(v[2+j]), zero)
			}
			number := head.Times(int64(p.Page / p.Summary)).Add(token.Over(int64(p.Summary)))
			to := page.Plus(work.PageBytes(p.KVHeads, p.Dim, p.Page, p.CacheEnc)).At(number.Times(int64(2 * pad)).Add(x).Times(2))
			kernel.StoreWords(to, []kernel.I32{r.g.Pack(h, v[0], v[1])})
			kernel.StoreWords(to.Plus(int64(2*pad)), []kernel.I32{r.g.Pack(h, v[2], v[3])})
		})
	})
}

func halfOf(e layout.Enc) kernel.Half {
	if e == layout.BF16 {
		return kernel.BFloat16
	}
	return kernel.Float16
}
