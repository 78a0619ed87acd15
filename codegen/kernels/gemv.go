package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// gemv is y^T = W x^T for few rows of x. A block's warps share the columns of an item's
// tiles. Each has a ring in shared memory that runs ahead over items and over the launches
// before this one; x lies there too, rounded, with its sums over the columns that share a
// scale. Bytes moved: the weight's, once.
type gemv struct {
	k      *kernel.Kernel
	g      kernel.GPU
	p      work.GEMV
	plan   work.GEMVPlan
	f      layout.Frag
	half   kernel.Half
	hopper bool // bulk copies, else each lane copies

	lane, warp kernel.I64
	ring       kernel.Ptr[kernel.U8] // this warp's
	bars       kernel.Ptr[kernel.I64]
	policy     kernel.Policy
	kept       kernel.Policy // of rows of x, which all blocks read
	masks      [2]kernel.I32
	gains      [][]kernel.F32 // of this thread's pieces of the one row
	joinGains  [][]kernel.F32
}

func gemvBody(p work.GEMV) kernel.Body {
	var m gemv
	return kernel.Body{
		Start: func(k *kernel.Kernel) { m = newGEMV(k, p); m.start(); m.loadGains() },
		Prep:  func(*kernel.Kernel) { m.stage(); m.carry() },
		Main:  func(*kernel.Kernel) { m.item() },
	}
}

func newGEMV(k *kernel.Kernel, p work.GEMV) gemv {
	g := k.GPU()
	m := gemv{k: k, g: g, p: p, plan: p.Plan(), half: kernel.Float16, hopper: k.Bulk(), lane: g.Lane(), warp: g.Warp()}
	m.f, m.masks = m.plan.Frag, masks(g)
	if p.Dot == work.BF16 {
		m.half = kernel.BFloat16
	}
	m.ring = kernel.SharedAt[kernel.U8](k, m.plan.Ring).At(m.warp.Times(int64(m.plan.Slots) * m.plan.Slot))
	m.bars = kernel.SharedAt[kernel.I64](k, m.plan.Barriers).At(m.warp.Times(int64(m.plan.Slots)))
	if m.hopper {
		m.policy, m.kept = g.Streamed(), g.Kept()
	}
	return m
}

// start fills the ring.
func (m gemv) start() {
	k, g := m.k, m.g
	if m.hopper {
		kernel.When(k, m.lane.Eq(k.Int(0)), func() {
			for i := range m.plan.Slots {
				g.MBarrierInit(m.bars.Plus(int64(i)), m.arrivals())
			}
			g.FenceMBarrier()
		})
		g.SyncWarp()
	}
	for n := range m.plan.Slots {
		m.fill(k.Int(0), n)
	}
}

// tiles is the number of tiles of an item.
func (m gemv) tiles() int { return m.p.Pairs() * m.p.Multi() }

// wide says that x is read from global memory.
func (m gemv) wide() bool { return !m.plan.Staged }

// sources is where an item's tiles begin, in pieces of 16 bytes.
func (m gemv) sources(item kernel.I64) []kernel.I32 {
	row := m.rowBytes() / 16
	out := []kernel.I32{m.tile(item, 0).Times(row).I32()}
	for t := 1; t < m.tiles(); t++ {
		if m.p.Multi() == 1 {
			out = append(out, out[0].Plus(int32(m.apart()/16)))
		} else {
			out = append(out, m.tile(item, t).Times(row).I32())
		}
	}
	return out
}

// ragged says that the last warps have fewer units than Units, or none.
func (m gemv) ragged() bool { return m.plan.Units*m.plan.Warps != m.p.Cols/m.f.Unit }

// unitOf is this warp's first unit of step s. A warp without it takes the last one, for
// nothing.
func (m gemv) unitOf(s kernel.I64) kernel.I64 {
	u := m.place(s)
	if m.ragged() {
		u = u.Min(m.k.Int(int64(m.p.Cols/m.f.Unit - 1)))
	}
	return u
}

// place is the number of that unit: what the block's warps take at a time are neighbours.
func (m gemv) place(s kernel.I64) kernel.I64 {
	return s.Times(int64(m.plan.Warps)).Add(m.warp).Times(int64(m.plan.Depth))
}

// has says whether this warp has step s.
func (m gemv) has(s kernel.I64) kernel.Bool {
	return m.place(s).Lt(m.k.Int(int64(m.p.Cols / m.f.Unit)))
}

// rowBytes is the size of a tile.
func (m gemv) rowBytes() int64 { return int64(m.p.Cols / m.f.Unit * m.f.UnitBytes()) }

// apart is the distance of an item's tiles.
func (m gemv) apart() int64 {
	switch {
	case m.p.Epilogue == work.GLU:
		return int64(layout.Tiles(m.p.Rows[0])) * m.rowBytes()
	case m.p.Epilogue == work.QKV:
		return int64(m.p.QKV.Dim/32) * m.rowBytes()
	}
	return m.rowBytes()
}

