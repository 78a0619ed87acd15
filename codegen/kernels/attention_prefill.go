package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// attentionPrefill does a block of rows for one kv head, slot by slot. A span of keys and
// values is widened to float32 once for all queries of the block; then, tile by tile of
// queries, scores, softmax and values stay in the first cache. 4 dim operations for each
// pair of a query and a token that a span holds; spans that no row of a tile sees are
// skipped.
//
//	scratch  keys [dim][span] and values [span][dim] as float32; queries * Scale and
//	         outputs, each [block * group][dim]; a tile's scores; maxima, sums, alphas
func attentionPrefill(p work.Attention) kernel.Body {
	return kernel.Body{Main: func(k *kernel.Kernel) {
		newPrefiller(k, p).item()
	}}
}

// prefiller has tiles of rows queries times tokens or dims vectors.
type prefiller struct {
	attn
	rows, tokens, dims int
}

func divisors(n int) []int {
	var out []int
	for i := 1; i <= n; i++ {
		if n%i == 0 {
			out = append(out, i)
		}
	}
	return out
}

// most is the number of queries of a block of one slot's rows.
func (f prefiller) most() int { return work.QueryBlock * f.group }

// The parts of the scratch, as work.Attention counts them.
func (f prefiller) floats(at int64) kernel.Ptr[kernel.F32] {
	return kernel.Scratch[kernel.F32](f.k, at)
}
func (f prefiller) queriesAt() int64 { return up64(int64(8 * f.p.Page * f.pad)) }
func (f prefiller) scoresAt() int64  { return f.queriesAt() + up64(int64(8*f.most()*f.pad)) }
func (f prefiller) stateAt() int64   { return f.scoresAt() + up64(int64(4*f.most()*f.p.Page)) }

func (f prefiller) keys() kernel.Ptr[kernel.F32]    { return f.floats(0) }
func (f prefiller) values() kernel.Ptr[kernel.F32]  { return f.floats(int64(4 * f.p.Page * f.pad)) }
func (f prefiller) queries() kernel.Ptr[kernel.F32] { return f.floats(f.queriesAt()) }
func (f prefiller) outputs() kernel.Ptr[kernel.F32] {
	return f.floats(f.queriesAt() + int64(4*f.most()*f.pad))
}
func (f prefiller) scores() kernel.Ptr[kernel.F32] { return f.floats(f.scoresAt()) }

// state is the softmax of query q of the block.
func (f prefiller) state(q kernel.I64) state {
	at := func(i int) kernel.Ptr[kernel.F32] { return f.floats(f.stateAt() + int64(4*i*f.most())).At(q) }
	return state{at(0), at(1), at(2)}
}

// part is what a block holds of one slot: rows from n to end-1, the first at index i.
type part struct{ slot, n, end, i, h kernel.I64 }

func (b part) last() kernel.I64 { return b.i.Add(b.end).Sub(b.n).Plus(-1) }

// window is the index whose window a row at index i has: chunked, that of the step's first
// row of the slot.
func (f prefiller) window(b part, i kernel.I64) kernel.I64 {
	if !f.p.Chunked {
		return i
	}
	return kernel.LoadI32(kernel.Arg[kernel.I32](f.k, "slot_len").At(b.slot)).I64()
}

func (f prefiller) item() {
	k, kv := f.k, int64(f.p.KVHeads)
	first := f.nth.Over(kv).Times(work.QueryBlock)
	end := first.Plus(work.QueryBlock).Min(k.Dim("N"))
	rowSlot := kernel.Arg[kernel.I32](k, "row_slot")
	kernel.While(k, []kernel.I64{first}, func(c []kernel.I64) (kernel.Bool, []kernel.I64) {
		b := part{n: c[0], h: f.nth.Modulo(kv)}
		b.slot, b.i = cacheIndex(k, b.n)
		b.end = kernel.For(k, b.n, end, 1, c, func(n kernel.I64, c []kernel.I64) []kernel.I64 {
			same := kernel.LoadI32(rowSlot.At(n)).I64().Eq(b.slot)
			return []kernel.I64{kernel.Select(same, n.Plus(1), c[0])}
		})[0]
		f.part(b)
		return b.end.Lt(end), []kernel.I64{b.end}
	})
}

