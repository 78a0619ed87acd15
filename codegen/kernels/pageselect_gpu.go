package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
	"quire/ir/work"
)

// selectorGPU is the selector on a GPU. A summary is a row of twice as many channels, the
// largest and the least; queries are columns, their parts above 0 times the former, those
// below times the latter. A warp takes 16 summaries at a time:
//
//	scores^T [16 summaries][8 queries] = summaries [16][max, min] * [parts above, parts below]^T
//
// Both parts are the sum of two numbers of 16 bits, so that products are as good as in
// float32. A page scores as its best summary. The last item of a slot's kv head makes the
// lists (pageselect_pick_gpu.go).
//
// Temp: a counter for each slot's kv head, the best score of each item's queries
// [slot, kv head][MaxSplits][query], scores [slot, kv head][P][query], and keys of lists
// [slot, list][P].
type selectorGPU struct {
	selector
	p    work.PageSelectGPU
	r    rowGPU
	half kernel.Half
	per  int // summaries of a page
}

func newSelectorGPU(k *kernel.Kernel, p work.PageSelectGPU) selectorGPU {
	return selectorGPU{newSelector(k, p.PageSelect), p, newRowGPU(k, p), halfOf(kvpage.SummaryEnc(p.CacheEnc)), p.Page / p.Summary}
}

func (s selectorGPU) temp() kernel.Ptr[kernel.F32] {
	return kernel.Arg[kernel.F32](s.k, "scores").Plus(work.CounterBytes / 4)
}

// topsOf are the best scores of an item's queries.
func (s selectorGPU) topsOf(gh, split kernel.I64) kernel.Ptr[kernel.F32] {
	return s.temp().At(gh.Times(work.MaxSplits).Add(split).Times(int64(s.group)))
}

// scoresOf are those of a page.
func (s selectorGPU) scoresOf(gh, page kernel.I64) kernel.Ptr[kernel.F32] {
	k := s.k
	skip := k.Dim("S").Times(int64(s.p.Heads) * work.MaxSplits)
	return s.temp().At(skip.Add(gh.Mul(k.Dim("P")).Add(page).Times(int64(s.group))))
}

// keysOf are the keys of list g of a kv head.
func (s selectorGPU) keysOf(gh kernel.I64, g int64) kernel.Ptr[kernel.I32] {
	k, lists := s.k, int64(s.p.Lists()/s.p.KVHeads)
	skip := k.Dim("S").Times(int64(s.p.Heads)).Mul(k.Dim("P").Plus(work.MaxSplits))
	return kernel.As[kernel.I32](s.temp().At(skip.Add(gh.Times(lists).Plus(g).Mul(k.Dim("P")))))
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
		s.choose(r, gh, splits, closed)
	})
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

// score scores the split's closed pages, by tiles of 16 summaries.
func (s selectorGPU) score(r selected, gh, split, splits, closed kernel.I64) {
	k, g := s.k, s.r.g
	pages := int64(16 / s.per) // of a tile
	tiles := closed.Plus(pages - 1).Over(pages)
	at := func(split kernel.I64) kernel.I64 { return split.Mul(tiles).I32().Over(splits.I32()).I64() }
	from, to := at(split), at(split.Plus(1))
	row, quad := g.Lane().Shr(2), g.Lane().And(k.Int(3))
	for first := 0; first < s.group; first += work.QueriesGPU {
		n := min(work.QueriesGPU, s.group-first)
		q := s.queries(r, first, n)
		none := []kernel.F32{negInf(k), negInf(k)}
		top := kernel.For(k, from.Add(g.Warp()), to, work.SelectWarps, none, func(t kernel.I64, top []kernel.F32) []kernel.F32 {
			if first == 0 {
				kernel.When(k, t.Eq(tiles.Plus(-1)).And(s.closes(r, closed)), func() { s.close(r, closed.Plus(-1)) })
			}
			var page [2]kernel.I64
			var from [2]kernel.Ptr[kernel.U8]
			for h := range page {
				in := row.Plus(int64(8 * h)) // the summary in the tile
				page[h] = t.Times(pages).Add(in.Over(int64(s.per)))
				from[h] = s.summaryOf(r, page[h].Min(closed.Plus(-1)), in.Modulo(int64(s.per)))
			}
			x := s.bounds(from, q)
			for h := range page {
				for e := range 2 {
					v := s.best(x, h, e)
					top[e] = g.MaxF(top[e], v)
					query := quad.Times(2).Plus(int64(e))
					leads := row.Plus(int64(8 * h)).Modulo(int64(s.per)).Eq(k.Int(0))
					kernel.When(k, leads.And(page[h].Lt(closed)).And(query.Lt(k.Int(int64(n)))), func() {
						kernel.StoreF32(s.scoresOf(gh, page[h]).At(query).Plus(int64(first)), v)
					})
				}
			}
			return top
		})
		s.leaveTops(first, n, top)
	}
	s.shareTops(gh, split)
}

// summaryOf is where a lane begins to read a summary: 16 bytes of every 64.
func (s selectorGPU) summaryOf(r selected, page, number kernel.I64) kernel.Ptr[kernel.U8] {
	k, p := s.k, s.p
	stride := work.PageStride(p.KVHeads, p.Dim, p.Page, p.Summary, p.CacheEnc)
	at := physical(k, r.slot, page).Times(stride).Plus(work.PageBytes(p.KVHeads, p.Dim, p.Page, p.CacheEnc))
	at = at.Add(r.h.Times(int64(s.per)).Add(number).Times(int64(4 * s.pad)))
	return kernel.Arg[kernel.U8](k, "cache").At(at.Add(s.r.g.Lane().And(k.Int(3)).Times(16)))
}

