package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/target"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// linearTiles is linearMany on tile registers (AMX), with float32's exactness from signed
// bytes: a row of x, and a row of w, becomes integers round(v / s), s = max|v| / 8355000,
// of three digits to the base 256. A sum of products of digits is exact; of the nine
// pairs of digits the six greatest are added up, those of equal weight together:
//
//	y = xs * ws * ((c0*256 + c1)*256 + c2) * 65536
//
// A product is then off by half a unit of the 24th bit of the greatest |x| and of the
// greatest |w| of a row, and by as much again for the pairs left out (2^-25 of the
// greatest product each): the size of the rounding errors of a float32 sum over that row.
// Six tile products of 16 tokens x 16 rows x 64 columns take 96 cycles: five times the
// rate of float32 multiply-adds.
//
// With Dot bf16 or i8, whose x is rounded already, two digits (16 bits) and three pairs
// take 48 cycles.
//
// The digits of a block of tokens are made by the first item that needs them and stay in
// the worker's scratch for its next items; the digits of a panel of 32 rows of w are made
// by its item.
type linearTiles struct {
	linearMany
	at tileScratch
}

// tileScratch is where things lie in scratch, in bytes.
type tileScratch struct {
	digits                           int64 // 3, or 2 for rounded rows
	step                             int64 // bytes of a tile's digits of 64 columns
	steps                            int64
	tag, config                      int64
	w, wScale, x, xScale, sums, heap int64
}

// limit is the magnitude of the greatest integer: a little below the greatest of digits
// from -127 to 127, so that rounding cannot pass it.
func (t tileScratch) limit() float32 {
	if t.digits == 2 {
		return 32600
	}
	return digitTop
}

// unit is the weight of the last sum.
func (t tileScratch) unit() float32 {
	if t.digits == 2 {
		return 256
	}
	return 256 * 256
}

// accumulators is the number of sums: one for each weight of a pair of digits.
func (t tileScratch) accumulators() int { return int(t.digits) }

// sumTiles is the greatest number of accumulators, which leaves registers for one digit of x and
// all three of w. Products on one accumulator follow each other without delay.
const sumTiles = 3

func tileLayout(p work.Linear) tileScratch {
	t := tileScratch{digits: 3, steps: int64(p.Cols+63) / 64, config: 64, w: 128}
	if p.Dot != work.F32 {
		t.digits = 2
	}
	t.step = t.digits * kernel.TileBytes
	t.wScale = t.w + 2*t.step*t.steps
	t.x = t.wScale + work.Panel*4
	t.xScale = t.x + work.Block/16*t.step*t.steps
	t.sums = t.xScale + work.Block*4
	t.heap = t.sums + 2*sumTiles*kernel.TileBytes
	return t
}

// onTiles says whether a kernel can run on tile registers.
func onTiles(p work.Linear, t target.Target) bool {
	return t.Has(target.AMXInt8) && p.Tokens == work.Many && p.Cols%32 == 0 && p.Cols <= work.WideTiles
}

func linearTilesBody(p work.Linear, t target.Target) kernel.Body {
	f, _ := layout.Of(p.Enc)
	at := tileLayout(p)
	return kernel.Body{
		Prep: func(k *kernel.Kernel) {
			k.X86().Tiles().Permit()
			kernel.StoreI64(kernel.Scratch[kernel.I64](k, at.tag), k.Int(-1))
		},
		Main: func(k *kernel.Kernel) {
			m := linearTiles{linearMany{k: k, p: p, f: f, e: epilogue{k, p}, heap: at.heap}, at}
			if !onBytes(p, f, t) {
				m.byTiles()
				return
			}
			byBytes := func() { m.bytesOf(at.x, kernel.Scratch[kernel.I64](k, at.tag)).item() }
			whenFew(k, byBytes, m.byTiles)
		},
	}
}

func (m linearTiles) byTiles() {
	m.linearMany.run = m.run
	block, _ := m.split()
	m.rows(block)
	m.k.X86().Tiles().Config(kernel.Scratch[kernel.U8](m.k, m.at.config))
	m.item()
	m.k.X86().Tiles().Release()
}

// rows makes the digits of a block of tokens, unless they are there.
func (m linearTiles) rows(block kernel.I64) {
	k := m.k
	tag := kernel.Scratch[kernel.I64](k, m.at.tag)
	kernel.When(k, kernel.LoadI64(tag).Ne(block), func() {
		kernel.StoreI64(tag, block)
		first := block.Times(work.Block)
		n := k.Dim("N").Sub(first).Min(k.Int(work.Block))
		kernel.Each(k, k.Int(0), n, 1, func(t kernel.I64) { m.row(first.Add(t), t) })
	})
}

