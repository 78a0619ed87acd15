package kernels

import (
	"math"

	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
)

// quantise stores one head's key or value as codes, with what they mean: two passes over the
// vector, which the linear before it has left in the first cache.
func (a appendTo) quantise(half kvpage.Half, at place, head kernel.I64, x kernel.Ptr[kernel.F32]) {
	k, bits := a.k, kvpage.Bits(a.enc)
	most := k.Float(float32(int(1)<<bits - 1))
	none := k.Vec(float32(math.Inf(-1)))
	ends := kernel.Row(k, a.dim, []kernel.Vec{none, none}, func(l kernel.Lanes, c []kernel.Vec) []kernel.Vec {
		v := l.Load(x)
		return []kernel.Vec{l.Or(v, none).Max(c[0]), l.Or(v.Neg(), none).Max(c[1])}
	})
	hi, lo := ends[0].ReduceMax(), k.Float(0).Sub(ends[1].ReduceMax())
	s := a.scales(half, at, head)
	kernel.StoreF16(s[0], hi.Sub(lo).Div(most).Add(k.Float(1e-8)))
	kernel.StoreF16(s[1], lo)
	scale, zero := kernel.LoadF16(s[0]).Splat(), kernel.LoadF16(s[1]).Splat()
	codes := func(i kernel.I64) kernel.VecI { // of 16 channels from i on
		l := k.Below(i, k.Int(int64(a.dim)).Sub(i))
		q := l.Load(x).Sub(zero).Div(scale).Round().Max(k.Vec(0)).Min(most.Splat())
		return scale.Gt(k.Vec(0)).Select(q, k.Vec(0)).I32()
	}
	if bits == 4 {
		kernel.Each(k, k.Int(0), k.Int(int64(a.pad())), 32, func(i kernel.I64) { a.nibbles(half, at, head, i, codes) })
		return
	}
	kernel.Each(k, k.Int(0), k.Int(int64(a.pad())), 16, func(i kernel.I64) {
		c := codes(i)
		if half == kvpage.Value {
			kernel.StoreBytes(a.values(at, head).At(i), c)
			return
		}
		to := a.keys(at, head).At(i.Times(int64(a.page)))
		for j := range 16 {
			kernel.StoreU8(to.Plus(int64(j*a.page)), c.Lane(j))
		}
	})
}

// nibbles stores 32 channels from i on.
func (a appendTo) nibbles(half kvpage.Half, at place, head, i kernel.I64, codes func(i kernel.I64) kernel.VecI) {
	c := [2]kernel.VecI{codes(i), codes(i.Plus(16))}
	if half == kvpage.Value {
		kernel.StoreBytes(a.values(at, head).At(i.Shr(1)), c[0].Shl(4).Or(c[1]))
		return
	}
	to := a.keys(at, head).At(i.Shr(1).Times(int64(a.page)))
	for j := range 16 {
		pair := c[j/8].Lane(2 * j % 16).Shl(4).Or(c[j/8].Lane(2*j%16 + 1))
		kernel.StoreU8(to.Plus(int64(j*a.page)), pair)
	}
}

// scales are the addresses of a vector's scale and of its zero; those of the tokens that
// follow are neighbours.
func (a appendTo) scales(half kvpage.Half, at place, head kernel.I64) [2]kernel.Ptr[kernel.F16] {
	return scalesOf(a.at(), a.start(at.page), half, at.token, head)
}

func scalesOf(p kvpage.Page, page kernel.Ptr[kernel.U8], half kvpage.Half, token, head kernel.I64) [2]kernel.Ptr[kernel.F16] {
	tokens := int64(p.Tokens)
	first := kernel.As[kernel.F16](page.Plus(p.ScalesAt() + int64(half)*4*tokens)).At(head.Times(4 * tokens).Add(token))
	return [2]kernel.Ptr[kernel.F16]{first, first.Plus(tokens)}
}

// loadCodes loads 16 codes as floats: byte by byte, or the high or low nibbles of 16 bytes.
func loadCodes(k *kernel.Kernel, bits int, high bool, p kernel.Ptr[kernel.U8]) kernel.Vec {
	w := kernel.LoadBytes(p)
	if bits == 8 {
		return w.F32()
	}
	if high {
		w = w.Shr(4)
	} else {
		w = w.Mask(15)
	}
	return w.F32()
}

// meanScores makes scores of the products of a query and codes of keys: sum is that of the
// query. Tokens that are not there may become anything.
func (a attn) meanScores(scores kernel.Ptr[kernel.F32], b spanAt, sum kernel.F32) {
	for j := int64(0); j < int64(a.span); j += layout.Lanes {
		scale, zero := kernel.LoadHalfs(b.scales[0][0].Plus(j)), kernel.LoadHalfs(b.scales[0][1].Plus(j))
		kernel.StoreVec(scores.Plus(j), kernel.LoadVec(scores.Plus(j)).FMA(scale, zero.Mul(sum.Splat())))
	}
}

// meanWeights gives weights the scales of their values, and returns what zeros add to every
// channel. Where a weight is zero the scale may be anything.
func (a attn) meanWeights(weights kernel.Ptr[kernel.F32], b spanAt) kernel.F32 {
	k, sum := a.k, a.k.Vec(0)
	for j := int64(0); j < int64(a.span); j += layout.Lanes {
		scale, zero := kernel.LoadHalfs(b.scales[1][0].Plus(j)), kernel.LoadHalfs(b.scales[1][1].Plus(j))
		w := kernel.LoadVec(weights.Plus(j))
		some := w.Gt(k.Vec(0))
		kernel.StoreVec(weights.Plus(j), some.Select(w.Mul(scale), k.Vec(0)))
		sum = sum.Add(some.Select(w.Mul(zero), k.Vec(0)))
	}
	return sum.ReduceAdd()
}

// widenCodes makes float32 of a span of quantised keys and values. Values of tokens that are
// not there may become anything.
func (f prefiller) widenCodes(at spanAt) {
	k, p := f.k, f.p
	each := int64(8 / f.bits)
	for j := int64(0); j < int64(f.span); j += layout.Lanes {
		scale, zero := kernel.LoadHalfs(at.scales[0][0].Plus(j)), kernel.LoadHalfs(at.scales[0][1].Plus(j))
		kernel.Each(k, k.Int(0), k.Int(int64(p.Dim)), each, func(d kernel.I64) {
			row := at.keys.At(d.Over(each).Times(int64(p.Page))).Plus(j)
			for c := range each {
				kernel.StoreVec(f.keys().At(d.Plus(c).Times(int64(f.span))).Plus(j), loadCodes(k, f.bits, c == 0, row).FMA(scale, zero))
			}
		})
	}
	bytes := p.At(kvpage.CPU).VectorBytes()
	kernel.Each(k, k.Int(0), k.Int(int64(f.span)), 1, func(t kernel.I64) {
		scale, zero := kernel.LoadF16(at.scales[1][0].At(t)).Splat(), kernel.LoadF16(at.scales[1][1].At(t)).Splat()
		from, to := at.values.At(t.Times(bytes)), f.values().At(t.Times(int64(f.pad)))
		for v := range f.pad / layout.Lanes {
			code := loadCodes(k, f.bits, v%2 == 0, from.Plus(int64(layout.Lanes*(v/int(each)))))
			kernel.StoreVec(to.Plus(int64(layout.Lanes*v)), code.FMA(scale, zero))
		}
	})
}
