package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// xUnit is what a lane multiplies a unit with: of its row of x the columns of the frag
// layout's spans, and sums of x.
type xUnit struct {
	m    gemv
	row  kernel.Ptr[kernel.U8] // the lane's first column of the unit
	sums kernel.Ptr[kernel.F32]
	have map[int][]kernel.I32
	gs   map[int][]kernel.F32
}

// xUnit is unit u of all columns.
func (m gemv) xUnit(u kernel.I64) xUnit {
	k, f := m.k, m.f
	q := m.lane.And(k.Int(3))
	row := kernel.SharedAt[kernel.U8](k, 0).At(u.Times(int64(2 * f.Unit)).Add(q.Times(int64(f.Span / 2))))
	sums := kernel.SharedAt[kernel.F32](k, m.plan.Sums).At(u.Times(int64(groups(f) * m.p.Columns)))
	if m.p.Columns > 1 {
		last := k.Dim("N").Plus(-1)
		row = row.At(m.lane.Shr(2).Min(last).Times(m.plan.Row))
		sums = sums.At(q.Min(last.Shr(1)).Times(2))
	}
	return xUnit{m: m, row: row, sums: sums, have: map[int][]kernel.I32{}, gs: map[int][]kernel.F32{}}
}

// product is the second operand of product j of the unit.
func (x xUnit) product(j int) [2]kernel.I32 {
	f := x.m.f
	per := f.Span / 16
	span := j / per
	w := x.have[span]
	if w == nil {
		w = words(x.row.Plus(int64(span*2*f.Span)), int64(f.Span/2))
		x.have[span] = w
	}
	i := j % per
	return [2]kernel.I32{w[2*i], w[2*i+1]}
}

// sum is the sum of the lane's column e over group n.
func (x xUnit) sum(n, e int) kernel.F32 {
	s := x.gs[n]
	if s == nil {
		if x.m.p.Columns == 1 {
			v := kernel.LoadF32(x.sums.Plus(int64(n)))
			s = []kernel.F32{v, v}
		} else {
			s = kernel.LoadFloats(x.sums.Plus(int64(n*x.m.p.Columns)), 2)
		}
		x.gs[n] = s
	}
	return s[e]
}

// piece is the number of columns that a thread stages at once.
const piece = 8

// stage puts x into shared memory: normed, rounded, and its sums over groups. Rows are
// staged in pairs, as lanes load their sums: of an odd number the last one twice.
func (m gemv) stage() {
	k, g := m.k, m.g
	if m.wide() {
		return
	}
	threads := int64(32 * m.plan.Warps)
	pieces := int64(m.p.Cols / piece)
	rows := k.Int(1)
	if m.p.Columns > 1 {
		rows = k.Dim("N").Plus(1).And(k.Int(-2))
	}
	x := kernel.Arg[kernel.F32](k, "x")
	each := func(n kernel.I64, f func(i kernel.I64, inside *kernel.Bool)) {
		turns := (pieces + threads - 1) / threads
		do := func(t kernel.I64, last bool) {
			i := g.Thread().Add(t.Times(threads))
			if !last {
				f(i, nil)
				return
			}
			in := i.Lt(k.Int(pieces))
			f(i, &in)
		}
		whole := pieces / threads
		if whole <= 4 {
			for t := range whole {
				do(k.Int(t), false)
			}
		} else {
			kernel.Range(k, 0, whole, 1, nil, func(t kernel.I64, _ []kernel.Vec) []kernel.Vec { do(t, false); return nil })
		}
		if turns > whole {
			do(k.Int(whole), true)
		}
	}
	load := func(n, i kernel.I64, inside *kernel.Bool) []kernel.F32 {
		if m.p.Columns > 1 {
			n = n.Min(k.Dim("N").Plus(-1))
		}
		at := x.At(n.Times(int64(m.p.Cols)).Add(i.Times(piece)))
		if inside == nil {
			return append(kernel.LoadFloats(at, 4), kernel.LoadFloats(at.Plus(4), 4)...)
		}
		return kernel.If(k, *inside, k.Floats(piece), func() []kernel.F32 {
			return append(kernel.LoadFloats(at, 4), kernel.LoadFloats(at.Plus(4), 4)...)
		}, nil)
	}
	if m.p.Norm == nil {
		m.rows(rows, func(n kernel.I64) {
			each(n, func(i kernel.I64, in *kernel.Bool) { m.put(n, i, in, load(n, i, in)) })
		})
		g.Sync()
		return
	}
	m.stageNorm(rows, pieces, each, load)
}

// rows runs f for each row of x.
func (m gemv) rows(n kernel.I64, f func(n kernel.I64)) {
	if m.p.Columns == 1 {
		f(m.k.Int(0))
		return
	}
	kernel.Each(m.k, m.k.Int(0), n, 1, f)
}

