package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/target"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// linearMany is the product for any number of rows of x. An item is a panel of two tiles
// (32 rows of w) times a block of tokens:
//
//	panel   its columns, at most work.Wide at a time, become f32 [k][32] in scratch
//	tokens  12 at a time against both tiles: 24 sums stay in registers, each k costs two
//	        loads of the panel, 12 broadcasts of x and 24 multiply-adds
//	sums    go through the epilogue, or (several panels' worth of columns, or heads) to
//	        scratch first
type linearMany struct {
	k    *kernel.Kernel
	p    work.Linear
	f    layout.Format
	e    epilogue
	wide int64 // lines of a panel

	// A line is a column, or a pair of columns (linear_pairs.go).
	pairs bool
	heap  int64 // scratch behind what the product itself uses

	last *kernel.I64 // in a group that may lack tokens: the block's end

	// run, if set, is the product of a panel with its tokens (linearTiles).
	run func(pn panel, finish func(n kernel.I64, v []kernel.Vec))
}

func linearManyBody(p work.Linear, t target.Target) kernel.Body {
	f, _ := layout.Of(p.Enc)
	if onPairs(p, t) {
		return linearPairsBody(p, t)
	}
	wide := int64(min(p.Cols, work.Wide/f.Block*f.Block))
	many := func(k *kernel.Kernel) linearMany {
		return linearMany{k: k, p: p, f: f, e: epilogue{k, p}, wide: wide, heap: up64(wide * work.Panel * 4)}
	}
	bytes := onBytes(p, f, t)
	if p.Dot == work.F32 && !bytes {
		return kernel.Body{Main: func(k *kernel.Kernel) { many(k).item() }}
	}
	return kernel.Body{
		Prep: func(k *kernel.Kernel) { kernel.StoreI64(many(k).tag(), k.Int(-1)) },
		Main: func(k *kernel.Kernel) {
			m := many(k)
			byBytes := func() { m.bytesOf(m.wideAt(), m.tag()).item() }
			byFloats := func() {
				if p.Dot != work.F32 {
					block, _ := m.split()
					m.widen(block)
				}
				m.item()
			}
			switch {
			case !bytes:
				byFloats()
			case p.Dot == work.I8:
				byBytes()
			default:
				whenFew(k, byBytes, byFloats)
			}
		},
	}
}

// whenFew chooses by the launch's number of tokens.
func whenFew(k *kernel.Kernel, yes, no func()) {
	kernel.If(k, k.Dim("N").Lt(k.Int(few+1)), nil, func() []kernel.Vec { yes(); return nil }, func() []kernel.Vec { no(); return nil })
}

// panel is two tiles of the weight and where their sums go.
type panel struct {
	a, b   kernel.I64 // tile numbers
	tokens [2]kernel.I64
}

// sums is the scratch behind the panel: [token of the block][stride].
func (m linearMany) sums() kernel.Ptr[kernel.F32] {
	return kernel.Scratch[kernel.F32](m.k, m.heap)
}

// units is the number of panels (heads) of the weight.
func (m linearMany) units() int64 { return m.p.Items(work.Dims{N: 1}) }

// split gives the item's block of tokens and its panel.
func (m linearMany) split() (block, unit kernel.I64) {
	return m.k.Item().Over(m.units()), m.k.Item().Modulo(m.units())
}

func (m linearMany) item() {
	k, p := m.k, m.p
	block, unit := m.split()
	first := block.Times(work.Block)
	last := first.Plus(work.Block).Min(k.Dim("N"))
	switch p.Epilogue {
	case work.QKV:
		m.heads(unit, first, last)
	case work.GLU:
		pn := panel{a: unit, b: unit.Plus(int64(layout.Tiles(p.Rows[0]))), tokens: [2]kernel.I64{first, last}}
		l := m.e.lanes(unit)
		m.product(pn, func(n kernel.I64, v []kernel.Vec) { m.e.glu(n, l, v[0], v[1]) })
	default:
		a, b := m.pair(unit)
		la, lb := m.e.lanes(a), m.e.lanes(b)
		m.product(panel{a, b, [2]kernel.I64{first, last}}, func(n kernel.I64, v []kernel.Vec) {
			m.e.row(n, la, v[0])
			if p.Epilogue == work.Add && m.odd() { // y may be res: add once
				kernel.When(k, a.Ne(b), func() { m.e.row(n, lb, v[1]) })
				return
			}
			m.e.row(n, lb, v[1])
		})
	}
}

// odd reports whether some unit is one tile that stands for both.
func (m linearMany) odd() bool {
	for _, r := range m.p.Rows {
		if layout.Tiles(r)%2 == 1 {
			return true
		}
	}
	return false
}

