package kernels

import (
	"math"

	"quire/codegen/kernel"
	"quire/ir/target"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// attn is what both phases of attention share. Tokens are taken a span at a time: a whole
// page, or an even part of a long one. A span of keys is a matrix [dim][tokens], one of
// values [tokens][dim], so both products of attention are row-major C += A * B with lanes
// along B's rows (product).
//
// Softmax runs online: with each span the maximum m grows, and what was summed before it
// is scaled by alpha = exp(old m - new m).
type attn struct {
	k     *kernel.Kernel
	p     work.Attention
	group int        // queries that share a key
	pad   int        // elements of a head in the cache and in scratch: whole vectors
	span  int        // tokens taken at once
	bits  int        // of a code, in a quantised cache; else 0
	nth   kernel.I64 // the item
	among *among     // nil: q and o hold the heads of p alone
}

// among is where the heads of p are when q and o hold those of another group, too.
type among struct {
	heads  int  // of q and o
	first  int  // the list's entry of the first kv head of p
	second bool // p reads the second cache
}

// lowest stands for the maximum of nothing: finite, so that differences are never NaN.
const lowest = -1e30

func newAttn(k *kernel.Kernel, p work.Attention) attn {
	a := attn{k: k, p: p, group: p.Heads / p.KVHeads, pad: p.Pad(), bits: kvpage.Bits(p.CacheEnc), nth: k.Item()}
	for a.span = 64; p.Page%a.span != 0; {
		a.span -= layout.Lanes
	}
	return a
}

// spanAt is where the keys and values of a span of one kv head lie, and of quantised ones
// the scale and the zero of keys, then of values.
type spanAt struct {
	keys, values kernel.Ptr[kernel.U8]
	scales       [2][2]kernel.Ptr[kernel.F16]
}

func (a attn) at(slot, h, span kernel.I64) spanAt {
	p, token := a.p.At(kvpage.CPU), span.Times(int64(a.span))
	cache, _ := cacheNames(a.second())
	page := kernel.Arg[kernel.U8](a.k, cache).At(physicalOf(a.k, a.second(), slot, token.Over(int64(p.Tokens))).Times(p.Stride()))
	in := token.Modulo(int64(p.Tokens))
	head := page.At(h.Times(p.VectorBytes() * int64(p.Tokens)))
	s := spanAt{
		keys:   head.At(in.Times(encSize(p.Enc))),
		values: head.At(in.Times(p.VectorBytes())).Plus(p.ValuesAt()),
	}
	if a.bits > 0 {
		for half := range s.scales {
			s.scales[half] = scalesOf(p, page, kvpage.Half(half), in, h)
		}
	}
	return s
}

func (a attn) second() bool { return a.among != nil && a.among.second }

// query is where head h of p, of row n, lies in q and in o.
func (a attn) query(n, h kernel.I64) kernel.I64 {
	if a.among == nil {
		return n.Times(int64(a.p.Heads)).Add(h).Times(int64(a.p.Dim))
	}
	g := int64(a.p.Heads / a.p.KVHeads)
	kv := listed(a.k, h.Over(g).Plus(int64(a.among.first)))
	return n.Times(int64(a.among.heads)).Add(kv.Times(g)).Add(h.Modulo(g)).Times(int64(a.p.Dim))
}

// list is the pages that row n, at index i of its slot, reads: of list l; and how many.
func (a attn) list(n, slot, i, l kernel.I64) (kernel.Ptr[kernel.I32], kernel.I64) {
	count := i.Over(int64(a.p.Page)).Plus(1).Min(a.k.Int(int64(a.p.Budget)))
	return pickList(a.k, a.p, n, slot, i, l), count
}

// pickList is list l of row n, at index i of its slot: made in this step, or kept with the
// page of the row.
func pickList(k *kernel.Kernel, p work.Attention, n, slot, i, l kernel.I64) kernel.Ptr[kernel.I32] {
	if p.Kept {
		return keptList(k, "pick", p.Lists(), p.Budget, slot, i.Over(int64(p.Page)), l).Plus(1)
	}
	return kernel.Arg[kernel.I32](k, "pick").At(n.Times(int64(p.Lists())).Add(l).Times(int64(p.Budget)))
}

// visible says whether any row from index first (of the oldest window) to last sees any token of a span. It is
// also the promise that the span's page is there.
func (a attn) visible(span, first, last kernel.I64) kernel.Bool {
	start := span.Times(int64(a.span))
	ok := start.Le(last)
	if a.p.Window > 0 {
		in := first.Plus(int64(-a.p.Window)).Lt(start.Plus(int64(a.span - 1)))
		if a.p.Sink > 0 {
			in = in.Or(start.Lt(a.k.Int(int64(a.p.Sink))))
		}
		ok = ok.And(in)
	}
	return ok
}

// sees is the mask of 16 tokens from one on for the row at index i, whose window is that of
// the row at index w.
func (a attn) sees(token, i, w kernel.I64) kernel.Mask {
	k := a.k
	j := token.I32().Splat().Add(k.Iota())
	m := j.Lt(i.Plus(1).I32().Splat())
	if a.p.Window > 0 {
		in := w.Plus(int64(-a.p.Window)).I32().Splat().Lt(j)
		if a.p.Sink > 0 {
			in = in.Or(j.Lt(k.VecI(int32(a.p.Sink))))
		}
		m = m.And(in)
	}
	return m
}

// state is a query's softmax so far, and the factor for what was summed before this span.
type state struct{ max, sum, alpha kernel.Ptr[kernel.F32] }

// peak finds the new maximum of a span's scores of one query. Scores of tokens that the row
// at index i does not see may be anything, NaN too: they become minus infinity.
func (a attn) peak(scores kernel.Ptr[kernel.F32], token, i, w kernel.I64, st state) {
	k := a.k
	old := kernel.LoadF32(st.max)
	top := old.Splat()
	for j := range int64(a.span / layout.Lanes) {
		v := kernel.LoadVec(scores.Plus(layout.Lanes * j))
		if a.p.Softcap > 0 {
			v = softcap(v, a.p.Softcap, k)
		}
		v = a.sees(token.Plus(layout.Lanes*j), i, w).Select(v, k.Vec(float32(math.Inf(-1))))
		kernel.StoreVec(scores.Plus(layout.Lanes*j), v)
		top = v.Max(top)
	}
	now := top.ReduceMax()
	kernel.StoreF32(st.max, now)
	kernel.StoreF32(st.alpha, expDown(old.Sub(now).Splat(), k).Lane(0))
}

// weigh turns scores into weights, in place. It is apart from peak because the queries of a
// tile are independent, and a processor sees more of them in two short loops than in one.
func (a attn) weigh(scores kernel.Ptr[kernel.F32], st state) {
	k := a.k
	now, sum := kernel.LoadF32(st.max).Splat(), k.Vec(0)
	for j := range int64(a.span / layout.Lanes) {
		e := expDown(kernel.LoadVec(scores.Plus(layout.Lanes*j)).Sub(now), k)
		kernel.StoreVec(scores.Plus(layout.Lanes*j), e)
		sum = sum.Add(e)
	}
	kernel.StoreF32(st.sum, kernel.LoadF32(st.sum).FMA(kernel.LoadF32(st.alpha), sum.ReduceAdd()))
}

// expDown is exp for x <= 0: 0 below -86, else to about one unit in the last place. It
// adds n to the exponent of the polynomial, which is near 1.
func expDown(x kernel.Vec, k *kernel.Kernel) kernel.Vec {
	const magic = 3 << 22 // its sum with a small number has that number's integer in the low bits
	low := k.Vec(-86)
	c := low.Max(x)
	t := c.FMA(k.Vec(1.44269504088896341), k.Vec(magic))
	n := t.Sub(k.Vec(magic))
	r := n.FMA(k.Vec(-0.693359375), c)
	r = n.FMA(k.Vec(2.12194440e-4), r)
	p := k.Vec(1.9875691500e-4)
	for _, a := range []float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		p = p.FMA(r, k.Vec(a))
	}
	p = p.FMA(r.Mul(r), r).Add(k.Vec(1))
	y := p.Bits().Add(t.Bits().Shl(23)).Float()
	return low.Gt(x).Select(k.Vec(0), y)
}

