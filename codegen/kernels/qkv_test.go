package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"quire/ir/target"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// cacheOf is a paged cache of one layer with shuffled pages, filled with poison, and the
// rows of a ragged step: slots of different lengths that get different numbers of rows.
type cacheOf struct {
	enc               layout.Enc
	kv, dim, page     int
	summary           int
	maxPages          int
	bytes             []byte
	pages             []int32 // [slots][maxPages]
	slot, start, leng []int32
	rows              int
	gpu               bool // keys lie as values do
}

func newCache(t testing.TB, enc layout.Enc, kv, dim, page int, lens, news []int) *cacheOf {
	return newCacheOf(t, cacheOf{enc: enc, kv: kv, dim: dim, page: page}, lens, news)
}

// newCacheOf is newCache for the shape of a cache, with summaries too.
func newCacheOf(t testing.TB, shape cacheOf, lens, news []int) *cacheOf {
	c, page := &shape, shape.page
	for s := range lens {
		c.maxPages = max(c.maxPages, (lens[s]+news[s]+page-1)/page)
		c.rows += news[s]
	}
	c.maxPages = max(1, c.maxPages) // a slot without tokens still has a table
	slots := len(lens)
	phys := rand.Perm(slots*c.maxPages + 2)
	c.pages = alloc[int32](t, slots*c.maxPages)
	for i := range c.pages {
		c.pages[i] = int32(phys[i])
	}
	c.bytes = alloc[byte](t, len(phys)*int(work.PageStride(c.kv, c.dim, page, c.summary, c.enc)))
	for i := range c.bytes {
		c.bytes[i] = 0xff // a NaN in every encoding
	}
	c.slot, c.start, c.leng = alloc[int32](t, c.rows), alloc[int32](t, slots), alloc[int32](t, slots)
	n := 0
	for s := range lens {
		c.start[s], c.leng[s] = int32(n), int32(lens[s])
		for range news[s] {
			c.slot[n] = int32(s)
			n++
		}
	}
	return c
}

// index is row n's place in its slot's cache.
func (c *cacheOf) index(n int) (slot, i int) {
	slot = int(c.slot[n])
	return slot, int(c.leng[slot]) + n - int(c.start[slot])
}

// at is the layout of its pages.
func (c *cacheOf) at() kvpage.Page {
	p := kvpage.Page{Enc: c.enc, KVHeads: c.kv, Dim: c.dim, Tokens: c.page, Summary: c.summary}
	if c.gpu {
		p.Machine = kvpage.GPU
	}
	return p
}

// pageAt is the page that holds a token.
func (c *cacheOf) pageAt(slot, token int) []byte {
	stride := c.at().Stride()
	return c.bytes[int64(c.pages[slot*c.maxPages+token/c.page])*stride:][:stride]
}

// vector is a token's key or value of a head.
func (c *cacheOf) vector(half kvpage.Half, slot, token, head int) []float32 {
	x := make([]float32, c.dim)
	c.at().Decode(c.pageAt(slot, token), half, head, token%c.page, x)
	return x
}

func (c *cacheOf) operands(m map[string]uintptr) map[string]uintptr {
	m["cache"], m["pages"], m["row_slot"] = addr(c.bytes), addr(c.pages), addr(c.slot)
	m["slot_start"], m["slot_len"] = addr(c.start), addr(c.leng)
	return m
}

func (c *cacheOf) dims() work.Dims {
	d := work.Dims{N: int64(c.rows), S: int64(len(c.leng)), P: int64(c.maxPages)}
	for n := range c.rows {
		_, i := c.index(n)
		d.C = max(d.C, int64(i+1))
	}
	return d
}

// tol is what rounding to the encoding may cost.
func (c *cacheOf) tol() float64 {
	return map[layout.Enc]float64{layout.F32: 2e-6, layout.F16: 6e-4, layout.BF16: 5e-3}[c.enc]
}

