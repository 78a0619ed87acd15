package kernels

import (
	"math"

	"quire/codegen/kernel"
	"quire/ir/work"
)

// selectorGPU is the selector on a GPU. A warp takes a page at a time, its lanes channels:
// for each summary the products of the largest and the least with the queries' parts above
// and below 0, in float32. Scores lie [slot][head][P], in memory that the last item of a
// slot's kv head reads; it makes the lists with its whole block.
type selectorGPU struct {
	selector
	p work.PageSelectGPU
	r rowGPU
}

func newSelectorGPU(k *kernel.Kernel, p work.PageSelectGPU) selectorGPU {
	return selectorGPU{newSelector(k, p.PageSelect), p, newRowGPU(k, p)}
}

func (s selectorGPU) scoresOf(gh kernel.I64, g int64) kernel.Ptr[kernel.F32] {
	at := gh.Times(int64(s.group)).Plus(g).Mul(s.k.Dim("P"))
	return kernel.Arg[kernel.F32](s.k, "scores").Plus(work.CounterBytes / 4).At(at)
}

func (s selectorGPU) item() {
	k, p, g := s.k, s.p, s.r.g
	most := k.Int32(int32(p.Blocks)).Over(k.Dim("S").I32().Times(int32(p.KVHeads))).I64()
	splits := most.Min(k.Int(work.MaxSplits)).Max(k.Int(1))
	gh := k.Item().I32().Over(splits.I32()).I64()
	split := k.Item().Sub(gh.Mul(splits))
	r := s.row(gh)
	closed := s.closed(r)
	if p.Every > 0 {
		kernel.When(k, split.Eq(k.Int(0)), func() { s.one(func() { s.void(r) }) })
	}
	few := closed.Lt(k.Int(int64(p.Budget)))
	kernel.If(k, few, nil, func() []kernel.Vec {
		kernel.When(k, split.Eq(k.Int(0)), func() {
			s.ifSelects(r, func() {
				kernel.When(k, s.r.g.Warp().Eq(k.Int(0)).And(s.closes(r, closed)), func() { s.close(r, closed.Plus(-1)) })
				s.all(r, closed)
			})
		})
		return nil
	}, func() []kernel.Vec {
		s.ifSelects(r, func() {
			s.score(r, gh, split, splits, closed)
			s.arrive(r, gh, splits, closed)
		})
		return nil
	})
	g.Sync()
}

// closes says whether the row is the first after a page that it closed: no step of single
// rows has made the summaries of that yet. A page opens with a selection, however seldom
// these are.
func (s selectorGPU) closes(r selected, closed kernel.I64) kernel.Bool {
	return s.k.Int(0).Lt(closed).And(r.i.Modulo(int64(s.p.Page)).Eq(s.k.Int(0)))
}

// close makes the summaries of a page, by one warp.
func (s selectorGPU) close(r selected, page kernel.I64) {
	k, p, g := s.k, s.p, s.r.g
	m := summariser{k, g, p.KVHeads, p.Dim, p.Page, p.Summary, p.CacheEnc}
	at := m.at(physical(k, r.slot, page))
	kernel.Each(k, k.Int(0), k.Int(int64(p.Page/p.Summary)), 1, func(number kernel.I64) {
		kernel.Each(k, g.Lane().Times(2), k.Int(int64(s.pad)), 64, func(x kernel.I64) {
			m.channels(at, r.h, number, x, k.Int(int64(p.Summary)))
		})
	})
	g.SyncWarp()
}

// arrive makes the lists if this item is the last of its slot's kv head.
func (s selectorGPU) arrive(r selected, gh, splits, closed kernel.I64) {
	k, g := s.k, s.r.g
	g.Fence()
	g.Sync()
	last := splits.Plus(-1).I32()
	s.one(func() {
		counter := kernel.As[kernel.I32](kernel.Arg[kernel.F32](k, "scores")).At(gh)
		kernel.StoreI32(s.word(0), g.Arrive(counter, last))
	})
	g.Sync()
	kernel.When(k, kernel.LoadI32(s.word(0)).Eq(last), func() {
		g.Fence()
		s.choose(r, gh, closed)
	})
}

// Shared memory: counts of a digit, values of warps, words.
func (s selectorGPU) counts() kernel.Ptr[kernel.I32] { return kernel.SharedAt[kernel.I32](s.k, 4*32) }
func (s selectorGPU) word(i int64) kernel.Ptr[kernel.I32] {
	return kernel.SharedAt[kernel.I32](s.k, 4*(32+256+i))
}