// pair gives the tiles of a unit. A segment with an odd number of tiles ends in a unit of
// one, which then stands for both: its rows are computed and stored twice.
func (m linearMany) pair(unit kernel.I64) (a, b kernel.I64) {
	k := m.k
	firstUnit, firstTile := 0, 0
	for i, r := range m.p.Rows {
		tiles := layout.Tiles(r)
		at := unit.Plus(int64(-firstUnit)).Times(2).Plus(int64(firstTile))
		end := k.Int(int64(firstTile + tiles - 1))
		if i == 0 {
			a, b = at, at.Plus(1).Min(end)
		} else {
			here := k.Int(int64(firstUnit)).Le(unit)
			a, b = kernel.Select(here, at, a), kernel.Select(here, at.Plus(1).Min(end), b)
		}
		firstUnit, firstTile = firstUnit+(tiles+1)/2, firstTile+tiles
	}
	return a, b
}

// heads computes all panels of a head into scratch, then finishes it token by token.
func (m linearMany) heads(head, first, last kernel.I64) {
	k, dim := m.k, int64(m.p.QKV.Dim)
	tiles := dim / layout.Lanes
	sums, stride := m.sums(), headStride(m.p)
	kernel.Each(k, k.Int(0), k.Int(tiles), 2, func(t kernel.I64) {
		a := head.Times(tiles).Add(t)
		b := head.Times(tiles).Add(t.Plus(1).Min(k.Int(tiles - 1)))
		m.stage(panel{a, b, [2]kernel.I64{first, last}}, sums.At(t.Times(layout.Lanes)), stride)
	})
	kernel.Each(k, first, last, 1, func(n kernel.I64) {
		m.e.head(n, head, sums.At(n.Sub(first).Times(stride)))
	})
}

// headStride is Dim up to a whole number of panels.
func headStride(p work.Linear) int64 {
	return (int64(p.QKV.Dim) + work.Panel - 1) / work.Panel * work.Panel
}

// product runs the panel over its tokens and gives each token's sums to finish.
func (m linearMany) product(pn panel, finish func(n kernel.I64, v []kernel.Vec)) {
	k := m.k
	if m.run != nil {
		m.run(pn, finish)
		return
	}
	if m.wide == m.lines() {
		m.dequant(pn, k.Int(0))
		m.tokens(pn, k.Int(0), nil, finish)
		return
	}
	sums := m.sums()
	m.stage(pn, sums, work.Panel)
	kernel.Each(k, pn.tokens[0], pn.tokens[1], 1, func(n kernel.I64) {
		s := sums.At(n.Sub(pn.tokens[0]).Times(work.Panel))
		finish(n, []kernel.Vec{kernel.LoadVec(s), kernel.LoadVec(s.Plus(layout.Lanes))})
	})
}

// stage adds up the panel's sums in scratch, work.Wide columns at a time.
func (m linearMany) stage(pn panel, sums kernel.Ptr[kernel.F32], stride int64) {
	k := m.k
	put := func(n kernel.I64, v []kernel.Vec) {
		s := sums.At(n.Sub(pn.tokens[0]).Times(stride))
		kernel.StoreVec(s, v[0])
		kernel.StoreVec(s.Plus(layout.Lanes), v[1])
	}
	if m.run != nil {
		m.run(pn, put)
		return
	}
	m.dequant(pn, k.Int(0))
	m.tokens(pn, k.Int(0), nil, put)
	kernel.Each(k, k.Int(m.wide), k.Int(m.lines()), m.wide, func(from kernel.I64) {
		m.dequant(pn, from)
		m.tokens(pn, from, func(n kernel.I64) []kernel.Vec {
			s := sums.At(n.Sub(pn.tokens[0]).Times(stride))
			return []kernel.Vec{kernel.LoadVec(s), kernel.LoadVec(s.Plus(layout.Lanes))}
		}, put)
	})
}

// lines is the number of lines of the weight.
func (m linearMany) lines() int64 {
	if m.pairs {
		return int64(m.p.Cols / 2)
	}
	return int64(m.p.Cols)
}

// end is the line after those of a panel that starts at from.
func (m linearMany) end(from kernel.I64) kernel.I64 {
	return from.Plus(m.wide).Min(m.k.Int(m.lines()))
}

// dequant writes the columns of both tiles from the given one on: [k][32] f32.
func (m linearMany) dequant(pn panel, from kernel.I64) {
	k, f := m.k, m.f
	if m.pairs {
		m.dequantPairs(pn, from)
		return
	}
	dst := kernel.Scratch[kernel.F32](k, 0)
	w := kernel.Arg[kernel.U8](k, "w")
	tile := tileBytes(f, m.p.Cols)
	block := int64(f.Block)
	kernel.Each(k, from, m.end(from), block, func(i kernel.I64) {
		for t, number := range []kernel.I64{pn.a, pn.b} {
			src := w.At(number.Times(tile)).At(i.Over(block).Times(int64(f.ColumnBytes())))
			out := dst.At(i.Sub(from).Times(work.Panel)).Plus(int64(t * layout.Lanes))
			if f.Block == 1 {
				kernel.StoreVec(out, floats(k, f, src))
				continue
			}
			c := newColumn(k, f, src)
			for u := 0; u < f.Block; u += min(f.Sub, 32) {
				d, mn := c.scales(u)
				for j, q := range c.codes(u, min(f.Sub, 32)) {
					kernel.StoreVec(out.Plus(int64((u+j)*work.Panel)), d.FMA(q, mn))
				}
			}
		}
	})
}

