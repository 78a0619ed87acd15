package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// attentionPrefillGPU takes a block of rows of one slot, for one kv head: QueryTile queries,
// a row of the product each (row / group is the token, row mod group the head). Keys and
// values go through shared memory tile by tile, the next one on its way while one is
// multiplied (FlashAttention-2, arXiv 2307.08691, section 3.1: queries stay, no partial
// results between warps). 4 dim operations for each query and token of a tile; tiles that
// no row sees are skipped.
//
//	scores [32 queries][64 tokens] of a warp = queries [32][dim] * keys^T [dim][64]
//	out    [32 queries][dim]      += weights [32][64] * values [64][dim]
//
// A row of shared memory is an odd number of 16 bytes long, so that eight rows that a
// matrix load reads lie in different banks.
func attentionPrefillGPU(p work.PrefillGPU) kernel.Body {
	return kernel.Body{Main: func(k *kernel.Kernel) {
		g := p.Grid()
		f := prefillerGPU{attnGPU: newAttnGPU(k, p.Attention), p: p, warps: g.Warps, mtiles: work.QueryTile / 16 / g.Warps, step: work.TileGPU}
		if f.pad > 128 || p.Window > 0 || p.Softcap > 0 {
			f.step /= 2
		}
		f.item()
	}}
}

type prefillerGPU struct {
	attnGPU
	p      work.PrefillGPU
	warps  int
	mtiles int // of 16 queries of a warp
	step   int // tokens of a tile that a warp has scores of at once
}

// Shared memory: queries, two tiles of keys, two of values.
func (f prefillerGPU) stride() int64 { return work.SharedRow(f.pad) }
func (f prefillerGPU) tileBytes() int64 {
	return work.TileGPU * f.stride()
}
func (f prefillerGPU) keysAt() int64   { return work.QueryTile * f.stride() }
func (f prefillerGPU) valuesAt() int64 { return f.keysAt() + f.stages()*f.tileBytes() }

// stages is how many tiles of keys, and of values, there is memory for.
func (f prefillerGPU) stages() int64 {
	if f.bits > 0 {
		return 1
	}
	return 2
}

// blockGPU is what an item works on.
type blockGPU struct {
	h, slot kernel.I64
	n, i    kernel.I64 // first row, and its index in its cache
	before  kernel.I64 // index of the slot's first row
	rows    kernel.I64
	tiles   tiles
	only    *kernel.I64 // the one query that is written, if not all are
}

func (b blockGPU) last() kernel.I64 { return b.i.Add(b.rows).Plus(-1) }

func (f prefillerGPU) item() {
	k, kv, rows := f.k, int64(f.p.KVHeads), int64(f.p.Rows())
	// The last rows see most: they start first.
	all := k.Dim("N").Over(rows).Add(k.Dim("S"))
	tile := all.Plus(-1).Sub(k.Item().Over(kv))
	b := blockGPU{h: k.Item().Modulo(kv), slot: f.slot(tile)}
	at := func(name string, i kernel.I64) kernel.I64 {
		return kernel.LoadI32(kernel.Arg[kernel.I32](k, name).At(i)).I64()
	}
	start, length := at("slot_start", b.slot), at("slot_len", b.slot)
	next := b.slot.Plus(1)
	end := kernel.If(k, next.Lt(k.Dim("S")), []kernel.I64{k.Dim("N")}, func() []kernel.I64 { return []kernel.I64{at("slot_start", next)} }, nil)[0]
	skip := tile.Sub(start.Over(rows)).Sub(b.slot).Times(rows)
	b.n, b.i, b.before = start.Add(skip), length.Add(skip), length
	b.rows = end.Sub(b.n).Min(k.Int(rows))
	dense := func() {
		oldest := b.i
		if f.p.Chunked {
			oldest = b.before
		}
		b.tiles = f.tiles(oldest, b.last())
		f.block(b)
	}
	kernel.When(k, k.Int(0).Lt(b.rows), func() {
		if f.p.Budget == 0 {
			dense()
			return
		}
		either(k, at("slot_new", b.slot).Eq(k.Int(1)), func() { f.listed(b) }, dense)
	})
}

