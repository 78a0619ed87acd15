package kernels

import (
	"math"

	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// pageSelect scores the closed pages of a slot for the query heads of a kv head, then picks
// the best: 4 dim bytes of a float16 summary, 4 dim operations a query, a summary; memory
// bound.
//
// A key k in a summary's bounds has q.k <= sum over channels of max(q max, q min), which is
// q+ . max + q- . min for the parts q+ and q- of q above and below 0: two products, with
// lanes over channels.
//
//	scratch  [query][q+, q-][dim], times Scale
//	scores   [slot][kv head][query][page], pages up to whole vectors
func pageSelect(p work.PageSelect) kernel.Body {
	return kernel.Body{
		Main: func(k *kernel.Kernel) { newSelector(k, p).item() },
		Last: func(k *kernel.Kernel) { newSelector(k, p).pick() },
	}
}

type selector struct {
	k          *kernel.Kernel
	p          work.PageSelect
	group, pad int
}

func newSelector(k *kernel.Kernel, p work.PageSelect) selector {
	return selector{k, p, p.Heads / p.KVHeads, kvpage.Pad(p.CacheEnc, p.Dim)}
}

// row is what an item is about: a slot's first row n, at index i, and a kv head.
type selected struct{ slot, h, n, i, fresh kernel.I64 }

func (s selector) row(gh kernel.I64) selected {
	at := func(name string, i kernel.I64) kernel.I64 {
		return kernel.LoadI32(kernel.Arg[kernel.I32](s.k, name).At(i)).I64()
	}
	slot := gh.Over(int64(s.p.KVHeads))
	return selected{slot, gh.Modulo(int64(s.p.KVHeads)), at("slot_start", slot), at("slot_len", slot), at("slot_new", slot)}
}

// closed is the number of pages before the row's own.
func (s selector) closed(r selected) kernel.I64 { return r.i.Over(int64(s.p.Page)) }

// ifSelects runs f for a row that needs lists: it is its slot's only new one, and none that
// is kept serves it.
func (s selector) ifSelects(r selected, f func()) {
	k, every := s.k, int64(s.p.Every)
	kernel.When(k, r.fresh.Eq(k.Int(1)), func() {
		if every == 0 {
			f()
			return
		}
		opens := r.i.Modulo(every).Eq(k.Int(0)) // what memory holds is of another stretch
		first := r.h.Times(int64(s.p.Lists() / s.p.KVHeads))
		list := keptList(k, "kept", s.p.Lists(), s.p.Budget, r.slot, s.closed(r), first)
		kernel.When(k, opens.Or(kernel.LoadI32(list).I64().Ne(r.i.Over(every))), f)
	})
}

// keptList is list l of a slot, kept with a page: its stretch, then its pages.
func keptList(k *kernel.Kernel, operand string, lists, budget int, slot, page, l kernel.I64) kernel.Ptr[kernel.I32] {
	at := physical(k, slot, page).Times(work.KeptBytes(lists, budget) / 4)
	return kernel.As[kernel.I32](kernel.Arg[kernel.U8](k, operand)).At(at.Add(l.Times(int64(1 + budget))))
}

// width is the pages of a row of scores.
func (s selector) width() kernel.I64 {
	n := s.k.Dim("C").Plus(int64(s.p.Page - 1)).Over(int64(s.p.Page))
	return n.Plus(layout.Lanes - 1).Over(layout.Lanes).Times(layout.Lanes)
}

// scores are those of query g.
func (s selector) scores(gh, g kernel.I64) kernel.Ptr[kernel.F32] {
	return kernel.Arg[kernel.F32](s.k, "scores").At(gh.Times(int64(s.group)).Add(g).Mul(s.width()))
}

func (s selector) item() {
	k, p := s.k, s.p
	pages := k.Dim("C").Plus(int64(p.Page - 1)).Over(int64(p.Page))
	chunks := pages.Plus(work.SelectPages - 1).Over(work.SelectPages).Max(k.Int(1))
	gh, chunk := k.Item().Div(chunks), k.Item().Rem(chunks)
	r := s.row(gh)
	closed := s.closed(r)
	from := chunk.Times(work.SelectPages)
	to := from.Plus(work.SelectPages).Min(closed)
	kernel.When(k, from.Lt(to).And(k.Int(int64(p.Budget)).Le(closed)), func() {
		s.ifSelects(r, func() {
			s.split(r)
			kernel.Each(k, from, to, 1, func(page kernel.I64) { s.page(r, gh, page, to) })
		})
	})
}

// part is the queries' parts above (0) and below (1) 0.
func (s selector) part(g, which int) kernel.Ptr[kernel.F32] {
	return kernel.Scratch[kernel.F32](s.k, int64(4*s.pad*(2*g+which)))
}

func (s selector) split(r selected) {
	k, p := s.k, s.p
	kv := r.n.Times(int64(p.KVHeads)).Add(r.h)
	if p.Among > 0 {
		kv = r.n.Times(int64(p.Among / s.group)).Add(listed(k, r.h))
	}
	q := kernel.Arg[kernel.F32](k, "q").At(kv.Times(int64(s.group * p.Dim)))
	for g := range s.group {
		kernel.Row(k, p.Dim, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
			x := l.Load(q.Plus(int64(g * p.Dim))).Scale(p.Scale)
			kernel.StoreVec(s.part(g, 0).At(l.I), x.Max(k.Vec(0)))
			kernel.StoreVec(s.part(g, 1).At(l.I), x.Min(k.Vec(0)))
			return nil
		})
	}
}

