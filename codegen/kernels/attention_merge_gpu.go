package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// The shared memory of a DecodeGPU's block: the warps' results [warp][query][pad], their
// maxima and sums [warp][8], and whether this item came last. Later the first part holds
// the weights of the splits [query][MaxSplits].
func (d decoderGPU) outFloats() int64 {
	q := int64(d.p.Queries())
	return max(decodeWarps*q*int64(d.pad), q*work.MaxSplits)
}

const stateFloats = decodeWarps * work.QueriesGPU

func (d decoderGPU) outs() kernel.Ptr[kernel.F32] { return kernel.SharedAt[kernel.F32](d.k, 0) }
func (d decoderGPU) maxima() kernel.Ptr[kernel.F32] {
	return kernel.SharedAt[kernel.F32](d.k, 4*d.outFloats())
}
func (d decoderGPU) sums() kernel.Ptr[kernel.F32] { return d.maxima().Plus(stateFloats) }
func (d decoderGPU) flag() kernel.Ptr[kernel.I32] {
	return kernel.As[kernel.I32](d.maxima().Plus(2 * stateFloats))
}

// finish merges the block's warps, then, if it is the last of its group, the group.
func (d decoderGPU) finish(s spanGPU, r resultGPU) {
	k, g := d.k, d.g
	g.Sync() // the memory may still be read for the item before
	d.share(r)
	alone := s.used.Eq(k.Int(1))
	kernel.If(k, alone, nil, func() []kernel.Vec {
		d.each(s, func(q, at kernel.I64) {
			sum, _, total := d.warps(q, at)
			d.store(s, q, at, sum, total)
		})
		return nil
	}, func() []kernel.Vec {
		part := d.part(s, s.split)
		d.each(s, func(q, at kernel.I64) {
			sum, top, total := d.warps(q, at)
			to := part.At(q.Times(int64(d.pad + 4)))
			kernel.StoreFloats(to.At(at), sum[:])
			kernel.When(k, at.Eq(k.Int(0)), func() { kernel.StoreFloats(to.Plus(int64(d.pad)), []kernel.F32{top, total}) })
		})
		g.Fence()
		g.Sync()
		kernel.When(k, g.Thread().Eq(k.Int(0)), func() {
			counter := kernel.Arg[kernel.I32](k, "part").At(s.group)
			if d.after != nil {
				counter = counter.At(d.after.groups)
			}
			kernel.StoreI32(d.flag(), g.Arrive(counter, s.used.Plus(-1).I32()))
		})
		g.Sync()
		last := kernel.LoadI32(d.flag()).Eq(s.used.Plus(-1).I32())
		kernel.When(k, last, func() {
			g.Fence()
			d.merge(s)
		})
		return nil
	})
}

// share puts a warp's results where all warps see them, scaled to the block's maxima.
func (d decoderGPU) share(r resultGPU) {
	k, g := d.k, d.g
	l, w := g.Lane(), g.Warp()
	quad := l.And(k.Int(3))
	for q := range 2 {
		for lanes := int64(4); lanes <= 16; lanes *= 2 {
			r.sum[q] = r.sum[q].Add(g.Xor(r.sum[q], lanes))
			if d.bits > 0 {
				r.zero[q] = r.zero[q].Add(g.Xor(r.zero[q], lanes))
			}
		}
	}
	kernel.When(k, l.Lt(k.Int(4)), func() {
		at := w.Times(work.QueriesGPU).Add(quad.Times(2))
		kernel.StoreFloats(d.maxima().At(at), r.max[:])
		kernel.StoreFloats(d.sums().At(at), r.sum[:])
	})
	g.Sync()
	for q := range 2 {
		n := quad.Times(2).Plus(int64(q))
		scale := g.Exp2F(r.max[q].Sub(d.top(n)))
		even, odd := scale, scale
		if d.bits > 0 {
			units := d.units()
			even, odd = scale.Mul(k.Float(units[0])), scale.Mul(k.Float(units[1]))
		}
		piece := func(x, unit kernel.F32) kernel.F32 {
			if d.bits > 0 {
				return x.FMA(unit, r.zero[q].Mul(scale))
			}
			return x.Mul(unit)
		}
		kernel.When(k, n.Lt(k.Int(int64(d.p.Queries()))), func() {
			to := d.outs().At(w.Times(int64(d.p.Queries())).Add(n).Times(int64(d.pad)))
			j := 0
			for _, st := range d.strips(8) {
				for p := range st.words {
					at := l.Shr(2).Times(int64(2 * st.words)).Plus(int64(st.at + 2*p))
					kernel.StoreFloats(to.At(at), []kernel.F32{piece(r.out[j][q], even), piece(r.out[j][2+q], odd)})
					j++
				}
			}
		})
	}
	g.Sync()
}

// top is the block's maximum of query n's scores.
func (d decoderGPU) top(n kernel.I64) kernel.F32 {
	top := kernel.LoadF32(d.maxima().At(n))
	for w := int64(1); w < decodeWarps; w++ {
		top = d.g.MaxF(top, kernel.LoadF32(d.maxima().At(n).Plus(w*work.QueriesGPU)))
	}
	return top
}

