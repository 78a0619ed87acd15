package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/target"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// linearPairs is linearMany with Dot bf16 on instructions that multiply pairs of bfloat16;
// below, one row of a bfloat16 weight by them.
//
// A panel is bfloat16 [k/2][32 rows][2]; rows of x are read where Round wrote them. With
// AVX512-BF16 the inner loop is linearMany's, a line of it two columns. With AMX-BF16
//
//	tokens  32 at a time against both tiles of the panel: four sums stay in registers, 32
//	        columns cost four loads and four products of 16 tokens x 16 rows, 64 cycles;
//	        the last tokens go 16 at a time, a register has as many rows as there are
//	sums    go to scratch, then through the epilogue
//
// Both operands are rounded, to nearest even: with u = 2^-9 and K columns a sum is within
//
//	K 2^-23 sum |x w| of rounded operands, (2u + u^2 + K 2^-23) sum |x w| of exact ones
//
// and 3 K 2^-126 for what the instructions flush: operands, products and sums below 2^-126
// are zeros to them. A product of two bfloat16 is exact in float32.
//
// Measured, GFLOP/s of an Intel core of 2.6 GHz, 512 tokens by 576 x 576 of q4_1: AMX-BF16
// 1030, digits in tiles 750, float32 multiply-adds 160, vdpbf16ps 115. There vectors would
// lose, and tiles are taken; vectors serve targets that have AVX512-BF16 and no AMX-BF16,
// where half as many instructions do the work of multiply-adds (not measured).
type linearPairs struct {
	linearMany
	at pairScratch
}

// pairScratch is where things lie in scratch, in bytes, behind the panel.
type pairScratch struct {
	config, sums, heap int64
}

// pairTiles is the number of tiles of tokens of a group.
const pairTiles = 2

func pairLayout(p work.Linear, lines int64) pairScratch {
	at := pairScratch{config: up64(lines * work.Panel * 4)}
	at.sums = at.config + 64
	at.heap = at.sums + 2*pairTiles*kernel.TileBytes
	return at
}

// onPairs says whether a kernel for many rows multiplies pairs.
func onPairs(p work.Linear, t target.Target) bool {
	return p.Dot == work.BF16 && p.Tokens == work.Many && p.Cols%32 == 0 && (t.Has(target.BF16) || onPairTiles(p, t))
}

func onPairTiles(p work.Linear, t target.Target) bool {
	return t.Has(target.AMXBF16) && p.Cols <= work.WideTiles
}

func linearPairsBody(p work.Linear, t target.Target) kernel.Body {
	f, _ := layout.Of(p.Enc)
	tiles, bytes := onPairTiles(p, t), onBytes(p, f, t)
	lines := int64(p.Cols / 2)
	if !tiles {
		lines = min(lines, int64(work.Wide/f.Block*f.Block))
	}
	many := func(k *kernel.Kernel) linearPairs {
		at := pairLayout(p, lines)
		return linearPairs{linearMany{k: k, p: p, f: f, e: epilogue{k, p}, wide: lines, heap: at.heap, pairs: true}, at}
	}
	return kernel.Body{
		Prep: func(k *kernel.Kernel) {
			if tiles {
				k.X86().Tiles().Permit()
			}
			kernel.StoreI64(many(k).tag(), k.Int(-1))
		},
		Main: func(k *kernel.Kernel) {
			m := many(k)
			byBytes := func() { m.bytesOf(m.wideAt(), m.tag()).item() }
			byPairs := m.item
			if tiles {
				byPairs = m.byTiles
			}
			if !bytes {
				byPairs()
				return
			}
			whenFew(k, byBytes, byPairs)
		},
	}
}

// onePairs says whether a kernel for one row multiplies pairs: of a bfloat16 weight, as it
// lies in memory.
func onePairs(k *kernel.Kernel, p work.Linear) bool {
	return p.Dot == work.BF16 && p.Enc == layout.BF16 && k.X86().HasPairs()
}

// preparePairs is the Prep of onePairs: x as bfloat16, zeros up to a whole vector.
func preparePairs(k *kernel.Kernel, p work.Linear, value func(kernel.Lanes) kernel.Vec) {
	kernel.Row(k, p.Cols, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
		kernel.StoreBF16s(kernel.Scratch[kernel.BF16](k, 0).At(l.I), value(l))
		return nil
	})
}

// dotPairs streams bfloat16 weights, four pairs of columns a turn in four sums.
func (o linearOne) dotPairs(tiles []kernel.Ptr[kernel.U8]) []kernel.Vec {
	k, x := o.k, kernel.Scratch[kernel.I32](o.k, 0)
	const unroll = 4
	lines, size := int64(o.p.Cols/2), int64(2*o.f.ColumnBytes())
	whole := lines / unroll * unroll
	turn := func(i kernel.I64, acc []kernel.Vec, n int64) []kernel.Vec {
		next := append([]kernel.Vec(nil), acc...)
		for j := range n {
			xv := kernel.LoadI32(x.At(i.Plus(j))).Splat()
			for s, w := range tiles {
				at := s*unroll + int(j)
				next[at] = k.X86().DotPairs(next[at], floatPairs(k, o.f, w.At(i.Plus(j).Times(size))), xv)
			}
		}
		return next
	}
	acc := kernel.Range(k, 0, whole, unroll, k.Zeros(unroll*len(tiles)), func(i kernel.I64, acc []kernel.Vec) []kernel.Vec {
		return turn(i, acc, unroll)
	})
	acc = kernel.Range(k, whole, lines, 1, acc, func(i kernel.I64, acc []kernel.Vec) []kernel.Vec { return turn(i, acc, 1) })
	return fold(k.Tile(), acc, unroll)
}