// product is a tile of C = C0 + A * B: rows of A are broadcast, rows of B are vectors in
// the cache's encoding, ldb elements from one to the next. Of a quantised cache they are
// codes; rows of keys are channels, of values tokens.
type product struct {
	k    *kernel.Kernel
	enc  layout.Enc
	half kvpage.Half
	a    kernel.Ptr[kernel.F32]
	lda  int
	b    kernel.Ptr[kernel.U8]
	ldb  int
	rows int
	vecs int
	// each, if any, is told of every turn that comes: it asks for memory ahead of time.
	each func(i kernel.I64, turns int64)
}

const unroll = 4

// row is where row i of B begins, an even one of nibbles of keys.
func (p product) row(i kernel.I64) kernel.Ptr[kernel.U8] {
	if kvpage.Bits(p.enc) == 4 { // two rows of keys share bytes, two columns of values
		return p.b.At(i.Times(int64(p.ldb)).Shr(1))
	}
	return p.b.At(i.Times(int64(p.ldb) * encSize(p.enc)))
}

// load is vector v of row u from the one at b on.
func (p product) load(b kernel.Ptr[kernel.U8], u int64, v int) kernel.Vec {
	ldb := int64(p.ldb)
	switch bits := kvpage.Bits(p.enc); {
	case bits == 4 && p.half == kvpage.Key:
		return loadCodes(p.k, bits, u%2 == 0, b.Plus(u/2*ldb+int64(layout.Lanes*v)))
	case bits == 4:
		return loadCodes(p.k, bits, v%2 == 0, b.Plus(u*ldb/2+int64(layout.Lanes*(v/2))))
	case bits == 8:
		return loadCodes(p.k, bits, false, b.Plus(u*ldb+int64(layout.Lanes*v)))
	}
	return loadEnc(p.enc, b.Plus((u*ldb+int64(layout.Lanes*v))*encSize(p.enc)))
}

