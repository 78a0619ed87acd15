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
	outputs, threads := 16*cols, int64(32*m.plan.Warps)
	if m.p.WholeHeads() {
		m.finishWhole(last)
		return
	}
	if int64(m.plan.Turns)*outputs <= threads && cols == 1 {
		m.finishOne(last)
		return
	}
	g.Sync()
	kernel.Each(k, g.Thread(), last.Plus(1).Times(multi*outputs), threads, func(i kernel.I64) {
		n, row, col := i.Over(outputs), i.Modulo(outputs).Over(cols), i.Modulo(cols)
		turn := n.Over(multi)
		single := g.Before(last.Sub(turn)).Times(multi).Add(n.Modulo(multi))
		inside := single.Lt(k.Int(int64(m.p.Singles())))
		if cols > 1 {
			inside = inside.And(col.Lt(k.Dim("N")))
		}
		kernel.When(k, inside, func() { m.output(out{k: k, p: m.p.Linear, round: m.p.Round}, single, n, row, col) })
	})
	g.Sync()
}

// finishOne is finish where each thread has one value at most, of one row of x: it fetches
// what it needs besides the sums while other warps still work.
func (m gemv) finishOne(last kernel.I64) {
	k, g := m.k, m.g
	i := g.Thread()
	inside := i.Lt(last.Plus(1).Times(16))
	turn, r := i.Over(16), i.Modulo(16)
	single := g.Before(last.Sub(turn))
	e := out{k: k, p: m.p.Linear, round: m.p.Round}
	e.early = m.fetch(e, single, r, inside)
	g.Sync()
	kernel.When(k, inside, func() { m.output(e, single, turn, r, k.Int(0)) })
	g.Sync()
}

// fetch loads what the epilogue of row r of a tile or pair needs.
func (m gemv) fetch(e out, single, r kernel.I64, inside kernel.Bool) *fetched {
	k, p := m.k, m.p
	f := &fetched{}
	switch {
	case p.Epilogue == work.Add:
		at, has := e.row(single, r, p.Rows)
		f.res = kernel.If(k, inside.And(has), k.Floats(1), func() []kernel.F32 {
			return []kernel.F32{kernel.LoadF32(kernel.Arg[kernel.F32](k, "res").At(at))}
		}, nil)[0]
	case p.Epilogue == work.QKV:
		if !p.QKV.Apart {
			row := m.firstRow(single).Add(r)
			at := kernel.If(k, inside, []kernel.I64{k.Int(0), k.Int(0), k.Int(0)}, func() []kernel.I64 { return e.home(k.Int(0), row).values() }, nil)
			f.home = &home{at[0], at[1], at[2]}
		}
		if p.QKV.Style == work.NoRope {
			return f
		}
		v := kernel.If(k, inside, k.Floats(2), func() []kernel.F32 {
			cos, sin := e.angle(k.Int(0), e.rotation(m.firstRow(single).Add(r)))
			return []kernel.F32{cos, sin}
		}, nil)
		f.cos, f.sin = &v[0], &v[1]
	}
	return f
}

// firstRow is the first row of a tile, or of a pair's first.
func (m gemv) firstRow(single kernel.I64) kernel.I64 {
	if m.p.Pairs() == 2 && m.p.Epilogue == work.QKV {
		half := int64(m.p.QKV.Dim / 32)
		return single.Over(half).Times(2 * half).Add(single.Modulo(half)).Times(16)
	}
	return single.Times(16)
}

// output finishes row r of a single or pair of tiles, the n-th whose sums are here, for row
// col of x.
func (m gemv) output(e out, single, n, r, col kernel.I64) {
	p := m.p
	var v []kernel.F32
	for t := range p.Pairs() {
		v = append(v, m.total(n, t, r, col))
	}
	row := m.firstRow(single).Add(r)
	switch {
	case p.Epilogue == work.GLU:
		at, inside := e.row(single, r, p.Rows[:1])
		kernel.When(m.k, inside, func() { e.glu(col, at, v[0], v[1]) })
	case p.Epilogue == work.QKV && p.QKV.Style == work.Adjacent:
		e.adjacent(col, row, v[0], m.total(n, 0, r.Xor(1), col))
	case p.Epilogue == work.QKV && p.QKV.Style == work.Half:
		e.halves(col, row, v[0], v[1])
	case p.Epilogue == work.QKV:
		e.head(col, row, e.biased(row, v[0]))
	default:
		at, inside := e.row(single, r, p.Rows)
		kernel.When(m.k, inside, func() { e.store(col, at, v[0]) })
	}
}

// out is a Linear's epilogue of single values, for GPUs.
type out struct {
	k     *kernel.Kernel
	p     work.Linear
	early *fetched // or nil
	round *work.Round
}

// fetched is what was loaded before the sums were there.
type fetched struct {
	res      kernel.F32
	cos, sin *kernel.F32
	home     *home
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
		if e.early != nil {
			v = v.Add(e.early.res)
		} else {
			v = v.Add(kernel.LoadF32(kernel.Arg[kernel.F32](k, "res").At(at)))
		}
	} else {
		v = e.act(v)
		if p.Softcap > 0 {
			v = softcap(v.Splat(), p.Softcap, k).Own()
		}
	}
	if e.round != nil {
		newRounded(k, *e.round, n).one(row, v)
		return
	}
	kernel.StoreF32(kernel.Arg[kernel.F32](k, "y").At(at), v)
}