// batch is the number of queries whose sums stay in registers; pagesAhead the pages between the
// one that is read and the one that is asked for.
const (
	batch      = 4
	pagesAhead = 2
)

// page scores one page: its best summary. While it reads it asks for a later one.
func (s selector) page(r selected, gh, page, to kernel.I64) {
	k, p := s.k, s.p
	a := appendTo{k: k, kvHeads: p.KVHeads, dim: p.Dim, page: p.Page, summary: p.Summary, enc: p.CacheEnc}
	enc, size := kvpage.SummaryEnc(p.CacheEnc), a.summarySize()
	at := func(page kernel.I64) kernel.Ptr[kernel.U8] {
		return a.summaryAt(place{physical(k, r.slot, page), k.Int(0)}, r.h)
	}
	here, next := at(page), at(page.Plus(pagesAhead).Min(to.Plus(-1)))
	each := 2 * int64(s.pad) * size // bytes of a summary
	for g := 0; g < s.group; g += batch {
		n := min(batch, s.group-g)
		best := make([]kernel.F32, n)
		for j := range best {
			best[j] = k.Float(float32(math.Inf(-1)))
		}
		best = kernel.For(k, k.Int(0), k.Int(int64(p.Page/p.Summary)), 1, best, func(i kernel.I64, c []kernel.F32) []kernel.F32 {
			c = append([]kernel.F32(nil), c...)
			if g == 0 {
				for line := int64(0); line < each; line += 64 {
					kernel.PrefetchFar(next.At(i.Times(each)).Plus(line))
				}
			}
			sums := kernel.Range(k, 0, int64(s.pad), layout.Lanes, k.Zeros(n), func(d kernel.I64, sums []kernel.Vec) []kernel.Vec {
				sums = append([]kernel.Vec(nil), sums...)
				hi := loadEnc(enc, here.At(i.Times(each).Add(d.Times(size))))
				lo := loadEnc(enc, here.At(i.Times(each).Add(d.Times(size))).Plus(int64(s.pad)*size))
				for j := range n {
					sums[j] = kernel.LoadVec(s.part(g+j, 0).At(d)).FMA(hi, sums[j])
					sums[j] = kernel.LoadVec(s.part(g+j, 1).At(d)).FMA(lo, sums[j])
				}
				return sums
			})
			for j := range n {
				c[j] = sums[j].ReduceAdd().Max(c[j])
			}
			return c
		})
		for j := range n {
			kernel.StoreF32(s.scores(gh, k.Int(int64(g+j))).At(page), best[j])
		}
	}
}

