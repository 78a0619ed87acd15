package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
)

// DecodeGPU of a quantised cache. Lanes take tokens and channels as of floats, with the codes
// of several channels in a word. The tensor core multiplies the codes as they are: a code's
// bits in the low end of a half-word are the float16 of code * 2^-24, those of a code four bits
// up of code * 2^-20, both below the normal numbers and exact. What a token's codes share comes
// before or after, in float32:
//
//	a score   scale * (q . code) + zero * (sum of q)
//	a result  codes . (weight * scale) + sum of weight * zero
//
// bits / 4 * dim tokens bytes move, and 8 tokens for scales. That products of subnormal numbers
// are exact is not in the PTX ISA; it is so of the tensor cores up to compute capability 8.0
// (Fasi et al., Numerical behavior of NVIDIA tensor cores, PeerJ CS 7:e330, 2021), and measured
// here on 9.0.

const (
	// highUp is the factor of codes four bits up. Of queries those of the low codes are
	// keyScale times what they should be, the others keyScale / highUp.
	highUp   = 16
	keyScale = 4
	// valueScale is the factor of weight * scale before float16.
	valueScale = 256
	// smallest is the float16 of the lowest bit.
	smallest = 1.0 / (1 << 24)
)

// codesGPU is what a warp has of a tile: two tokens' keys, four tokens' values, and of the two
// tokens whose scores a lane has the scale and zero of both, in a word each.
type codesGPU struct {
	keys        [2][]kernel.I32
	vals        [4][]kernel.I32
	keyScales   [2]kernel.I32
	valueScales [2]kernel.I32
}

func (c codesGPU) flat() []kernel.I32 {
	var out []kernel.I32
	for _, w := range c.keys {
		out = append(out, w...)
	}
	for _, w := range c.vals {
		out = append(out, w...)
	}
	return append(append(out, c.keyScales[:]...), c.valueScales[:]...)
}

// like gives words the places that they have in c.
func (c codesGPU) like(words []kernel.I32) codesGPU {
	take := func(n int) []kernel.I32 {
		out := words[:n]
		words = words[n:]
		return out
	}
	var out codesGPU
	for i, w := range c.keys {
		out.keys[i] = take(len(w))
	}
	for i, w := range c.vals {
		out.vals[i] = take(len(w))
	}
	copy(out.keyScales[:], take(2))
	copy(out.valueScales[:], take(2))
	return out
}

// loadCodes loads a warp's part of tile t. Codes after the row's own token may be anything,
// their weight is zero; scales must be numbers.
func (d decoderGPU) loadCodes(s spanGPU, page, t kernel.I64) codesGPU {
	k, l := d.k, d.g.Lane()
	at, last := d.place(s, page, t)
	token := s.tiles.token(t).Modulo(int64(d.at.Tokens))
	base := d.begin(page)
	scale := func(half kvpage.Half, in kernel.I64) kernel.I32 {
		in = in.Min(last.I64())
		return kernel.LoadWords(base.At(scaleAtGPU(d.at, half, token.Add(in), s.h)), 1)[0]
	}
	first := d.g.Warp().Times(16)
	var c codesGPU
	for i := range c.keys {
		in := first.Add(l.Shr(2)).Plus(int64(8 * i))
		c.keys[i] = d.codes(at.At(in.Times(d.row())), 4, l.And(k.Int(3)))
		c.keyScales[i], c.valueScales[i] = scale(kvpage.Key, in), scale(kvpage.Value, in)
	}
	for i, step := range []int64{0, 1, 8, 9} {
		in := first.Add(l.And(k.Int(3)).Times(2)).Plus(step)
		c.vals[i] = d.codes(at.Plus(d.valuesAfter()).At(in.Times(d.row())), 8, l.Shr(2))
	}
	return c
}

// codes loads one lane's codes of a vector that so many lanes share. A piece of two bytes is
// a word's low half.
func (d decoderGPU) codes(vector kernel.Ptr[kernel.U8], lanes int, lane kernel.I64) []kernel.I32 {
	var out []kernel.I32
	for _, st := range d.strips(lanes) {
		bytes := int64(2 * st.words * d.bits / 8)
		p := vector.Plus(int64(st.at * d.bits / 8)).At(lane.Times(bytes))
		if bytes < 4 {
			out = append(out, kernel.LoadU16(kernel.As[kernel.F16](p)))
			continue
		}
		out = append(out, kernel.LoadWords(p, int(bytes/4))...)
	}
	return out
}