// queries is a lane's part of the columns, times Scale: 8 channels of every 32 of a query. A
// warp has a tile or two, so they are read where they are needed.
func (s selectorGPU) queries(r selected, first, n int) func(channel int) []kernel.F32 {
	k, p, g := s.k, s.p, s.r.g
	kv := r.n.Times(int64(p.KVHeads)).Add(r.h)
	if p.Among > 0 {
		kv = r.n.Times(int64(p.Among / s.group)).Add(listed(k, r.h))
	}
	query := g.Lane().Shr(2)
	live := query.Lt(k.Int(int64(n)))
	q := kernel.Arg[kernel.F32](k, "q").At(kv.Times(int64(s.group)).Plus(int64(first)).Add(query.Min(k.Int(int64(n - 1)))).Times(int64(p.Dim)))
	return func(channel int) []kernel.F32 {
		var out []kernel.F32
		at := g.Lane().And(k.Int(3)).Times(8).Plus(int64(channel))
		if p.Dim%32 == 0 {
			out = append(kernel.LoadFloats(q.At(at), 4), kernel.LoadFloats(q.At(at).Plus(4), 4)...)
		} else {
			last := k.Int(int64(p.Dim - 1))
			for j := range int64(8) {
				i := at.Plus(j)
				out = append(out, kernel.Select(i.Le(last), kernel.LoadF32(q.At(i.Min(last))), k.Float(0)))
			}
		}
		for j := range out {
			out[j] = kernel.Select(live, out[j].Mul(k.Float(p.Scale)), k.Float(0))
		}
		return out
	}
}

// bounds is the tile's product, in two chains: with what is rounded of the columns, and with
// what is left.
func (s selectorGPU) bounds(from [2]kernel.Ptr[kernel.U8], q func(channel int) []kernel.F32) [4]kernel.F32 {
	g := s.r.g
	sum := [2][4]kernel.F32{g.NoSum(), g.NoSum()}
	const most = 64 // channels whose loads are under way
	for first := 0; first < s.pad; first += most {
		var words [][2][2][]kernel.I32 // [32 channels][largest, least][half of the tile]
		for channel := first; channel < min(first+most, s.pad); channel += 32 {
			var w [2][2][]kernel.I32
			for part := range w {
				for h := range w[part] {
					w[part][h] = s.load(from[h], channel, part)
				}
			}
			words = append(words, w)
		}
		for i, w := range words {
			x := q(first + 32*i)
			for part := range w {
				high, low := s.columns(x, part)
				a := w[part]
				for j := 0; j < 4; j += 2 {
					rows := [4]kernel.I32{a[0][j], a[1][j], a[0][j+1], a[1][j+1]}
					sum[0] = g.Mma(s.half, rows, [2]kernel.I32{high[j], high[j+1]}, sum[0])
					sum[1] = g.Mma(s.half, rows, [2]kernel.I32{low[j], low[j+1]}, sum[1])
				}
			}
		}
	}
	for e := range sum[0] {
		sum[0][e] = sum[0][e].Add(sum[1][e])
	}
	return sum[0]
}

// load is a lane's 8 channels of a summary's part; beyond the padding zeros.
func (s selectorGPU) load(from kernel.Ptr[kernel.U8], channel, part int) []kernel.I32 {
	k := s.k
	at := from.Plus(int64(2 * (part*s.pad + channel)))
	if channel+32 <= s.pad {
		return kernel.LoadWords(at, 4)
	}
	z := k.Int32(0)
	inside := s.r.g.Lane().And(k.Int(3)).Times(8).Lt(k.Int(int64(s.pad - channel)))
	return kernel.If(k, inside, []kernel.I32{z, z, z, z}, func() []kernel.I32 { return kernel.LoadWords(at, 4) }, nil)
}

// columns are the parts of queries above (0) or below (1) 0: rounded, and what is left.
func (s selectorGPU) columns(x []kernel.F32, part int) (high, low []kernel.I32) {
	k, g := s.k, s.r.g
	for j := 0; j < len(x); j += 2 {
		var v, rest [2]kernel.F32
		for e := range v {
			up := x[j+e].Gt(k.Float(0))
			v[e] = kernel.Select(up, x[j+e], k.Float(0))
			if part == 1 {
				v[e] = kernel.Select(up, k.Float(0), x[j+e])
			}
		}
		w := g.Pack(s.half, v[0], v[1])
		rest[0], rest[1] = g.Unpack(s.half, w)
		high = append(high, w)
		low = append(low, g.Pack(s.half, v[0].Sub(rest[0]), v[1].Sub(rest[1])))
	}
	return high, low
}

// best is the best summary of the page that a lane's row, of a half of the tile, belongs to.
func (s selectorGPU) best(x [4]kernel.F32, half, e int) kernel.F32 {
	g := s.r.g
	v := x[2*half+e]
	if s.per == 16 {
		v = g.MaxF(x[e], x[2+e])
	}
	for rows := 1; rows < min(s.per, 8); rows *= 2 {
		v = g.MaxF(v, g.Xor(v, int64(4*rows)))
	}
	return v
}