// listed takes a slot's only new row, list by list of the kv head. What the lists' other
// queries find is not written.
func (f prefillerGPU) listed(b blockGPU) {
	k, p := f.k, f.p.Attention
	lists := int64(p.Lists() / p.KVHeads)
	kernel.Each(k, k.Int(0), k.Int(lists), 1, func(l kernel.I64) {
		b.tiles = f.picked(pickList(k, p, b.n, b.slot, b.i, b.h.Times(lists).Add(l)), b.i)
		if lists > 1 {
			b.only = &l
		}
		f.block(b)
	})
}

// slot is the last one whose first tile is not after the given one.
func (f prefillerGPU) slot(tile kernel.I64) kernel.I64 {
	k, g := f.k, f.g
	count := kernel.For(k, f.lane(), k.Dim("S"), 32, []kernel.I32{k.Int32(0)}, func(s kernel.I64, c []kernel.I32) []kernel.I32 {
		start := kernel.LoadI32(kernel.Arg[kernel.I32](k, "slot_start").At(s)).I64()
		in := start.Over(int64(f.p.Rows())).Add(s).Le(tile)
		return []kernel.I32{c[0].Add(kernel.Select(in, k.Int32(1), k.Int32(0)))}
	})[0]
	for lanes := int64(1); lanes <= 16; lanes *= 2 {
		count = count.Add(g.XorI(count, lanes))
	}
	return count.I64().Plus(-1)
}

func (f prefillerGPU) block(b blockGPU) {
	k, g := f.k, f.g
	g.Sync() // the memory may still be read for the item before
	f.loadQueries(b)
	if f.bits > 0 {
		f.copyCodes(b, k.Int(0))
	} else {
		f.copyTile(b, k.Int(0))
	}
	g.Commit()
	s := f.start()
	// The assembler has no register left: for compute capability 8 it finds those of the
	// addresses only if they are computed at each use, for 9 only if they are not.
	at := f.addresses
	if k.Target().SM >= "sm_90" {
		once := f.addresses()
		at = func() addresses { return once }
	}
	v := kernel.For(k, k.Int(0), b.tiles.count, 1, s.flat(), func(t kernel.I64, carried []kernel.F32) []kernel.F32 {
		s := s.with(carried)
		g.WaitCopies(0)
		g.Sync()
		next := t.Plus(1)
		stage := k.Int32(0)
		if f.bits > 0 {
			kernel.When(k, next.Lt(b.tiles.count), func() { f.copyCodes(b, next) })
			g.Commit()
			f.widenCodes(b, t)
			g.Sync()
		} else {
			kernel.When(k, next.Lt(b.tiles.count), func() { f.copyTile(b, next) })
			g.Commit()
			stage = t.I32().And(1).Mul(k.Int32(int32(f.tileBytes())))
		}
		token := b.tiles.token(t)
		for first := 0; first < work.TileGPU; first += f.step {
			x := f.scores(at(), stage, first)
			f.mask(b, token.Plus(int64(first)), x)
			f.softmax(x, &s)
			f.accumulate(at(), stage, first, x, &s)
		}
		return s.flat()
	})
	f.finish(b, s.with(v))
}

// loadQueries rounds the block's queries, times logScale, into shared memory; rows that
// are not there become zeros.
func (f prefillerGPU) loadQueries(b blockGPU) {
	k, g, dim, group := f.k, f.g, int64(f.attnGPU.p.Dim), int64(f.group)
	pieces := int64(f.pad / 8)
	q := kernel.Arg[kernel.F32](k, "q").At(b.n.Times(int64(f.p.Heads)).Add(b.h.Times(group)).Times(dim))
	scale := k.Float(f.logScale())
	live := b.rows.Times(group)
	kernel.Each(k, g.ThreadAgain(), k.Int(work.QueryTile*pieces), int64(32*f.warps), func(i kernel.I64) {
		row, at := i.Over(pieces), i.Modulo(pieces).Times(8)
		from := q.At(row.Over(group).Times(int64(f.p.Heads)).Add(row.Modulo(group)).Times(dim))
		zeros := make([]kernel.F32, 8)
		for j := range zeros {
			zeros[j] = k.Float(0)
		}
		x := kernel.If(k, row.Lt(live), zeros, func() []kernel.F32 {
			if dim%4 == 0 && int(dim) == f.pad {
				return append(kernel.LoadFloats(from.At(at), 4), kernel.LoadFloats(from.At(at).Plus(4), 4)...)
			}
			var v []kernel.F32
			for j := range int64(8) {
				v = append(v, inRow(k, from, at.Plus(j), int(dim), f.pad))
			}
			return v
		}, nil)
		var w []kernel.I32
		for j := 0; j < 8; j += 2 {
			w = append(w, g.Pack(f.half, x[j].Mul(scale), x[j+1].Mul(scale)))
		}
		kernel.StoreWords(kernel.SharedAt[kernel.U8](k, 0).At(row.Times(f.stride()).Add(at.Times(2))), w)
	})
}