func rotateRef(style work.Style, rotary int, x []float64, cs []float32) {
	for i := range rotary / 2 {
		a, b := i, i+rotary/2
		if style == work.Adjacent {
			a, b = 2*i, 2*i+1
		}
		cos, sin := float64(cs[2*i]), float64(cs[2*i+1])
		x[a], x[b] = x[a]*cos-x[b]*sin, x[b]*cos+x[a]*sin
	}
}

func testQKV(t *testing.T, tgt target.Target, p work.Linear, lens, news []int) {
	t.Helper()
	q := p.QKV
	p.Epilogue, p.Dot, p.Rows = work.QKV, work.F32, []int{q.Heads * q.Dim, q.KVHeads * q.Dim, q.KVHeads * q.Dim}
	shape := cacheOf{enc: q.CacheEnc, kv: q.KVHeads, dim: q.Dim, page: q.Page, summary: q.Summary}
	if q.Apart { // a cache that the kernel does not know
		shape.enc, shape.page = layout.F32, 16
	}
	c := newCacheOf(t, shape, lens, news)
	c.fill()
	l := open(t, tgt, p)
	packed, w := weight(t, p.Enc, p.Rows, p.Cols)
	g, b := random(t, p.Cols, 1), random(t, p.R(), 1)
	qn, kn := random(t, q.Dim, 1), random(t, q.Dim, 1)
	x, cs := random(t, c.rows*p.Cols, 1), random(t, c.rows*max(q.RotaryDim, 1), 1)
	out := poison(alloc[float32](t, c.rows*q.Heads*q.Dim))
	var apart [2][]float32 // keys and values
	for i := range apart {
		apart[i] = poison(alloc[float32](t, c.rows*q.KVHeads*q.Dim))
	}
	l.bind(t, 0, p, c.dims(), c.operands(map[string]uintptr{"x": addr(x), "g": addr(g), "w": addr(packed), "b": addr(b),
		"cs": addr(cs), "qn": addr(qn), "kn": addr(kn), "q": addr(out), "k": addr(apart[0]), "v": addr(apart[1])})).run(2)
	plain := p
	plain.Epilogue = ""
	sums := linearRef(plain, c.rows, x, g, w, b, nil)
	name := fmt.Sprintf("%s n=%d %s", tgt.Name, c.rows, p.Key())
	for n := range c.rows {
		slot, i := c.index(n)
		for h := range q.Heads + 2*q.KVHeads {
			want := sums[n*p.R()+h*q.Dim:][:q.Dim]
			norm, gains := q.QNorm, qn
			if h >= q.Heads {
				norm, gains = q.KNorm, kn
			}
			if norm != nil && h < q.Heads+q.KVHeads {
				f := make([]float32, q.Dim)
				for j := range f {
					f[j] = float32(want[j])
				}
				copy(want, normRef(f, gains, float64(norm.Eps), float64(norm.Offset)))
			}
			if h < q.Heads+q.KVHeads {
				rotateRef(q.Style, q.RotaryDim, want, cs[n*q.RotaryDim:])
			}
			if h < q.Heads {
				close32(t, name+" q", out[(n*q.Heads+h)*q.Dim:][:q.Dim], want, 3e-6)
				continue
			}
			half, head := (h-q.Heads)/q.KVHeads, (h-q.Heads)%q.KVHeads
			if q.Apart {
				close32(t, name+" kv", apart[half][(n*q.KVHeads+head)*q.Dim:][:q.Dim], want, 3e-6)
				continue
			}
			close32(t, name+" kv", c.vector(kvpage.Half(half), slot, i, head), want, c.tol())
		}
	}
	c.checkSummaries(t, name)
}

