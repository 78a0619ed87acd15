package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// rounded is a row that is written in the two-byte encoding that tensor cores read, from y on.
type rounded struct {
	k    *kernel.Kernel
	p    work.Round
	half kernel.Half
	y    kernel.Ptr[kernel.U8]
}

// newRounded is row n of the operand y.
func newRounded(k *kernel.Kernel, p work.Round, n kernel.I64) rounded {
	r := rounded{k, p, kernel.Float16, kernel.Arg[kernel.U8](k, "y").At(n.Times(p.RowBytes()))}
	if p.To == work.BF16 {
		r.half = kernel.BFloat16
	}
	return r
}

// four writes columns i to i+3, i a multiple of four.
func (r rounded) four(i kernel.I64, v []kernel.F32) {
	g := r.k.GPU()
	w := []kernel.I32{g.Pack(r.half, v[0], v[1]), g.Pack(r.half, v[2], v[3])}
	if r.p.Span == 0 {
		kernel.StoreWords(r.y.At(i.Times(2)), w)
		return
	}
	span, in := int64(r.p.Span), i.Modulo(int64(r.p.Span)) // column q*span/4 + 4j + e
	q, j := in.Over(span/4), in.Modulo(span/4).Shr(2)
	at := r.y.At(i.Sub(in).Add(j.Times(16)).Add(q.Times(2)).Times(2))
	kernel.StoreWords(at, w[:1])
	kernel.StoreWords(at.Plus(16), w[1:])
}

// one writes column i of a row without spans.
func (r rounded) one(i kernel.I64, v kernel.F32) {
	g, at := r.k.GPU(), r.y.At(i.Times(2))
	if r.half == kernel.BFloat16 {
		kernel.StoreBF16(kernel.As[kernel.BF16](at), v)
		return
	}
	kernel.StoreF16(kernel.As[kernel.F16](at), g.Low(r.half, g.Pack(r.half, v, v))) // the greatest for what is beyond
}

// roundGPU rounds a row.
func roundGPU(k *kernel.Kernel, p work.Round) {
	x := kernel.Arg[kernel.F32](k, "x").At(k.Item().Times(int64(p.Dim)))
	y := newRounded(k, p, k.Item())
	newRowGPU(k, p).each(p.Dim, 4, func(i kernel.I64) { y.four(i, kernel.LoadFloats(x.At(i), 4)) })
}