func (f prefiller) part(b part) {
	k, p := f.k, f.p
	f.start(b)
	if p.Budget > 0 {
		fresh := kernel.LoadI32(kernel.Arg[kernel.I32](k, "slot_new").At(b.slot)).I64()
		kernel.If(k, fresh.Eq(k.Int(1)), nil, func() []kernel.Vec { f.listed(b); return nil }, func() []kernel.Vec { f.all(b); return nil })
	} else {
		f.all(b)
	}
	f.finish(b)
}

// listed reads the pages of the lists of a part that is one row. The tile of a list's last
// queries writes over the outputs of the next list's, which therefore begin anew.
func (f prefiller) listed(b part) {
	k, p := f.k, f.p
	each := p.Heads / p.Lists() // queries of a list
	spans := int64(p.Page / f.span)
	kernel.Each(k, k.Int(0), k.Int(int64(f.group/each)), 1, func(l kernel.I64) {
		list, count := f.list(b.n, b.slot, b.i, b.h.Times(int64(f.group/each)).Add(l))
		first := l.Times(int64(each))
		end := first.Plus(int64(each))
		kernel.Each(k, first.Times(int64(f.pad)), end.Times(int64(f.pad)), layout.Lanes, func(i kernel.I64) {
			kernel.StoreVec(f.outputs().At(i), k.Vec(0))
		})
		kernel.Each(k, k.Int(0), count.Times(spans), 1, func(j kernel.I64) {
			s := kernel.LoadI32(list.At(j.Over(spans))).I64().Times(spans).Add(j.Modulo(spans))
			kernel.When(k, f.visible(s, b.i, b.i), func() {
				at, ldb := f.span32(f.at(b.slot, b.h, s))
				kernel.Each(k, first, end, int64(f.rows), func(q kernel.I64) {
					f.tile(b, at, ldb, s.Times(int64(f.span)), q, q.Plus(int64(f.rows)).Min(end), b.i)
				})
			})
		})
	})
}

// span32 is a span as float32, widened if it must be.
func (f prefiller) span32(at spanAt) (spanAt, int) {
	if f.p.CacheEnc == layout.F32 {
		return at, f.p.Page
	}
	f.widen(at)
	return spanAt{keys: kernel.As[kernel.U8](f.keys()), values: kernel.As[kernel.U8](f.values())}, f.span
}

// all reads the spans that the rows of a part see.
func (f prefiller) all(b part) {
	k := f.k
	kernel.Each(k, k.Int(0), b.last().Over(int64(f.span)).Plus(1), 1, func(s kernel.I64) {
		kernel.When(k, f.visible(s, f.window(b, b.i), b.last()), func() {
			at, ldb := f.span32(f.at(b.slot, b.h, s))
			queries := b.end.Sub(b.n).Times(int64(f.group))
			kernel.Each(k, k.Int(0), queries, int64(f.rows), func(q kernel.I64) {
				end := q.Plus(int64(f.rows)).Min(queries)
				first, last := b.i.Add(q.Over(int64(f.group))), b.i.Add(end.Plus(-1).Over(int64(f.group)))
				kernel.When(k, f.visible(s, f.window(b, first), last), func() {
					f.tile(b, at, ldb, s.Times(int64(f.span)), q, end, last)
				})
			})
		})
	})
}

// start scales the queries and empties their states and outputs.
func (f prefiller) start(b part) {
	k, group, dim := f.k, int64(f.group), int64(f.p.Dim)
	kernel.Each(k, b.n, b.end, 1, func(n kernel.I64) {
		q := kernel.Arg[kernel.F32](k, "q").At(f.query(n, b.h.Times(group)))
		at := n.Sub(b.n).Times(group)
		kernel.Each(k, k.Int(0), k.Int(group), 1, func(g kernel.I64) {
			to := at.Add(g).Times(int64(f.pad))
			kernel.Row(k, f.p.Dim, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
				kernel.StoreVec(f.queries().At(to.Add(l.I)), l.Load(q.At(g.Times(dim))).Scale(f.p.Scale))
				kernel.StoreVec(f.outputs().At(to.Add(l.I)), k.Vec(0))
				return nil
			})
		})
		for g := range group {
			st := f.state(at.Plus(g))
			kernel.StoreF32(st.max, k.Float(lowest))
			kernel.StoreF32(st.sum, k.Float(0))
		}
	})
}

