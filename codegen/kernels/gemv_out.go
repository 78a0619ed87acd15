package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// Sums of a turn lie by warp, tile, row of the tile, column.

func (m gemv) turnFloats() int64 { return int64(m.plan.Warps) * m.warpFloats() }

func (m gemv) warpFloats() int64 { return int64(m.tiles() * layout.Lanes * m.p.Columns) }

// leave writes this warp's sums of an item.
func (m gemv) leave(turn kernel.I64, sums []kernel.F32) {
	k, cols := m.k, int64(m.p.Columns)
	to := kernel.SharedAt[kernel.F32](k, m.plan.Parts).At(turn.Times(m.turnFloats()).Add(m.warp.Times(m.warpFloats())))
	r, q := m.lane.Shr(2), m.lane.And(k.Int(3))
	put := func() {
		for i := 0; i < len(sums); i += m.columns() {
			at := to.At(r.Times(cols)).Plus(int64(i/m.columns()) * 8 * cols)
			if cols == 1 {
				kernel.StoreF32(at, sums[i])
				continue
			}
			for j := 0; j < m.columns(); j += 2 {
				kernel.StoreFloats(at.At(q.Times(2)).Plus(int64(4*j)), sums[i+j:i+j+2])
			}
		}
	}
	if cols >= 8 {
		put()
		return
	}
	kernel.When(k, q.Times(2).Lt(k.Int(cols)), put)
}

// total adds the warps' sums of one value, of tile number tile of those that belong
// together and are the n-th since the sums were last finished.
func (m gemv) total(n kernel.I64, tile int, row, col kernel.I64) kernel.F32 {
	cols, multi := int64(m.p.Columns), int64(m.p.Multi())
	group := n.Over(multi).Times(m.turnFloats()).Add(n.Modulo(multi).Times(int64(m.p.Pairs()) * 16 * cols))
	at := kernel.SharedAt[kernel.F32](m.k, m.plan.Parts).At(group.Add(row.Times(cols)).Add(col)).Plus(int64(tile) * 16 * cols)
	sum := kernel.LoadF32(at)
	for w := int64(1); w < int64(m.plan.Warps); w++ {
		sum = sum.Add(kernel.LoadF32(at.Plus(w * m.warpFloats())))
	}
	return sum
}

// finish is the epilogue of the items of turns 0 to last: a thread a row and column of
// tiles that belong together.
func (m gemv) finish(last kernel.I64) {
	k, g, multi := m.k, m.g, int64(m.p.Multi())
	cols := int64(m.p.Columns)
	outputs := 16 * cols
	kernel.Each(k, g.Thread(), last.Plus(1).Times(multi*outputs), int64(32*m.plan.Warps), func(i kernel.I64) {
		n, row, col := i.Over(outputs), i.Modulo(outputs).Over(cols), i.Modulo(cols)
		turn := n.Over(multi)
		single := g.Before(last.Sub(turn)).Times(multi).Add(n.Modulo(multi))
		do := func() {
			var v []kernel.F32
			for t := range m.p.Pairs() {
				v = append(v, m.total(n, t, row, col))
			}
			m.output(single, n, row, col, v)
		}
		inside := single.Lt(k.Int(int64(m.p.Singles())))
		if cols > 1 {
			inside = inside.And(col.Lt(k.Dim("N")))
		}
		if multi == 1 && cols == 1 {
			do()
			return
		}
		kernel.When(k, inside, do)
	})
}

// output finishes row r of a single or pair of tiles, the n-th whose sums are here, for row
// col of x.
func (m gemv) output(single, n, r, col kernel.I64, v []kernel.F32) {
	e, p := out{m.k, m.p.Linear}, m.p
	row := single.Times(16).Add(r)
	switch {
	case p.Epilogue == work.GLU:
		at, inside := e.row(single, r, p.Rows[:1])
		kernel.When(m.k, inside, func() { e.glu(col, at, v[0], v[1]) })
	case p.Epilogue == work.QKV && p.QKV.Style == work.Adjacent:
		e.adjacent(col, row, v[0], m.total(n, 0, r.Xor(1), col))
	case p.Epilogue == work.QKV && p.QKV.Style == work.Half:
		half := int64(p.QKV.Dim / 32)
		tile := single.Over(half).Times(2 * half).Add(single.Modulo(half))
		e.halves(col, tile.Times(16).Add(r), v[0], v[1])
	case p.Epilogue == work.QKV:
		e.head(col, row, e.biased(row, v[0]))
	default:
		at, inside := e.row(single, r, p.Rows)
		kernel.When(m.k, inside, func() { e.store(col, at, v[0]) })
	}
}

// out is a Linear's epilogue of single values, for GPUs.
type out struct {
	k *kernel.Kernel
	p work.Linear
}

// row is the unpadded number of row r of a tile of segments, and whether there is one.
func (e out) row(tile, r kernel.I64, segments []int) (kernel.I64, kernel.Bool) {
	k := e.k
	var at kernel.I64
	var inside kernel.Bool
	firstTile, firstRow := 0, 0
	for i, rows := range segments {
		in := tile.Plus(int64(-firstTile)).Times(layout.Lanes).Add(r)
		a, ok := in.Plus(int64(firstRow)), in.Lt(k.Int(int64(rows)))
		if i == 0 {
			at, inside = a, ok
		} else {
			here := k.Int(int64(firstTile)).Le(tile)
			at, inside = kernel.Select(here, a, at), kernel.Select(here, ok, inside)
		}
		firstTile, firstRow = firstTile+layout.Tiles(rows), firstRow+rows
	}
	return at, inside
}

