package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// arrivals is the number of copiers of a slot: of the weight, and of x.
func (m gemv) arrivals() int32 {
	if m.plan.Carried {
		return 2
	}
	return 1
}

// carry starts the copies of x that go with those of the weight which are under way.
func (m gemv) carry() {
	for n := range m.plan.Slots {
		_, some := m.g.Ahead(int64(n / m.plan.Steps))
		m.copyRows(m.k.Int(int64(n%m.plan.Steps)), m.k.Int(int64(n)), some)
		if m.plan.Carried {
			m.commit()
		}
	}
}

// copyRows starts the copies of the rows of x that step s, number n, multiplies, the last one
// for those beyond.
func (m gemv) copyRows(s, n kernel.I64, some kernel.Bool) {
	if !m.plan.Carried {
		return
	}
	k, g := m.k, m.g
	slot, last := m.slot(n), k.Dim("N").Plus(-1)
	to := m.ring.At(slot.Times(m.plan.Slot)).Plus(m.plan.Codes)
	stride := work.Round{Dim: m.p.Cols, To: m.p.Dot}.RowBytes()
	bytes := int64(2 * m.plan.Depth * m.f.Unit)
	from := kernel.Arg[kernel.U8](k, "x").At(m.unitOf(s).Times(int64(2 * m.f.Unit)))
	if m.hopper {
		bar := m.bars.At(slot)
		kernel.When(k, some.And(m.lane.Eq(k.Int(0))), func() { g.MBarrierExpect(bar, k.Int32(int32(int64(m.p.Columns)*bytes))) })
		kernel.When(k, some.And(m.lane.Lt(k.Int(int64(m.p.Columns)))), func() {
			g.CopyBulk(to.At(m.lane.Times(m.plan.Row)), from.At(m.lane.Min(last).Times(stride)), k.Int32(int32(bytes)), bar, m.kept)
		})
		return
	}
	pieces := bytes / 16
	kernel.When(k, some, func() {
		for i := int64(0); i < int64(m.p.Columns)*pieces; i += 32 {
			at := m.lane.Plus(i)
			row, piece := at.Over(pieces), at.Modulo(pieces).Times(16)
			kernel.CopyAsync(g, kernel.Address(to.At(row.Times(m.plan.Row).Add(piece))), from.At(row.Min(last).Times(stride).Add(piece)))
		}
	})
}

// stepWide multiplies the units of a step in a slot, where x is in global memory. Sums lie
// by tile, row r or r+8, column: a product's registers are 0 and 1 of row r, 2 and 3 of
// r+8.
func (m gemv) stepWide(slot kernel.Ptr[kernel.U8], s kernel.I64, sums []kernel.F32) {
	k, f := m.k, m.f
	cols := max(1, m.p.Columns/8)
	u := m.unitOf(s)
	do := func(sums []kernel.F32) []kernel.F32 {
		var w []*fragUnit
		for t := range m.tiles() {
			w = append(w, openUnit(k, f, slot.Plus(int64(t*f.UnitBytes())), m.lane, m.masks))
		}
		acc := m.registers(sums)
		x := m.columnsOf(u)
		if m.plan.Carried {
			x = m.carried(slot.Plus(m.plan.Codes))
		}
		for c := range f.Unit / f.Chunk {
			multiplyChunk(m.half, w, c, cols, func(col, from, words int) []kernel.I32 { return x(col, c*f.Chunk+from, words) }, acc, cols > 4)
		}
		return m.byRow(acc)
	}
	if !m.ragged() {
		copy(sums, do(sums))
		return
	}
	copy(sums, kernel.If(k, m.has(s), append([]kernel.F32(nil), sums...), func() []kernel.F32 { return do(sums) }, nil))
}

// carried gives words of the lane's row of an eight of rows of x in a slot.
func (m gemv) carried(rows kernel.Ptr[kernel.U8]) func(col, from, words int) []kernel.I32 {
	k := m.k
	row := rows.At(m.lane.Shr(2).Times(m.plan.Row)).At(m.lane.And(k.Int(3)).Times(int64(m.f.Span / 2)))
	return func(col, from, words int) []kernel.I32 {
		return kernel.LoadWords(row.Plus(int64(8*col)*m.plan.Row+int64(2*from)), words)
	}
}

// columnsOf gives words of the lane's row of an eight of rows of x, from a column of unit u
// on: as Round wrote them, or floats that are rounded here.
func (m gemv) columnsOf(u kernel.I64) func(col, from, words int) []kernel.I32 {
	k, g, f := m.k, m.g, m.f
	first := u.Times(int64(f.Unit)).Add(m.lane.And(k.Int(3)).Times(int64(f.Span / 4)))
	last := k.Dim("N").Plus(-1)
	row := func(col int) kernel.I64 { return m.lane.Shr(2).Plus(int64(8 * col)).Min(last) }
	if m.p.Tokens == work.Many {
		stride := work.Round{Dim: m.p.Cols, To: m.p.Dot}.RowBytes()
		x := kernel.Arg[kernel.U8](k, "x").At(first.Times(2))
		return func(col, from, words int) []kernel.I32 {
			return kernel.LoadWords(x.At(row(col).Times(stride)).Plus(int64(2*from)), words)
		}
	}
	x := kernel.Arg[kernel.F32](k, "x").At(first)
	return func(col, from, words int) []kernel.I32 {
		var out []kernel.I32
		at := x.At(row(col).Times(int64(m.p.Cols))).Plus(int64(from))
		for i := 0; i < words; i += 2 {
			v := kernel.LoadFloats(at.Plus(int64(2*i)), 4)
			out = append(out, g.Pack(m.half, v[0], v[1]), g.Pack(m.half, v[2], v[3]))
		}
		return out
	}
}

// registers orders sums as products have them, byRow the other way.
func (m gemv) registers(sums []kernel.F32) []kernel.F32 {
	out := make([]kernel.F32, len(sums))
	for i, v := range sums {
		out[m.register(i)] = v
	}
	return out
}

func (m gemv) byRow(acc []kernel.F32) []kernel.F32 {
	out := make([]kernel.F32, len(acc))
	for i := range out {
		out[i] = acc[m.register(i)]
	}
	return out
}

func (m gemv) register(i int) int {
	n := m.columns() // two of every eight
	t, h, c := i/(2*n), i/n%2, i%n
	return (t*n/2+c/2)*4 + 2*h + c%2
}
