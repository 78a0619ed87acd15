package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// What an item of PageSelectGPU does first: scores of its pages. A warp takes 16 summaries at
// a time, a tile:
//
//	scores^T [16 summaries][8 queries] = summaries [16][max, min] * [parts above, parts below]^T
//
// Both parts of a query are the sum of two numbers of 16 bits, so that products are as good as
// in float32. The block makes them once, in shared memory, while the warps' first tiles are
// under way. A lane takes 16 bytes of every 64 of a summary, and has a whole tile of up to 128
// channels under way: 8 KiB a warp. 4 dim bytes move a summary.

// stripsOf is the number of strips of 32 channels of a summary.
func (s selectorGPU) stripsOf() int { return (s.pad + 31) / 32 }

// fragment is where a strip's columns of a part (0 above, 1 below) lie for this lane: words of
// what is rounded, then of what is left, 16 bytes each.
func (s selectorGPU) fragment(strip kernel.I64, part int) kernel.Ptr[kernel.I32] {
	lane := s.r.g.Lane().Times(4)
	return kernel.As[kernel.I32](s.room().At(strip.Times(2).Plus(int64(part)).Times(64 * 4).Add(lane)))
}

// score scores the split's closed pages.
func (s selectorGPU) score(r selected, gh, split, splits, closed kernel.I64) {
	k, g := s.k, s.r.g
	tiles := s.tiles(closed)
	at := func(split kernel.I64) kernel.I64 { return split.Mul(tiles).I32().Over(splits.I32()).I64() }
	from, to := at(split).Add(g.Warp()), at(split.Plus(1))
	for first := 0; first < s.group; first += work.QueriesGPU {
		n := min(work.QueriesGPU, s.group-first)
		none := []kernel.F32{negInf(k), negInf(k)}
		query := s.queryStrip(r, first, n)
		var ahead []kernel.I32
		if s.ahead() {
			zero := make([]kernel.I32, s.words())
			for i := range zero {
				zero[i] = k.Int32(0)
			}
			ahead = kernel.If(k, from.Lt(to), zero, func() []kernel.I32 {
				s.closeLast(r, from, tiles, closed, first)
				return s.loadTile(s.tile(r, from, closed))
			}, nil)
		}
		s.columnsOf(query, n)
		g.Sync()
		v := kernel.For(k, from, to, work.SelectWarps, append(values(none...), values(ahead...)...), func(t kernel.I64, c []kernel.Value) []kernel.Value {
			top, ahead := unwrap[kernel.F32](&c, 2), unwrap[kernel.I32](&c, len(ahead))
			var x [4]kernel.F32
			if s.ahead() {
				x = s.product(0, s.stripsOf(), ahead)
			} else {
				s.closeLast(r, t, tiles, closed, first)
				x = s.streamTile(s.tile(r, t, closed))
			}
			s.keep(gh, t, first, n, closed, x, top)
			if next := t.Plus(work.SelectWarps); s.ahead() {
				ahead = kernel.If(k, next.Lt(to), ahead, func() []kernel.I32 {
					s.closeLast(r, next, tiles, closed, first)
					return s.loadTile(s.tile(r, next, closed))
				}, nil)
			}
			return append(values(top...), values(ahead...)...)
		})
		s.leaveTops(first, n, unwrap[kernel.F32](&v, 2))
		if first+n < s.group {
			g.Sync() // the columns are read
		}
	}
	s.shareTops(gh, split)
}

// closeLast makes the summaries of a page that this row is the first to find closed.
func (s selectorGPU) closeLast(r selected, t, tiles, closed kernel.I64, first int) {
	if first == 0 {
		kernel.When(s.k, t.Eq(tiles.Plus(-1)).And(s.closes(r, closed)), func() { s.close(r, closed.Plus(-1)) })
	}
}

// keep stores a tile's scores of queries first to first+n-1, and moves top to them.
func (s selectorGPU) keep(gh, t kernel.I64, first, n int, closed kernel.I64, x [4]kernel.F32, top []kernel.F32) {
	k, g := s.k, s.r.g
	lane := s.lane()
	row, quad := lane.Shr(2), lane.And(k.Int(3))
	for e := range 2 {
		query := quad.Times(2).Plus(int64(e))
		live := query.Lt(k.Int(int64(n)))
		var best kernel.F32
		for h := range 2 {
			v := s.best(x, h, e)
			in := row.Plus(int64(8 * h))
			page := t.Times(int64(s.p.TilePages())).Add(in.Over(int64(s.per)))
			leads := in.Modulo(int64(s.per)).Eq(k.Int(0))
			kernel.When(k, leads.And(page.Lt(closed)).And(live), func() {
				kernel.StoreF32(s.scoresOf(gh, page).At(query).Plus(int64(first)), v)
			})
			if h > 0 {
				v = g.MaxF(best, v)
			}
			best = v
		}
		top[e] = g.MaxF(top[e], best)
		if !s.p.Coarse() {
			continue
		}
		for lanes := int64(4); lanes <= 16; lanes *= 2 {
			best = g.MaxF(best, g.Xor(best, lanes))
		}
		kernel.When(k, live.And(row.Eq(k.Int(0))), func() {
			kernel.StoreF32(s.bestOf(gh, t).At(query).Plus(int64(first)), best)
		})
	}
}