// tile is tile t of an item: of an item beyond the last, some tile.
func (m gemv) tile(item kernel.I64, t int) kernel.I64 {
	p := m.p
	single := m.single(item, t/p.Pairs()).Min(m.k.Int(int64(p.Singles() - 1)))
	t %= p.Pairs()
	switch {
	case p.Pairs() == 1:
		return single
	case p.Epilogue == work.GLU:
		return single.Plus(int64(t * layout.Tiles(p.Rows[0])))
	}
	half := int64(p.QKV.Dim / 32)
	return single.Over(half).Times(2 * half).Add(single.Modulo(half)).Plus(int64(t) * half)
}

// single is the number of an item's n-th tile, or pair.
func (m gemv) single(item kernel.I64, n int) kernel.I64 {
	if m.p.Multi() == 1 {
		return item
	}
	return item.Times(int64(m.p.Multi())).Plus(int64(n))
}

// slot is the place of step number n of this warp, of which the low bits are known where
// turns have a whole number of rings.
func (m gemv) slot(n kernel.I64) kernel.I64 { return n.And(m.k.Int(int64(m.plan.Slots - 1))) }

// fill starts the copies of the weight for the step that is a Go number of steps after the
// first of this turn, whose number is given, if this block has that item.
func (m gemv) fill(first kernel.I64, step int) {
	item, some := m.g.Ahead(int64(step / m.plan.Steps))
	m.copy(m.sources(item), m.pieces(m.k.Int(int64(step%m.plan.Steps))), first.Plus(int64(step)), some)
	m.commit()
}

// refill is fill, of x too.
func (m gemv) refill(first kernel.I64, step int) {
	item, some := m.g.Ahead(int64(step / m.plan.Steps))
	of, n := m.k.Int(int64(step%m.plan.Steps)), first.Plus(int64(step))
	m.copy(m.sources(item), m.pieces(of), n, some)
	m.copyRows(of, n, some)
	m.commit()
}

// commit closes what the copies by lanes are waited for together.
func (m gemv) commit() {
	if !m.hopper {
		m.g.Commit()
	}
}

// pieces is where step s of this warp is in a tile.
func (m gemv) pieces(s kernel.I64) kernel.I32 {
	return m.unitOf(s).Times(int64(m.f.UnitBytes() / 16)).I32()
}

// copy starts the copies of step number n, a distance from where its tiles begin, into its
// slot, if it exists.
func (m gemv) copy(tiles []kernel.I32, distance kernel.I32, n kernel.I64, some kernel.Bool) {
	k, g, bytes := m.k, m.g, int64(m.plan.Depth*m.f.UnitBytes())
	slot := m.slot(n)
	to := m.ring.At(slot.Times(m.plan.Slot))
	each := func(f func(to, from kernel.Ptr[kernel.U8])) {
		for t, tile := range tiles {
			f(to.Plus(int64(t)*bytes), kernel.Arg[kernel.U8](k, "w").At(tile.Add(distance).I64().Times(16)))
		}
	}
	if !m.hopper {
		kernel.When(k, some, func() { each(m.copyLanes) })
		return
	}
	kernel.When(k, some.And(m.lane.Eq(k.Int(0))), func() {
		bar := m.bars.At(slot)
		g.MBarrierExpect(bar, k.Int32(int32(m.plan.Codes)))
		each(func(to, from kernel.Ptr[kernel.U8]) { g.CopyBulk(to, from, k.Int32(int32(bytes)), bar, m.policy) })
	})
}

// copyLanes copies the units of a tile by 16 bytes a lane.
func (m gemv) copyLanes(to, from kernel.Ptr[kernel.U8]) {
	k, pieces := m.k, m.plan.Depth*m.f.UnitBytes()/16
	for i := 0; i < pieces; i += 32 {
		at := m.lane.Plus(int64(i)).Times(16)
		piece := func() { kernel.CopyAsync(m.g, kernel.Address(to.At(at)), from.At(at)) }
		if i+32 <= pieces {
			piece()
			continue
		}
		kernel.When(k, m.lane.Lt(k.Int(int64(pieces-i))), piece)
	}
}

// item multiplies an item's tiles and leaves the sums in shared memory; after some items,
// or the last, all are finished together.
func (m gemv) item() {
	k, g, steps := m.k, m.g, m.plan.Steps
	sums := k.Floats(m.tiles() * 2 * m.columns())
	first := g.Turn().Times(int64(steps))
	if m.plan.Units*m.f.Unit <= work.GEMVUnrolled {
		for s := range steps {
			sums = m.step(k.Int(int64(s)), first, sums, func() { m.refill(first, s+m.plan.Slots) })
		}
	} else {
		sums = m.loop(first, sums)
	}
	turn := g.Turn().Modulo(int64(m.plan.Turns))
	m.leave(turn, sums)
	last := turn.Eq(k.Int(int64(m.plan.Turns - 1)))
	_, more := g.Ahead(1)
	kernel.When(k, last.Or(more.Not()), func() {
		m.finish(turn)
	})
}

