package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// What the last item of a slot's kv head does in PageSelectGPU: lists of the best pages.
//
// With few pages wanted (Coarse) it looks at tiles first. The wanted number of tiles that are
// best, ties to the lower, hold all pages that are: each of those tiles has a page no worse
// than any page of the others. So what is read does not grow with the pages, but with a
// sixteenth of the summaries.
//
// Shared memory: 32 words for what a block combines, 256 counts of a digit, four words, the
// warps' best scores [warp][query], then room for columns while pages are scored, for keys
// and the tiles that were picked later.

func (s selectorGPU) counts() kernel.Ptr[kernel.I32] { return kernel.SharedAt[kernel.I32](s.k, 4*32) }
func (s selectorGPU) word(i int64) kernel.Ptr[kernel.I32] {
	return kernel.SharedAt[kernel.I32](s.k, 4*(32+256+i))
}
func (s selectorGPU) warpTops() kernel.Ptr[kernel.F32] {
	return kernel.SharedAt[kernel.F32](s.k, 4*(32+256+4))
}
func (s selectorGPU) room() kernel.Ptr[kernel.I32] {
	return kernel.SharedAt[kernel.I32](s.k, s.p.RoomAt())
}

// picks are the tiles that were picked.
func (s selectorGPU) picks() kernel.Ptr[kernel.I32] { return s.room().Plus(int64(s.p.Keys)) }

// shares says whether the queries of a kv head have one list: then each query's scores count
// from its best.
func (s selectorGPU) shares() bool { return !s.p.PerHead && s.group > 1 }

// leaveTops writes a warp's best scores of queries first to first+n-1.
func (s selectorGPU) leaveTops(first, n int, top []kernel.F32) {
	k, g := s.k, s.r.g
	if !s.shares() {
		return
	}
	for e := range top {
		for lanes := int64(4); lanes <= 16; lanes *= 2 {
			top[e] = g.MaxF(top[e], g.Xor(top[e], lanes))
		}
		query := g.Lane().Times(2).Plus(int64(e)) // of the first four lanes
		kernel.When(k, query.Lt(k.Int(int64(min(n, 8)))).And(g.Lane().Lt(k.Int(4))), func() {
			kernel.StoreF32(s.warpTops().At(g.Warp().Times(int64(s.group)).Add(query)).Plus(int64(first)), top[e])
		})
	}
}

// shareTops writes the block's.
func (s selectorGPU) shareTops(gh, split kernel.I64) {
	k, g := s.k, s.r.g
	if !s.shares() {
		return
	}
	g.Sync()
	kernel.Each(k, g.Thread(), k.Int(int64(s.group)), s.r.threads(), func(q kernel.I64) {
		top := kernel.LoadF32(s.warpTops().At(q))
		for w := int64(1); w < work.SelectWarps; w++ {
			top = g.MaxF(top, kernel.LoadF32(s.warpTops().At(q).Plus(w*int64(s.group))))
		}
		kernel.StoreF32(s.topsOf(gh, split).At(q), top)
	})
}

// tops are the best scores of all items, if queries share a list.
func (s selectorGPU) tops(gh, splits kernel.I64) []kernel.F32 {
	k, g := s.k, s.r.g
	if !s.shares() {
		return nil
	}
	in, of := g.Thread().Lt(splits), s.topsOf(gh, g.Thread().Min(splits.Plus(-1)))
	var out []kernel.F32
	for q, w := 0, width(s.group); q < s.group; q += w {
		out = append(out, kernel.LoadFloats(of.Plus(int64(q)), w)...)
	}
	for q := range out {
		out[q] = kernel.Select(in, out[q], negInf(k))
	}
	return s.most(out)
}

