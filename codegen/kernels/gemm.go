package kernels

import (
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
	k, p := m.k, m.p
	e := out{k: k, p: p.Linear}
	r := m.lane.Shr(2)
	each := func(f func(n kernel.I64, at func(tile, high int) int)) {
		for col := range m.warpCols() {
			for i := range 2 {
				n := m.first.Add(m.cols.Times(64)).Add(m.q.Times(2)).Plus(int64(8*col + i))
				kernel.When(k, n.Lt(k.Dim("N")), func() {
					f(n, func(tile, high int) int { return (tile*m.warpCols()+col)*4 + 2*high + i })
				})
			}
		}
	}
	for t := 0; t < m.tiles(); t += 2 {
		pair := m.pair.Plus(int64(t / 2))
		kernel.When(k, pair.Lt(k.Int(int64(p.Pairs()))), func() { m.finishPair(e, t, pair, r, acc, each) })
	}
}

// finishPair finishes tiles t and t+1.
func (m gemm) finishPair(e out, t int, pair, r kernel.I64, acc []kernel.F32, each func(f func(n kernel.I64, at func(tile, high int) int))) {
	k, p := m.k, m.p
	switch p.Epilogue {
	case work.GLU:
		for h := range 2 {
			row, inside := e.row(pair, r.Plus(int64(8*h)), p.Rows[:1])
			kernel.When(k, inside, func() {
				each(func(n kernel.I64, at func(tile, high int) int) { e.glu(n, row, acc[at(t, h)], acc[at(t+1, h)]) })
			})
		}
	case work.QKV:
		m.finishHeads(e, t, r, acc, each)
	default:
		for _, t := range []int{t, t + 1} {
			for h := range 2 {
				row, inside := e.row(m.tile(t), r.Plus(int64(8*h)), p.Rows)
				kernel.When(k, inside, func() {
					each(func(n kernel.I64, at func(tile, high int) int) { e.store(n, row, acc[at(t, h)]) })
				})
			}
		}
	}
}

// finishHeads is the epilogue QKV. Neighbouring rows are four lanes apart.
func (m gemm) finishHeads(e out, first int, r kernel.I64, acc []kernel.F32, each func(f func(n kernel.I64, at func(tile, high int) int))) {
	p, k := m.p, m.k
	row := func(t, h int) kernel.I64 { return m.tile(t).Times(16).Add(r).Plus(int64(8 * h)) }
	if p.QKV.Style == work.Half {
		for h := range 2 {
			each(func(n kernel.I64, at func(tile, high int) int) {
				e.halves(n, row(first, h), acc[at(first, h)], acc[at(first+1, h)])
			})
		}
		return
	}
	others := make([]kernel.F32, len(acc))
	for i := first * m.warpCols() * 4; i < (first+2)*m.warpCols()*4; i++ {
		others[i] = m.g.Xor(acc[i], 4)
	}
	for t := first; t < first+2; t++ {
		kernel.When(k, m.tile(t).Lt(k.Int(int64(p.Tiles()))), func() {
			for h := range 2 {
				each(func(n kernel.I64, at func(tile, high int) int) {
					v := acc[at(t, h)]
					if p.QKV.Style == work.Adjacent {
						e.adjacent(n, row(t, h), v, others[at(t, h)])
						return
					}
					e.head(n, row(t, h), e.biased(row(t, h), v))
				})
			}
		})
	}
}
