package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// linearOne is y[r] = sum over k of x[k] * w[r,k] for one row of x: a stream of the
// weight's bytes, one tile of 16 rows an item, lane = row, so nothing is summed across
// lanes. For each block of a column y += d * (sum q x) + m * (sum x); the sums of x come
// from Prep.
type linearOne struct {
	k    *kernel.Kernel
	p    work.Linear
	f    layout.Format
	form form
}

func linearOneBody(p work.Linear) kernel.Body {
	f, _ := layout.Of(p.Enc)
	return kernel.Body{
		Prep: func(k *kernel.Kernel) { prepare(k, p, f) },
		Main: func(k *kernel.Kernel) {
			o := linearOne{k, p, f, formOf(k, p, f)}
			o.item()
		},
	}
}

// tileBytes is the packed size of 16 rows.
func tileBytes(f layout.Format, cols int) int64 { return int64(cols / f.Block * f.ColumnBytes()) }

func (o linearOne) tile(i kernel.I64) kernel.Ptr[kernel.U8] {
	return kernel.Arg[kernel.U8](o.k, "w").At(i.Times(tileBytes(o.f, o.p.Cols)))
}

func (o linearOne) item() {
	k, p := o.k, o.p
	e := epilogue{k, p}
	t := k.Item()
	switch p.Epilogue {
	case work.GLU:
		v := o.dot(o.tile(t), o.tile(t.Plus(int64(layout.Tiles(p.Rows[0])))))
		e.glu(k.Int(0), e.lanes(t), v[0], v[1])
	case work.QKV:
		head := kernel.Scratch[kernel.F32](k, up64(int64(p.Cols)*16+1024))
		tiles := int64(p.QKV.Dim / layout.Lanes)
		first := t.Times(tiles)
		kernel.Each(k, k.Int(0), k.Int(tiles/2*2), 2, func(i kernel.I64) {
			for j, v := range o.dot(o.tile(first.Add(i)), o.tile(first.Add(i).Plus(1))) {
				kernel.StoreVec(head.At(i.Plus(int64(j)).Times(layout.Lanes)), v)
			}
		})
		if tiles%2 == 1 {
			v := o.dot(o.tile(first.Plus(tiles - 1)))
			kernel.StoreVec(head.Plus((tiles-1)*layout.Lanes), v[0])
		}
		e.head(k.Int(0), t, head)
	default:
		e.row(k.Int(0), e.lanes(t), o.dot(o.tile(t))[0])
	}
}

func up64(n int64) int64 { return (n + 63) &^ 63 }

// dot is the inner products of x with some tiles, one pass over x.
func (o linearOne) dot(tiles ...kernel.Ptr[kernel.U8]) []kernel.Vec {
	switch {
	case onePairs(o.k, o.p):
		return o.dotPairs(tiles)
	case o.f.Block == 1:
		return o.dotPlain(tiles)
	case o.form == inFloats:
		return o.dotFloats(tiles)
	}
	return o.dotBytes(tiles)
}

// x is where the inner loop reads x.
func (o linearOne) x() kernel.Ptr[kernel.F32] {
	if o.f.Block == 1 && o.p.Norm == nil && o.p.Dot == work.F32 {
		return kernel.Arg[kernel.F32](o.k, "x")
	}
	return kernel.Scratch[kernel.F32](o.k, 0)
}

// dotPlain streams float weights, four values of k a turn in four sums.
func (o linearOne) dotPlain(tiles []kernel.Ptr[kernel.U8]) []kernel.Vec {
	k, x, t := o.k, o.x(), o.k.Tile()
	const unroll = 4
	step := unroll * t.Parts
	whole := int64(o.p.Cols) / step * step
	size := int64(o.f.ColumnBytes())
	turn := func(i kernel.I64, acc []kernel.Vec, n int64) []kernel.Vec {
		next := append([]kernel.Vec(nil), acc...)
		for j := range n {
			at := i.Plus(j * t.Parts)
			xv := kernel.LoadF32(x.At(at)).Splat()
			for s, w := range tiles {
				next[s*unroll+int(j)] = floats(k, o.f, w.At(at.Times(size))).FMA(xv, next[s*unroll+int(j)])
			}
		}
		return next
	}
	acc := kernel.For(k, t.Part, k.Int(whole), step, k.Zeros(unroll*len(tiles)), func(i kernel.I64, acc []kernel.Vec) []kernel.Vec {
		return turn(i, acc, unroll)
	})
	acc = kernel.For(k, t.Part.Plus(whole), k.Int(int64(o.p.Cols)), t.Parts, acc, func(i kernel.I64, acc []kernel.Vec) []kernel.Vec {
		return turn(i, acc, 1)
	})
	return fold(t, acc, unroll)
}

// fold adds the n partial sums of each tile, in order.
func fold(t kernel.Tile, acc []kernel.Vec, n int) []kernel.Vec {
	var out []kernel.Vec
	for ; len(acc) > 0; acc = acc[n:] {
		v := acc[0]
		for _, a := range acc[1:n] {
			v = v.Add(a)
		}
		out = append(out, t.Merge(v))
	}
	return out
}

