package noise

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
)

// blocks finds the codes and scales of a row's blocks, as package quire/ir/types/block does
// one after the other, and keeps them.
func (n *maker) blocks(half int, v []kernel.F32) {
	f := n.f
	each := f.Block / 4 // a lane's of a block
	for b := range f.Unit / f.Block {
		mine := v[b*each:][:each]
		var codes []kernel.I32
		scales := n.unit.Plus(int64(f.CodeBytes())).Byte(n.r.Times(2).Plus(int64(half)).Times(int64(f.ScaleBytes() / layout.Lanes)))
		switch {
		case f.Min == layout.KScales:
			codes = n.affine(mine, scales)
		case f.Min == layout.Scales8:
			codes = n.sixBits(half, mine)
		default:
			var d []kernel.F32
			codes, d = n.legacy(mine)
			for i, x := range d {
				n.half(scales.Plus(int64(2*(b*f.Halfs+i))), x)
			}
		}
		for i := 0; i < each; i += 4 {
			n.codes(half, (b*each+i)/4, codes[i:i+4])
		}
	}
}

// legacy finds the codes of a block with one or two float16 beside them.
func (n *maker) legacy(v []kernel.F32) ([]kernel.I32, []kernel.F32) {
	k, top := n.k, int32(1)<<n.f.Bits-1
	float := func(i int32) kernel.F32 { return k.Float(float32(i)) }
	codes := make([]kernel.I32, len(v))
	switch {
	case n.f.Min == layout.Zero:
		lo, hi := n.bounds(v)
		lo, hi = lo.Min(k.Float(0)), hi.Max(k.Float(0))
		s := n.rounded(hi.Sub(lo).Max(k.Float(1e-5)).Div(float(top)).Min(k.Float(65504)))
		z := n.clamp(n.nearest(lo.Neg().Div(s)), 0, top)
		for i, x := range v {
			codes[i] = n.clamp(n.nearest(x.Div(s)).Add(z), 0, top)
		}
		return codes, []kernel.F32{s, z.F32()}
	case n.f.Min == layout.Added:
		lo, hi := n.bounds(v)
		d := hi.Sub(lo).Div(float(top))
		id := n.inverse(d)
		for i, x := range v {
			codes[i] = n.clamp(x.Sub(lo).Mul(id).Add(k.Float(0.5)).I64().I32(), 0, top)
		}
		return codes, []kernel.F32{d, lo}
	case n.f.Bits == 8:
		d := n.abs(n.largest(v)).Div(k.Float(127))
		id := n.inverse(d)
		for i, x := range v { // half away from zero
			x = x.Mul(id)
			away := kernel.Select(x.Gt(k.Float(0)), k.Float(0.5), k.Float(-0.5))
			codes[i] = n.clamp(x.F64().Add(away.F64()).I64().I32(), -127, 127).Plus(128)
		}
		return codes, []kernel.F32{d}
	}
	d := n.largest(v).Div(float(-int32(n.f.Offset)))
	id := n.inverse(d)
	for i, x := range v {
		codes[i] = n.clamp(x.Mul(id).Add(k.Float(float32(n.f.Offset)+0.5)).I64().I32(), 0, top)
	}
	return codes, []kernel.F32{d}
}

// affine finds the codes of q4_k and q5_k: scales and minima of 32 columns in 6 bits.
func (n *maker) affine(v []kernel.F32, scales kernel.Ptr[kernel.U8]) []kernel.I32 {
	k, each, top := n.k, 8, int32(1)<<n.f.Bits-1
	var scale, under []kernel.F32
	dmax, mmax := k.Float(0), k.Float(0)
	for j := 0; j < len(v); j += each {
		lo, hi := n.bounds(v[j : j+each])
		lo, hi = lo.Min(k.Float(0)), hi.Max(k.Float(0))
		s, u := hi.Sub(lo).Div(k.Float(float32(top))), k.Float(0).Sub(lo)
		dmax, mmax = dmax.Max(s), mmax.Max(u)
		scale, under = append(scale, s), append(under, u)
	}
	d, dmin := n.rounded(dmax.Div(k.Float(63))), n.rounded(mmax.Div(k.Float(63)))
	id, imin := n.inverse(d), n.inverse(dmin)
	codes := make([]kernel.I32, len(v))
	var sc, mn []kernel.I32
	for j := range scale {
		sc = append(sc, n.clamp(n.nearest(scale[j].Mul(id)), 0, 63))
		mn = append(mn, n.clamp(n.nearest(under[j].Mul(imin)), 0, 63))
		ds, dm := n.inverse(d.Mul(sc[j].F32())), dmin.Mul(mn[j].F32())
		for i := j * each; i < (j+1)*each; i++ {
			codes[i] = n.clamp(n.nearest(v[i].Add(dm).Mul(ds)), 0, top)
		}
	}
	words := []kernel.I32{n.g.Pack(kernel.Float16, d, dmin), k.Int32(0), k.Int32(0), k.Int32(0)}
	for j := range int32(4) { // as ggml packs them
		s, m, s4, m4 := sc[j], mn[j], sc[j+4], mn[j+4]
		for i, b := range []kernel.I32{s.Or(s4.Shr(4).Shl(6)), m.Or(m4.Shr(4).Shl(6)), s4.And(15).Or(m4.And(15).Shl(4))} {
			words[1+i] = words[1+i].Or(b.Shl(8 * j))
		}
	}
	for i := range words {
		words[i] = kernel.Select(n.in, words[i], k.Int32(0))
	}
	kernel.When(k, n.q.Eq(k.Int(0)), func() { kernel.StoreWords(scales, words) })
	return codes
}

