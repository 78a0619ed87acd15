package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// attentionDecode streams one split of one row's cache for one kv head: every key and
// value is loaded, and widened, once for all queries of the group. 4 dim tokens bytes
// move from a float16 cache, 4 dim tokens group operations are done: memory bound.
//
// Of quantised keys and values the codes are multiplied, and a product's scale and zero are
// those of a token: a score is scale * (q . codes) + zero * (sum of q), and weights take the
// scales of values before they meet their codes.
//
//	scratch  scores [group][span], queries * Scale [group][dim], alpha [group], and of a
//	         quantised cache the sums of queries [group], of weighted zeros [group]
//	part     of the item: [group] of (max, sum, 14 unused, values [dim])
func attentionDecode(p work.Attention) kernel.Body {
	return kernel.Body{
		Main: func(k *kernel.Kernel) { newDecoder(k, p).item() },
		Last: func(k *kernel.Kernel) { newDecoder(k, p).merge() },
	}
}

// newDecoder takes the queries of a list together: with a list each, a head is a group.
func newDecoder(k *kernel.Kernel, p work.Attention) decoder {
	d := decoder{newAttn(k, p), k.Int(0)}
	d.group = p.Heads / p.Lists()
	return d
}

type decoder struct {
	attn
	base kernel.I64 // floats of part before its own
}

// partHead is the size in floats of a query's share of a part before its values.
const partHead = 16

func (d decoder) stride() int { return partHead + d.pad }

func (d decoder) part(item kernel.I64) kernel.Ptr[kernel.F32] {
	return kernel.Arg[kernel.F32](d.k, "part").At(d.base.Add(item.Times(d.p.PartFloats())))
}

func (d decoder) splits() kernel.I64 {
	if d.p.Budget > 0 {
		return d.k.Int(d.p.PickSplits())
	}
	return d.k.Dim("C").Plus(int64(d.p.Split - 1)).Over(int64(d.p.Split)).Max(d.k.Int(1))
}

func (d decoder) scores() kernel.Ptr[kernel.F32] { return kernel.Scratch[kernel.F32](d.k, 0) }
func (d decoder) queries() kernel.Ptr[kernel.F32] {
	return kernel.Scratch[kernel.F32](d.k, up64(int64(4*d.group*d.p.Page)))
}
func (d decoder) alpha() kernel.Ptr[kernel.F32] {
	return d.queries().Byte(d.k.Int(up64(int64(4 * d.group * d.pad))))
}

// querySum and zeroSum are what zeros are multiplied by, and what they come to.
func (d decoder) querySum(g kernel.I64) kernel.Ptr[kernel.F32] {
	return d.alpha().Plus(int64(d.group)).At(g)
}
func (d decoder) zeroSum() kernel.Ptr[kernel.F32] { return d.alpha().Plus(int64(2 * d.group)) }

func (d decoder) item() {
	k, p := d.k, d.p
	splits := d.splits()
	split, gh := d.nth.Rem(splits), d.nth.Div(splits)
	n, h := d.rowHead(gh)
	slot, i := cacheIndex(k, n)
	if p.Budget > 0 {
		d.listed(n, h, slot, i, split)
		return
	}
	from := split.Times(int64(p.Split))
	to := from.Plus(int64(p.Split)).Min(i.Plus(1))
	kernel.When(k, from.Lt(to), func() {
		part := d.part(d.nth)
		d.start(n, h, part)
		first, end := from.Over(int64(d.span)), to.Plus(int64(d.span-1)).Over(int64(d.span))
		kernel.Each(k, first, end, 1, func(s kernel.I64) {
			kernel.When(k, d.visible(s, i, i), func() {
				next := d.at(slot, h, s.Plus(1).Min(end.Plus(-1)))
				d.add(d.at(slot, h, s), next, s.Times(int64(d.span)), i, part)
			})
		})
	})
}

// listed is an item that reads a split of list h: whole pages.
func (d decoder) listed(n, h, slot, i, split kernel.I64) {
	k, p := d.k, d.p
	list, count := d.list(n, slot, i, h)
	kv := h.Over(int64(p.Lists() / p.KVHeads))
	from := split.Times(int64(p.Split / p.Page))
	to := from.Plus(int64(p.Split / p.Page)).Min(count)
	spans := int64(p.Page / d.span)
	span := func(j kernel.I64) kernel.I64 { // the j-th of the list
		return kernel.LoadI32(list.At(j.Over(spans))).I64().Times(spans).Add(j.Modulo(spans))
	}
	kernel.When(k, from.Lt(to), func() {
		part := d.part(d.nth)
		d.start(n, h, part)
		end := to.Times(spans)
		kernel.Each(k, from.Times(spans), end, 1, func(j kernel.I64) {
			s := span(j)
			kernel.When(k, d.visible(s, i, i), func() {
				next := d.at(slot, kv, span(j.Plus(1).Min(end.Plus(-1))))
				d.add(d.at(slot, kv, s), next, s.Times(int64(d.span)), i, part)
			})
		})
	})
}

