package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
)

// DecodeGPU of a quantised cache. Lanes take tokens and channels as of floats, with the codes
// of several channels in a word, and make pairs of float16 of them in registers:
//
//	a score   is scale * (q . (code - mid)) + (zero + mid * scale) * (sum of q): the tensor
//	          core multiplies codes, which are exact, and what a token's numbers share comes
//	          after it, in float32
//	a value   is scale * code + zero, rounded to float16 as it is made
//
// bits / 4 * dim tokens bytes move, and 8 tokens for scales: of q4 about a quarter of what
// floats take, so that two tiles are under way while one is multiplied.

// codesGPU is what a warp has of a tile: two tokens' keys, four tokens' values, and of each
// token its scale and zero in one word.
type codesGPU struct {
	keys        [2][]kernel.I32
	vals        [4][]kernel.I32
	keyScales   [2]kernel.I32
	valueScales [4]kernel.I32
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
	copy(out.valueScales[:], take(4))
	return out
}

// depth is how many tiles are under way while one is multiplied: as many as registers hold.
func (d decoderGPU) depth() int {
	words := 2*((d.pad*d.bits/8+15)/16) + 4*((d.pad*d.bits/8+31)/32) + 6
	return min(2, 44/words)
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
		c.keyScales[i] = scale(kvpage.Key, in)
	}
	for i, step := range []int64{0, 1, 8, 9} {
		in := first.Add(l.And(k.Int(3)).Times(2)).Plus(step)
		c.vals[i] = d.codes(at.Plus(d.valuesAfter()).At(in.Times(d.row())), 8, l.Shr(2))
		c.valueScales[i] = scale(kvpage.Value, in)
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
	k, depth := d.k, d.depth()
	r := d.nothing()
	tile := func(t kernel.I64) kernel.I64 { return t.Min(s.end.Plus(-1)) }
	var queue []codesGPU
	var init []kernel.Value
	for i := range depth {
		t := tile(s.first.Plus(int64(i)))
		c := d.loadCodes(s, d.page(s, t), t)
		queue = append(queue, c)
		init = append(init, values(c.flat()...)...)
	}
	init = append(append(init, values(d.page(s, s.first.Plus(int64(depth))))...), r.values()...)
	queries := d.queries(s)
	sum := d.querySums(queries)
	v := kernel.For(k, s.first, s.end, 1, init, func(t kernel.I64, c []kernel.Value) []kernel.Value {
		ready := make([]codesGPU, 0, depth+1)
		for _, q := range queue {
			ready = append(ready, q.like(unwrap[kernel.I32](&c, len(q.flat()))))
		}
		page := unwrap[kernel.I64](&c, 1)[0]
		r := d.unwrap(&c)
		ahead := t.Plus(int64(depth))
		ready = append(ready, d.loadCodes(s, page, tile(ahead)))
		next := d.page(s, ahead.Plus(1))
		now := ready[0]
		w := d.weights(s, s.tiles.token(t).I32(), d.codeScores(now, queries, sum), &r)
		d.accumulateCodes(now, w, &r)
		var out []kernel.Value
		for _, q := range ready[1:] {
			out = append(out, values(q.flat()...)...)
		}
		return append(append(out, values(next)...), r.values()...)
	})
	v = v[len(v)-len(r.values()):]
	return d.unwrap(&v)
}

// querySums is the sum over channels of the two queries whose scores a lane has: a product of
// ones and what the tensor core takes of them.
func (d decoderGPU) querySums(queries [][2]kernel.I32) [2]kernel.F32 {
	one := d.k.Twice(f16Bits(1))
	sum := d.g.NoSum()
	for _, q := range queries {
		sum = d.g.Mma(d.half, [4]kernel.I32{one, one, one, one}, q, sum)
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
	mid := d.k.Float(float32(int(1) << (d.bits - 1)))
	for half := range c.keyScales {
		scale, zero := d.g.Unpack(kernel.Float16, c.keyScales[half])
		zero = mid.FMA(scale, zero)
		for q := range sum {
			x[2*half+q] = x[2*half+q].FMA(scale, zero.Mul(sum[q]))
		}
	}
	return x
}

// accumulateCodes adds weights times 16 values.
func (d decoderGPU) accumulateCodes(c codesGPU, w [2]kernel.I32, r *resultGPU) {
	var scale, zero [2]kernel.I32 // of tokens 2q and the next; of those eight on
	for i := range scale {
		a, b := c.valueScales[2*i], c.valueScales[2*i+1]
		scale[i], zero[i] = d.g.Evens(a, b), d.g.Odds(a, b)
	}
	word, j := 0, 0
	for _, st := range d.strips(8) {
		bytes := 2 * st.words * d.bits / 8
		for range max(1, bytes/4) {
			near := d.valuePairs(c.vals[0][word], c.vals[1][word], bytes < 4, scale[0], zero[0])
			far := d.valuePairs(c.vals[2][word], c.vals[3][word], bytes < 4, scale[1], zero[1])
			for i := 0; i < len(near); i += 2 {
				r.out[j] = d.g.Mma(d.half, [4]kernel.I32{near[i], near[i+1], far[i], far[i+1]}, w, r.out[j])
				j++
			}
			word++
		}
	}
}

// nothing is the result of no tokens.
func (d decoderGPU) nothing() resultGPU {
	k := d.k
	r := resultGPU{softmaxGPU: softmaxGPU{max: [2]kernel.F32{k.Float(noMax), k.Float(noMax)}, sum: [2]kernel.F32{k.Float(0), k.Float(0)}}}
	for range d.pad / 16 {
		r.out = append(r.out, [4]kernel.F32{k.Float(0), k.Float(0), k.Float(0), k.Float(0)})
	}
	return r
}