// run adds depth products to c: rows x vecs accumulators, row by row.
func (p product) run(depth kernel.I64, whole bool, c []kernel.Vec) []kernel.Vec {
	k := p.k
	turn := func(i kernel.I64, c []kernel.Vec, n int64) []kernel.Vec {
		c = append([]kernel.Vec(nil), c...)
		if p.each != nil {
			p.each(i, n)
		}
		a, b := p.a.At(i), p.row(i)
		for u := range n {
			xs := make([]kernel.Vec, p.rows)
			for r := range xs {
				xs[r] = kernel.LoadF32(a.Plus(int64(r*p.lda) + u)).Splat()
			}
			for v := range p.vecs {
				y := p.load(b, u, v)
				for r, x := range xs {
					c[r*p.vecs+v] = y.FMA(x, c[r*p.vecs+v])
				}
			}
		}
		return c
	}
	most := depth
	if !whole {
		most = depth.Over(unroll).Times(unroll)
	}
	c = kernel.For(k, k.Int(0), most, unroll, c, func(i kernel.I64, c []kernel.Vec) []kernel.Vec { return turn(i, c, unroll) })
	if whole {
		return c
	}
	return kernel.For(k, most, depth, 1, c, func(i kernel.I64, c []kernel.Vec) []kernel.Vec { return turn(i, c, 1) })
}

// columns gives the first column of each vecs vectors of all that is below end; it loops
// only if it must.
func (a attn) columns(all, vecs int, end kernel.I64, f func(at kernel.I64)) {
	if all == vecs {
		f(a.k.Int(0))
		return
	}
	kernel.Each(a.k, a.k.Int(0), end, int64(vecs*layout.Lanes), f)
}

// encSize is the bytes of an element; of codes, those of tokens that are neighbours.
func encSize(e layout.Enc) int64 {
	switch {
	case e == layout.F32:
		return 4
	case kvpage.Bits(e) > 0:
		return 1
	}
	return 2
}

func loadEnc(e layout.Enc, p kernel.Ptr[kernel.U8]) kernel.Vec {
	switch e {
	case layout.F16:
		return kernel.LoadHalfs(kernel.As[kernel.F16](p))
	case layout.BF16:
		return kernel.LoadBF16s(kernel.As[kernel.BF16](p))
	}
	return kernel.LoadVec(kernel.As[kernel.F32](p))
}

// tiling picks the tile of a product, rows x vecs accumulators that stay in registers
// beside a row of B and a broadcast: rows among the candidates, vecs a divisor of all.
func tiling(t target.Target, rows []int, all int) (r, v int) { return tilingBy(t, rows, all, 1) }

// tilingBy is tiling with vecs a multiple of step.
func tilingBy(t target.Target, rows []int, all, step int) (r, v int) {
	per := 64 / t.VectorBytes // machine registers of a Vec
	best := -1.0
	for _, tr := range rows {
		for tv := step; tv <= all; tv += step {
			if all%tv != 0 || (tr+1)*tv*per+1 > t.Registers {
				continue
			}
			// Multiply-adds for each load; fewer accumulators than 8 wait for each other.
			score := float64(tr*tv) / float64(tr+tv) * min(1, float64(tr*tv*per)/8)
			if score > best {
				best, r, v = score, tr, tv
			}
		}
	}
	return r, v
}