// most are the maxima of the block's numbers.
func (s selectorGPU) most(x []kernel.F32) []kernel.F32 {
	k, g := s.k, s.r.g
	const once = 32 / work.SelectWarps
	all := kernel.SharedAt[kernel.F32](k, 0)
	var out []kernel.F32
	for first := 0; first < len(x); first += once {
		some := x[first:min(first+once, len(x))]
		g.Sync() // the memory may still be read from before
		for j, v := range some {
			for lanes := int64(16); lanes >= 1; lanes /= 2 {
				v = g.MaxF(v, g.Xor(v, lanes))
			}
			kernel.When(k, g.Lane().Eq(k.Int(0)), func() { kernel.StoreF32(all.At(g.Warp()).Plus(int64(j*work.SelectWarps)), v) })
		}
		g.Sync()
		for j := range some {
			v := kernel.LoadF32(all.Plus(int64(j * work.SelectWarps)))
			for w := 1; w < work.SelectWarps; w++ {
				v = g.MaxF(v, kernel.LoadF32(all.Plus(int64(j*work.SelectWarps+w))))
			}
			out = append(out, v)
		}
	}
	return out
}

// choose makes the lists. Scores become integers of the same order; the least that is picked
// is found by digits of eight bits, and the pages are written in their order.
func (s selectorGPU) choose(r selected, gh, splits, closed kernel.I64) {
	k := s.k
	tops := s.tops(gh, splits)
	s.listsGPU(r, func(list kernel.Ptr[kernel.I32], g int64) {
		want := int64(s.p.Budget - 1)
		s.one(func() { kernel.StoreI32(list.Plus(want), closed.I32()) })
		if want == 0 {
			return
		}
		pages := picking{n: closed, want: k.Int32(int32(want)), tops: tops,
			scores: func(page kernel.I64) []kernel.F32 { return s.scores(s.scoresOf(gh, page), g) },
			take:   func(at kernel.I32, page kernel.I64) { kernel.StoreI32(list.At(at.I64()), page.I32()) }}
		if !s.p.Coarse() {
			s.pick(pages, s.keysOf(gh, g))
			return
		}
		per, n := int64(s.p.TilePages()), s.tiles(closed)
		some := n.Min(k.Int(want))
		s.pick(picking{n: n, want: some.I32(), tops: tops,
			scores: func(tile kernel.I64) []kernel.F32 { return s.scores(s.bestOf(gh, tile), g) },
			take:   func(at kernel.I32, tile kernel.I64) { kernel.StoreI32(s.picks().At(at.I64()), tile.I32()) }}, s.keysOf(gh, g))
		page := func(i kernel.I64) kernel.I64 {
			return kernel.LoadI32(s.picks().At(i.Over(per))).I64().Times(per).Add(i.Modulo(per))
		}
		// The last tile has perhaps fewer pages, which then are the last.
		whole := kernel.LoadI32(s.picks().At(some.Plus(-1))).I64().Ne(n.Plus(-1))
		pages.n = some.Times(per).Sub(kernel.Select(whole, k.Int(0), n.Times(per).Sub(closed)))
		scores, take := pages.scores, pages.take
		pages.scores = func(i kernel.I64) []kernel.F32 { return scores(page(i)) }
		pages.take = func(at kernel.I32, i kernel.I64) { take(at, page(i)) }
		s.pickFrom(s.room(), pages)
	})
}

// picking is the choice of the best want of n things.
type picking struct {
	n      kernel.I64
	want   kernel.I32 // at most n
	scores func(i kernel.I64) []kernel.F32
	tops   []kernel.F32
	take   func(at kernel.I32, i kernel.I64) // those that are chosen, in their order
}

// pick has the keys in shared memory if there is room, else in far.
func (s selectorGPU) pick(p picking, far kernel.Ptr[kernel.I32]) {
	either(s.k, p.n.Le(s.k.Int(int64(s.p.Keys))), func() { s.pickFrom(s.room(), p) }, func() { s.pickFrom(far, p) })
}

// together is how many scores or keys a thread loads before it looks at them.
const together = 4

// each gives the threads keys, some at a time; in says whether there is one.
func (s selectorGPU) each(keys kernel.Ptr[kernel.I32], n kernel.I64, use func(key kernel.I32, in kernel.Bool)) {
	k := s.k
	kernel.Each(k, s.r.g.Thread(), n, together*s.r.threads(), func(i kernel.I64) {
		var x [together]kernel.I32
		for j := range x {
			x[j] = kernel.LoadI32(keys.At(i.Plus(int64(j) * s.r.threads()).Min(n.Plus(-1))))
		}
		for j := range x {
			use(x[j], i.Plus(int64(j)*s.r.threads()).Lt(n))
		}
	})
}