// streamCodes is stream of a quantised cache.
func (d decoderGPU) streamCodes(s spanGPU) resultGPU {
	r := d.nothing()
	tile := func(t kernel.I64) kernel.I64 { return t.Min(s.end.Plus(-1)) }
	first := d.loadCodes(s, d.page(s, s.first), s.first)
	init := append(values(first.flat()...), values(d.page(s, s.first.Plus(1)))...)
	queries := d.queries(s)
	sum := d.querySums(queries)
	v := kernel.For(d.k, s.first, s.end, 1, append(init, r.values()...), func(t kernel.I64, c []kernel.Value) []kernel.Value {
		now := first.like(unwrap[kernel.I32](&c, len(first.flat())))
		page := unwrap[kernel.I64](&c, 1)[0]
		r := d.unwrap(&c)
		next := d.loadCodes(s, page, tile(t.Plus(1)))
		after := d.page(s, t.Plus(2))
		x := d.softmax(s, s.tiles.token(t).I32(), d.codeScores(now, queries, sum), &r)
		d.accumulateCodes(now, d.codeWeights(now, x, &r), &r)
		return append(append(values(next.flat()...), values(after)...), r.values()...)
	})
	v = v[len(v)-len(r.values()):]
	return d.unwrap(&v)
}

// querySums is the sum over channels of the two queries whose scores a lane has: a product of
// what undoes their factors and what the tensor core takes of them.
func (d decoderGPU) querySums(queries [][2]kernel.I32) [2]kernel.F32 {
	undo := [2]kernel.I32{d.k.Twice(f16Bits(1)), d.k.Twice(f16Bits(1))}
	if d.bits == 4 {
		undo = [2]kernel.I32{d.k.Twice(f16Bits(1.0 / keyScale)), d.k.Twice(f16Bits(highUp / keyScale))}
	}
	sum := d.g.NoSum()
	for _, q := range queries {
		sum = d.g.Mma(d.half, [4]kernel.I32{undo[0], undo[0], undo[1], undo[1]}, q, sum)
	}
	return [2]kernel.F32{sum[0], sum[1]}
}

// codeScores is the scores of two keys and two queries.
func (d decoderGPU) codeScores(c codesGPU, queries [][2]kernel.I32, sum [2]kernel.F32) [4]kernel.F32 {
	var halves []kernel.I32
	for _, words := range c.keys {
		for _, w := range words {
			halves = append(halves, d.keyHalves(w)...)
		}
	}
	x := d.scores(halves, queries)
	unit := float32(1 / smallest)
	if d.bits == 4 {
		unit /= keyScale
	}
	for half := range c.keyScales {
		scale, zero := d.g.Unpack(kernel.Float16, c.keyScales[half])
		scale = scale.Mul(d.k.Float(unit))
		for q := range sum {
			x[2*half+q] = x[2*half+q].FMA(scale, zero.Mul(sum[q]))
		}
	}
	return x
}

// codeWeights makes B of the second product of weights, and adds what zeros come to.
func (d decoderGPU) codeWeights(c codesGPU, x [4]kernel.F32, r *resultGPU) [2]kernel.I32 {
	for half := range c.valueScales {
		scale, zero := d.g.Unpack(kernel.Float16, c.valueScales[half])
		scale = scale.Mul(d.k.Float(valueScale))
		for q := range r.zero {
			r.zero[q] = x[2*half+q].FMA(zero, r.zero[q])
			x[2*half+q] = x[2*half+q].Mul(scale)
		}
	}
	return d.packed(x)
}

// accumulateCodes adds weights times 16 values.
func (d decoderGPU) accumulateCodes(c codesGPU, w [2]kernel.I32, r *resultGPU) {
	word, j := 0, 0
	for _, st := range d.strips(8) {
		bytes := 2 * st.words * d.bits / 8
		for range max(1, bytes/4) {
			near := d.valuePairs(c.vals[0][word], c.vals[1][word], bytes < 4)
			far := d.valuePairs(c.vals[2][word], c.vals[3][word], bytes < 4)
			for i := 0; i < len(near); i += 2 {
				r.out[j] = d.g.Mma(d.half, [4]kernel.I32{near[i], near[i+1], far[i], far[i+1]}, w, r.out[j])
				j++
			}
			word++
		}
	}
}

// units are the factors of a piece of out: those of its channels' first row and of the eighth
// after it.
func (d decoderGPU) units() [2]float32 {
	switch d.bits {
	case 8:
		return [2]float32{1 / (smallest * valueScale), 1 / (smallest * valueScale)}
	case 4: // the even channel is the high nibble
		return [2]float32{1 / (smallest * valueScale * highUp), 1 / (smallest * valueScale)}
	}
	return [2]float32{1, 1}
}

// nothing is the result of no tokens.
func (d decoderGPU) nothing() resultGPU {
	k := d.k
	r := resultGPU{softmaxGPU: softmaxGPU{max: [2]kernel.F32{k.Float(noMax), k.Float(noMax)}, sum: [2]kernel.F32{k.Float(0), k.Float(0)}}}
	if d.bits > 0 {
		r.zero = []kernel.F32{k.Float(0), k.Float(0)}
	}
	for range d.pad / 16 {
		r.out = append(r.out, [4]kernel.F32{k.Float(0), k.Float(0), k.Float(0), k.Float(0)})
	}
	return r
}
