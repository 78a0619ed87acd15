package interp

import (
	"math"

	"quire/ir"
	"quire/ir/types"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
)

// ropeTable: the angle f32(pos) * freq is an f32 product, as every reference
// computes it; its cosine and sine are exact.
func ropeTable(c *call) any {
	pos, freqs := c.tensor(0), ir.RopeFreqs(c.v.Attrs.(ir.RopeTableAttrs))
	y := pos.like(len(pos.Data), len(freqs), 2)
	at := 0
	for _, p := range pos.Data {
		for _, f := range freqs {
			angle := float64(float32(p) * f)
			y.Data[at], y.Data[at+1] = math.Cos(angle), math.Sin(angle)
			at += 2
		}
	}
	return y
}

// rope rotates pairs of the first 2*r elements of each head: (i, i+r), or
// (2i, 2i+1).
func rope(c *call) any {
	x, table, style := c.tensor(0), c.tensor(1), c.v.Attrs.(ir.RopeAttrs).Style
	y := x.like(x.Shape...)
	copy(y.Data, x.Data)
	pairs, heads := table.Shape[1], x.Shape[1]
	for row := range x.Rows() { // a row is one head of one token
		in, out := x.Row(row), y.Row(row)
		for i := range pairs {
			a, b := i, i+pairs
			if style == ir.RopeAdjacent {
				a, b = 2*i, 2*i+1
			}
			cs := table.Row(row/heads*pairs + i)
			out[a] = in[a]*cs[0] - in[b]*cs[1]
			out[b] = in[b]*cs[0] + in[a]*cs[1]
		}
	}
	return y
}

func appendRows(c *call) any {
	decl := c.m.Cache(c.v.Type.Cache)
	k, v := c.stored(1, decl), c.stored(2, decl)
	next, err := c.cache(0).append(c.rows(3), c.m.Table(decl.Table), decl.Elem.IsQuantised(), k, v)
	if err != nil {
		c.failf("%v", err)
	}
	return next
}

// stored is argument i as the cache keeps it: rounded to its element type, an
// encoding vector by vector. A wide run keeps plain floats as they are.
func (c *call) stored(i int, decl *ir.CacheDecl) *Tensor {
	x := c.tensor(i)
	if c.wide && !decl.Elem.IsQuantised() {
		return x
	}
	y := x.like(x.Shape...)
	copy(y.Data, x.Data)
	for r := range y.Rows() {
		if err := keepAll(decl.Elem, y.Row(r)); err != nil {
			c.failf("arg %d: %v", i+1, err)
		}
	}
	return y
}

// keepAll replaces one head's vector by what a cache of the element type keeps of it.
func keepAll(e types.Elem, x []float64) error {
	if kvpage.Bits(layout.Enc(e.Quant)) == 0 {
		return roundAll(e, x)
	}
	f := make([]float32, len(x))
	for i := range x {
		f[i] = float32(x[i])
	}
	kvpage.Round(layout.Enc(e.Quant), f)
	for i := range x {
		x[i] = float64(f[i])
	}
	return nil
}

// attention: row r of a slot stands at cache index Before + r; it sees the kept
// entries that visible admits.
func attention(c *call) any {
	return c.attendRows(func(row, head int, kept []Entry) []Entry { return kept })
}

// attendRows is attention over the entries that among leaves of the kept ones, by
// row of the step and query head.
func (c *call) attendRows(among func(row, head int, kept []Entry) []Entry) *Tensor {
	q, kv, rows, a := c.tensor(0), c.cache(1), c.rows(2), c.v.Attrs.(ir.AttentionAttrs)
	decl := c.m.Cache(c.v.Args[1].Type.Cache)
	heads, d := q.Shape[1], q.Shape[2]
	y := q.like(q.Shape...)
	for i := range y.Data {
		y.Data[i] = math.NaN() // rows that no slot claims stay so
	}
	for s, sl := range rows.Slots {
		kept := kv.at(s).entries
		for r := range sl.New {
			index, row := sl.Before+r, sl.Start+r
			for h := range heads {
				at := (row*heads + h) * d
				head := h * decl.Heads / heads * d
				attend(a, index, among(row, h, kept), head, q.Data[at:at+d], y.Data[at:at+d])
			}
		}
	}
	return y
}

// visible says whether the query at index i sees index j.
func visible(a ir.AttentionAttrs, i, j int) bool {
	return j <= i && (j < a.Sink || a.Recent == nil || i-j <= *a.Recent)
}

// attend writes softmax(cap(scale * q.k)) v over the entries that index sees;
// head is the offset of the KV head in an entry's vectors.
func attend(a ir.AttentionAttrs, index int, entries []Entry, head int, q, out []float64) {
	var seen []Entry
	var scores []float64
	top := math.Inf(-1)
	for _, e := range entries {
		if !visible(a, index, e.Index) {
			continue
		}
		dot := 0.0
		for i, x := range q {
			dot += x * e.K[head+i]
		}
		dot *= a.Scale
		if a.Cap > 0 {
			dot = softcap(a.Cap, dot)
		}
		seen, scores, top = append(seen, e), append(scores, dot), math.Max(top, dot)
	}
	clear(out)
	sum := 0.0
	for n, e := range seen {
		p := math.Exp(scores[n] - top)
		sum += p
		for i := range out {
			out[i] += p * e.V[head+i]
		}
	}
	for i := range out {
		out[i] /= sum
	}
}