// scores are what list g goes by: of the scores of a page's or a tile's queries; value makes
// one number of them.
func (s selectorGPU) scores(at kernel.Ptr[kernel.F32], g int64) []kernel.F32 {
	if !s.shares() {
		return []kernel.F32{kernel.LoadF32(at.Plus(g))}
	}
	var out []kernel.F32
	for q, w := 0, width(s.group); q < s.group; q += w {
		out = append(out, kernel.LoadFloats(at.Plus(int64(q)), w)...)
	}
	return out
}

func (s selectorGPU) value(x, tops []kernel.F32) kernel.F32 {
	if !s.shares() {
		return x[0]
	}
	best := x[0].Sub(tops[0])
	for q := 1; q < len(x); q++ {
		best = s.r.g.MaxF(best, x[q].Sub(tops[q]))
	}
	return best
}

// keyOf is an integer in the order of floats; both zeros are one.
func (s selectorGPU) keyOf(x kernel.F32) kernel.I32 {
	bits := x.Add(s.k.Float(0)).Bits()
	return kernel.Select(bits.Lt(s.k.Int32(0)), bits.Xor(0x7fffffff), bits)
}

// pickFrom makes keys and takes the things with the largest.
func (s selectorGPU) pickFrom(keys kernel.Ptr[kernel.I32], p picking) {
	k, gpu := s.k, s.r.g
	bounds := kernel.For(k, gpu.Thread(), p.n, together*s.r.threads(), []kernel.F32{negInf(k), negInf(k)}, func(i kernel.I64, c []kernel.F32) []kernel.F32 {
		c = append([]kernel.F32(nil), c...)
		var loads [together][]kernel.F32
		for j := range loads {
			loads[j] = p.scores(i.Plus(int64(j) * s.r.threads()).Min(p.n.Plus(-1)))
		}
		var x [together]kernel.F32
		for j := range loads {
			x[j] = s.value(loads[j], p.tops)
		}
		for j := range x {
			at := i.Plus(int64(j) * s.r.threads())
			kernel.When(k, at.Lt(p.n), func() { kernel.StoreI32(keys.At(at), s.keyOf(x[j])) })
			c[0], c[1] = gpu.MaxF(c[0], x[j]), gpu.MaxF(c[1], x[j].Neg())
		}
		return c
	})
	bounds = s.most(bounds)
	high, low := s.keyOf(bounds[0]), s.keyOf(bounds[1].Neg())
	gpu.Sync()
	cut, room := s.least(keys, p, low, high)
	s.write(keys, p, cut, room)
}

// least finds a key such that all above are picked, and how many of its equals. Keys are
// counted by the eight leading bits of their distance from low, then by the next eight of
// those that share what was found.
func (s selectorGPU) least(keys kernel.Ptr[kernel.I32], p picking, low, high kernel.I32) (cut, room kernel.I32) {
	k, g := s.k, s.r.g
	zero := k.Int32(0)
	span := high.Sub(low)
	shift := kernel.Select(span.Shr(16).Eq(zero), k.Int32(8), k.Int32(16))
	shift = kernel.Select(span.Shr(8).Eq(zero), zero, shift)
	shift = kernel.Select(span.Shr(24).Eq(zero), shift, k.Int32(24))
	v := kernel.While(k, []kernel.I32{low, p.want, shift}, func(c []kernel.I32) (kernel.Bool, []kernel.I32) {
		low, room, shift := c[0], c[1], c[2]
		kernel.StoreI32(s.counts().At(g.Thread()), zero)
		g.Sync()
		s.each(keys, p.n, func(key kernel.I32, in kernel.Bool) {
			digit := key.Sub(low).ShrBy(shift)
			kernel.When(k, in.And(digit.Shr(8).Eq(zero)), func() { g.AtomicAddShared(s.counts().At(digit.I64()), k.Int32(1)) })
		})
		g.Sync()
		digit := k.Int(255).Sub(g.Thread())
		count := kernel.LoadI32(s.counts().At(digit))
		above := s.before(count)[0]
		kernel.When(k, above.Lt(room).And(above.Add(count).Lt(room).Not()), func() {
			kernel.StoreI32(s.word(1), digit.I32())
			kernel.StoreI32(s.word(2), above)
			kernel.StoreI32(s.word(3), count)
		})
		g.Sync()
		low = low.Add(shl(kernel.LoadI32(s.word(1)), shift))
		room = room.Sub(kernel.LoadI32(s.word(2)))
		all := kernel.LoadI32(s.word(3)).Eq(room)
		more := all.Or(shift.Eq(zero)).Not()
		// All of a digit are picked: what is above the key below them.
		low = kernel.Select(all, low.Plus(-1), low)
		room = kernel.Select(all, zero, room)
		return more, []kernel.I32{low, room, shift.Plus(-8)}
	})
	return v[0], v[1]
}

