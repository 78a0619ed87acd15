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
}

func gemvBody(p work.GEMV) kernel.Body {
	var m gemv
	return kernel.Body{
		Start: func(k *kernel.Kernel) { m = newGEMV(k, p); m.start() },
		Prep:  func(*kernel.Kernel) { m.stage() },
		Main:  func(*kernel.Kernel) { m.item() },
	}
}

func newGEMV(k *kernel.Kernel, p work.GEMV) gemv {
	g := k.GPU()
	m := gemv{k: k, g: g, p: p, plan: p.Plan(), half: kernel.Float16, hopper: k.Bulk(), lane: g.Lane(), warp: g.Warp()}
	m.f = m.plan.Frag
	if p.Dot == work.BF16 {
		m.half = kernel.BFloat16
	}
	m.ring = kernel.SharedAt[kernel.U8](k, m.plan.Ring).At(m.warp.Times(int64(m.plan.Slots * m.f.UnitBytes())))
	m.bars = kernel.SharedAt[kernel.I64](k, m.plan.Barriers).At(m.warp.Times(int64(m.plan.Slots)))
	if m.hopper {
		m.policy = g.Streamed()
	}
	return m
}

// units is the number of units of a turn of this warp: unit i is unit i / Pairs of its
// columns, of tile i % Pairs.
func (m gemv) units() int64 { return int64(m.plan.Units * m.p.Pairs()) }

// start fills the ring.
func (m gemv) start() {
	k, g := m.k, m.g
	if m.hopper {
		kernel.When(k, m.lane.Eq(k.Int(0)), func() {
			for i := range m.plan.Slots {
				g.MBarrierInit(m.bars.Plus(int64(i)), 1)
			}
			g.FenceMBarrier()
		})
		g.SyncWarp()
	}
	from := m.source(k.Item())
	pairs := int64(m.p.Pairs())
	for i := range int64(m.plan.Slots) {
		m.copy(from.Plus(int32((i%pairs*m.apart()+i/pairs*int64(m.f.UnitBytes()))/16)), k.Int(i))
	}
}

