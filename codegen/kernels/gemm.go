package kernels

import (
	"slices"

	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// gemm is y^T = W x^T for many rows of x. Chunks of x go through a ring in shared memory by
// asynchronous copies; each warp loads the codes of its tiles a chunk ahead and makes
// 16-bit numbers of them in registers: code minus zero is exact, the product with the scale
// is rounded once.
type gemm struct {
	k    *kernel.Kernel
	g    kernel.GPU
	p    work.GEMM
	f    layout.Frag
	half kernel.Half

	lane, q    kernel.I64
	rows, cols kernel.I64 // this warp's place in the block, in warps
	pair       kernel.I64 // this warp's first pair of tiles
	first      kernel.I64 // the block's first row of x
	masks      [2]kernel.I32
	ones       kernel.I32 // in a register; with Groups
}

func gemmBody(p work.GEMM) kernel.Body {
	return kernel.Body{Main: func(k *kernel.Kernel) { newGEMM(k, p).item() }}
}

func newGEMM(k *kernel.Kernel, p work.GEMM) gemm {
	g := k.GPU()
	f, _ := layout.FragOf(p.Enc, p.Cols)
	m := gemm{k: k, g: g, p: p, f: f, half: kernel.Float16, lane: g.Lane(), masks: masks(g)}
	if p.Dot == work.BF16 {
		m.half = kernel.BFloat16
	}
	if p.Groups {
		m.ones = g.Register(-1)
	}
	m.q = m.lane.And(k.Int(3))
	m.rows, m.cols = g.Warp().Modulo(int64(p.RowWarps)), g.Warp().Over(int64(p.RowWarps))
	of, block := m.place()
	m.pair = of.Times(int64(p.RowWarps)).Add(m.rows).Times(int64(p.WarpPairs()))
	m.first = block.Times(int64(p.Block))
	return m
}

// place is the item's block of the weight and its block of rows of x: of Together of those,
// which are the faster axis, then all of the weight.
func (m gemm) place() (of, block kernel.I64) {
	k, item := m.k, m.k.Item()
	all := m.p.RowBlocks()
	blocks := k.Dim("N").Plus(int64(m.p.Block - 1)).Over(int64(m.p.Block))
	group := item.Over(all * work.Together)
	first := group.Times(work.Together)
	n := blocks.Sub(first).Min(k.Int(work.Together))
	in := item.Sub(first.Times(all))
	of = in.Div(n)
	return of, first.Add(in.Sub(of.Mul(n)))
}

// warpCols is the number of eights of rows of x that a warp has.
func (m gemm) warpCols() int {
	if m.p.Groups {
		return 16
	}
	return 8
}

// tiles is the number of tiles of a warp.
func (m gemm) tiles() int { return 2 * m.p.WarpPairs() }

func (m gemm) item() {
	k, g := m.k, m.g
	chunks := int64(m.p.Cols / m.f.Chunk)
	perUnit := m.f.Unit / m.f.Chunk
	g.Sync() // the ring may still be read
	for i := range int64(m.ahead()) {
		m.copy(k.Int(i), chunks)
	}
	state := k.Floats(m.tiles() * m.warpCols() * 4)
	tiles := make([]kernel.Ptr[kernel.U8], m.tiles())
	for t := range tiles {
		last := k.Int(int64(m.p.Tiles() - 1))
		tiles[t] = kernel.Arg[kernel.U8](k, "w").At(m.tile(t).Min(last).Times(int64(m.p.Cols / m.f.Unit * m.f.UnitBytes())))
	}
	w := m.open(tiles)
	for t := range w {
		w[t].first()
	}
	sums := len(state)
	for _, x := range m.words(w) {
		state = append(state, x.Bits())
	}
	state = kernel.Range(k, 0, int64(m.p.Cols/m.f.Unit), 1, state, func(u kernel.I64, state []kernel.F32) []kernel.F32 {
		acc := append([]kernel.F32(nil), state[:sums]...)
		here := m.open(at(tiles, u.Times(int64(m.f.UnitBytes()))))
		m.give(here, w, state[sums:])
		next := m.open(at(tiles, u.Plus(1).Min(k.Int(int64(m.p.Cols/m.f.Unit-1))).Times(int64(m.f.UnitBytes()))))
		for c := range perUnit {
			n := u.Times(int64(perUnit)).Plus(int64(c))
			g.WaitCopies(m.ahead() - 1)
			if p := m.p; p.Groups {
				g.FenceAsync()
			}
			g.Sync()
			m.copy(n.Plus(int64(m.ahead())), chunks)
			for t := range here { // the codes of the chunk that follows
				if c+1 < perUnit {
					here[t].chunk(c + 1)
				} else {
					next[t].first()
				}
			}
			if m.p.Groups {
				m.chunkGroups(here, c, n, acc)
			} else {
				m.chunk(here, c, n, acc)
			}
		}
		for _, x := range m.words(next) {
			acc = append(acc, x.Bits())
		}
		return acc
	})
	g.WaitCopies(0)
	if m.p.Groups {
		m.finish(m.groupResult(state[:sums]))
		return
	}
	m.finish(state[:sums])
}

// stages is the number of chunks of the ring, ahead that of chunks that are copied before
// they are needed.
func (m gemm) stages() int {
	if m.p.Groups {
		return work.GroupStages
	}
	return work.Stages
}

func (m gemm) ahead() int {
	if m.p.Groups {
		return work.GroupStages - 2
	}
	return work.Stages - 1
}

func at(tiles []kernel.Ptr[kernel.U8], offset kernel.I64) []kernel.Ptr[kernel.U8] {
	out := make([]kernel.Ptr[kernel.U8], len(tiles))
	for t := range tiles {
		out[t] = tiles[t].At(offset)
	}
	return out
}

// open is the units of the tiles at addresses.
func (m gemm) open(at []kernel.Ptr[kernel.U8]) []*fragUnit {
	var out []*fragUnit
	for t := range at {
		out = append(out, openUnit(m.k, m.f, at[t], m.lane, m.masks))
	}
	return out
}

// words are what first loads of a unit, give the inverse, as of another unit.
func (m gemm) words(w []*fragUnit) []kernel.I32 {
	var out []kernel.I32
	for _, u := range w {
		for _, part := range u.parts() {
			out = append(out, *part...)
		}
	}
	return out
}

func (m gemm) give(w, like []*fragUnit, state []kernel.F32) {
	for t, u := range w {
		u.codes[0], u.high[0] = nil, nil
		from := like[t].parts()
		for i, part := range u.parts() {
			for range *from[i] {
				*part = append(*part, state[0].Bits())
				state = state[1:]
			}
		}
		u.keep()
	}
}

// tile is tile t of the warp: two of each pair.
func (m gemm) tile(t int) kernel.I64 {
	p, pair := m.p, m.pair.Plus(int64(t/2))
	t %= 2
	switch {
	case p.Epilogue == work.GLU:
		return pair.Min(m.k.Int(int64(p.Pairs() - 1))).Plus(int64(t * p.Pairs()))
	case p.Epilogue == work.QKV && p.QKV.Style == work.Half:
		half := int64(p.QKV.Dim / 32)
		return pair.Over(half).Times(2 * half).Add(pair.Modulo(half)).Plus(int64(t) * half)
	}
	return pair.Times(2).Plus(int64(t))
}

// copy starts the copies of chunk n of the block's rows of x, if there is one. Distances are
// in pieces of 16 bytes: what does not change from chunk to chunk takes a register each.
func (m gemm) copy(n kernel.I64, chunks int64) {
	k, g := m.k, m.g
	pieces := int64(2 * m.f.Chunk / 16)
	stride := work.Round{Dim: m.p.Cols, To: m.p.Dot}.RowBytes()
	threads := int64(32 * m.p.Grid().Warps)
	stage := kernel.SharedAt[kernel.U8](k, 0).At(n.And(k.Int(int64(m.stages() - 1))).Times(int64(m.p.Block) * m.p.Stride()))
	row, piece := g.Thread().Over(pieces), g.Thread().Modulo(pieces)
	distance := n.Times(pieces).I32()
	last := k.Dim("N").Plus(-1)
	kernel.When(k, n.Lt(k.Int(chunks)), func() {
		for i := int64(0); i < int64(m.p.Block); i += threads / pieces {
			r := row.Plus(i)
			to := kernel.Address(stage.At(r.Times(m.p.Stride()).Add(m.swizzle(r, piece.Times(16)))))
			from := m.first.Add(r).Min(last).Times(stride / 16).Add(piece).I32().Add(distance).I64().Times(16)
			copyPiece := func() { kernel.CopyAsync(g, to, kernel.Arg[kernel.U8](k, "x").At(from)) }
			if i+threads/pieces <= int64(m.p.Block) {
				copyPiece()
				continue
			}
			kernel.When(k, r.Lt(k.Int(int64(m.p.Block))), copyPiece)
		}
	})
	g.Commit()
}

// chunk multiplies chunk c of the units, number n of all.
func (m gemm) chunk(w []*fragUnit, c int, n kernel.I64, acc []kernel.F32) {
	k, f := m.k, m.f
	stage := kernel.SharedAt[kernel.U8](k, 0).At(n.And(k.Int(int64(m.stages() - 1))).Times(int64(m.p.Block) * m.p.Stride()))
	row := stage.At(m.cols.Times(64).Add(m.lane.Shr(2)).Times(m.p.Stride())).At(m.q.Times(int64(f.Span / 2)))
	multiplyChunk(m.half, w, c, m.warpCols(), func(col, from, words int) []kernel.I32 {
		return kernel.LoadWords(row.Plus(int64(8*col)*m.p.Stride()+int64(2*from)), words)
	}, acc, false)
}

// finish is the epilogue: a lane has rows r and r+8 of each tile, and of x two neighbours
// in every eight.
func (m gemm) finish(acc []kernel.F32) {
	k := m.k
	for t := 0; t < m.tiles(); t += 2 {
		pair := m.pair.Plus(int64(t / 2))
		kernel.When(k, pair.Lt(k.Int(int64(m.p.Pairs()))), func() {
			if m.p.Epilogue == work.QKV {
				m.finishHeads(t, acc)
				return
			}
			m.finishPair(t, pair, acc)
		})
	}
}

// gemmColumn is one of a lane's rows of x: the n-th, if there are as many, and the one to load for.
type gemmColumn struct {
	n, load kernel.I64
	there   kernel.Bool
	at      int // its sum among those of rows r of tile 0
}

// columns are all of a lane's. What an epilogue loads for some of them is under way
// together, before any is stored: a load would wait for the stores before it.
func (m gemm) columns() []gemmColumn {
	var out []gemmColumn
	last := m.k.Dim("N").Plus(-1)
	for col := range m.warpCols() {
		for i := range 2 {
			n := m.first.Add(m.cols.Times(64)).Add(m.q.Times(2)).Plus(int64(8*col + i))
			out = append(out, gemmColumn{n, n.Min(last), n.Le(last), 4*col + i})
		}
	}
	return out
}

// sum is the one of a column and of row r, or r+8, of a tile.
func (m gemm) sum(acc []kernel.F32, tile, high int, c gemmColumn) kernel.F32 {
	return acc[tile*m.warpCols()*4+c.at+2*high]
}

// finishPair finishes tiles t and t+1, of no heads.
func (m gemm) finishPair(t int, pair kernel.I64, acc []kernel.F32) {
	k, p, r := m.k, m.p, m.lane.Shr(2)
	tiles, segments := []int{t, t + 1}, p.Rows
	if p.Epilogue == work.GLU {
		tiles, segments = tiles[:1], segments[:1]
	}
	for _, t := range tiles {
		for h := range 2 {
			of := pair
			if p.Epilogue != work.GLU {
				of = m.tile(t)
			}
			e := out{k: k, p: p.Linear}
			row, inside := e.row(of, r.Plus(int64(8*h)), segments)
			kernel.When(k, inside, func() {
				for columns := range slices.Chunk(m.columns(), residualColumns) {
					early := e.residuals(row, columns)
					for i, c := range columns {
						e.early = early[i]
						kernel.When(k, c.there, func() {
							if p.Epilogue == work.GLU {
								e.glu(c.n, row, m.sum(acc, t, h, c), m.sum(acc, t+1, h, c))
								return
							}
							e.store(c.n, row, m.sum(acc, t, h, c))
						})
					}
				}
			})
		}
	}
}

// residualColumns is the columns of which residuals are loaded together: more would leave no
// registers, beside the sums.
const residualColumns = 16

// residuals loads what a row's sums are added to, if they are.
func (e out) residuals(row kernel.I64, columns []gemmColumn) []*fetched {
	early := make([]*fetched, len(columns))
	for i, c := range columns {
		if e.p.Epilogue == work.Add {
			early[i] = &fetched{res: kernel.LoadF32(kernel.Arg[kernel.F32](e.k, "res").At(c.load.Times(int64(e.p.R())).Add(row)))}
		}
	}
	return early
}

// headColumns is the columns whose places and rotations are loaded together.
const headColumns = 8

// finishHeads is the epilogue QKV of tiles first and the next. Neighbouring rows are four
// lanes apart.
func (m gemm) finishHeads(first int, acc []kernel.F32) {
	k, p := m.k, m.p
	tiles := []int{first, first + 1}
	if p.QKV.Style == work.Half {
		tiles = tiles[:1]
	}
	others := make([]kernel.F32, len(acc))
	if p.QKV.Style == work.Adjacent {
		for i := first * m.warpCols() * 4; i < (first+2)*m.warpCols()*4; i++ {
			others[i] = m.g.Xor(acc[i], 4)
		}
	}
	for _, t := range tiles {
		kernel.When(k, m.tile(t).Lt(k.Int(int64(p.Tiles()))), func() {
			for columns := range slices.Chunk(m.columns(), headColumns) {
				m.finishHeadColumns(t, columns, acc, others)
			}
		})
	}
}

// finishHeadColumns is finishHeads of some columns of tile t, and of the one that rotates
// with it by halves.
func (m gemm) finishHeadColumns(t int, columns []gemmColumn, acc, others []kernel.F32) {
	k, p := m.k, m.p
	e := out{k: k, p: p.Linear}
	var rows [2]kernel.I64
	for h := range rows {
		rows[h] = m.tile(t).Times(layout.Lanes).Add(m.lane.Shr(2)).Plus(int64(8 * h))
	}
	homes := e.homes(rows[0], columns)
	var turns [2][]turn
	for h, row := range rows {
		turns[h] = e.turns(row, columns)
	}
	for h, row := range rows {
		for i, c := range columns {
			e.early = &fetched{home: homes[i], cos: turns[h][i].cos, sin: turns[h][i].sin}
			v := m.sum(acc, t, h, c)
			kernel.When(k, c.there, func() {
				switch p.QKV.Style {
				case work.Half:
					e.halves(c.n, row, v, m.sum(acc, t+1, h, c))
				case work.Adjacent:
					e.adjacent(c.n, row, v, m.sum(others, t, h, c))
				default:
					e.head(c.n, row, e.biased(row, v))
				}
			})
		}
	}
}

// homes finds where a row's values go; nothing if it is of q, or goes to no cache.
func (e out) homes(row kernel.I64, columns []gemmColumn) []*home {
	k, q := e.k, e.p.QKV
	out := make([]*home, len(columns))
	if q.Apart {
		return out
	}
	const each = 3 // values of a home
	found := kernel.If(k, k.Int(int64(q.Heads*q.Dim)).Le(row), slices.Repeat([]kernel.I64{k.Int(0)}, each*len(columns)), func() []kernel.I64 {
		var at []kernel.I64
		for _, c := range columns {
			at = append(at, e.home(c.load, row).values()...)
		}
		return at
	}, nil)
	for i := range out {
		v := found[each*i:]
		out[i] = &home{v[0], v[1], v[2]}
	}
	return out
}

// turn is a rotation, nil where there is none.
type turn struct{ cos, sin *kernel.F32 }

// turns loads a row's rotations.
func (e out) turns(row kernel.I64, columns []gemmColumn) []turn {
	k := e.k
	out := make([]turn, len(columns))
	if e.p.QKV.Style == work.NoRope {
		return out
	}
	v := kernel.If(k, e.rotates(row), k.Floats(2*len(columns)), func() []kernel.F32 {
		var v []kernel.F32
		for _, c := range columns {
			cos, sin := e.angle(c.load, e.rotation(row))
			v = append(v, cos, sin)
		}
		return v
	}, nil)
	for i := range out {
		out[i] = turn{&v[2*i], &v[2*i+1]}
	}
	return out
}