// stageNorm finds the squares of all rows first; a single short row stays in registers.
func (m gemv) stageNorm(rows kernel.I64, pieces int64, each func(n kernel.I64, f func(i kernel.I64, in *kernel.Bool)),
	load func(n, i kernel.I64, in *kernel.Bool) []kernel.F32) {
	k, g := m.k, m.g
	threads := int64(32 * m.plan.Warps)
	parts := kernel.SharedAt[kernel.F32](k, m.plan.Parts)
	keep := m.p.Columns == 1 && (pieces+threads-1)/threads <= 3
	var kept [][]kernel.F32
	m.rows(rows, func(n kernel.I64) {
		sum := k.Float(0)
		square := func(v []kernel.F32) {
			for _, e := range v {
				sum = e.FMA(e, sum)
			}
		}
		if keep || pieces/threads <= 4 {
			each(n, func(i kernel.I64, in *kernel.Bool) {
				v := load(n, i, in)
				kept = append(kept, v)
				square(v)
			})
		} else {
			sum = kernel.For(k, g.Thread(), k.Int(pieces), threads, []kernel.F32{sum}, func(i kernel.I64, c []kernel.F32) []kernel.F32 {
				sum = c[0]
				square(load(n, i, nil))
				return []kernel.F32{sum}
			})[0]
		}
		sum = g.Sum(sum, 32)
		kernel.When(k, m.lane.Eq(k.Int(0)), func() {
			kernel.StoreF32(parts.At(n.Times(int64(m.plan.Warps)).Add(m.warp)), sum)
		})
	})
	g.Sync()
	gains := kernel.Arg[kernel.F32](k, "g")
	m.rows(rows, func(n kernel.I64) {
		sum := k.Float(0)
		for w := range int64(m.plan.Warps) {
			sum = sum.Add(kernel.LoadF32(parts.At(n.Times(int64(m.plan.Warps))).Plus(w)))
		}
		inv := k.Float(1).Div(sum.Div(k.Float(float32(m.p.Cols))).Add(k.Float(m.p.Norm.Eps)).Sqrt())
		turn := 0
		each(n, func(i kernel.I64, in *kernel.Bool) {
			var v []kernel.F32
			if keep {
				v = kept[turn]
				turn++
			} else {
				v = load(n, i, in)
			}
			at := i
			if in != nil {
				at = kernel.Select(*in, i, k.Int(0))
			}
			gs := gains.At(at.Times(piece))
			gain := append(kernel.LoadFloats(gs, 4), kernel.LoadFloats(gs.Plus(4), 4)...)
			out := make([]kernel.F32, piece)
			for j := range out {
				w := gain[j]
				if o := m.p.Norm.Offset; o != 0 {
					w = w.Add(k.Float(o))
				}
				out[j] = v[j].Mul(inv).Mul(w)
			}
			m.put(n, i, in, out)
		})
	})
	g.Sync()
}

// put rounds eight neighbours of a row and adds up what was rounded, over the lanes that
// hold a group.
func (m gemv) put(n, i kernel.I64, inside *kernel.Bool, v []kernel.F32) {
	k, g := m.k, m.g
	var w []kernel.I32
	sum := k.Float(0)
	for j := 0; j < piece; j += 2 {
		pair := g.Pack(m.half, v[j], v[j+1])
		w = append(w, pair)
		sum = sum.Add(g.Low(m.half, pair)).Add(g.High(m.half, pair))
	}
	store := func() {
		at := kernel.SharedAt[kernel.U8](k, 0).At(i.Times(2 * piece))
		if m.p.Columns > 1 {
			at = at.At(n.Times(m.plan.Row))
		}
		kernel.StoreWords(at, w)
	}
	when := func(c *kernel.Bool, f func()) {
		if c == nil {
			f()
			return
		}
		kernel.When(k, *c, f)
	}
	when(inside, store)
	if m.f.Block == 1 {
		return
	}
	lanes := int64(m.plan.Group / piece)
	sum = g.Sum(sum, lanes)
	head := i.And(k.Int(lanes - 1)).Eq(k.Int(0))
	if inside != nil {
		head = head.And(*inside)
	}
	kernel.When(k, head, func() {
		group := i.Over(lanes).Times(int64(m.p.Columns))
		if m.p.Columns > 1 {
			group = group.Add(n)
		}
		kernel.StoreF32(kernel.SharedAt[kernel.F32](k, m.plan.Sums).At(group), sum)
	})
}

// stepWide multiplies the units of a step in a slot, where x is in global memory. Sums lie
// by tile, row r or r+8, column: a product's registers are 0 and 1 of row r, 2 and 3 of
// r+8.
func (m gemv) stepWide(slot kernel.Ptr[kernel.U8], s kernel.I64, sums []kernel.F32) {
	k, f := m.k, m.f
	cols := m.p.Columns / 8
	u := m.unitOf(s)
	q, r := m.lane.And(k.Int(3)), m.lane.Shr(2)
	row := work.Round{Dim: m.p.Cols, To: m.p.Dot}.RowBytes()
	x := kernel.Arg[kernel.U8](k, "x").At(u.Times(int64(2 * f.Unit)).Add(q.Times(int64(f.Span / 2))))
	last := k.Dim("N").Plus(-1)
	do := func(sums []kernel.F32) []kernel.F32 {
		var w []*fragUnit
		for t := range m.tiles() {
			w = append(w, openUnit(k, f, slot.Plus(int64(t*f.UnitBytes())), m.lane, m.masks))
		}
		acc := m.registers(sums)
		for c := range f.Unit / f.Chunk {
			multiplyChunk(m.half, w, c, cols, func(col int) kernel.Ptr[kernel.U8] {
				return x.At(r.Plus(int64(8 * col)).Min(last).Times(row)).Plus(int64(2 * c * f.Chunk))
			}, acc, cols > 4)
		}
		return m.byRow(acc)
	}
	if !m.ragged() {
		copy(sums, do(sums))
		return
	}
	copy(sums, kernel.If(k, m.has(s), append([]kernel.F32(nil), sums...), func() []kernel.F32 { return do(sums) }, nil))
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
