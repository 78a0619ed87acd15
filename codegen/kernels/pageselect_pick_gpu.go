package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// What the last item of a slot's kv head does in PageSelectGPU: lists of the best pages.
//
// Shared memory: 32 words for what a block combines, 256 counts of a digit, four words, the
// warps' best scores [warp][query], keys.

func (s selectorGPU) counts() kernel.Ptr[kernel.I32] { return kernel.SharedAt[kernel.I32](s.k, 4*32) }
func (s selectorGPU) word(i int64) kernel.Ptr[kernel.I32] {
	return kernel.SharedAt[kernel.I32](s.k, 4*(32+256+i))
}
func (s selectorGPU) warpTops() kernel.Ptr[kernel.F32] {
	return kernel.SharedAt[kernel.F32](s.k, 4*(32+256+4))
}
func (s selectorGPU) nearKeys() kernel.Ptr[kernel.I32] {
	return kernel.SharedAt[kernel.I32](s.k, 4*int64(32+256+4+work.SelectWarps*s.group))
}

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
		out[q] = s.r.combine(kernel.Select(in, out[q], negInf(k)), true, g.MaxF)
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
		either(k, closed.Le(k.Int(int64(s.p.Keys))), func() { s.pickFrom(s.nearKeys(), gh, g, tops, closed, list) },
			func() { s.pickFrom(s.keysOf(gh, g), gh, g, tops, closed, list) })
	})
}

// together is how many pages a thread loads scores of before it looks at them.
const together = 4

// each gives the threads keys, some at a time; in says whether there is one.
func (s selectorGPU) each(keys kernel.Ptr[kernel.I32], closed kernel.I64, use func(key kernel.I32, in kernel.Bool)) {
	k := s.k
	kernel.Each(k, s.r.g.Thread(), closed, together*s.r.threads(), func(i kernel.I64) {
		var x [together]kernel.I32
		for j := range x {
			x[j] = kernel.LoadI32(keys.At(i.Plus(int64(j) * s.r.threads()).Min(closed.Plus(-1))))
		}
		for j := range x {
			use(x[j], i.Plus(int64(j)*s.r.threads()).Lt(closed))
		}
	})
}

// value is what list g goes by.
func (s selectorGPU) value(gh, page kernel.I64, g int64, tops []kernel.F32) kernel.F32 {
	at := s.scoresOf(gh, page)
	if len(tops) == 0 {
		return kernel.LoadF32(at.Plus(g))
	}
	w := width(s.group)
	var best kernel.F32
	for q := 0; q < s.group; q += w {
		for e, x := range kernel.LoadFloats(at.Plus(int64(q)), w) {
			x = x.Sub(tops[q+e])
			if q+e > 0 {
				x = s.r.g.MaxF(best, x)
			}
			best = x
		}
	}
	return best
}

// keyOf is an integer in the order of floats; both zeros are one.
func (s selectorGPU) keyOf(x kernel.F32) kernel.I32 {
	bits := x.Add(s.k.Float(0)).Bits()
	return kernel.Select(bits.Lt(s.k.Int32(0)), bits.Xor(0x7fffffff), bits)
}

// pickFrom makes keys, in shared memory if there is room, and lists the Budget-1 pages of
// the largest, ascending.
func (s selectorGPU) pickFrom(keys kernel.Ptr[kernel.I32], gh kernel.I64, g int64, tops []kernel.F32, closed kernel.I64, list kernel.Ptr[kernel.I32]) {
	k, gpu := s.k, s.r.g
	bounds := kernel.For(k, gpu.Thread(), closed, together*s.r.threads(), []kernel.F32{negInf(k), negInf(k)}, func(i kernel.I64, c []kernel.F32) []kernel.F32 {
		c = append([]kernel.F32(nil), c...)
		var x [together]kernel.F32
		for j := range x {
			x[j] = s.value(gh, i.Plus(int64(j)*s.r.threads()).Min(closed.Plus(-1)), g, tops)
		}
		for j := range x {
			page := i.Plus(int64(j) * s.r.threads())
			kernel.When(k, page.Lt(closed), func() { kernel.StoreI32(keys.At(page), s.keyOf(x[j])) })
			c[0], c[1] = gpu.MaxF(c[0], x[j]), gpu.MaxF(c[1], x[j].Neg())
		}
		return c
	})
	high := s.keyOf(s.r.combine(bounds[0], true, gpu.MaxF))
	low := s.keyOf(s.r.combine(bounds[1], true, gpu.MaxF).Neg())
	gpu.Sync()
	cut, room := s.least(keys, closed, low, high)
	s.write(keys, closed, cut, room, list)
}

// least finds a key such that all above are picked, and how many of its equals. Keys are
// counted by the eight leading bits of their distance from low, then by the next eight of
// those that share what was found.
func (s selectorGPU) least(keys kernel.Ptr[kernel.I32], closed kernel.I64, low, high kernel.I32) (cut, room kernel.I32) {
	k, g := s.k, s.r.g
	zero := k.Int32(0)
	span := high.Sub(low)
	shift := kernel.Select(span.Shr(16).Eq(zero), k.Int32(8), k.Int32(16))
	shift = kernel.Select(span.Shr(8).Eq(zero), zero, shift)
	shift = kernel.Select(span.Shr(24).Eq(zero), shift, k.Int32(24))
	v := kernel.While(k, []kernel.I32{low, k.Int32(int32(s.p.Budget - 1)), shift}, func(c []kernel.I32) (kernel.Bool, []kernel.I32) {
		low, room, shift := c[0], c[1], c[2]
		kernel.StoreI32(s.counts().At(g.Thread()), zero)
		g.Sync()
		s.each(keys, closed, func(key kernel.I32, in kernel.Bool) {
			digit := key.Sub(low).ShrBy(shift)
			kernel.When(k, in.And(digit.Shr(8).Eq(zero)), func() { g.AtomicAddShared(s.counts().At(digit.I64()), k.Int32(1)) })
		})
		g.Sync()
		digit := k.Int(255).Sub(g.Thread())
		count := kernel.LoadI32(s.counts().At(digit))
		above := s.before(count)
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

// write lists the pages in their order: each thread has a run of them, and learns from the
// sums of those before where its own begin.
func (s selectorGPU) write(keys kernel.Ptr[kernel.I32], closed kernel.I64, cut, room kernel.I32, list kernel.Ptr[kernel.I32]) {
	k, g := s.k, s.r.g
	run := closed.Plus(s.r.threads() - 1).Over(s.r.threads())
	from := g.Thread().Mul(run).Min(closed)
	to := from.Add(run).Min(closed)
	one, zero := k.Int32(1), k.Int32(0)
	above := func(i kernel.I64) (more, same kernel.Bool) {
		key := kernel.LoadI32(keys.At(i))
		return cut.Lt(key), key.Eq(cut)
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
	g.Sync() // keys may be written for the next list
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