func (e out) glu(n, row kernel.I64, gate, up kernel.F32) {
	f := int64(e.p.Rows[0])
	gate, up = e.biased(row, gate), e.biased(row.Plus(f), up)
	v := e.act(gate).Mul(up)
	if e.round != nil {
		newRounded(e.k, *e.round, n).one(row, v)
		return
	}
	kernel.StoreF32(kernel.Arg[kernel.F32](e.k, "y").At(n.Times(f).Add(row)), v)
}

// act is the activation function, by the machine's exponential and reciprocal where it is x
// times a logistic function: a relative error of about 1e-6, as the sum's own.
func (e out) act(x kernel.F32) kernel.F32 {
	k, g := e.k, e.k.GPU()
	logistic := func(y kernel.F32) kernel.F32 {
		return g.Rcp(g.Exp2F(y.Mul(k.Float(-1.44269504088896341))).Add(k.Float(1)))
	}
	switch e.p.Act {
	case work.SiLU:
		return x.Mul(logistic(x))
	case work.GELUTanh:
		u := x.Mul(x).FMA(k.Float(0.044715), k.Float(1)).Mul(x)
		return x.Mul(logistic(u.Mul(k.Float(2 * 0.79788456080286536))))
	}
	return act(e.p.Act, x.Splat(), k).Own()
}

// angle is cos and sin of rotation i of row n.
func (e out) angle(n, i kernel.I64) (cos, sin kernel.F32) {
	if e.early != nil && e.early.cos != nil {
		return *e.early.cos, *e.early.sin
	}
	v := kernel.LoadFloats(kernel.Arg[kernel.F32](e.k, "cs").At(n.Times(int64(e.p.QKV.RotaryDim)).Add(i.Times(2))), 2)
	return v[0], v[1]
}

// rotation is the number of the rotation of a row of a head, any that there is where it has none.
func (e out) rotation(row kernel.I64) kernel.I64 {
	in := row.Modulo(int64(e.p.QKV.Dim))
	if e.p.QKV.Style == work.Adjacent {
		in = in.Shr(1)
	}
	return in.Min(e.k.Int(int64(e.p.QKV.RotaryDim/2 - 1)))
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

// home is where row n's entries begin among the elements of both caches, of the first head's
// keys, and the place of a row's kv head among the heads of both.
type home struct{ first, second, head kernel.I64 }

func (h home) values() []kernel.I64 { return []kernel.I64{h.first, h.second, h.head} }

// home finds where a value of row n, of q, k or v, goes.
func (e out) home(n, row kernel.I64) home {
	k, q := e.k, e.p.QKV
	begin := func(second bool, kvHeads, summary int) kernel.I64 {
		at := appendTo{k: k, page: q.Page, second: second}.row(n)
		return at.page.Times(work.PageStride(kvHeads, q.Dim, q.Page, summary, q.CacheEnc) / 2).Add(at.token.Times(int64(q.Dim)))
	}
	dim := int64(q.Dim)
	h := row.Plus(-int64(q.Heads) * dim).Max(k.Int(0)).Over(dim) // of keys, then values
	h = kernel.Select(k.Int(int64(q.KVHeads)).Le(h), h.Plus(-int64(q.KVHeads)), h)
	if q.Stream == 0 {
		return home{begin(false, q.KVHeads, q.Summary), k.Int(0), h}
	}
	return home{begin(false, q.KVHeads-q.Stream, q.Summary), begin(true, q.Stream, 0),
		kernel.LoadI32(kernel.Arg[kernel.I32](k, "place").At(h)).I64()}
}

// head stores a value of q, or appends it to its cache: [kv head][token][dim] of the page,
// keys, then values.
func (e out) head(n, row kernel.I64, v kernel.F32) {
	k, q := e.k, e.p.QKV
	dim := int64(q.Dim)
	heads, kv := int64(q.Heads)*dim, int64(q.KVHeads)*dim
	kernel.If(k, row.Lt(k.Int(heads)), nil, func() []kernel.Vec {
		kernel.StoreF32(kernel.Arg[kernel.F32](k, "q").At(n.Times(heads).Add(row)), v)
		return nil
	}, func() []kernel.Vec {
		if q.Apart {
			in := row.Plus(-heads) // of keys, then values
			isV := k.Int(kv).Le(in)
			in = kernel.Select(isV, in.Plus(-kv), in)
			either(k, isV, func() {
				kernel.StoreF32(kernel.Arg[kernel.F32](k, "v").At(n.Times(kv).Add(in)), v)
			}, func() {
				kernel.StoreF32(kernel.Arg[kernel.F32](k, "k").At(n.Times(kv).Add(in)), v)
			})
			return nil
		}
		var to home
		if e.early != nil {
			to = *e.early.home
		} else {
			to = e.home(n, row)
		}
		a := appendTo{k: k, enc: q.CacheEnc}
		isV, x := k.Int(heads+kv).Le(row), row.Modulo(dim)
		put := func(begin, h kernel.I64, kvHeads int) {
			values := work.PageBytes(kvHeads, q.Dim, q.Page, q.CacheEnc) / 4
			i := begin.Add(h.Times(int64(q.Page) * dim)).Add(x)
			at := kernel.Select(isV, i.Plus(values), i).Times(encSize(q.CacheEnc))
			store(q.CacheEnc, kernel.Arg[kernel.U8](k, a.cache()).At(at), v)
		}
		first := q.KVHeads - q.Stream
		if q.Stream == 0 {
			put(to.first, to.head, first)
			return nil
		}
		kernel.If(k, to.head.Lt(k.Int(int64(first))), nil, func() []kernel.Vec {
			put(to.first, to.head, first)
			return nil
		}, func() []kernel.Vec {
			a.second = true
			put(to.second, to.head.Plus(int64(-first)), q.Stream)
			return nil
		})
		return nil
	})
}
