package kernels

import "quire/codegen/kernel"

// stageJoin is stageNorm of after = before + norm(x): each block finds all of after and the
// norm of it, and the block of the first item keeps it. What is summed up lies behind what
// is summed up of x.
func (m gemv) stageJoin(s stager) {
	k, g, warps := m.k, m.g, int64(m.plan.Warps)
	parts := kernel.SharedAt[kernel.F32](k, m.plan.Parts)
	joined := parts.Plus(warps * int64(m.p.Columns))
	leave := func(to kernel.Ptr[kernel.F32], n kernel.I64, sum kernel.F32) {
		sum = g.Sum(sum, 32)
		kernel.When(k, m.lane.Eq(k.Int(0)), func() { kernel.StoreF32(to.At(n.Times(warps).Add(m.warp)), sum) })
	}
	before := func(n kernel.I64) kernel.Ptr[kernel.F32] { return s.rowOf("before", n) }
	gains, outer := kernel.Arg[kernel.F32](k, "g"), kernel.Arg[kernel.F32](k, "jg")
	var x, stream [][]kernel.F32 // kept: first of x and before, then after
	m.rows(func(n kernel.I64) {
		if s.keeps() {
			x, stream = s.all(s.row(n)), s.all(before(n))
		}
		leave(parts, n, s.squares(func(turn int, i kernel.I64, in *kernel.Bool) []kernel.F32 {
			if x != nil {
				return x[turn]
			}
			return s.load(s.row(n), i, in)
		}))
	})
	g.Sync()
	after := func(n kernel.I64, inv kernel.F32) func(turn int, i kernel.I64, in *kernel.Bool) []kernel.F32 {
		return func(turn int, i kernel.I64, in *kernel.Bool) []kernel.F32 {
			var v, r, gain []kernel.F32
			if s.keeps() {
				v, r, gain = x[turn], stream[turn], m.joinGains[turn]
			} else {
				v, r, gain = s.load(s.row(n), i, in), s.load(before(n), i, in), s.load(outer, i, in)
			}
			out := scaled(k, v, inv, gain, m.p.Join.Offset)
			for j := range out {
				out[j] = r[j].Add(out[j])
			}
			return out
		}
	}
	m.rows(func(n kernel.I64) {
		get := after(n, m.inverse(parts, n, m.p.Join.Eps))
		if s.keeps() {
			var all [][]kernel.F32
			s.each(func(turn int, i kernel.I64, in *kernel.Bool) { all = append(all, get(turn, i, in)) })
			stream = all
			get = func(turn int, _ kernel.I64, _ *kernel.Bool) []kernel.F32 { return all[turn] }
		}
		leave(joined, n, s.squares(get))
		kernel.When(k, k.Item().Eq(k.Int(0)), func() {
			s.each(func(turn int, i kernel.I64, in *kernel.Bool) {
				v := get(turn, i, in)
				when(k, in, func() {
					to := s.rowOf("after", n).At(i.Times(piece))
					kernel.StoreFloats(to, v[:4])
					kernel.StoreFloats(to.Plus(4), v[4:])
				})
			})
		})
	})
	g.Sync()
	m.rows(func(n kernel.I64) {
		get := after(n, m.inverse(parts, n, m.p.Join.Eps))
		if s.keeps() {
			get = func(turn int, _ kernel.I64, _ *kernel.Bool) []kernel.F32 { return stream[turn] }
		}
		inv := m.inverse(joined, n, m.p.Norm.Eps)
		s.each(func(turn int, i kernel.I64, in *kernel.Bool) {
			var gain []kernel.F32
			if s.keeps() {
				gain = m.gains[turn]
			} else {
				gain = s.load(gains, i, in)
			}
			m.put(n, i, in, scaled(k, get(turn, i, in), inv, gain, m.p.Norm.Offset))
		})
	})
	g.Sync()
}

// when runs f where c holds, or everywhere without one.
func when(k *kernel.Kernel, c *kernel.Bool, f func()) {
	if c == nil {
		f()
		return
	}
	kernel.When(k, *c, f)
}
