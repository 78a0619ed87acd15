package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
	"quire/ir/work"
)

// selectorGPU is the selector on a GPU. A summary is a row of twice as many channels, the
// largest and the least; queries are columns, their parts above 0 times the former, those
// below times the latter. A page scores as its best summary (pageselect_score_gpu.go). The
// last item of a slot's kv head makes the lists (pageselect_pick_gpu.go).
//
// Temp: a counter for each slot's kv head, the best score of each item's queries
// [slot, kv head][MaxSplits][query], of each tile's [slot, kv head][tile][query], scores
// [slot, kv head][P][query], and keys of lists [slot, list][P].
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

// tiles is how many tiles so many pages have.
func (s selectorGPU) tiles(pages kernel.I64) kernel.I64 {
	n := int64(s.p.TilePages())
	return pages.Plus(n - 1).Over(n)
}

// bestOf are the best scores of a tile's queries.
func (s selectorGPU) bestOf(gh, tile kernel.I64) kernel.Ptr[kernel.F32] {
	k := s.k
	skip := k.Dim("S").Times(int64(s.p.Heads) * work.MaxSplits)
	return s.temp().At(skip.Add(gh.Mul(s.tiles(k.Dim("P"))).Add(tile).Times(int64(s.group))))
}

// scoresOf are those of a page.
func (s selectorGPU) scoresOf(gh, page kernel.I64) kernel.Ptr[kernel.F32] {
	k := s.k
	skip := k.Dim("S").Times(int64(s.p.Heads)).Mul(s.tiles(k.Dim("P")).Plus(work.MaxSplits))
	return s.temp().At(skip.Add(gh.Mul(k.Dim("P")).Add(page).Times(int64(s.group))))
}

// keysOf are the keys of list g of a kv head.
func (s selectorGPU) keysOf(gh kernel.I64, g int64) kernel.Ptr[kernel.I32] {
	k, lists := s.k, int64(s.p.Lists()/s.p.KVHeads)
	skip := k.Dim("S").Times(int64(s.p.Heads)).Mul(k.Dim("P").Add(s.tiles(k.Dim("P"))).Plus(work.MaxSplits))
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