// widen copies a span to float32.
func (f prefiller) widen(at spanAt) {
	k, p := f.k, f.p
	if f.bits > 0 {
		f.widenCodes(at)
		return
	}
	size := encSize(p.CacheEnc)
	kernel.Each(k, k.Int(0), k.Int(int64(p.Dim)), 1, func(d kernel.I64) {
		for v := 0; v < f.span; v += layout.Lanes {
			x := loadEnc(p.CacheEnc, at.keys.At(d.Times(int64(p.Page)).Plus(int64(v)).Times(size)))
			kernel.StoreVec(f.keys().At(d.Times(int64(f.span))).Plus(int64(v)), x)
		}
	})
	kernel.Each(k, k.Int(0), k.Int(int64(f.pad*f.span)), 4*layout.Lanes, func(i kernel.I64) {
		for v := int64(0); v < 4*layout.Lanes; v += layout.Lanes {
			kernel.StoreVec(f.values().At(i).Plus(v), loadEnc(p.CacheEnc, at.values.At(i.Plus(v).Times(size))))
		}
	})
}

// tile takes the span of tokens from one on for queries q to end-1, the last of which is
// at index last. It computes a whole tile: queries beyond the block's are never used.
func (f prefiller) tile(b part, at spanAt, ldb int, token, q, end, last kernel.I64) {
	k, p := f.k, f.p
	// Tokens from count on are no query's: their scores stay what they were.
	count := last.Plus(1).Sub(token).Min(k.Int(int64(f.span)))
	f.columns(f.span/layout.Lanes, f.tokens, count, func(c kernel.I64) {
		t := tile{rows: f.rows, vecs: f.tokens, at: c}
		m := product{k: k, enc: layout.F32, a: f.queries().At(q.Times(int64(f.pad))), lda: f.pad,
			b: at.keys.At(c.Times(4)), ldb: ldb, rows: t.rows, vecs: t.vecs}
		for j, v := range m.run(k.Int(int64(p.Dim)), p.Dim%unroll == 0, k.Zeros(t.rows*t.vecs)) {
			kernel.StoreVec(t.element(f.scores(), j, f.span), v)
		}
	})
	kernel.Each(k, q, end, 1, func(i kernel.I64) {
		at := b.i.Add(i.Over(int64(f.group)))
		f.peak(f.scores().At(i.Sub(q).Times(int64(f.span))), token, at, f.window(b, at), f.state(i))
	})
	kernel.Each(k, q, end, 1, func(i kernel.I64) {
		f.weigh(f.scores().At(i.Sub(q).Times(int64(f.span))), f.state(i))
	})
	out := f.outputs().At(q.Times(int64(f.pad)))
	f.columns(f.pad/layout.Lanes, f.dims, k.Int(int64(f.pad)), func(c kernel.I64) {
		t := tile{rows: f.rows, vecs: f.dims, at: c}
		m := product{k: k, enc: layout.F32, a: f.scores(), lda: f.span,
			b: at.values.At(c.Times(4)), ldb: f.pad, rows: t.rows, vecs: t.vecs}
		acc := make([]kernel.Vec, t.rows*t.vecs)
		for j := range acc {
			alpha := kernel.LoadF32(f.state(q).alpha.Plus(int64(j / t.vecs))).Splat()
			acc[j] = kernel.LoadVec(t.element(out, j, f.pad)).Mul(alpha)
		}
		for j, v := range m.run(count, false, acc) {
			kernel.StoreVec(t.element(out, j, f.pad), v)
		}
	})
}

// finish divides by the sums.
func (f prefiller) finish(b part) {
	k, dim := f.k, int64(f.p.Dim)
	kernel.Each(k, b.n, b.end, 1, func(n kernel.I64) {
		o := kernel.Arg[kernel.F32](k, "o").At(f.query(n, b.h.Times(int64(f.group))))
		kernel.Each(k, k.Int(0), k.Int(int64(f.group)), 1, func(g kernel.I64) {
			q := n.Sub(b.n).Times(int64(f.group)).Add(g)
			sum := kernel.LoadF32(f.state(q).sum).Splat()
			kernel.Row(k, f.p.Dim, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
				v := kernel.LoadVec(f.outputs().At(q.Times(int64(f.pad)).Add(l.I)))
				l.Store(o.At(g.Times(dim)), v.Div(sum))
				return nil
			})
		})
	})
}