// one is for the block's first thread.
func (s selectorGPU) one(f func()) { kernel.When(s.k, s.r.g.Thread().Eq(s.k.Int(0)), f) }

// all lists every page of a short slot.
func (s selectorGPU) all(r selected, closed kernel.I64) {
	k := s.k
	s.r.g.Sync() // all threads have seen of which stretch the list was
	s.listsGPU(r, func(list kernel.Ptr[kernel.I32], _ int64) {
		kernel.Each(k, s.r.g.Thread(), closed.Plus(1), s.r.threads(), func(j kernel.I64) { kernel.StoreI32(list.At(j), j.I32()) })
	})
}

// listsGPU gives each list of the row's kv head, and the query whose scores it goes by.
func (s selectorGPU) listsGPU(r selected, f func(list kernel.Ptr[kernel.I32], g int64)) {
	k, p := s.k, s.p
	n := int64(p.Lists() / p.KVHeads)
	for g := range n {
		l := r.h.Times(n).Plus(g)
		if p.Every > 0 {
			list := keptList(k, "kept", p.Lists(), p.Budget, r.slot, s.closed(r), l)
			f(list.Plus(1), g)
			// The stretch is written when the list is whole: items that start late look at it.
			s.one(func() { kernel.StoreI32(list, r.i.Over(int64(p.Every)).I32()) })
			continue
		}
		f(kernel.Arg[kernel.I32](k, "pick").At(r.n.Times(int64(p.Lists())).Add(l).Times(int64(p.Budget))), g)
	}
}

// score scores the split's closed pages, warp by warp.
func (s selectorGPU) score(r selected, gh, split, splits, closed kernel.I64) {
	k, p, g := s.k, s.p, s.r.g
	at := func(split kernel.I64) kernel.I64 { return split.Mul(closed).I32().Over(splits.I32()).I64() }
	from, to := at(split), at(split.Plus(1))
	words := (s.pad/2 + 31) / 32
	for first := 0; first < s.group; first += work.QueriesGPU {
		n := min(work.QueriesGPU, s.group-first)
		q := s.parts(r, first, n, words)
		kernel.Each(k, from.Add(g.Warp()), to, work.SelectWarps, func(page kernel.I64) {
			if first == 0 {
				kernel.When(k, page.Eq(closed.Plus(-1)).And(s.closes(r, closed)), func() { s.close(r, page) })
			}
			stride := work.PageStride(p.KVHeads, p.Dim, p.Page, p.Summary, p.CacheEnc)
			each := int64(p.Page / p.Summary)
			base := kernel.Arg[kernel.U8](k, "cache").At(physical(k, r.slot, page).Times(stride).Plus(work.PageBytes(p.KVHeads, p.Dim, p.Page, p.CacheEnc)).
				Add(r.h.Times(each * int64(4*s.pad))))
			best := make([]kernel.F32, n)
			for j := range best {
				best[j] = negInf(k)
			}
			best = kernel.For(k, k.Int(0), k.Int(each), 1, best, func(i kernel.I64, c []kernel.F32) []kernel.F32 {
				sums := s.summary(base.At(i.Times(int64(4*s.pad))), q, n, words)
				out := make([]kernel.F32, n)
				for j := range out {
					out[j] = g.MaxF(c[j], s.r.combine(sums[j], false, kernel.F32.Add))
				}
				return out
			})
			kernel.When(k, g.Lane().Eq(k.Int(0)), func() {
				for j := range best {
					kernel.StoreF32(s.scoresOf(gh, int64(first+j)).At(page), best[j])
				}
			})
		})
	}
}

// parts are a lane's channels of the queries, times Scale: [query][word][two].
func (s selectorGPU) parts(r selected, first, n, words int) [][][2]kernel.F32 {
	k, p := s.k, s.p
	kv := r.n.Times(int64(p.KVHeads)).Add(r.h)
	if p.Among > 0 {
		kv = r.n.Times(int64(p.Among / s.group)).Add(listed(k, r.h))
	}
	q := kernel.Arg[kernel.F32](k, "q").At(kv.Times(int64(s.group * p.Dim)))
	out := make([][][2]kernel.F32, n)
	for j := range out {
		for w := range words {
			at := s.r.g.Lane().Plus(int64(32 * w)).Times(2)
			var two [2]kernel.F32
			for e := range two {
				i := at.Plus(int64(e))
				x := kernel.LoadF32(q.Plus(int64((first + j) * p.Dim)).At(i.Min(k.Int(int64(p.Dim - 1)))))
				two[e] = kernel.Select(i.Lt(k.Int(int64(p.Dim))), x.Mul(k.Float(p.Scale)), k.Float(0))
			}
			out[j] = append(out[j], two)
		}
	}
	return out
}