// tile is where a lane begins to read its two summaries of a tile: 16 bytes of every 64. In
// place of pages that are not closed stands the last one that is.
func (s selectorGPU) tile(r selected, t, closed kernel.I64) [2]kernel.Ptr[kernel.U8] {
	k, p := s.k, s.p
	stride := work.PageStride(p.KVHeads, p.Dim, p.Page, p.Summary, p.CacheEnc)
	lane := s.lane()
	row := lane.Shr(2)
	var out [2]kernel.Ptr[kernel.U8]
	for h := range out {
		in := row.Plus(int64(8 * h))
		page := t.Times(int64(p.TilePages())).Add(in.Over(int64(s.per))).Min(closed.Plus(-1))
		at := physical(k, r.slot, page).Times(stride).Plus(work.PageBytes(p.KVHeads, p.Dim, p.Page, p.CacheEnc))
		at = at.Add(r.h.Times(int64(s.per)).Add(in.Modulo(int64(s.per))).Times(int64(4 * s.pad)))
		out[h] = kernel.Arg[kernel.U8](k, "cache").At(at.Add(lane.And(k.Int(3)).Times(16)))
	}
	return out
}

// lane is read anew in each turn: registers are for tiles, not for what follows from it.
func (s selectorGPU) lane() kernel.I64 { return s.r.g.ThreadAgain().And(s.k.Int(31)) }

// ahead says whether registers hold a whole tile; words is how many a lane has of it.
func (s selectorGPU) ahead() bool { return s.pad <= 128 }
func (s selectorGPU) words() int  { return s.stripsOf() * 16 }

func (s selectorGPU) loadTile(from [2]kernel.Ptr[kernel.U8]) []kernel.I32 {
	var out []kernel.I32
	for strip := range s.stripsOf() {
		out = append(out, s.loadStrip(from, strip)...)
	}
	return out
}

// loadStrip loads a strip of the largest, then of the least, of both summaries.
func (s selectorGPU) loadStrip(from [2]kernel.Ptr[kernel.U8], strip int) []kernel.I32 {
	var out []kernel.I32
	for part := range 2 {
		for h := range from {
			out = append(out, s.load(from[h], 32*strip, part)...)
		}
	}
	return out
}

// streamTile is a product whose loads are under way by two strips.
func (s selectorGPU) streamTile(from [2]kernel.Ptr[kernel.U8]) [4]kernel.F32 {
	var sum [4]kernel.F32
	for strip := 0; strip < s.stripsOf(); strip += 2 {
		end := min(strip+2, s.stripsOf())
		var words []kernel.I32
		for i := strip; i < end; i++ {
			words = append(words, s.loadStrip(from, i)...)
		}
		x := s.product(strip, end, words)
		for e := range sum {
			if strip > 0 {
				x[e] = x[e].Add(sum[e])
			}
			sum[e] = x[e]
		}
	}
	return sum
}

// product is a tile's product over some strips, in two chains: with what is rounded of the
// columns, and with what is left.
func (s selectorGPU) product(strip, end int, words []kernel.I32) [4]kernel.F32 {
	g := s.r.g
	sum := [2][4]kernel.F32{g.NoSum(), g.NoSum()}
	for ; strip < end; strip++ {
		for part := range 2 {
			a := [2][]kernel.I32{words[:4], words[4:8]}
			words = words[8:]
			at := s.fragment(s.k.Int(int64(strip)), part)
			for i := range sum {
				b := kernel.LoadWords(at.Plus(int64(128*i)), 4)
				for j := 0; j < 4; j += 2 {
					sum[i] = g.Mma(s.half, [4]kernel.I32{a[0][j], a[1][j], a[0][j+1], a[1][j+1]}, [2]kernel.I32{b[j], b[j+1]}, sum[i])
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
	inside := s.lane().And(k.Int(3)).Times(8).Lt(k.Int(int64(s.pad - channel)))
	return kernel.If(k, inside, []kernel.I32{z, z, z, z}, func() []kernel.I32 { return kernel.LoadWords(at, 4) }, nil)
}

// columnsOf makes columns in shared memory of what the warps have of n queries.
func (s selectorGPU) columnsOf(x []kernel.F32, n int) {
	k, g := s.k, s.r.g
	live := g.Lane().Shr(2).Lt(k.Int(int64(n)))
	for j := range x {
		x[j] = kernel.Select(live, x[j].Mul(k.Float(s.p.Scale)), k.Float(0))
	}
	kernel.When(k, g.Warp().Lt(k.Int(int64(s.stripsOf()))), func() {
		for part := range 2 {
			high, low := s.columns(x, part)
			at := s.fragment(g.Warp(), part)
			kernel.StoreWords(at, high)
			kernel.StoreWords(at.Plus(128), low)
		}
	})
}

// queryStrip is a lane's 8 channels of one of queries first to first+n-1, in the warp's strip:
// zeros beyond Dim. There are no more strips than warps; those that have none take the last.
func (s selectorGPU) queryStrip(r selected, first, n int) []kernel.F32 {
	k, p, g := s.k, s.p, s.r.g
	kv := r.n.Times(int64(p.KVHeads)).Add(r.h)
	if p.Among > 0 {
		kv = r.n.Times(int64(p.Among / s.group)).Add(listed(k, r.h))
	}
	query := g.Lane().Shr(2).Min(k.Int(int64(n - 1)))
	q := kernel.Arg[kernel.F32](k, "q").At(kv.Times(int64(s.group)).Plus(int64(first)).Add(query).Times(int64(p.Dim)))
	strip := g.Warp().Min(k.Int(int64(s.stripsOf() - 1)))
	at := g.Lane().And(k.Int(3)).Times(8).Add(strip.Times(32))
	if p.Dim%32 == 0 {
		return append(kernel.LoadFloats(q.At(at), 4), kernel.LoadFloats(q.At(at).Plus(4), 4)...)
	}
	var out []kernel.F32
	last := k.Int(int64(p.Dim - 1))
	for j := range int64(8) {
		i := at.Plus(j)
		out = append(out, kernel.Select(i.Le(last), kernel.LoadF32(q.At(i.Min(last))), k.Float(0)))
	}
	return out
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