// multiply adds the products of a line of the panel and one of x.
func (m linearMany) multiply(w, x, sum kernel.Vec) kernel.Vec {
	if m.pairs {
		return m.k.X86().DotPairs(sum, w.Bits(), x.Bits())
	}
	return w.FMA(x, sum)
}

// dequantPairs is dequant to pairs of columns.
func (m linearMany) dequantPairs(pn panel, from kernel.I64) {
	k, f := m.k, m.f
	dst := kernel.Scratch[kernel.F32](k, 0)
	w := kernel.Arg[kernel.U8](k, "w")
	tile, size := tileBytes(f, m.p.Cols), int64(f.ColumnBytes())
	step := int64(max(f.Block, 8)) // columns
	kernel.Each(k, from.Times(2), m.end(from).Times(2), step, func(i kernel.I64) {
		for t, number := range []kernel.I64{pn.a, pn.b} {
			src := w.At(number.Times(tile)).At(i.Over(int64(f.Block)).Times(size))
			out := kernel.As[kernel.I32](dst.At(i.Over(2).Sub(from).Times(work.Panel)).Plus(int64(t * layout.Lanes)))
			put := func(column int, v kernel.VecI) { kernel.StoreVecI(out.Plus(int64(column/2*work.Panel)), v) }
			if f.Block == 1 {
				for u := 0; u < int(step); u += 2 {
					put(u, floatPairs(k, f, src.Plus(int64(u)*size)))
				}
				continue
			}
			c := newColumn(k, f, src)
			for u := 0; u < f.Block; u += min(f.Sub, 32) {
				d, mn := c.scales(u)
				q := c.codes(u, min(f.Sub, 32))
				for j := 0; j < len(q); j += 2 {
					put(u+j, k.X86().Pairs(d.FMA(q[j], mn), d.FMA(q[j+1], mn)))
				}
			}
		}
	})
}

// floatPairs loads 16 rows' values of a plain float weight at two columns.
func floatPairs(k *kernel.Kernel, f layout.Format, p kernel.Ptr[kernel.U8]) kernel.VecI {
	if f.Enc == layout.BF16 {
		return kernel.LoadPairs(kernel.As[kernel.BF16](p))
	}
	return k.X86().Pairs(floats(k, f, p), floats(k, f, p.Plus(int64(f.ColumnBytes()))))
}

func (m linearPairs) config() kernel.Ptr[kernel.U8] {
	return kernel.Scratch[kernel.U8](m.k, m.at.config)
}

func (m linearPairs) byTiles() {
	m.linearMany.run = m.run
	m.item()
	m.k.X86().Tiles().Release()
}

// run is the product of a panel with its tokens.
func (m linearPairs) run(pn panel, finish func(n kernel.I64, v []kernel.Vec)) {
	k, t := m.k, m.k.X86().Tiles()
	m.dequantPairs(pn, k.Int(0))
	t.Config(m.config())
	const group = 16 * pairTiles
	first, last := pn.tokens[0], pn.tokens[1]
	middle := first.Add(last.Sub(first).Over(group).Times(group))
	kernel.Each(k, first, middle, group, func(n kernel.I64) {
		m.group(n, pairTiles)
		m.finish(n, n.Plus(group), finish)
	})
	kernel.Each(k, middle, last, 16, func(n kernel.I64) {
		end := n.Plus(16).Min(last)
		t.Shorten(m.config(), 2*pairTiles+1, end.Sub(n)) // sums, and the first of x
		m.group(n, 1)
		m.finish(n, end, finish)
	})
}

// group multiplies tiles of tokens from n on with the panel and stores the sums: registers 0
// to 3 by tile of tokens, then tile of rows.
func (m linearPairs) group(n kernel.I64, tiles int) {
	k, t := m.k, m.k.X86().Tiles()
	stride := work.Round{Dim: m.p.Cols, To: m.p.Dot}.RowBytes()
	x, w := codesRow(k, m.p, n), kernel.Scratch[kernel.U8](k, 0)
	for i := range 2 * tiles {
		t.Zero(i)
	}
	const a, b = 2 * pairTiles, 3 * pairTiles
	kernel.Each(k, k.Int(0), k.Int(int64(m.p.Cols/32)), 1, func(i kernel.I64) {
		for s := range 2 {
			t.LoadRows(b+s, w.At(i.Times(16*work.Panel*4)).Plus(int64(64*s)), work.Panel*4)
		}
		for g := range tiles {
			t.LoadRows(a+g, x.At(i.Times(64)).Plus(int64(16*g)*stride), stride)
			for s := range 2 {
				t.DotPairs(2*g+s, a+g, b+s)
			}
		}
	})
	sums := kernel.Scratch[kernel.U8](k, m.at.sums)
	for i := range 2 * tiles {
		t.Store(i, sums.Plus(int64(i*kernel.TileBytes)))
	}
}

// finish gives the sums of a group's tokens.
func (m linearPairs) finish(n, end kernel.I64, finish func(n kernel.I64, v []kernel.Vec)) {
	k := m.k
	kernel.Each(k, n, end, 1, func(at kernel.I64) {
		t := at.Sub(n)
		row := t.Over(16).Times(2 * kernel.TileBytes).Add(t.Modulo(16).Times(64))
		v := make([]kernel.Vec, 2)
		for s := range v {
			v[s] = kernel.LoadVec(kernel.As[kernel.F32](kernel.Scratch[kernel.U8](k, m.at.sums+int64(s*kernel.TileBytes)).At(row)))
		}
		finish(at, v)
	})
}