// tokens runs the panel's columns over all tokens: groups of as many as registers hold,
// then small ones, of which the last may lack tokens. Each token's sum runs in the order
// of k whatever its group, so that no token depends on its neighbours. start gives the
// sums to add to; nil means zeros.
func (m linearMany) tokens(pn panel, from kernel.I64, start func(n kernel.I64) []kernel.Vec, finish func(n kernel.I64, v []kernel.Vec)) {
	large, small := int64(6), int64(2)
	if m.k.Target().Has(target.AVX512) {
		large, small = 12, 4
	}
	first, last := pn.tokens[0], pn.tokens[1]
	middle := first.Add(last.Sub(first).Over(large).Times(large))
	kernel.Each(m.k, first, middle, large, func(n kernel.I64) { m.micro(from, n, int(large), start, finish) })
	kernel.Each(m.k, middle, last, small, func(n kernel.I64) {
		short := m
		short.last = &last
		short.micro(from, n, int(small), start, finish)
	})
}

// token is the t-th of a group; beyond the last it is the last again.
func (m linearMany) token(n kernel.I64, t int) kernel.I64 {
	n = n.Plus(int64(t))
	if m.last != nil && t > 0 {
		n = n.Min(m.last.Plus(-1))
	}
	return n
}

// micro multiplies the panel with size tokens. With 32 registers both tiles go together;
// with 16 (a tile is two of them) one after the other.
func (m linearMany) micro(from, n kernel.I64, size int, start func(n kernel.I64) []kernel.Vec, finish func(n kernel.I64, v []kernel.Vec)) {
	k := m.k
	init := make([][]kernel.Vec, size)
	for t := range init {
		init[t] = k.Zeros(2)
		if start != nil {
			init[t] = start(m.token(n, t))
		}
	}
	together := [][]int{{0, 1}}
	if !k.Target().Has(target.AVX512) {
		together = [][]int{{0}, {1}}
	}
	out := make([][]kernel.Vec, size)
	for t := range out {
		out[t] = make([]kernel.Vec, 2)
	}
	for _, tiles := range together {
		m.columns(from, n, size, tiles, init, out)
	}
	for t, v := range out {
		if m.last == nil || t == 0 {
			finish(n.Plus(int64(t)), v)
			continue
		}
		kernel.When(k, n.Plus(int64(t)).Lt(*m.last), func() { finish(n.Plus(int64(t)), v) })
	}
}

// columns is the inner loop.
func (m linearMany) columns(from, n kernel.I64, size int, tiles []int, init, out [][]kernel.Vec) {
	k := m.k
	acc := make([]kernel.Vec, size*len(tiles))
	rows := make([]kernel.Ptr[kernel.F32], size)
	for t := range size {
		for s, tile := range tiles {
			acc[t*len(tiles)+s] = init[t][tile]
		}
		rows[t] = m.x(m.token(n, t))
		if m.last == nil {
			rows[t] = m.x(n).Plus(int64(t) * m.rowFloats()) // one pointer, constant distances
		}
	}
	w := kernel.Scratch[kernel.F32](k, 0)
	turn := func(i kernel.I64, unroll int, acc []kernel.Vec) []kernel.Vec {
		next := append([]kernel.Vec(nil), acc...)
		wi := w.At(i.Sub(from).Times(work.Panel))
		for u := range unroll {
			wv := make([]kernel.Vec, len(tiles))
			for s, tile := range tiles {
				wv[s] = kernel.LoadVec(wi.Plus(int64(u*work.Panel + tile*layout.Lanes)))
			}
			for t := range size {
				xv := kernel.LoadF32(rows[t].At(i).Plus(int64(u))).Splat()
				for s := range tiles {
					j := t*len(tiles) + s
					next[j] = m.multiply(wv[s], xv, next[j])
				}
			}
		}
		return next
	}
	const unroll = 4
	end := m.end(from)
	whole := from.Add(end.Sub(from).Over(unroll).Times(unroll))
	acc = kernel.For(k, from, whole, unroll, acc, func(i kernel.I64, a []kernel.Vec) []kernel.Vec { return turn(i, unroll, a) })
	if m.lines()%unroll != 0 {
		acc = kernel.For(k, whole, end, 1, acc, func(i kernel.I64, a []kernel.Vec) []kernel.Vec { return turn(i, 1, a) })
	}
	for t := range size {
		for s, tile := range tiles {
			out[t][tile] = acc[t*len(tiles)+s]
		}
	}
}