// warps adds four neighbouring dims of a query over the warps, and gives the query's
// maximum and sum.
func (d decoderGPU) warps(q, at kernel.I64) (sum [4]kernel.F32, top, total kernel.F32) {
	top = d.top(q)
	total = d.k.Float(0)
	for w := range int64(decodeWarps) {
		m := kernel.LoadF32(d.maxima().At(q).Plus(w * work.QueriesGPU))
		total = d.g.Exp2F(m.Sub(top)).FMA(kernel.LoadF32(d.sums().At(q).Plus(w*work.QueriesGPU)), total)
		x := kernel.LoadFloats(d.outs().At(q.Plus(w*int64(d.p.Queries())).Times(int64(d.pad)).Add(at)), 4)
		for j := range sum {
			if w == 0 {
				sum[j] = x[j]
			} else {
				sum[j] = sum[j].Add(x[j])
			}
		}
	}
	return sum, top, total
}

// each gives the block's threads four dims of a query at a time.
func (d decoderGPU) each(s spanGPU, f func(q, at kernel.I64)) {
	k, quarter := d.k, int64(d.pad/4)
	kernel.Each(k, d.g.Thread(), k.Int(int64(d.p.Queries())*quarter), 32*decodeWarps, func(i kernel.I64) {
		f(i.Over(quarter), i.Modulo(quarter).Times(4))
	})
}

// part is the partial result of a split of the item's group.
func (d decoderGPU) part(s spanGPU, split kernel.I64) kernel.Ptr[kernel.F32] {
	at := s.group.Mul(s.splits).Add(split).Times(d.p.PartFloats())
	if d.after != nil {
		at = at.Add(d.after.floats)
	}
	return kernel.Arg[kernel.F32](d.k, "part").Plus(work.CounterBytes / 4).At(at)
}

// store writes four dims of a query, divided by its sum.
func (d decoderGPU) store(s spanGPU, q, at kernel.I64, x [4]kernel.F32, sum kernel.F32) {
	k, dim := d.k, int64(d.attnGPU.p.Dim)
	o := kernel.Arg[kernel.F32](k, "o").At(s.query.Add(q).Times(dim).Add(at))
	for j := range x {
		x[j] = x[j].Div(sum)
	}
	kernel.When(k, q.Lt(s.live), func() {
		if dim%4 == 0 {
			kernel.When(k, at.Lt(k.Int(dim)), func() { kernel.StoreFloats(o, x[:]) })
			return
		}
		for j := range x {
			kernel.When(k, at.Plus(int64(j)).Lt(k.Int(dim)), func() { kernel.StoreF32(o.Plus(int64(j)), x[j]) })
		}
	})
}

// merge adds the group's splits, in their order: bits do not depend on which came last.
func (d decoderGPU) merge(s spanGPU) {
	k, g := d.k, d.g
	stride := d.p.PartFloats()
	weights := d.outs()
	kernel.Each(k, g.Warp(), k.Int(int64(d.p.Queries())), decodeWarps, func(q kernel.I64) {
		state := d.part(s, k.Int(0)).At(q.Times(int64(d.pad + 4))).Plus(int64(d.pad))
		var m, l [work.MaxSplits / 32]kernel.F32
		top := k.Float(noMax)
		for j := range m {
			n := g.Lane().Plus(int64(32 * j))
			in := n.Lt(s.used)
			x := kernel.LoadFloats(state.At(n.Min(s.used.Plus(-1)).Times(stride)), 2)
			m[j], l[j] = kernel.Select(in, x[0], negInf(k)), kernel.Select(in, x[1], k.Float(0))
			top = g.MaxF(top, m[j])
		}
		for lanes := int64(1); lanes <= 16; lanes *= 2 {
			top = g.MaxF(top, g.Xor(top, lanes))
		}
		sum := k.Float(0)
		for j := range m {
			m[j] = g.Exp2F(m[j].Sub(top))
			sum = m[j].FMA(l[j], sum)
		}
		for lanes := int64(1); lanes <= 16; lanes *= 2 {
			sum = sum.Add(g.Xor(sum, lanes))
		}
		for j := range m {
			kernel.StoreF32(weights.At(q.Times(work.MaxSplits).Add(g.Lane())).Plus(int64(32*j)), m[j].Div(sum))
		}
	})
	g.Sync()
	const together = 8 // loads under way
	d.each(s, func(q, at kernel.I64) {
		from := d.part(s, k.Int(0)).At(q.Times(int64(d.pad + 4)).Add(at))
		zero := k.Float(0)
		out := kernel.For(k, k.Int(0), s.used, together, []kernel.F32{zero, zero, zero, zero}, func(n kernel.I64, c []kernel.F32) []kernel.F32 {
			c = append([]kernel.F32(nil), c...)
			var x [together][]kernel.F32
			for j := range x {
				x[j] = kernel.LoadFloats(from.At(n.Plus(int64(j)).Min(s.used.Plus(-1)).Times(stride)), 4)
			}
			for j := range x {
				w := kernel.LoadF32(weights.At(q.Times(work.MaxSplits).Add(n)).Plus(int64(j)))
				for e := range c {
					c[e] = w.FMA(x[j][e], c[e])
				}
			}
			return c
		})
		d.store(s, q, at, [4]kernel.F32(out), k.Float(1))
	})
}