// row makes the digits of one token, the t-th of its block.
func (m linearTiles) row(n, t kernel.I64) {
	k, cols := m.k, m.p.Cols
	top := kernel.Range(k, 0, int64(cols), 32, k.Zeros(2), func(i kernel.I64, acc []kernel.Vec) []kernel.Vec {
		return []kernel.Vec{m.source(n, i).Abs().Max(acc[0]), m.source(n, i.Plus(16)).Abs().Max(acc[1])}
	})
	most := top[0].Max(top[1]).ReduceMax().Max(k.Float(1e-30))
	kernel.StoreF32(kernel.Scratch[kernel.F32](k, m.at.xScale).At(t), most.Div(k.Float(m.at.limit())))
	up := k.Float(m.at.limit()).Div(most).Splat()
	tile := kernel.Scratch[kernel.U8](k, m.at.x).At(t.Over(16).Times(m.at.step * m.at.steps).Add(t.Modulo(16).Times(64)))
	kernel.Each(k, k.Int(0), k.Int(int64(cols)), 32, func(i kernel.I64) {
		step := tile.At(i.Over(64).Times(m.at.step).Add(i.Modulo(64)))
		for half := range int64(2) {
			d := balanced(k, m.source(n, i.Plus(16*half)).Mul(up))
			for j := range m.at.digits {
				kernel.StoreBytes(step.Plus(j*kernel.TileBytes+16*half), d.Shr(int32(8*(m.at.digits-1-j))))
			}
		}
	})
}

// balanced rounds to integers below 2^23 and gives their three balanced digits, signed
// bytes, the least significant lowest: adding 128 to each digit carries, taking it off
// again does not.
func balanced(k *kernel.Kernel, v kernel.Vec) kernel.VecI {
	return k.X86().RoundI32(v).Add(k.VecI(0x808080)).Xor(k.VecI(0x808080))
}

// panel makes the digits of both tiles of w.
func (m linearTiles) panel(pn panel) {
	k := m.k
	tile := tileBytes(m.f, m.p.Cols)
	for s, number := range []kernel.I64{pn.a, pn.b} {
		src := kernel.Arg[kernel.U8](k, "w").At(number.Times(tile))
		top := m.top(src).Max(k.Vec(1e-30))
		kernel.StoreVec(kernel.Scratch[kernel.F32](k, m.at.wScale+int64(64*s)), top.Scale(m.at.unit()/m.at.limit()))
		m.weightDigits(src, k.Vec(m.at.limit()).Div(top), m.at.w+int64(s)*m.at.step*m.at.steps)
	}
}

// top bounds |w| of each row of a tile: from the scales alone, by the least and greatest
// codes, where there are scales.
func (m linearTiles) top(src kernel.Ptr[kernel.U8]) kernel.Vec {
	k, f := m.k, m.f
	size := int64(f.ColumnBytes())
	return kernel.Range(k, 0, int64(m.p.Cols/f.Block), 1, k.Zeros(1), func(b kernel.I64, acc []kernel.Vec) []kernel.Vec {
		at, most := src.At(b.Times(size)), acc[0]
		if f.Block == 1 {
			return []kernel.Vec{floats(k, f, at).Abs().Max(most)}
		}
		c := newColumn(k, f, at)
		for u := 0; u < f.Block; u += f.Sub {
			d, mn := c.scales(u)
			last := d.FMA(k.Vec(float32(greatest(f))), mn)
			most = most.Max(mn.Abs()).Max(last.Abs())
		}
		return []kernel.Vec{most}
	})[0]
}

// greatest is the greatest code.
func greatest(f layout.Format) int {
	if f.Min == layout.Table {
		return 255
	}
	return 1<<f.Bits - 1
}

// weightDigits writes a tile's digits as tile registers want them: 4 columns of 16 rows a
// line of 64 bytes.
func (m linearTiles) weightDigits(src kernel.Ptr[kernel.U8], up kernel.Vec, at int64) {
	k, f := m.k, m.f
	unit, block := 32, max(f.Block, 32)
	size := int64(f.ColumnBytes() * (block / f.Block))
	dst := kernel.Scratch[kernel.U8](k, at)
	kernel.Each(k, k.Int(0), k.Int(int64(m.p.Cols)), int64(block), func(i kernel.I64) {
		p := src.At(i.Over(int64(block)).Times(size))
		var c *column
		if f.Block > 1 {
			c = newColumn(k, f, p)
		}
		for u := 0; u < block; u += unit {
			v := m.scaled(c, p, u, up)
			to := i.Plus(int64(u))
			line := dst.At(to.Over(64).Times(m.at.step).Add(to.Modulo(64).Times(16)))
			for j := 0; j < unit; j += 4 {
				for d, w := range transpose(v[j : j+4])[3-m.at.digits:] {
					kernel.StoreVecI(kernel.As[kernel.I32](line.Plus(int64(d*kernel.TileBytes+16*j))), w)
				}
			}
		}
	})
	if m.p.Cols%64 != 0 { // the last step's second half multiplies leftovers of x
		line := dst.Plus((m.at.steps-1)*m.at.step + 512)
		for d := range m.at.digits {
			for j := range int64(8) {
				kernel.StoreVecI(kernel.As[kernel.I32](line.Plus(d*kernel.TileBytes+64*j)), k.VecI(0))
			}
		}
	}
}