// start scales the queries and empties the part.
func (d decoder) start(n, h kernel.I64, part kernel.Ptr[kernel.F32]) {
	k, dim := d.k, int64(d.p.Dim)
	q := kernel.Arg[kernel.F32](k, "q").At(d.query(n, h.Times(int64(d.group))))
	kernel.Each(k, k.Int(0), k.Int(int64(d.group)), 1, func(g kernel.I64) {
		at := part.At(g.Times(int64(d.stride())))
		kernel.StoreF32(at, k.Float(lowest))
		kernel.StoreF32(at.Plus(1), k.Float(0))
		sum := kernel.Row(k, d.p.Dim, k.Zeros(1), func(l kernel.Lanes, c []kernel.Vec) []kernel.Vec {
			x := l.Load(q.At(g.Times(dim))).Scale(d.p.Scale)
			kernel.StoreVec(d.queries().At(g.Times(int64(d.pad)).Add(l.I)), x)
			kernel.StoreVec(at.Plus(partHead).At(l.I), k.Vec(0))
			return []kernel.Vec{c[0].Add(x)}
		})
		if d.bits > 0 {
			for i := work.Padded(d.p.Dim); i < d.pad; i += layout.Lanes { // a vector of nothing
				kernel.StoreVec(d.queries().At(g.Times(int64(d.pad))).Plus(int64(i)), k.Vec(0))
				kernel.StoreVec(at.Plus(partHead).Plus(int64(i)), k.Vec(0))
			}
			kernel.StoreF32(d.querySum(g), sum[0].ReduceAdd())
		}
	})
}

// add takes the span that starts at a token. While it reads it asks for what comes next.
func (d decoder) add(b, next spanAt, token, i kernel.I64, part kernel.Ptr[kernel.F32]) {
	k, p := d.k, d.p
	depth := p.Dim
	if d.bits > 0 {
		depth = d.pad // codes of nothing, times zeros
	}
	d.eachTile(d.span/layout.Lanes, 1, func(t tile) {
		m := product{k: k, enc: p.CacheEnc, half: kvpage.Key, a: d.queries().Plus(int64(t.g * d.pad)), lda: d.pad,
			b: b.keys.At(t.at.Times(encSize(p.CacheEnc))), ldb: p.Page, rows: t.rows, vecs: t.vecs, each: d.ahead(b, next, 0, t, d.span)}
		for j, c := range m.run(k.Int(int64(depth)), depth%unroll == 0, k.Zeros(t.rows*t.vecs)) {
			kernel.StoreVec(t.element(d.scores(), j, d.span), c)
		}
	})
	kernel.Each(k, k.Int(0), k.Int(int64(d.group)), 1, func(g kernel.I64) {
		at := part.At(g.Times(int64(d.stride())))
		st := state{at, at.Plus(1), d.alpha().At(g)}
		scores := d.scores().At(g.Times(int64(d.span)))
		if d.bits > 0 {
			d.meanScores(scores, b, kernel.LoadF32(d.querySum(g)))
		}
		d.peak(scores, token, i, i, st)
		d.weigh(scores, st)
		if d.bits > 0 {
			kernel.StoreF32(d.zeroSum().At(g), d.meanWeights(scores, b))
		}
	})
	count := i.Plus(1).Sub(token).Min(k.Int(int64(d.span)))
	step, columns := 1, func(at kernel.I64) kernel.I64 { return at.Times(encSize(p.CacheEnc)) }
	if d.bits == 4 { // two vectors share bytes
		step, columns = 2, func(at kernel.I64) kernel.I64 { return at.Shr(1) }
	}
	d.eachTile(d.pad/layout.Lanes, step, func(t tile) {
		m := product{k: k, enc: p.CacheEnc, half: kvpage.Value, a: d.scores().Plus(int64(t.g * d.span)), lda: d.span,
			b: b.values.At(columns(t.at)), ldb: d.pad, rows: t.rows, vecs: t.vecs, each: d.ahead(b, next, 1, t, d.pad)}
		c := make([]kernel.Vec, t.rows*t.vecs)
		for j := range c {
			alpha := kernel.LoadF32(d.alpha().Plus(int64(t.g + j/t.vecs))).Splat()
			c[j] = kernel.LoadVec(t.element(part.Plus(partHead), j, d.stride())).Mul(alpha)
			if d.bits > 0 {
				c[j] = c[j].Add(kernel.LoadF32(d.zeroSum().Plus(int64(t.g + j/t.vecs))).Splat())
			}
		}
		for j, c := range m.run(count, false, c) {
			kernel.StoreVec(t.element(part.Plus(partHead), j, d.stride()), c)
		}
	})
}

// tile is rows of queries from g on, times vecs vectors from column at on.
type tile struct {
	g, rows, vecs int
	at            kernel.I64
}

// element is where a tile's j-th accumulator lies in rows of stride floats.
func (t tile) element(p kernel.Ptr[kernel.F32], j, stride int) kernel.Ptr[kernel.F32] {
	return p.Plus(int64((t.g+j/t.vecs)*stride + layout.Lanes*(j%t.vecs))).At(t.at)
}

