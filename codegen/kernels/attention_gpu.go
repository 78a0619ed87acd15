package kernels

import (
	"math"

	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// attnGPU is what both phases of attention share on a GPU.
//
// Softmax runs in powers of two: a score is q.k * Scale / ln 2.
type attnGPU struct {
	k     *kernel.Kernel
	g     kernel.GPU
	p     work.Attention
	half  kernel.Half
	group int
	pad   int         // elements of a head in the cache
	at    kvpage.Page // how it lies
	bits  int         // of a code, in a quantised cache; else 0
	among *among      // nil: q and o hold the heads of p alone
}

func (a attnGPU) second() bool { return a.among != nil && a.among.second }

// physical is the physical page of a slot's logical page.
func (a attnGPU) physical(slot, page kernel.I64) kernel.I64 {
	return physicalOf(a.k, a.second(), slot, page)
}

func newAttnGPU(k *kernel.Kernel, p work.Attention) attnGPU {
	a := attnGPU{k: k, g: k.GPU(), p: p, group: p.Heads / p.KVHeads, pad: p.Pad(), at: p.At(kvpage.GPU), bits: kvpage.Bits(p.CacheEnc)}
	if p.CacheEnc == layout.BF16 {
		a.half = kernel.BFloat16
	}
	return a
}

// row is the bytes of one token's entry of one head.
func (a attnGPU) row() int64 { return a.at.VectorBytes() }

// begin is the address of a physical page.
func (a attnGPU) begin(page kernel.I64) kernel.Ptr[kernel.U8] {
	cache, _ := cacheNames(a.second())
	return kernel.Arg[kernel.U8](a.k, cache).At(page.Times(a.at.Stride()))
}

// head is where the keys of a kv head begin in a physical page; its values are
// valuesAfter bytes on.
func (a attnGPU) head(page, h kernel.I64) kernel.Ptr[kernel.U8] {
	cache, _ := cacheNames(a.second())
	return kernel.Arg[kernel.U8](a.k, cache).At(page.Times(a.at.Stride()).Add(h.Times(a.row() * int64(a.p.Page))))
}

func (a attnGPU) valuesAfter() int64 { return a.at.ValuesAt() }

// logScale is the factor of q.k before base: with a softcap, what makes the argument of
// the power of two that its hyperbolic tangent needs.
func (a attnGPU) logScale() float32 {
	if a.p.Softcap > 0 {
		return float32(2 * math.Log2E * float64(a.p.Scale) / float64(a.p.Softcap))
	}
	return float32(math.Log2E * float64(a.p.Scale))
}

// base turns q.k * logScale into a score in powers of two: with a softcap c, c tanh(x/c)
// through tanh y = 1 - 2 / (1 + 2^(2 y / ln 2)).
func (a attnGPU) base(x kernel.F32) kernel.F32 {
	if a.p.Softcap == 0 {
		return x
	}
	c := float32(math.Log2E * float64(a.p.Softcap))
	return a.g.Rcp(a.g.Exp2F(x).Add(a.k.Float(1))).FMA(a.k.Float(-2*c), a.k.Float(c))
}

// tiles are the spans of TileGPU tokens that rows up to cache index last see, the oldest of
// whose windows is that of the row at first: those of the sinks, then those of the window.
type tiles struct {
	count  kernel.I64
	sinks  kernel.I64 // tiles from 0 on
	window kernel.I64 // then from this one on
	pick   *kernel.Ptr[kernel.I32]
	per    int64 // with pick, those of the pages listed there: so many a page
}

func (a attnGPU) tiles(first, last kernel.I64) tiles {
	k := a.k
	t := tiles{sinks: k.Int(0), window: k.Int(0)}
	if a.p.Window > 0 {
		t.window = first.Plus(int64(1 - a.p.Window)).Max(k.Int(0)).Over(work.TileGPU)
		if a.p.Sink > 0 {
			t.sinks = t.window.Min(k.Int(int64((a.p.Sink + work.TileGPU - 1) / work.TileGPU)))
		}
	}
	t.count = last.Over(work.TileGPU).Plus(1).Sub(t.window).Add(t.sinks)
	return t
}

// picked are the tiles of a list of pages, the last of which holds index i.
func (a attnGPU) picked(list kernel.Ptr[kernel.I32], i kernel.I64) tiles {
	page, per := int64(a.p.Page), int64(a.p.Page/work.TileGPU)
	pages := i.Over(page).Plus(1).Min(a.k.Int(int64(a.p.Budget)))
	return tiles{pick: &list, per: per, count: pages.Plus(-1).Times(per).Add(i.Modulo(page).Over(work.TileGPU)).Plus(1)}
}

// token is the first token of the i-th tile; one that looks ahead may ask beyond the last.
func (t tiles) token(i kernel.I64) kernel.I64 {
	if t.pick != nil {
		i = i.Min(t.count.Plus(-1))
		page := kernel.LoadI32(t.pick.At(i.Over(t.per))).I64()
		return page.Times(t.per).Add(i.Modulo(t.per)).Times(work.TileGPU)
	}
	n := kernel.Select(i.Lt(t.sinks), i, i.Sub(t.sinks).Add(t.window))
	return n.Times(work.TileGPU)
}

// sees says whether the row at index i, whose window is that of the row at index w, sees a token.
func (a attnGPU) sees(token, i, w kernel.I32) kernel.Bool {
	k := a.k
	ok := token.Lt(i.Add(k.Int32(1)))
	if a.p.Window > 0 {
		in := w.Sub(k.Int32(int32(a.p.Window))).Lt(token)
		if a.p.Sink > 0 {
			in = in.Or(token.Lt(k.Int32(int32(a.p.Sink))))
		}
		ok = ok.And(in)
	}
	return ok
}

// values wraps what a loop carries.
func values[T kernel.Value](xs ...T) []kernel.Value {
	out := make([]kernel.Value, len(xs))
	for i, x := range xs {
		out[i] = x
	}
	return out
}

// unwrap takes n values off the front.
func unwrap[T kernel.Value](from *[]kernel.Value, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = (*from)[i].(T)
	}
	*from = (*from)[n:]
	return out
}

func negInf(k *kernel.Kernel) kernel.F32 { return k.Float(float32(math.Inf(-1))) }