// pick makes the lists of a row and kv head from its scores.
func (s selector) pick() {
	k, p, gh := s.k, s.p, s.k.Item()
	r := s.row(gh)
	closed := s.closed(r)
	s.ifSelects(r, func() {
		few := closed.Lt(k.Int(int64(p.Budget)))
		kernel.When(k, few, func() {
			s.lists(r, func(list kernel.Ptr[kernel.I32], _ kernel.I64) {
				kernel.Each(k, k.Int(0), closed.Plus(1), 1, func(j kernel.I64) { kernel.StoreI32(list.At(j), j.I32()) })
			})
		})
		kernel.When(k, k.Int(int64(p.Budget)).Le(closed), func() {
			if !p.PerHead && s.group > 1 {
				s.share(gh, closed)
			}
			s.lists(r, func(list kernel.Ptr[kernel.I32], g kernel.I64) { s.best(s.scores(gh, g), closed, list) })
		})
	})
	if p.Every > 0 {
		s.void(r)
	}
}

// lists gives each list of the row's kv head, and the query whose scores it goes by. A kept
// one is marked with its stretch.
func (s selector) lists(r selected, f func(list kernel.Ptr[kernel.I32], g kernel.I64)) {
	k, p := s.k, s.p
	n := int64(p.Lists() / p.KVHeads)
	kernel.Each(k, k.Int(0), k.Int(n), 1, func(g kernel.I64) {
		l := r.h.Times(n).Add(g)
		if p.Every > 0 {
			list := keptList(k, "kept", p.Lists(), p.Budget, r.slot, s.closed(r), l)
			kernel.StoreI32(list, r.i.Over(int64(p.Every)).I32())
			f(list.Plus(1), g)
			return
		}
		f(kernel.Arg[kernel.I32](k, "pick").At(r.n.Times(int64(p.Lists())).Add(l).Times(int64(p.Budget))), g)
	})
}

// void marks what the page of a prompt's last row keeps as of no stretch.
func (s selector) void(r selected) {
	k, p := s.k, s.p
	kernel.When(k, k.Int(1).Lt(r.fresh), func() {
		last := r.i.Add(r.fresh).Plus(-1).Over(int64(p.Page))
		n := int64(p.Lists() / p.KVHeads)
		kernel.Each(k, k.Int(0), k.Int(n), 1, func(g kernel.I64) {
			kernel.StoreI32(keptList(k, "kept", p.Lists(), p.Budget, r.slot, last, r.h.Times(n).Add(g)), k.Int32(-1))
		})
	})
}

// vectors runs over a row of scores of closed pages; lanes beyond count as no page.
func (s selector) vectors(scores kernel.Ptr[kernel.F32], closed kernel.I64, init []kernel.Vec, f func(at kernel.Ptr[kernel.F32], v kernel.Vec, c []kernel.Vec) []kernel.Vec) []kernel.Vec {
	k := s.k
	return kernel.For(k, k.Int(0), closed, layout.Lanes, init, func(i kernel.I64, c []kernel.Vec) []kernel.Vec {
		live := i.I32().Splat().Add(k.Iota()).Lt(closed.I32().Splat())
		at := scores.At(i)
		return f(at, live.Select(kernel.LoadVec(at), k.Vec(float32(math.Inf(-1)))), append([]kernel.Vec(nil), c...))
	})
}