// scaled gives the digits of 32 columns from u on of a column c at p.
func (m linearTiles) scaled(c *column, p kernel.Ptr[kernel.U8], u int, up kernel.Vec) []kernel.VecI {
	k, f := m.k, m.f
	var out []kernel.VecI
	if f.Block == 1 {
		for j := range 32 {
			out = append(out, balanced(k, floats(k, f, p.Plus(int64(j*f.ColumnBytes()))).Mul(up)))
		}
		return out
	}
	size := min(f.Sub, 32)
	for h := 0; h < 32; h += size {
		d, mn := c.scales(u + h)
		d, mn = d.Mul(up), mn.Mul(up)
		for _, q := range c.codes(u+h, size) {
			out = append(out, balanced(k, q.FMA(d, mn)))
		}
	}
	return out
}

// transpose turns four columns of three digits into the digits' words of four columns,
// the most significant digit first.
func transpose(t []kernel.VecI) []kernel.VecI {
	const even, odd = 0x00ff00ff, -0x00ff0100 // 0xff00ff00
	mix := func(a, b kernel.VecI) (r, s kernel.VecI) {
		return a.Mask(even).Or(b.Shl(8).Mask(odd)), a.Shr(8).Mask(even).Or(b.Mask(odd))
	}
	r0, s0 := mix(t[0], t[1]) // bytes a0 b0 a2 b2; a1 b1 a3 b3
	r1, s1 := mix(t[2], t[3])
	low := func(a, b kernel.VecI) kernel.VecI { return a.Mask(0xffff).Or(b.Shl(16)) }
	return []kernel.VecI{r0.Shr(16).Or(r1.Mask(-0x10000)), low(s0, s1), low(r0, r1)}
}

// run is the product of a panel with its tokens.
func (m linearTiles) run(pn panel, finish func(n kernel.I64, v []kernel.Vec)) {
	k := m.k
	m.panel(pn)
	ws := []kernel.Vec{kernel.LoadVec(kernel.Scratch[kernel.F32](k, m.at.wScale)), kernel.LoadVec(kernel.Scratch[kernel.F32](k, m.at.wScale+64))}
	first, last := pn.tokens[0], pn.tokens[1]
	kernel.Each(k, first, last, 16, func(n kernel.I64) {
		kernel.Each(k, k.Int(0), k.Int(2), 1, func(s kernel.I64) { m.tile(n.Sub(first), s) })
		kernel.Each(k, n, n.Plus(16).Min(last), 1, func(n kernel.I64) {
			row := n.Sub(first).Modulo(16).Times(64)
			xs := kernel.LoadF32(kernel.Scratch[kernel.F32](k, m.at.xScale).At(n.Sub(first))).Splat()
			v := make([]kernel.Vec, 2)
			for s := range v {
				v[s] = m.total(int64(s), row).Mul(ws[s].Mul(xs))
			}
			finish(n, v)
		})
	})
}

// tile multiplies 16 tokens with tile s of the panel and stores the sums.
func (m linearTiles) tile(token, s kernel.I64) {
	k, t := m.k, m.k.X86().Tiles()
	block := m.at.step * m.at.steps
	x := kernel.Scratch[kernel.U8](k, m.at.x).At(token.Over(16).Times(block))
	w := kernel.Scratch[kernel.U8](k, m.at.w).At(s.Times(block))
	for i := range m.at.accumulators() {
		t.Zero(i)
	}
	const a, b = sumTiles, sumTiles + 1 // b, b+1, b+2
	kernel.Each(k, k.Int(0), k.Int(m.at.steps), 1, func(i kernel.I64) {
		xi, wi := x.At(i.Times(m.at.step)), w.At(i.Times(m.at.step))
		for d := range int(m.at.digits) {
			t.Load(a, xi.Plus(int64(d*kernel.TileBytes)))
			for e := range m.at.accumulators() - d {
				if d == 0 {
					t.Load(b+e, wi.Plus(int64(e*kernel.TileBytes)))
				}
				t.Dot(d+e, a, b+e)
			}
		}
	})
	sums := kernel.Scratch[kernel.U8](k, m.at.sums).At(s.Times(sumTiles * kernel.TileBytes))
	for i := range m.at.accumulators() {
		t.Store(i, sums.Plus(int64(i*kernel.TileBytes)))
	}
}

// total weighs the sums of one token.
func (m linearTiles) total(s int64, row kernel.I64) kernel.Vec {
	k := m.k
	c := func(i int64) kernel.VecI {
		at := m.at.sums + (s*sumTiles+i)*kernel.TileBytes
		return kernel.LoadVecI(kernel.As[kernel.I32](kernel.Scratch[kernel.U8](k, at).At(row)))
	}
	v := c(0).F32()
	for i := 1; i < m.at.accumulators(); i++ {
		v = v.FMA(k.Vec(256), c(int64(i)).F32())
	}
	return v
}