func TestQKV(t *testing.T) {
	rms := &work.RMSNorm{Eps: 1e-5}
	for _, tgt := range targets(t) {
		for _, p := range []work.Linear{
			{Enc: layout.Q4_1, Cols: 64, QKV: &work.Heads{Heads: 6, KVHeads: 2, Dim: 64, RotaryDim: 64, Style: work.Adjacent, CacheEnc: layout.F16, Page: 64}},
			{Enc: layout.Q8_0, Cols: 96, Bias: true, QKV: &work.Heads{Heads: 2, KVHeads: 1, Dim: 48, RotaryDim: 32, Style: work.Half, QNorm: rms, KNorm: rms, CacheEnc: layout.F32, Page: 16}},
			{Enc: layout.Q8_0, Cols: 32, QKV: &work.Heads{Heads: 4, KVHeads: 2, Dim: 48, CacheEnc: layout.F16, Page: 64, Summary: 16}},
			{Enc: layout.F32, Cols: 7, QKV: &work.Heads{Heads: 2, KVHeads: 1, Dim: 16, RotaryDim: 16, Style: work.Half, CacheEnc: layout.F32, Page: 32, Summary: 32}},
			{Enc: layout.F32, Cols: 5, QKV: &work.Heads{Heads: 2, KVHeads: 2, Dim: 16, RotaryDim: 6, Style: work.Half, CacheEnc: layout.BF16, Page: 32}},
			{Enc: layout.Q4_0, Cols: 32, QKV: &work.Heads{Heads: 1, KVHeads: 1, Dim: 80, CacheEnc: layout.F32, Page: 16}},
			{Enc: layout.Q4_1, Cols: 64, QKV: &work.Heads{Heads: 6, KVHeads: 2, Dim: 64, RotaryDim: 64, Style: work.Adjacent, Apart: true}},
			{Enc: layout.Q8_0, Cols: 96, Bias: true, QKV: &work.Heads{Heads: 2, KVHeads: 1, Dim: 48, RotaryDim: 32, Style: work.Half, QNorm: rms, KNorm: rms, Apart: true}},
		} {
			p.Tokens = work.Many
			testQKV(t, tgt, p, []int{0, 70, 15}, []int{3, 20, 1})
			p.Tokens, p.Norm = work.One, rms
			testQKV(t, tgt, p, []int{63}, []int{1})
		}
	}
}

func TestKVStoreAndRope(t *testing.T) {
	for _, tgt := range everywhere(t) {
		for _, enc := range []layout.Enc{layout.F32, layout.F16, layout.BF16} {
			if enc == layout.F32 && tgt.Arch == target.PTX {
				continue // no such cache on a GPU
			}
			p := work.KVStore{KVHeads: 3, Dim: 32, CacheEnc: enc, Page: 16}
			r := work.Rope{Heads: 3, Dim: 32, RotaryDim: 20, Style: work.Half}
			l := open(t, tgt, p, r)
			c := newCache(t, enc, 3, 32, 16, []int{5, 40}, []int{20, 3})
			c.gpu = tgt.Arch == target.PTX
			k, v := random(t, c.rows*96, 1), random(t, c.rows*96, 1)
			cs, turned := random(t, c.rows*20, 1), poison(alloc[float32](t, c.rows*96))
			l.bind(t, 1, r, c.dims(), map[string]uintptr{"x": addr(k), "cs": addr(cs), "y": addr(turned)}).run(4)
			l.bind(t, 0, p, c.dims(), c.operands(map[string]uintptr{"k": addr(turned), "v": addr(v)})).run(4)
			for n := range c.rows {
				slot, i := c.index(n)
				for h := range 3 {
					at := (n*3 + h) * 32
					var wantK, wantV []float64
					for d := range 32 {
						wantK = append(wantK, float64(k[at+d]))
						wantV = append(wantV, float64(v[at+d]))
					}
					rotateRef(r.Style, r.RotaryDim, wantK, cs[n*20:])
					close32(t, tgt.Name+" key", c.vector(kvpage.Key, slot, i, h), wantK, c.tol())
					close32(t, tgt.Name+" value", c.vector(kvpage.Value, slot, i, h), wantV, c.tol())
				}
			}
		}
	}
}