// eachTile covers all queries of the group times all vectors, taken by a multiple of step.
func (d decoder) eachTile(all, step int, f func(t tile)) {
	var sizes []int
	for n := 1; n <= d.group; n++ {
		sizes = append(sizes, (d.group+n-1)/n)
	}
	rows, vecs := tilingBy(d.k.Target(), sizes, all, step)
	for g := 0; g < d.group; g += rows {
		d.columns(all, vecs, d.k.Int(int64(all*layout.Lanes)), func(at kernel.I64) {
			f(tile{g: g, rows: min(rows, d.group-g), vecs: vecs, at: at})
		})
	}
}

// ahead asks for memory some thousand bytes before it is read, while one of the two halves
// of a span (its keys, its values) is: rows of width elements. It takes equal steps
// through about four pages of the processor at once, since what fetches streams into the
// second cache follows each page by itself: measured, up to a fifth more bytes a second
// than one after the other. Short halves ask for half of both that come next, long ones
// for all of the next.
func (d decoder) ahead(b, next spanAt, half int, t tile, width int) func(i kernel.I64, turns int64) {
	const page = 4096
	p := d.p.At(kvpage.CPU)
	vector := p.VectorBytes()
	size := int64(d.span) * vector
	pages := max(1, size/page)
	var from []kernel.Ptr[kernel.U8]
	start := int64(0)
	switch {
	case t.g > 0 || d.span != d.p.Page: // asked already; keys of a part of a page are no stream
		return nil
	case size <= 2*page:
		from, start = []kernel.Ptr[kernel.U8]{next.keys, next.values}, int64(half)*size/pages/2
	case half == 0:
		from = []kernel.Ptr[kernel.U8]{b.values}
	default:
		from = []kernel.Ptr[kernel.U8]{next.keys}
	}
	row, streams := int64(width)*vector/int64(d.pad), pages*int64(len(from))
	if row == 0 {
		return nil
	}
	return func(i kernel.I64, turns int64) {
		kernel.When(d.k, t.at.Eq(d.k.Int(0)), func() {
			at := i.Times(row).Over(streams).Plus(start)
			for line := int64(0); line < turns*row/streams; line += 64 {
				for _, p := range from {
					for j := range pages {
						kernel.PrefetchFar(p.At(at).Plus(line + j*(size/pages)))
					}
				}
			}
		})
	}
}

// merge combines the splits of a row's kv head, in their order.
func (d decoder) merge() {
	k, p := d.k, d.p
	gh := d.nth
	n, h := d.rowHead(gh)
	slot, i := cacheIndex(k, n)
	used := i.Over(int64(p.Split)).Plus(1)
	if p.Budget > 0 {
		_, count := d.list(n, slot, i, h)
		used = count.Plus(-1).Over(int64(p.Split / p.Page)).Plus(1)
	}
	d.combine(n, h, d.part(gh.Mul(d.splits())), used)
}

// rowHead is the row and the list (or kv head) of a group.
func (d decoder) rowHead(gh kernel.I64) (n, h kernel.I64) {
	return gh.Over(int64(d.p.Lists())), gh.Modulo(int64(d.p.Lists()))
}

// combine adds the parts from one on that were used, in their order.
func (d decoder) combine(n, h kernel.I64, part kernel.Ptr[kernel.F32], used kernel.I64) {
	k, p := d.k, d.p
	o := kernel.Arg[kernel.F32](k, "o").At(d.query(n, h.Times(int64(d.group))))
	kernel.Each(k, k.Int(0), k.Int(int64(d.group)), 1, func(g kernel.I64) {
		q := part.At(g.Times(int64(d.stride())))
		at := func(s kernel.I64) kernel.Ptr[kernel.F32] { return q.At(s.Times(p.PartFloats())) }
		top := kernel.For(k, k.Int(0), used, 1, []kernel.F32{k.Float(lowest)}, func(s kernel.I64, c []kernel.F32) []kernel.F32 {
			return []kernel.F32{c[0].Max(kernel.LoadF32(at(s)))}
		})[0]
		sum := kernel.For(k, k.Int(0), used, 1, []kernel.F32{k.Float(0)}, func(s kernel.I64, c []kernel.F32) []kernel.F32 {
			w := expDown(kernel.LoadF32(at(s)).Sub(top).Splat(), k).Lane(0)
			kernel.StoreF32(at(s).Plus(2), w)
			return []kernel.F32{w.FMA(kernel.LoadF32(at(s).Plus(1)), c[0])}
		})[0].Splat()
		kernel.Row(k, p.Dim, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
			v := kernel.For(k, k.Int(0), used, 1, k.Zeros(1), func(s kernel.I64, c []kernel.Vec) []kernel.Vec {
				w := kernel.LoadF32(at(s).Plus(2)).Splat()
				return []kernel.Vec{w.FMA(kernel.LoadVec(at(s).Plus(partHead).At(l.I)), c[0])}
			})[0]
			l.Store(o.At(g.Times(int64(p.Dim))), v.Div(sum))
			return nil
		})
	})
}
