package kernels

import (
	"quire/codegen/kernel"
)

// multiplyChunk adds the products of chunk c of units, one of each tile, with cols times
// eight rows of x. Codes become 16-bit numbers first: code minus zero is exact, the product
// with the scale is rounded once. x gives words of the lane's row of the col-th eight, from
// a column on. Sums lie by tile, eight of rows, register of the product. Paced, loads of x do
// not overtake the products before them, which takes fewer registers.
func multiplyChunk(half kernel.Half, w []*fragUnit, c, cols int, x func(col, from, words int) []kernel.I32, sums []kernel.F32, paced bool) {
	g, f := w[0].g, w[0].f
	per := f.Span / 16
	d := newDequantiser(w, c)
	for j := 0; j < f.Products(); j += 2 {
		together := min(2, f.Products()-j)
		if paced {
			g.SyncWarp()
		}
		a := make([][2][4]kernel.I32, len(w))
		for t := range a {
			for i := range together {
				a[t][i] = d.product(t, j+i)
			}
		}
		for col := range cols {
			var b []kernel.I32
			for i := range together {
				from := (j+i)/per*f.Span + (j+i)%per*4 // a lane's columns are neighbours
				if per > 1 && together == 2 {
					b = x(col, from, 4)
					break
				}
				b = append(b, x(col, from, 2)...)
			}
			for t := range a {
				sum := sums[(t*cols+col)*4:][:4]
				for i := range together {
					v := g.Mma(half, a[t][i], [2]kernel.I32{b[2*i], b[2*i+1]}, [4]kernel.F32(sum))
					copy(sum, v[:])
				}
			}
		}
	}
}

// dequantiser makes weights of chunk c of units.
type dequantiser struct {
	w      []*fragUnit
	c      int
	scales []map[int][2]pairScale // of each unit's groups
}

func newDequantiser(w []*fragUnit, c int) dequantiser {
	d := dequantiser{w, c, make([]map[int][2]pairScale, len(w))}
	for t := range d.scales {
		d.scales[t] = map[int][2]pairScale{}
	}
	return d
}

// product is the registers of product j of unit t.
func (d dequantiser) product(t, j int) [4]kernel.I32 {
	u := d.w[t]
	group := (d.c*u.f.Chunk + j/(u.f.Span/16)*u.f.Span) / groupColumns(u.f)
	if _, ok := d.scales[t][group]; !ok && u.f.Block > 1 {
		d.scales[t][group] = [2]pairScale{u.pairScale(group, 0), u.pairScale(group, 1)}
	}
	return u.dequantise(u.product(d.c, j), d.scales[t][group])
}

// pairScale is a group's scale for pairs of float16: (c - off) * mul (+ add).
type pairScale struct {
	off, mul kernel.I32
	add      *kernel.I32
}

// pairScale is the scale of a group for rows r (0) or r+8 (1).
func (u *fragUnit) pairScale(group, row int) pairScale {
	s := u.group(group, row)
	twice := func(x kernel.F32) kernel.I32 { return u.g.Pack(kernel.Float16, x, x) }
	out := pairScale{off: twice(s.zero.Add(u.k.Float(bases(u.f)[row]))), mul: twice(s.mul)}
	if s.add != nil {
		add := twice(*s.add)
		out.add = &add
	}
	return out
}

// dequantise makes weights of a product's codes.
func (u *fragUnit) dequantise(a [4]kernel.I32, s [2]pairScale) [4]kernel.I32 {
	if u.f.Block == 1 {
		return a
	}
	for i := range a {
		by := s[i%2]
		v := u.g.SubPair(a[i], by.off)
		if by.add == nil {
			a[i] = u.g.MulPair(v, by.mul)
			continue
		}
		a[i] = u.g.FMAPair(kernel.Float16, v, by.mul, *by.add)
	}
	return a
}