// loop is the steps of an item as a loop: a ring ahead lies in this item or the next.
func (m gemv) loop(first kernel.I64, sums []kernel.F32) []kernel.F32 {
	k, steps := m.k, int64(m.plan.Steps)
	next, more := m.g.Ahead(1)
	here, there := m.sources(m.k.Item()), m.sources(next)
	return kernel.Range(k, 0, steps, 1, sums, func(s kernel.I64, sums []kernel.F32) []kernel.F32 {
		return m.step(s, first, sums, func() {
			ahead := s.Plus(int64(m.plan.Slots))
			inside := ahead.Lt(k.Int(steps))
			of := kernel.Select(inside, ahead, ahead.Plus(-steps))
			from := make([]kernel.I32, len(here))
			for t := range from {
				from[t] = kernel.Select(inside, here[t], there[t])
			}
			m.copy(from, m.pieces(of), first.Add(ahead), inside.Or(more))
			m.copyRows(of, first.Add(ahead), inside.Or(more))
			m.commit()
		})
	})
}

// columns is the number of columns that a lane keeps: two of each product's eight.
func (m gemv) columns() int { return max(min(m.p.Columns, 2), m.p.Columns/4) }

// step adds the units of a step, of each tile: sums are by tile, row r or r+8, column. Its
// slot is refilled once the last unit is in registers, if that is few, or multiplied.
func (m gemv) step(s, first kernel.I64, sums []kernel.F32, refill func()) []kernel.F32 {
	k, g, tiles := m.k, m.g, m.tiles()
	out := append([]kernel.F32(nil), sums...)
	n := first.Add(s)
	slot := m.slot(n)
	if m.hopper {
		g.MBarrierWait(m.bars.At(slot), n.Over(int64(m.plan.Slots)).And(k.Int(1)).I32())
	} else {
		g.WaitCopies(m.plan.Slots - 1)
		g.SyncWarp()
	}
	at := m.ring.At(slot.Times(m.plan.Slot))
	if m.wide() {
		m.stepWide(at, s, out)
		g.SyncWarp()
		refill()
		return out
	}
	for d := range m.plan.Depth {
		u := m.unitOf(s).Plus(int64(d))
		x := m.xUnit(u)
		for t := range tiles {
			w := openUnit(k, m.f, at.Plus(int64((t*m.plan.Depth+d)*m.f.UnitBytes())), m.lane, m.masks)
			last := d == m.plan.Depth-1 && t == tiles-1
			if w.small() {
				w.load()
				if last {
					g.SyncWarp()
					refill()
				}
			}
			if t > 0 { // x again: few registers
				x = m.xUnit(u)
			}
			part := out[t*2*m.columns():][:2*m.columns()]
			if !m.ragged() {
				m.multiply(w, x, part)
			} else {
				sum := kernel.If(k, m.has(s), append([]kernel.F32(nil), part...), func() []kernel.F32 {
					sum := append([]kernel.F32(nil), part...)
					m.multiply(w, m.xUnit(u), sum)
					return sum
				}, nil)
				copy(part, sum)
			}
			if last && !w.small() {
				g.SyncWarp()
				refill()
			}
		}
	}
	return out
}

// multiply adds a unit's products to a tile's sums, group by group.
func (m gemv) multiply(w *fragUnit, x xUnit, sums []kernel.F32) {
	f, g := m.f, m.g
	perGroup := groupColumns(f) / 16
	base, cols := bases(f), m.columns()
	for n := range groups(f) {
		c := g.NoSum()
		var scale [2]groupScale
		if f.Block > 1 {
			for h := range 2 {
				scale[h] = w.group(n, h)
				for e := range 2 {
					c[2*h+e] = scale[h].zero.Add(m.k.Float(base[h])).Mul(x.sum(n, e)).Neg()
				}
			}
		}
		for i := range perGroup {
			at := n*perGroup + i
			c = g.Mma(m.half, w.product(at/f.Products(), at%f.Products()), x.product(at), c)
		}
		for h := range 2 {
			for e := range cols {
				s := &sums[h*cols+e]
				if f.Block == 1 {
					*s = s.Add(c[2*h+e])
					continue
				}
				*s = scale[h].mul.FMA(c[2*h+e], *s)
				if a := scale[h].add; a != nil {
					*s = a.FMA(x.sum(n, e), *s)
				}
			}
		}
	}
}
