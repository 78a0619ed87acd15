package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// epilogue is what a Linear does with the sums of token n.
type epilogue struct {
	k *kernel.Kernel
	p work.Linear
}

// lanes is where a tile's rows stand among all unpadded rows; for GLU, in one segment.
func (e epilogue) lanes(tile kernel.I64) kernel.Lanes {
	k, rows := e.k, e.p.Rows
	if e.p.Epilogue == work.GLU {
		rows = rows[:1]
	}
	at, left := tile.Times(layout.Lanes), kernel.I64{}
	whole, firstTile, firstRow := true, 0, 0
	for i, r := range rows {
		whole = whole && r%layout.Lanes == 0
		in := tile.Plus(int64(-firstTile)).Times(layout.Lanes)
		a, l := in.Plus(int64(firstRow)), k.Int(int64(r)).Sub(in)
		if i == 0 {
			at, left = a, l
		} else {
			here := k.Int(int64(firstTile)).Le(tile)
			at, left = kernel.Select(here, a, at), kernel.Select(here, l, left)
		}
		firstTile, firstRow = firstTile+layout.Tiles(r), firstRow+r
	}
	if whole {
		return k.All(at)
	}
	return k.Below(at, left)
}

func (e epilogue) bias(l kernel.Lanes, shift int64, v kernel.Vec) kernel.Vec {
	if !e.p.Bias {
		return v
	}
	return v.Add(l.Load(kernel.Arg[kernel.F32](e.k, "b").Plus(shift)))
}

// row stores the sums of a tile: epilogues Store and Add.
func (e epilogue) row(n kernel.I64, l kernel.Lanes, v kernel.Vec) {
	k := e.k
	v = e.bias(l, 0, v)
	at := n.Times(int64(e.p.R()))
	if e.p.Epilogue == work.Add {
		v = v.Add(l.Load(kernel.Arg[kernel.F32](k, "res").At(at)))
	} else {
		v = act(e.p.Act, v, k)
		if e.p.Softcap > 0 {
			v = softcap(v, e.p.Softcap, k)
		}
	}
	l.Store(kernel.Arg[kernel.F32](k, "y").At(at), v)
}

// glu stores act(gate) * up.
func (e epilogue) glu(n kernel.I64, l kernel.Lanes, gate, up kernel.Vec) {
	f := int64(e.p.Rows[0])
	gate, up = e.bias(l, 0, gate), e.bias(l, f, up)
	l.Store(kernel.Arg[kernel.F32](e.k, "y").At(n.Times(f)), act(e.p.Act, gate, e.k).Mul(up))
}

func (e epilogue) cache() appendTo {
	q := e.p.QKV
	return appendTo{k: e.k, kvHeads: q.KVHeads - q.Stream, dim: q.Dim, page: q.Page, summary: q.Summary, enc: q.CacheEnc}
}

// stores gives the cache of kv head h, and h's place among the heads in it.
func (e epilogue) stores(h kernel.I64, f func(a appendTo, h kernel.I64)) {
	q := e.p.QKV
	placed(e.k, e.cache(), appendTo{k: e.k, kvHeads: q.Stream, dim: q.Dim, page: q.Page, enc: q.CacheEnc, second: true}, h, f)
}

// head finishes head h (of q, then k, then v) of token n, whose sums lie at s: bias, norm
// and rotation in place, then to q or to the cache.
func (e epilogue) head(n, h kernel.I64, s kernel.Ptr[kernel.F32]) {
	k, p, q := e.k, e.p, e.p.QKV
	if p.Bias {
		b := kernel.Arg[kernel.F32](k, "b").At(h.Times(int64(q.Dim)))
		kernel.Row(k, q.Dim, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
			l.Store(s, l.Load(s).Add(l.Load(b)))
			return nil
		})
	}
	heads, kv := k.Int(int64(q.Heads)), k.Int(int64(q.KVHeads))
	kernel.If(k, h.Lt(heads), nil, func() []kernel.Vec {
		e.turn(n, s, q.QNorm, "qn")
		e.copy(n, h, q.Heads, "q", s)
		return nil
	}, func() []kernel.Vec {
		isK := h.Lt(heads.Add(kv))
		kernel.If(k, isK, nil, func() []kernel.Vec {
			e.turn(n, s, q.KNorm, "kn")
			if q.Apart {
				e.copy(n, h.Sub(heads), q.KVHeads, "k", s)
				return nil
			}
			e.stores(h.Sub(heads), func(a appendTo, h kernel.I64) {
				at := a.row(n)
				a.key(at, h, s)
				if a.summary > 0 && p.Tokens == work.One {
					a.summarise(at, h)
				}
			})
			return nil
		}, func() []kernel.Vec {
			if q.Apart {
				e.copy(n, h.Sub(heads).Sub(kv), q.KVHeads, "v", s)
				return nil
			}
			e.stores(h.Sub(heads).Sub(kv), func(a appendTo, h kernel.I64) { a.value(a.row(n), h, s) })
			return nil
		})
		return nil
	})
}

// copy stores head h of so many at token n of an operand.
func (e epilogue) copy(n, h kernel.I64, heads int, name string, s kernel.Ptr[kernel.F32]) {
	dim := e.p.QKV.Dim
	y := kernel.Arg[kernel.F32](e.k, name).At(n.Times(int64(heads)).Add(h).Times(int64(dim)))
	kernel.Row(e.k, dim, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
		l.Store(y, l.Load(s))
		return nil
	})
}

// turn norms and rotates a head in place.
func (e epilogue) turn(n kernel.I64, s kernel.Ptr[kernel.F32], norm *work.RMSNorm, gains string) {
	k, q := e.k, e.p.QKV
	if norm != nil {
		inv := rsqrtMean(k, s, q.Dim, norm.Eps).Splat()
		g := kernel.Arg[kernel.F32](k, gains)
		kernel.Row(k, q.Dim, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
			l.Store(s, l.Load(s).Mul(inv).Mul(gain(k, l.Load(g), norm.Offset)))
			return nil
		})
	}
	if q.Style != work.NoRope {
		cs := kernel.Arg[kernel.F32](k, "cs").At(n.Times(int64(q.RotaryDim)))
		rotateHead(k, q.Style, q.RotaryDim, s, s, cs)
	}
}