// summary is a lane's part of each query's bound.
func (s selectorGPU) summary(at kernel.Ptr[kernel.U8], q [][][2]kernel.F32, n, words int) []kernel.F32 {
	k, g, h := s.k, s.r.g, halfOf(s.p.CacheEnc)
	sums := make([]kernel.F32, n)
	for j := range sums {
		sums[j] = k.Float(0)
	}
	for w := range words {
		i := g.Lane().Plus(int64(32 * w)).Min(k.Int(int64(s.pad/2 - 1))) // beyond, queries are 0
		var bounds [2][2]kernel.F32                                      // [largest, least][channel]
		for b := range bounds {
			lo, hi := g.Unpack(h, kernel.LoadWords(at.At(i.Times(4)).Plus(int64(b*2*s.pad)), 1)[0])
			bounds[b] = [2]kernel.F32{lo, hi}
		}
		for j := range sums {
			for e, x := range q[j][w] {
				up := x.Gt(k.Float(0))
				sums[j] = x.FMA(kernel.Select(up, bounds[0][e], bounds[1][e]), sums[j])
			}
		}
	}
	return sums
}

// choose makes the lists: scores become integers of the same order, the least that is
// picked is found by four digits of eight bits, and the pages are written in their order.
func (s selectorGPU) choose(r selected, gh, closed kernel.I64) {
	k := s.k
	if !s.p.PerHead && s.group > 1 {
		s.shareGPU(gh, closed)
	}
	s.listsGPU(r, func(list kernel.Ptr[kernel.I32], g int64) {
		scores := s.scoresOf(gh, g)
		keys := kernel.As[kernel.I32](scores)
		kernel.Each(k, s.r.g.Thread(), closed, s.r.threads(), func(i kernel.I64) {
			bits := kernel.LoadI32(keys.At(i))
			negative := bits.Lt(k.Int32(0))
			// As unsigned numbers: larger for larger scores.
			kernel.StoreI32(keys.At(i), kernel.Select(negative, bits.Xor(-1), bits.Xor(math.MinInt32)))
		})
		s.r.g.Sync()
		s.best(keys, closed, list)
	})
}

// shareGPU makes the first query's scores those of the group.
func (s selectorGPU) shareGPU(gh, closed kernel.I64) {
	k, g := s.k, s.r.g
	for q := range int64(s.group) {
		scores := s.scoresOf(gh, q)
		top := kernel.For(k, g.Thread(), closed, s.r.threads(), []kernel.F32{negInf(k)}, func(i kernel.I64, c []kernel.F32) []kernel.F32 {
			return []kernel.F32{g.MaxF(c[0], kernel.LoadF32(scores.At(i)))}
		})[0]
		top = s.r.combine(top, true, g.MaxF)
		first := s.scoresOf(gh, 0)
		kernel.Each(k, g.Thread(), closed, s.r.threads(), func(i kernel.I64) {
			v := kernel.LoadF32(scores.At(i)).Sub(top)
			if q > 0 {
				v = g.MaxF(v, kernel.LoadF32(first.At(i)))
			}
			kernel.StoreF32(first.At(i), v)
		})
	}
	g.Sync()
}

// best lists the Budget-1 pages of the largest keys, ascending, then the open one.
func (s selectorGPU) best(keys kernel.Ptr[kernel.I32], closed kernel.I64, list kernel.Ptr[kernel.I32]) {
	want := int64(s.p.Budget - 1)
	s.one(func() { kernel.StoreI32(list.Plus(want), closed.I32()) })
	if want == 0 {
		return
	}
	least, room := s.least(keys, closed, want)
	s.write(keys, closed, least, room, list)
}

