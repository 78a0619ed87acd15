package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// waiting is where the sums of a row's heads of q and k wait for the last of a head.
func (m gemv) waiting(n, at kernel.I64) kernel.Ptr[kernel.F32] {
	return kernel.Arg[kernel.F32](m.k, "sums").Plus(work.CounterBytes / 4).At(n.Times(m.p.HeadSums()).Add(at))
}

// finishWhole is finish where heads are finished whole: sums of q and k wait in global
// memory, and the block that brings a head's last tile norms and rotates the head: a warp
// 32 of its values. Which block comes last does not change a bit.
func (m gemv) finishWhole(last kernel.I64) {
	k, g, p := m.k, m.g, m.p
	multi, cols := int64(p.Multi()), int64(p.Columns)
	outputs, threads := 16*cols, int64(32*m.plan.Warps)
	e := out{k: k, p: p.Linear}
	done := last.Plus(1).Times(multi) // tiles
	single := func(n kernel.I64) kernel.I64 {
		return g.Before(last.Sub(n.Over(multi))).Times(multi).Add(n.Modulo(multi))
	}
	g.Sync()
	kernel.Each(k, g.Thread(), done.Times(outputs), threads, func(i kernel.I64) {
		n, r, col := i.Over(outputs), i.Modulo(outputs).Over(cols), i.Modulo(cols)
		tile := single(n)
		inside := tile.Lt(k.Int(int64(p.Singles())))
		if cols > 1 {
			inside = inside.And(col.Lt(k.Dim("N")))
		}
		kernel.When(k, inside, func() {
			row := tile.Times(16).Add(r)
			v := e.biased(row, m.total(n, 0, r, col))
			either(k, row.Lt(k.Int(p.HeadSums())), func() { kernel.StoreF32(m.waiting(col, row), v) }, func() { e.head(col, row, v) })
		})
	})
	g.Fence()
	g.Sync()
	whole := kernel.SharedAt[kernel.I32](k, m.plan.Parts) // by tile: the head that it completes, or -1
	tiles := int64(p.QKV.Dim / 16)
	kernel.When(k, g.Thread().Lt(done), func() {
		head := single(g.Thread()).Over(tiles)
		mine := head.Lt(k.Int(int64(p.QKV.Heads + p.QKV.KVHeads)))
		came := kernel.If(k, mine, []kernel.I32{k.Int32(-1)}, func() []kernel.I32 {
			return []kernel.I32{g.Arrive(kernel.Arg[kernel.I32](k, "sums").At(head), k.Int32(int32(tiles-1)))}
		}, nil)[0]
		kernel.StoreI32(whole.At(g.Thread()), kernel.Select(came.Eq(k.Int32(int32(tiles-1))), head.I32(), k.Int32(-1)))
	})
	g.Sync()
	thread := g.ThreadAgain()
	m.lane = thread.And(k.Int(31))
	slices, rows := int64(p.QKV.Dim+31)/32, k.Int(1)
	if cols > 1 {
		rows = k.Dim("N")
	}
	kernel.Each(k, thread.Shr(5), done.Mul(rows).Times(slices), int64(m.plan.Warps), func(i kernel.I64) {
		at, n := i.Over(slices), k.Int(0)
		if cols > 1 {
			of := at.Div(rows)
			at, n = of, at.Sub(of.Mul(rows))
		}
		head := kernel.LoadI32(whole.At(at)).I64()
		kernel.When(k, k.Int(0).Le(head), func() {
			g.Fence()
			m.head(e, n, head, i.Modulo(slices).Times(32).Add(m.lane))
		})
	})
	g.Sync()
}

// head norms and rotates value i of head h of q, then k, of row n, and puts it in its place;
// of 32 lanes those that have a value do.
func (m gemv) head(e out, n, h, i kernel.I64) {
	k, q := m.k, m.p.QKV
	first := h.Times(int64(q.Dim))
	to := home{}
	if !q.Apart {
		to = e.home(n, first)
	}
	e.early = &fetched{home: &to}
	isQ := h.Lt(k.Int(int64(q.Heads)))
	gains := func(name string) kernel.Ptr[kernel.F32] { return kernel.Arg[kernel.F32](k, name) }
	turned := func(norm *work.RMSNorm, gains kernel.Ptr[kernel.F32]) {
		value := m.normed(m.waiting(n, first), norm, gains)
		put := func() { e.head(n, first.Add(i), m.rotated(e, n, i, value)) }
		if q.Dim%32 == 0 {
			put()
			return
		}
		kernel.When(k, i.Lt(k.Int(int64(q.Dim))), put)
	}
	if q.QNorm != nil && q.KNorm != nil && *q.QNorm == *q.KNorm {
		turned(q.QNorm, kernel.Select(isQ, gains("qn"), gains("kn")))
		return
	}
	of := func(norm *work.RMSNorm, name string) func() {
		return func() {
			if norm == nil {
				turned(nil, kernel.Ptr[kernel.F32]{})
				return
			}
			turned(norm, gains(name))
		}
	}
	if q.QNorm == nil && q.KNorm == nil {
		of(nil, "")()
		return
	}
	either(k, isQ, of(q.QNorm, "qn"), of(q.KNorm, "kn"))
}

// normed gives the values of a head at x, normed with these gains if there is a norm.
func (m gemv) normed(x kernel.Ptr[kernel.F32], norm *work.RMSNorm, gains kernel.Ptr[kernel.F32]) func(i kernel.I64) kernel.F32 {
	k, dim := m.k, m.p.QKV.Dim
	if norm == nil {
		return func(i kernel.I64) kernel.F32 { return kernel.LoadF32(x.At(i)) }
	}
	sum := k.Float(0)
	for at := 0; at < dim; at += 32 {
		i := m.lane.Plus(int64(at))
		v := kernel.LoadF32(x.At(i.Min(k.Int(int64(dim - 1)))))
		sum = kernel.Select(i.Lt(k.Int(int64(dim))), v.FMA(v, sum), sum)
	}
	inv := k.Float(1).Div(m.g.Sum(sum, 32).Div(k.Float(float32(dim))).Add(k.Float(norm.Eps)).Sqrt())
	return func(i kernel.I64) kernel.F32 {
		gain := kernel.LoadF32(gains.At(i))
		if norm.Offset != 0 {
			gain = gain.Add(k.Float(norm.Offset))
		}
		return kernel.LoadF32(x.At(i)).Mul(inv).Mul(gain)
	}
}

// rotated is value i of a head of row n, turned with its partner if it is among those that
// rotate.
func (m gemv) rotated(e out, n, i kernel.I64, value func(i kernel.I64) kernel.F32) kernel.F32 {
	k, q := m.k, m.p.QKV
	if q.Style == work.NoRope {
		return value(i)
	}
	half := int64(q.RotaryDim / 2)
	partner, angle, second := i.Xor(1), i.Shr(1), i.And(k.Int(1)).Eq(k.Int(1))
	if q.Style == work.Half {
		second = k.Int(half).Le(i)
		angle = kernel.Select(second, i.Plus(-half), i)
		partner = kernel.Select(second, i.Plus(-half), i.Plus(half))
	}
	turn := func() kernel.F32 {
		cos, sin := e.angle(n, angle)
		return value(i).Mul(cos).Add(value(partner).Mul(kernel.Select(second, sin, sin.Neg())))
	}
	if q.RotaryDim == q.Dim {
		return turn()
	}
	return kernel.If(k, i.Lt(k.Int(int64(q.RotaryDim))), []kernel.F32{value(i)}, func() []kernel.F32 { return []kernel.F32{turn()} }, nil)[0]
}