func (e out) biased(row kernel.I64, v kernel.F32) kernel.F32 {
	if !e.p.Bias {
		return v
	}
	return v.Add(kernel.LoadF32(kernel.Arg[kernel.F32](e.k, "b").At(row)))
}

// store is the epilogues Store and Add.
func (e out) store(n, row kernel.I64, v kernel.F32) {
	k, p := e.k, e.p
	v = e.biased(row, v)
	at := n.Times(int64(p.R())).Add(row)
	if p.Epilogue == work.Add {
		v = v.Add(kernel.LoadF32(kernel.Arg[kernel.F32](k, "res").At(at)))
	} else {
		x := act(p.Act, v.Splat(), k)
		if p.Softcap > 0 {
			x = softcap(x, p.Softcap, k)
		}
		v = x.Own()
	}
	kernel.StoreF32(kernel.Arg[kernel.F32](k, "y").At(at), v)
}

func (e out) glu(n, row kernel.I64, gate, up kernel.F32) {
	f := int64(e.p.Rows[0])
	gate, up = e.biased(row, gate), e.biased(row.Plus(f), up)
	v := act(e.p.Act, gate.Splat(), e.k).Own().Mul(up)
	kernel.StoreF32(kernel.Arg[kernel.F32](e.k, "y").At(n.Times(f).Add(row)), v)
}

// angle is cos and sin of rotation i of row n.
func (e out) angle(n, i kernel.I64) (cos, sin kernel.F32) {
	v := kernel.LoadFloats(kernel.Arg[kernel.F32](e.k, "cs").At(n.Times(int64(e.p.QKV.RotaryDim)).Add(i.Times(2))), 2)
	return v[0], v[1]
}

// rotates says whether a row is of a head of q or k.
func (e out) rotates(row kernel.I64) kernel.Bool {
	q := e.p.QKV
	return row.Lt(e.k.Int(int64((q.Heads + q.KVHeads) * q.Dim)))
}

// halves finishes the values of a row and of the one half a head further.
func (e out) halves(n, row kernel.I64, a, b kernel.F32) {
	k, half := e.k, int64(e.p.QKV.Dim/2)
	a, b = e.biased(row, a), e.biased(row.Plus(half), b)
	v := kernel.If(k, e.rotates(row), []kernel.F32{a, b}, func() []kernel.F32 {
		cos, sin := e.angle(n, row.Modulo(2*half))
		return []kernel.F32{a.Mul(cos).Sub(b.Mul(sin)), b.Mul(cos).Add(a.Mul(sin))}
	}, nil)
	e.head(n, row, v[0])
	e.head(n, row.Plus(half), v[1])
}

// adjacent finishes the value of a row, whose neighbour's rotates with it.
func (e out) adjacent(n, row kernel.I64, v, other kernel.F32) {
	k, q := e.k, e.p.QKV
	v, other = e.biased(row, v), e.biased(row.Xor(1), other)
	in := row.Modulo(int64(q.Dim))
	turns := e.rotates(row).And(in.Lt(k.Int(int64(q.RotaryDim))))
	out := kernel.If(k, turns, []kernel.F32{v}, func() []kernel.F32 {
		cos, sin := e.angle(n, in.Shr(1))
		odd := in.And(k.Int(1)).Eq(k.Int(1))
		return []kernel.F32{v.Mul(cos).Add(other.Mul(kernel.Select(odd, sin, sin.Neg())))}
	}, nil)
	e.head(n, row, out[0])
}

// head stores a value of q, or appends it to the cache.
func (e out) head(n, row kernel.I64, v kernel.F32) {
	k, q := e.k, e.p.QKV
	if q.Summary > 0 {
		k.Errorf("gemv: page summaries, expected none on a GPU")
	}
	dim := int64(q.Dim)
	heads, kv := int64(q.Heads)*dim, int64(q.KVHeads)*dim
	kernel.If(k, row.Lt(k.Int(heads)), nil, func() []kernel.Vec {
		kernel.StoreF32(kernel.Arg[kernel.F32](k, "q").At(n.Times(heads).Add(row)), v)
		return nil
	}, func() []kernel.Vec {
		at := appendTo{k: k, page: q.Page}.row(n)
		in := row.Plus(-heads) // of keys, then values: [kv head][token][dim] of the page
		elems := work.PageBytes(q.KVHeads, q.Dim, q.Page, q.CacheEnc) / 2
		isV := k.Int(kv).Le(in)
		in = kernel.Select(isV, in.Plus(-kv), in)
		i := at.page.Times(elems).Add(in.Over(dim).Times(int64(q.Page)).Add(at.token).Times(dim)).Add(in.Modulo(dim))
		i = kernel.Select(isV, i.Plus(elems/2), i)
		appendTo{k: k, enc: q.CacheEnc}.store(i, v)
		return nil
	})
}