// least finds the want-th largest key, and how many of its equals are picked.
func (s selectorGPU) least(keys kernel.Ptr[kernel.I32], closed kernel.I64, want int64) (least, room kernel.I32) {
	k, g := s.k, s.r.g
	least, room = k.Int32(0), k.Int32(int32(want))
	for shift := int32(24); shift >= 0; shift -= 8 {
		kernel.Each(k, g.Thread(), k.Int(256), s.r.threads(), func(i kernel.I64) { kernel.StoreI32(s.counts().At(i), k.Int32(0)) })
		g.Sync()
		kernel.Each(k, g.Thread(), closed, s.r.threads(), func(i kernel.I64) {
			key := kernel.LoadI32(keys.At(i))
			// Of those that share the digits found so far.
			same := k.Bool(true)
			if shift < 24 {
				same = key.Shr(shift + 8).Eq(least.Shr(shift + 8))
			}
			kernel.When(k, same, func() {
				g.AtomicAddShared(s.counts().At(key.Shr(shift).And(255).I64()), k.Int32(1))
			})
		})
		g.Sync()
		least0, room0 := least, room
		s.one(func() {
			// From the largest digit down until there is no more room.
			v := kernel.While(k, []kernel.I32{k.Int32(255), room0}, func(c []kernel.I32) (kernel.Bool, []kernel.I32) {
				n := kernel.LoadI32(s.counts().At(c[0].I64()))
				more := n.Lt(c[1])
				return more, []kernel.I32{kernel.Select(more, c[0].Add(k.Int32(-1)), c[0]), kernel.Select(more, c[1].Sub(n), c[1])}
			})
			kernel.StoreI32(s.word(1), least0.Or(v[0].Shl(shift)))
			kernel.StoreI32(s.word(2), v[1])
		})
		g.Sync()
		least, room = kernel.LoadI32(s.word(1)), kernel.LoadI32(s.word(2))
	}
	return least, room
}

// write lists the pages in their order: each thread has a run of them, and learns from the
// sums of those before where its own begin.
func (s selectorGPU) write(keys kernel.Ptr[kernel.I32], closed kernel.I64, least, room kernel.I32, list kernel.Ptr[kernel.I32]) {
	k, g := s.k, s.r.g
	run := closed.Plus(s.r.threads() - 1).Over(s.r.threads())
	from := g.Thread().Mul(run).Min(closed)
	to := from.Add(run).Min(closed)
	low := least.Xor(math.MinInt32) // in the order of signed numbers
	one, zero := k.Int32(1), k.Int32(0)
	above := func(i kernel.I64) (more, same kernel.Bool) {
		key := kernel.LoadI32(keys.At(i)).Xor(math.MinInt32)
		return low.Lt(key), key.Eq(low)
	}
	n := kernel.For(k, from, to, 1, []kernel.I32{zero, zero}, func(i kernel.I64, c []kernel.I32) []kernel.I32 {
		more, same := above(i)
		return []kernel.I32{c[0].Add(kernel.Select(more, one, zero)), c[1].Add(kernel.Select(same, one, zero))}
	})
	start := []kernel.I32{s.before(n[0]), s.before(n[1])}
	kernel.For(k, from, to, 1, start, func(i kernel.I64, c []kernel.I32) []kernel.I32 {
		more, same := above(i)
		ties := kernel.Select(c[1].Lt(room), c[1], room) // those before that were taken
		take := more.Or(same.And(c[1].Lt(room)))
		kernel.When(k, take, func() { kernel.StoreI32(list.At(c[0].Add(ties).I64()), i.I32()) })
		return []kernel.I32{c[0].Add(kernel.Select(more, one, zero)), c[1].Add(kernel.Select(same, one, zero))}
	})
}

// before is the sum of a number over the threads before this one.
func (s selectorGPU) before(n kernel.I32) kernel.I32 {
	k, g := s.k, s.r.g
	sum := n
	for d := int64(1); d < 32; d *= 2 {
		up := g.UpI32(sum, d)
		sum = sum.Add(kernel.Select(g.Lane().Lt(k.Int(d)), k.Int32(0), up))
	}
	warps := kernel.SharedAt[kernel.I32](k, 0)
	g.Sync()
	kernel.When(k, g.Lane().Eq(k.Int(31)), func() { kernel.StoreI32(warps.At(g.Warp()), sum) })
	g.Sync()
	out := sum.Sub(n)
	for w := range int64(s.r.warps) {
		in := k.Int(w).Lt(g.Warp())
		out = out.Add(kernel.Select(in, kernel.LoadI32(warps.Plus(w)), k.Int32(0)))
	}
	return out
}