// shl is x times two to the n, which is a multiple of eight below 32.
func shl(x, n kernel.I32) kernel.I32 {
	out := x
	for _, by := range []int32{8, 16, 24} {
		out = kernel.Select(n.Lt(n.Sub(n).Plus(by)), out, x.Shl(by))
	}
	return out
}

// write takes the things in their order: each thread has a run of them, and learns from the
// sums of those before where its own begin.
func (s selectorGPU) write(keys kernel.Ptr[kernel.I32], p picking, cut, room kernel.I32) {
	k, g := s.k, s.r.g
	run := p.n.Plus(s.r.threads() - 1).Over(s.r.threads())
	from := g.Thread().Mul(run).Min(p.n)
	to := from.Add(run).Min(p.n)
	one, zero := k.Int32(1), k.Int32(0)
	above := func(i kernel.I64) (more, same kernel.Bool) {
		key := kernel.LoadI32(keys.At(i))
		return cut.Lt(key), key.Eq(cut)
	}
	n := kernel.For(k, from, to, 1, []kernel.I32{zero, zero}, func(i kernel.I64, c []kernel.I32) []kernel.I32 {
		more, same := above(i)
		return []kernel.I32{c[0].Add(kernel.Select(more, one, zero)), c[1].Add(kernel.Select(same, one, zero))}
	})
	kernel.For(k, from, to, 1, s.before(n...), func(i kernel.I64, c []kernel.I32) []kernel.I32 {
		more, same := above(i)
		ties := kernel.Select(c[1].Lt(room), c[1], room) // those before that were taken
		kernel.When(k, more.Or(same.And(c[1].Lt(room))), func() { p.take(c[0].Add(ties), i) })
		return []kernel.I32{c[0].Add(kernel.Select(more, one, zero)), c[1].Add(kernel.Select(same, one, zero))}
	})
	g.Sync() // keys may be written for the next list
}

// before are the sums of numbers over the threads before this one.
func (s selectorGPU) before(n ...kernel.I32) []kernel.I32 {
	k, g := s.k, s.r.g
	warps := kernel.SharedAt[kernel.I32](k, 0)
	sums := append([]kernel.I32(nil), n...)
	for j := range sums {
		for d := int64(1); d < 32; d *= 2 {
			up := g.UpI32(sums[j], d)
			sums[j] = sums[j].Add(kernel.Select(g.Lane().Lt(k.Int(d)), k.Int32(0), up))
		}
	}
	g.Sync() // the memory may still be read from before
	kernel.When(k, g.Lane().Eq(k.Int(31)), func() {
		for j := range sums {
			kernel.StoreI32(warps.At(g.Warp()).Plus(int64(j*work.SelectWarps)), sums[j])
		}
	})
	g.Sync()
	for j := range sums {
		sums[j] = sums[j].Sub(n[j])
		for w := range work.SelectWarps {
			in := k.Int(int64(w)).Lt(g.Warp())
			sums[j] = sums[j].Add(kernel.Select(in, kernel.LoadI32(warps.Plus(int64(j*work.SelectWarps+w))), k.Int32(0)))
		}
	}
	return sums
}