// lane and warp are read anew wherever they are needed: registers are short.
func (f prefillerGPU) lane() kernel.I64 { return f.g.ThreadAgain().And(f.k.Int(31)) }
func (f prefillerGPU) warp() kernel.I64 { return f.g.ThreadAgain().Shr(5) }

// copier is a thread's part of a tile: 16 bytes of a token, then of the tokens that lie the
// block's width further.
type copier struct {
	row    kernel.I32 // first token; beyond the tile where the thread has none
	at, to kernel.I32 // in the token's entry; in shared memory
	step   int64      // tokens
}

func (f prefillerGPU) copier() copier {
	k, pieces := f.k, int64(f.pad/8)
	c := copier{step: int64(32*f.warps) / pieces}
	t := f.g.ThreadAgain()
	row, at := t.Over(pieces), t.Modulo(pieces).Times(16)
	c.at = at.I32()
	c.to = kernel.Address(kernel.SharedAt[kernel.U8](k, f.keysAt())).Add(row.Times(f.stride()).Add(at).I32())
	c.row = kernel.Select(row.Lt(k.Int(c.step)), row, k.Int(work.TileGPU)).I32()
	return c
}

// copyTile starts the copies of the t-th tile. A token after the block's last is replaced
// by that: its weight is zero, but what lies there may be anything.
func (f prefillerGPU) copyTile(b blockGPU, t kernel.I64) {
	k, c := f.k, f.copier()
	token := b.tiles.token(t)
	page := physical(k, b.slot, token.Over(int64(f.p.Page)))
	from := f.head(page, b.h).At(token.Modulo(int64(f.p.Page)).Times(f.row())).At(c.at.I64())
	last := b.last().Sub(token).I32()
	to := c.to.Add(t.I32().And(1).Mul(k.Int32(int32(f.tileBytes()))))
	each := func(source func(first int64) kernel.Ptr[kernel.U8]) {
		for first := int64(0); first < work.TileGPU; first += c.step {
			copies := func() {
				target := to.Add(k.Int32(int32(first * f.stride())))
				kernel.CopyAsync(f.g, target, source(first))
				kernel.CopyAsync(f.g, target.Add(k.Int32(int32(2*f.tileBytes()))), source(first).Plus(f.valuesAfter()))
			}
			if first+c.step <= work.TileGPU && c.step*int64(f.pad/8) == int64(32*f.warps) {
				copies()
			} else {
				kernel.When(k, c.row.Add(k.Int32(int32(first))).Lt(k.Int32(work.TileGPU)), copies)
			}
		}
	}
	kernel.If(k, last.Lt(k.Int32(work.TileGPU-1)), nil, func() []kernel.Vec {
		each(func(first int64) kernel.Ptr[kernel.U8] {
			row := c.row.Add(k.Int32(int32(first)))
			return from.At(kernel.Select(last.Lt(row), last, row).I64().Times(f.row()))
		})
		return nil
	}, func() []kernel.Vec {
		whole := from.At(c.row.I64().Times(f.row()))
		each(func(first int64) kernel.Ptr[kernel.U8] { return whole.Plus(first * f.row()) })
		return nil
	})
}

// addresses are where a lane points for matrix loads: of the warp's queries, of a tile's
// keys and of its values.
type addresses struct{ queries, keys, values kernel.I32 }

func (f prefillerGPU) addresses() addresses {
	k, l := f.k, f.lane()
	at := func(base int64, row, piece kernel.I64) kernel.I32 {
		return kernel.Address(kernel.SharedAt[kernel.U8](k, base)).Add(row.Times(f.stride()).Add(piece.Times(16)).I32())
	}
	low := l.And(k.Int(7))
	return addresses{
		queries: at(0, f.warp().Times(int64(16*f.mtiles)).Add(l.And(k.Int(15))), l.Shr(4)),
		keys:    at(f.keysAt(), low.Add(l.Shr(4).Times(8)), l.Shr(3).And(k.Int(1))),
		values:  at(f.valuesAt(), low.Add(l.Shr(3).And(k.Int(1)).Times(8)), l.Shr(4)),
	}
}