// source is where this warp's columns of an item's first tile begin, in pieces of 16 bytes;
// the others are apart.
func (m gemv) source(item kernel.I64) kernel.I32 {
	unit := int64(m.f.UnitBytes())
	return m.warp.Times(int64(m.plan.Units) * unit / 16).Add(m.tile(item, 0).Times(m.rowBytes() / 16)).I32()
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

// tile is tile t of an item.
func (m gemv) tile(item kernel.I64, t int) kernel.I64 {
	p := m.p
	switch {
	case p.Pairs() == 1:
		return item
	case p.Epilogue == work.GLU:
		return item.Plus(int64(t * layout.Tiles(p.Rows[0])))
	case p.Epilogue == work.QKV:
		half := int64(p.QKV.Dim / 32)
		return item.Over(half).Times(2 * half).Add(item.Modulo(half)).Plus(int64(t) * half)
	}
	return item.Times(2).Plus(int64(t))
}

// slot is the place of unit number n of this warp, of which the low bits are known where
// turns have a whole number of rings.
func (m gemv) slot(n kernel.I64) kernel.I64 { return n.And(m.k.Int(int64(m.plan.Slots - 1))) }

// copy starts the copy of unit number n into its slot.
func (m gemv) copy(piece kernel.I32, n kernel.I64) {
	k, g, bytes := m.k, m.g, int64(m.f.UnitBytes())
	slot := m.slot(n)
	to := m.ring.At(slot.Times(bytes))
	if m.hopper {
		kernel.When(k, m.lane.Eq(k.Int(0)), func() {
			bar, from := m.bars.At(slot), m.piece(piece)
			g.MBarrierExpect(bar, k.Int32(int32(bytes)))
			g.CopyBulk(to, from, k.Int32(int32(bytes)), bar, m.policy)
		})
		return
	}
	m.copyLanes(to, m.piece(piece))
	g.Commit()
}

func (m gemv) piece(i kernel.I32) kernel.Ptr[kernel.U8] {
	return kernel.Arg[kernel.U8](m.k, "w").At(i.I64().Times(16))
}

// copyLanes copies a unit by 16 bytes a lane.
func (m gemv) copyLanes(to, from kernel.Ptr[kernel.U8]) {
	k, pieces := m.k, m.f.UnitBytes()/16
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
	k, g := m.k, m.g
	pairs := m.p.Pairs()
	next, more := g.Next()
	here, there := m.source(k.Item()), m.source(next)
	sums := k.Floats(pairs * 2 * m.columns())
	first := g.Turn().Times(m.units())
	if m.plan.Units*m.f.Unit <= 256 {
		for u := range int64(m.plan.Units) {
			sums = m.unit(k.Int(u), first, here, there, more, sums)
		}
	} else {
		sums = kernel.Range(k, 0, int64(m.plan.Units), 1, sums, func(u kernel.I64, sums []kernel.F32) []kernel.F32 {
			return m.unit(u, first, here, there, more, sums)
		})
	}
	turn := g.Turn().Modulo(int64(m.plan.Turns))
	m.leave(turn, sums)
	last := turn.Eq(k.Int(int64(m.plan.Turns - 1)))
	kernel.When(k, last.Or(more.Not()), func() {
		g.Sync()
		m.finish(turn)
		g.Sync()
	})
}

// columns is the number of columns of a product that a lane keeps.
func (m gemv) columns() int { return min(m.p.Columns, 2) }

// unit adds unit u of each tile: sums are by tile, row r or r+8, column.
func (m gemv) unit(u, first kernel.I64, here, there kernel.I32, more kernel.Bool, sums []kernel.F32) []kernel.F32 {
	k, g, pairs := m.k, m.g, int64(m.p.Pairs())
	out := append([]kernel.F32(nil), sums...)
	x := m.xUnit(m.warp.Times(int64(m.plan.Units)).Add(u))
	for t := range pairs {
		n := first.Add(u.Times(pairs)).Plus(t)
		slot := m.slot(n)
		if m.hopper {
			g.MBarrierWait(m.bars.At(slot), n.Over(int64(m.plan.Slots)).And(k.Int(1)).I32())
		} else {
			g.WaitCopies(m.plan.Slots - 1)
			g.SyncWarp()
		}
		w := openUnit(k, m.f, m.ring.At(slot.Times(int64(m.f.UnitBytes()))), m.lane)
		part := out[t*int64(2*m.columns()):][:2*m.columns()]
		refill := func() {
			g.SyncWarp()
			m.refill(u.Plus(int64(m.plan.Slots)/pairs), n.Plus(int64(m.plan.Slots)), here.Plus(int32(t*m.apart()/16)), there.Plus(int32(t*m.apart()/16)), more)
		}
		if w.small() { // all of it into registers, and the slot is free
			w.load()
			refill()
			m.multiply(w, x, part)
			continue
		}
		if t > 0 { // x again: few registers
			x = m.xUnit(m.warp.Times(int64(m.plan.Units)).Add(u))
		}
		m.multiply(w, x, part)
		refill()
	}
	return out
}

// refill starts the copy of the unit that is a ring further: of this item, or the next.
func (m gemv) refill(u, n kernel.I64, here, there kernel.I32, more kernel.Bool) {
	k, bytes, all := m.k, int64(m.f.UnitBytes()), k64(m.k, m.plan.Units)
	inside := u.Lt(all)
	from := kernel.Select(inside, here.Add(u.Times(bytes/16).I32()), there.Add(u.Sub(all).Times(bytes/16).I32()))
	if m.hopper {
		kernel.When(k, inside.Or(more), func() { m.copy(from, n) })
		return
	}
	kernel.When(k, inside.Or(more), func() { m.copyLanes(m.ring.At(m.slot(n).Times(bytes)), m.piece(from)) })
	m.g.Commit()
}

func k64(k *kernel.Kernel, n int) kernel.I64 { return k.Int(int64(n)) }

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
