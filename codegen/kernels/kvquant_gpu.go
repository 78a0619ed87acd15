package kernels

import (
	"math"

	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
	"quire/ir/work"
)

// kvQuantiseGPU appends one row's keys and values as codes: a warp a head's vector, a lane the
// elements of a word of codes. dim floats are read twice, the second time from registers.
func kvQuantiseGPU(k *kernel.Kernel, p work.KVStore) {
	g, n, warps := k.GPU(), k.Item(), int64(work.GridOf(p).Warps)
	first := storeOf(k, p)
	second := appendTo{k: k, kvHeads: p.Stream, dim: p.Dim, page: p.Page, enc: p.CacheEnc, second: true}
	kernel.Each(k, g.Warp(), k.Int(int64(2*p.KVHeads)), warps, func(i kernel.I64) {
		h := i.Shr(1)
		placed(k, first, second, h, func(a appendTo, at kernel.I64) {
			v := vectorGPU{k, g, a}
			off := n.Times(int64(p.KVHeads)).Add(h).Times(int64(p.Dim))
			either(k, i.And(k.Int(1)).Eq(k.Int(0)), func() {
				v.quantise(kvpage.Key, a.row(n), at, kernel.Arg[kernel.F32](k, "k").At(off))
			}, func() {
				v.quantise(kvpage.Value, a.row(n), at, kernel.Arg[kernel.F32](k, "v").At(off))
			})
		})
	})
}

// vectorGPU is a warp with one head's vector.
type vectorGPU struct {
	k *kernel.Kernel
	g kernel.GPU
	a appendTo
}

// quantise stores a vector: a code rounds as kvpage.Quantise does, by a number so large that
// its sum with another is an integer.
func (v vectorGPU) quantise(half kvpage.Half, at place, head kernel.I64, x kernel.Ptr[kernel.F32]) {
	k, g, a := v.k, v.g, v.a
	const magic = 3 << 22
	p := a.at()
	p.Machine = kvpage.GPU
	bits := kvpage.Bits(a.enc)
	per, most := 32/bits, k.Float(float32(int(1)<<bits-1))
	words := a.pad() / per
	hi, lo := negInf(k), negInf(k) // the least is the largest of the negated
	var turns [][]kernel.F32
	for first := 0; first < words; first += 32 {
		base := g.Lane().Plus(int64(first)).Times(int64(per))
		var e []kernel.F32
		for j := range per {
			i := base.Plus(int64(j))
			in := i.Lt(k.Int(int64(a.dim)))
			y := kernel.LoadF32(x.At(i.Min(k.Int(int64(a.dim - 1)))))
			hi = g.MaxF(hi, kernel.Select(in, y, negInf(k)))
			lo = g.MaxF(lo, kernel.Select(in, k.Float(0).Sub(y), negInf(k)))
			e = append(e, y)
		}
		turns = append(turns, e)
	}
	for lanes := int64(1); lanes <= 16; lanes *= 2 {
		hi, lo = g.MaxF(hi, g.Xor(hi, lanes)), g.MaxF(lo, g.Xor(lo, lanes))
	}
	lo = k.Float(0).Sub(lo)
	both := g.Pack(kernel.Float16, hi.Sub(lo).Div(most).Add(k.Float(1e-8)), lo)
	scale, zero := g.Unpack(kernel.Float16, both)
	start := a.start(at.page)
	kernel.When(k, g.Lane().Eq(k.Int(0)), func() {
		kernel.StoreWords(start.At(scaleAtGPU(p, half, at.token, head)), []kernel.I32{both})
	})
	to := start.Plus(int64(half) * p.ValuesAt()).At(head.Times(int64(p.Tokens)).Add(at.token).Times(p.VectorBytes()))
	some := scale.Gt(k.Float(0))
	for t, e := range turns {
		w := g.Lane().Plus(int64(32 * t))
		word := k.Int32(0)
		for j, y := range e {
			c := y.Sub(zero).Div(scale)
			c = kernel.Select(some, g.MaxF(c, k.Float(0)).Min(most), k.Float(0)).Add(k.Float(magic))
			code := c.Bits().And(int32(1)<<bits - 1)
			shift := bits * j
			if bits == 4 {
				shift = bits * (j ^ 1) // the even channel is the high nibble
			}
			word = word.Or(code.Shl(int32(shift)))
		}
		kernel.When(k, w.Lt(k.Int(int64(words))), func() { kernel.StoreWords(to.At(w.Times(4)), []kernel.I32{word}) })
	}
}