// share makes the first query's scores those of the group: each query's less its best, the
// largest of the queries.
func (s selector) share(gh, closed kernel.I64) {
	k := s.k
	first := s.scores(gh, k.Int(0))
	for g := range s.group {
		scores := s.scores(gh, k.Int(int64(g)))
		top := s.vectors(scores, closed, []kernel.Vec{k.Vec(float32(math.Inf(-1)))}, func(_ kernel.Ptr[kernel.F32], v kernel.Vec, c []kernel.Vec) []kernel.Vec {
			return []kernel.Vec{v.Max(c[0])}
		})[0].ReduceMax().Splat()
		kernel.Each(k, k.Int(0), closed, layout.Lanes, func(i kernel.I64) {
			v := kernel.LoadVec(scores.At(i)).Sub(top)
			if g > 0 {
				v = v.Max(kernel.LoadVec(first.At(i)))
			}
			kernel.StoreVec(first.At(i), v)
		})
	}
}

// best lists the Budget-1 best of the closed pages, ascending, then the open one. Scores
// become integers of the same order; the least that is picked is found bit by bit.
func (s selector) best(scores kernel.Ptr[kernel.F32], closed kernel.I64, list kernel.Ptr[kernel.I32]) {
	k, want := s.k, int64(s.p.Budget-1)
	kernel.StoreI32(list.Plus(want), closed.I32())
	if want == 0 {
		return
	}
	s.vectors(scores, closed, nil, func(at kernel.Ptr[kernel.F32], v kernel.Vec, _ []kernel.Vec) []kernel.Vec {
		bits := v.Bits()
		kernel.StoreVecI(kernel.As[kernel.I32](at), bits.Xor(bits.Sar(31).Mask(math.MaxInt32)))
		return nil
	})
	keys := kernel.As[kernel.I32](scores)
	least := kernel.For(k, k.Int(0), k.Int(32), 1, []kernel.I32{k.Int32(math.MinInt32)}, func(b kernel.I64, c []kernel.I32) []kernel.I32 {
		try := c[0].Add(k.Int32(math.MinInt32).ShrBy(b.I32()))
		enough := k.Int(want).Le(s.count(keys, closed, try))
		return []kernel.I32{kernel.Select(enough, try, c[0])}
	})[0]
	// Of those at the least, as many as there is room for.
	above := kernel.If(k, least.Eq(k.Int32(math.MaxInt32)), []kernel.I64{k.Int(0)}, func() []kernel.I64 {
		return []kernel.I64{k.Int(0)}
	}, func() []kernel.I64 { return []kernel.I64{s.count(keys, closed, least.Add(k.Int32(1)))} })[0]
	kernel.For(k, k.Int(0), closed, 1, []kernel.I64{k.Int(0), k.Int(want).Sub(above)}, func(page kernel.I64, c []kernel.I64) []kernel.I64 {
		key := kernel.LoadI32(keys.At(page))
		ties := key.Eq(least).And(k.Int(0).Lt(c[1]))
		take := least.Lt(key).Or(ties)
		kernel.When(k, take, func() { kernel.StoreI32(list.At(c[0]), page.I32()) })
		one, zero := k.Int(1), k.Int(0)
		return []kernel.I64{c[0].Add(kernel.Select(take, one, zero)), c[1].Sub(kernel.Select(ties, one, zero))}
	})
}

// count is how many keys are at or above a threshold.
func (s selector) count(keys kernel.Ptr[kernel.I32], closed kernel.I64, at kernel.I32) kernel.I64 {
	k := s.k
	n := kernel.For(k, k.Int(0), closed, layout.Lanes, []kernel.VecI{k.VecI(0)}, func(i kernel.I64, c []kernel.VecI) []kernel.VecI {
		page := i.I32().Splat().Add(k.Iota())
		below := kernel.LoadVecI(keys.At(i)).Lt(at.Splat())
		one := below.SelectI(k.VecI(0), page.Lt(closed.I32().Splat()).SelectI(k.VecI(1), k.VecI(0)))
		return []kernel.VecI{c[0].Add(one)}
	})[0]
	return n.ReduceAdd().I64()
}