// scores is queries times keys from the first token on: [m tile][8 tokens].
func (f prefillerGPU) scores(at addresses, stage kernel.I32, first int) [][][4]kernel.F32 {
	k, g := f.k, f.g
	z := k.Float(0)
	x := make([][][4]kernel.F32, f.mtiles)
	for m := range x {
		x[m] = make([][4]kernel.F32, f.step/8)
		for j := range x[m] {
			x[m][j] = [4]kernel.F32{z, z, z, z}
		}
	}
	keys := at.keys.Add(stage)
	for d := range f.pad / 16 {
		q := make([][4]kernel.I32, f.mtiles)
		for m := range q {
			q[m] = g.LoadMatricesAt(at.queries, int64(16*m)*f.stride()+int64(32*d), false)
		}
		for j := 0; j < f.step/8; j += 2 {
			b := g.LoadMatricesAt(keys, int64(first+8*j)*f.stride()+int64(32*d), false)
			for m := range q {
				x[m][j] = g.Mma(f.half, q[m], [2]kernel.I32{b[0], b[1]}, x[m][j])
				x[m][j+1] = g.Mma(f.half, q[m], [2]kernel.I32{b[2], b[3]}, x[m][j+1])
			}
		}
	}
	return x
}

// accumulate adds weights times values.
func (f prefillerGPU) accumulate(at addresses, stage kernel.I32, first int, x [][][4]kernel.F32, s *fragments) {
	g := f.g
	vals := at.values.Add(stage)
	for t := range f.step / 16 {
		w := make([][4]kernel.I32, f.mtiles)
		for m := range w {
			a, b := x[m][2*t], x[m][2*t+1]
			w[m] = [4]kernel.I32{g.Pack(f.half, a[0], a[1]), g.Pack(f.half, a[2], a[3]), g.Pack(f.half, b[0], b[1]), g.Pack(f.half, b[2], b[3])}
		}
		for d := 0; d < f.pad/8; d += 2 {
			b := g.LoadMatricesAt(vals, int64(first+16*t)*f.stride()+int64(16*d), true)
			for m := range w {
				s.out[m][d] = g.Mma(f.half, w[m], [2]kernel.I32{b[0], b[1]}, s.out[m][d])
				s.out[m][d+1] = g.Mma(f.half, w[m], [2]kernel.I32{b[2], b[3]}, s.out[m][d+1])
			}
		}
	}
}

// finish divides by the sums and writes the rows.
func (f prefillerGPU) finish(b blockGPU, s fragments) {
	k, g, dim, group := f.k, f.g, int64(f.attnGPU.p.Dim), int64(f.group)
	o := kernel.Arg[kernel.F32](k, "o").At(b.n.Times(int64(f.p.Heads)).Add(b.h.Times(group)).Times(dim))
	live := b.rows.Times(group)
	lane, warp := f.lane(), f.warp()
	quad := lane.And(k.Int(3)).Times(2)
	for m := range s.out {
		for half := range 2 {
			sum := s.sum[m][half]
			sum = sum.Add(g.Xor(sum, 1))
			sum = sum.Add(g.Xor(sum, 2))
			inv := k.Float(1).Div(sum)
			row := warp.Times(int64(16 * f.mtiles)).Add(lane.Shr(2)).Plus(int64(16*m + 8*half))
			writes := row.Lt(live)
			if b.only != nil {
				writes = row.Eq(*b.only)
			}
			kernel.When(k, writes, func() {
				to := o.At(row.Over(group).Times(int64(f.p.Heads)).Add(row.Modulo(group)).Times(dim).Add(quad))
				for j := range s.out[m] {
					v := []kernel.F32{s.out[m][j][2*half].Mul(inv), s.out[m][j][2*half+1].Mul(inv)}
					at := to.Plus(int64(8 * j))
					if dim%2 == 0 && int64(8*j+8) <= dim {
						kernel.StoreFloats(at, v)
						continue
					}
					for e := range v {
						kernel.When(k, quad.Plus(int64(8*j+e)).Lt(k.Int(dim)), func() { kernel.StoreF32(at.Plus(int64(e)), v[e]) })
					}
				}
			})
		}
	}
}