// dotFloats multiplies codes as floats.
func (o linearOne) dotFloats(tiles []kernel.Ptr[kernel.U8]) []kernel.Vec {
	k, x, t, block := o.k, o.x(), o.k.Tile(), o.f.Block
	unit := min(o.f.Sub, 32)
	acc := kernel.For(k, t.Part, k.Int(int64(o.p.Cols/block)), t.Parts, k.Zeros(2*len(tiles)), func(b kernel.I64, acc []kernel.Vec) []kernel.Vec {
		next := append([]kernel.Vec(nil), acc...)
		xb := x.At(b.Times(int64(block)))
		var cols []*column
		for _, w := range tiles {
			cols = append(cols, newColumn(k, o.f, w.At(b.Times(int64(o.f.ColumnBytes())))))
		}
		for u := 0; u < block; u += unit {
			xs := make([]kernel.Vec, unit)
			for i := range xs {
				xs[i] = kernel.LoadF32(xb.Plus(int64(u + i))).Splat()
			}
			sum := o.sum(b, u, unit)
			for s, c := range cols {
				d, m := c.scales(u)
				part := k.Zeros(4)
				for i, q := range c.codes(u, unit) {
					part[i%4] = q.FMA(xs[i], part[i%4])
				}
				dot := part[0].Add(part[1]).Add(part[2].Add(part[3]))
				next[2*s] = d.FMA(dot, next[2*s])
				next[2*s+1] = m.FMA(sum, next[2*s+1])
			}
		}
		return next
	})
	return fold(t, acc, 2)
}

// sum is the sum of a unit of x, which Prep made.
func (o linearOne) sum(b kernel.I64, u, unit int) kernel.Vec {
	sums := kernel.Scratch[kernel.F32](o.k, int64(4*o.p.Cols)).At(b.Times(int64(o.f.Block / 16))).Plus(int64(u / 16))
	s := kernel.LoadF32(sums)
	if unit == 32 {
		s = s.Add(kernel.LoadF32(sums.Plus(1)))
	}
	return s.Splat()
}

// dotBytes multiplies codes with digits of x by byte dot products.
func (o linearOne) dotBytes(tiles []kernel.Ptr[kernel.U8]) []kernel.Vec {
	k, block := o.k, o.f.Block
	recs := kernel.Scratch[kernel.U8](k, 0)
	return kernel.Range(k, 0, int64(o.p.Cols/block), 1, k.Zeros(len(tiles)), func(b kernel.I64, acc []kernel.Vec) []kernel.Vec {
		next := append([]kernel.Vec(nil), acc...)
		rows := []kernel.Ptr[kernel.U8]{recs.At(b.Times(int64(block / 32 * record)))}
		for s, w := range tiles {
			o.column(newColumn(k, o.f, w.At(b.Times(int64(o.f.ColumnBytes())))), rows, next[s:s+1])
		}
		return next
	})
}

// column adds one column of a tile to the sums of some rows of x, whose records of the
// column's values lie at rows. A row's sum runs in one order, whatever its company.
func (o linearOne) column(c *column, rows []kernel.Ptr[kernel.U8], sums []kernel.Vec) {
	size := min(o.f.Sub, 32)
	for u := 0; u < o.f.Block; u += size {
		d, m := c.scales(u)
		words := c.words(u, size)
		for t, row := range rows {
			rec := row.Plus(int64(u / 32 * record))
			fs := kernel.As[kernel.F32](rec)
			scale := kernel.LoadF32(fs.Plus(recScale / 4)).Splat()
			sums[t] = o.digitDot(rec, u%32, words).FMA(d.Mul(scale), sums[t])
			if o.folded() {
				continue
			}
			sum := recSum/4 + int64(0)
			if size == 16 {
				sum += int64(1 + u%32/16)
			}
			sums[t] = m.FMA(kernel.LoadF32(fs.Plus(sum)).Splat(), sums[t])
		}
	}
}

// folded says that the codes' offset is taken off inside the integer sums.
func (o linearOne) folded() bool {
	return offset(o.f) != 0 && o.f.Sub == 32
}

// digitDot is the sum of codes times digits, from the h-th value of the record on, as a
// float in units of the record's scale.
func (o linearOne) digitDot(rec kernel.Ptr[kernel.U8], h int, words []kernel.VecI) kernel.Vec {
	k, x := o.k, o.k.X86()
	ints := kernel.As[kernel.I32](rec)
	n := o.form.planes()
	sums := make([]kernel.Vec, n)
	for plane := range n {
		acc := k.VecI(0)
		if o.folded() {
			acc = kernel.LoadI32(ints.Plus(recOffset/4 + int64(plane))).Splat()
		}
		for j, w := range words {
			acc = x.Dot(acc, w, kernel.LoadI32(ints.Plus(int64(8*plane+h/4+j))).Splat())
		}
		sums[plane] = acc.F32()
	}
	out := sums[0]
	for _, s := range sums[1:] {
		out = out.FMA(k.Vec(256), s)
	}
	return out
}