// scaleAtGPU is the byte of a page at which a vector's scale and zero lie, those of the
// tokens that follow behind them.
func scaleAtGPU(p kvpage.Page, half kvpage.Half, token, head kernel.I64) kernel.I64 {
	return head.Times(8 * int64(p.Tokens)).Add(token.Times(4)).Plus(p.ScalesAt() + int64(half)*4*int64(p.Tokens))
}

// codePair is the codes of channels x and x+1, x even, of a token's vector.
func codePair(bits int, vector kernel.Ptr[kernel.U8], x kernel.I64) (a, b kernel.F32) {
	if bits == 4 {
		w := kernel.LoadU8(vector.At(x.Shr(1)))
		return w.Shr(4).F32(), w.And(15).F32()
	}
	w := kernel.LoadU16(kernel.As[kernel.F16](vector.At(x)))
	return w.And(255).F32(), w.Shr(8).F32()
}

// keyHalves turns words of codes of one key into pairs of small float16 (attention_codes_gpu.go).
// keyOrder says of which channels: of four bits a low pair, then a high one.
func (a attnGPU) keyHalves(w kernel.I32) []kernel.I32 {
	k, g := a.k, a.g
	if a.bits == 8 {
		return []kernel.I32{g.Bytes(w, k.Int32(0), 0x4140), g.Bytes(w, k.Int32(0), 0x4342)}
	}
	var out []kernel.I32
	for range 2 {
		out = append(out, w.And(0x000f000f), w.And(0x00f000f0))
		w = w.Shr(8)
	}
	return out
}

// keyOrder is the channels of a word in the order of keyHalves.
func (a attnGPU) keyOrder() []int {
	switch a.bits {
	case 8:
		return []int{0, 1, 2, 3}
	case 4:
		return []int{1, 5, 0, 4, 3, 7, 2, 6}
	}
	return []int{0, 1}
}

// keyUnits are the factors of queries for a low pair of codes and for a high one.
func (a attnGPU) keyUnits() [2]float32 {
	if a.bits == 4 {
		return [2]float32{keyScale, float32(keyScale) / highUp}
	}
	return [2]float32{1, 1}
}

// valuePairs turns words of the same channels of two tokens into pairs of small float16, a
// channel each, in order. With half only the low half of the words counts.
func (a attnGPU) valuePairs(x, y kernel.I32, half bool) []kernel.I32 {
	k, g := a.k, a.g
	var out []kernel.I32
	if a.bits == 8 {
		for _, pick := range []int32{0x5140, 0x7362} {
			c := g.Bytes(x, y, pick)
			out = append(out, g.Bytes(c, k.Int32(0), 0x4140), g.Bytes(c, k.Int32(0), 0x4342))
			if half {
				break
			}
		}
		return out
	}
	for _, w := range []kernel.I32{g.Evens(x, y), g.Odds(x, y)} {
		for range 2 { // bytes of an even channel, high, and the odd one after it
			out = append(out, w.And(0x00f000f0), w.And(0x000f000f))
			w = w.Shr(8)
		}
		if half {
			break
		}
	}
	return out
}

// f16Int is the float16 of an integer from 1024 to 2047; f16Bits that of another normal number.
func f16Int(n int) uint16 { return uint16(0x6400 + n - 1024) }
func f16Bits(x float32) uint16 {
	w := math.Float32bits(x)
	return uint16(w>>16&0x8000) | uint16(w>>23&255-112)<<10 | uint16(w>>13&0x3ff)
}