// sixBits finds the codes of q6_k: scales of 16 columns in 8 bits.
func (n *maker) sixBits(half int, v []kernel.F32) []kernel.I32 {
	k, each := n.k, 4
	var scale []kernel.F32
	for j := 0; j < len(v); j += each {
		scale = append(scale, n.largest(v[j:j+each]).Div(k.Float(-32)))
	}
	most := k.Float(0)
	for _, s := range scale {
		most = n.farther(most, s)
	}
	d := n.rounded(most.Div(k.Float(-128)))
	inverse := n.inverse(d)
	codes := make([]kernel.I32, len(v))
	words := []kernel.I32{k.Int32(0), k.Int32(0), k.Int32(0), k.Int32(0)}
	for j := range scale {
		s := n.clamp(n.nearest(scale[j].Mul(inverse)), -128, 127)
		words[j/4] = words[j/4].Or(s.And(255).Shl(int32(8 * (j % 4))))
		id := n.inverse(d.Mul(s.F32()))
		for i := j * each; i < (j+1)*each; i++ {
			codes[i] = n.clamp(n.nearest(v[i].Mul(id)), -32, 31).Plus(32)
		}
	}
	for i := range words {
		words[i] = kernel.Select(n.in, words[i], k.Int32(0))
	}
	place := n.r.Times(2).Plus(int64(half))
	scales := n.unit.Plus(int64(n.f.CodeBytes()))
	kernel.When(k, n.q.Eq(k.Int(0)), func() { kernel.StoreWords(scales.At(place.Times(16)), words) })
	n.half(scales.Plus(16*layout.Lanes).At(place.Times(2)), d)
	return codes
}

// half writes a row's float16.
func (n *maker) half(at kernel.Ptr[kernel.U8], x kernel.F32) {
	k := n.k
	kernel.When(k, n.q.Eq(k.Int(0)), func() {
		kernel.StoreF16(kernel.As[kernel.F16](at), kernel.Select(n.in, x, k.Float(0)))
	})
}

// rounded is a number as float16 has it.
func (n *maker) rounded(x kernel.F32) kernel.F32 {
	return n.g.Low(kernel.Float16, n.g.Pack(kernel.Float16, x, n.k.Float(0)))
}

// nearest is the nearest integer to a number below 2^22, ties to even: what stays of a sum with
// a number so large that its last bit counts ones.
func (n *maker) nearest(x kernel.F32) kernel.I32 {
	const magic = 3 << 22
	return x.Add(n.k.Float(magic)).Bits().Sub(n.k.Float(magic).Bits())
}

func (n *maker) clamp(x kernel.I32, lo, hi int32) kernel.I32 {
	low, high := n.k.Int32(lo), n.k.Int32(hi)
	x = kernel.Select(x.Lt(low), low, x)
	return kernel.Select(high.Lt(x), high, x)
}

// inverse is 1/d, or 0 when d is 0.
func (n *maker) inverse(d kernel.F32) kernel.F32 {
	zero := n.k.Float(0)
	return kernel.Select(d.Eq(zero), zero, n.k.Float(1).Div(d))
}

func (n *maker) abs(x kernel.F32) kernel.F32 { return x.Bits().And(0x7fffffff).Bits() }

// farther is b if it lies farther from zero than a.
func (n *maker) farther(a, b kernel.F32) kernel.F32 {
	return kernel.Select(n.abs(b).Gt(n.abs(a)), b, a)
}

// bounds are the least and the greatest of what four lanes have of a block.
func (n *maker) bounds(v []kernel.F32) (lo, hi kernel.F32) {
	lo, hi = v[0], v[0]
	for _, x := range v[1:] {
		lo, hi = lo.Min(x), hi.Max(x)
	}
	for lanes := int64(1); lanes <= 2; lanes *= 2 {
		lo, hi = lo.Min(n.g.Xor(lo, lanes)), hi.Max(n.g.Xor(hi, lanes))
	}
	return lo, hi
}

// largest is the first value that is farthest from zero of what four lanes have of a block.
func (n *maker) largest(v []kernel.F32) kernel.F32 {
	k, at := n.k, n.k.Float(0)
	for _, x := range v {
		at = n.farther(at, x)
	}
	for lanes := int64(1); lanes <= 2; lanes *= 2 {
		other := n.g.Xor(at, lanes)
		first := n.q.And(k.Int(lanes)).Eq(k.Int(0)) // the other's columns come later
		at = kernel.Select(first, n.farther(at, other), n.farther(other, at))
	}
	return at
}
