package kernels

import "quire/codegen/kernel"

// xUnit is what a lane multiplies a unit with: of its row of x the columns of the frag
// layout's spans, and sums of x.
type xUnit struct {
	m    gemv
	row  kernel.Ptr[kernel.U8] // the lane's first column of the unit
	sums kernel.Ptr[kernel.F32]
	have map[int][]kernel.I32
	gs   map[int][]kernel.F32
}

// xUnit is unit u of all columns.
func (m gemv) xUnit(u kernel.I64) xUnit {
	k, f := m.k, m.f
	q := m.lane.And(k.Int(3))
	row := kernel.SharedAt[kernel.U8](k, 0).At(u.Times(int64(2 * f.Unit)).Add(q.Times(int64(f.Span / 2))))
	sums := kernel.SharedAt[kernel.F32](k, m.plan.Sums).At(u.Times(int64(groups(f) * m.p.Columns)))
	if m.p.Columns > 1 {
		last := k.Dim("N").Plus(-1)
		row = row.At(m.lane.Shr(2).Min(last).Times(m.plan.Row))
		sums = sums.At(q.Min(last.Shr(1)).Times(2))
	}
	return xUnit{m: m, row: row, sums: sums, have: map[int][]kernel.I32{}, gs: map[int][]kernel.F32{}}
}

// product is the second operand of product j of the unit.
func (x xUnit) product(j int) [2]kernel.I32 {
	f := x.m.f
	per := f.Span / 16
	span := j / per
	w := x.have[span]
	if w == nil {
		w = words(x.row.Plus(int64(span*2*f.Span)), int64(f.Span/2))
		x.have[span] = w
	}
	i := j % per
	return [2]kernel.I32{w[2*i], w[2*i+1]}
}

// sum is the sum of the lane's column e over group n.
func (x xUnit) sum(n, e int) kernel.F32 {
	s := x.gs[n]
	if s == nil {
		if x.m.p.Columns == 1 {
			v := kernel.LoadF32(x.sums.Plus(int64(n)))
			s = []kernel.F32{v, v}
		} else {
			s = kernel.LoadFloats(x.sums.Plus(int64(n*x.m.p.Columns)), 2)
		}
		x.gs[n] = s
	}
	return s[e]
}

// piece is the number of columns that a thread stages at once.
const piece = 8

// stager is how a block's threads share the pieces of a row of x.
type stager struct {
	m               gemv
	threads, pieces int64
}

func (m gemv) stager() stager {
	return stager{m, int64(32 * m.plan.Warps), int64(m.p.Cols / piece)}
}

// turns is the number of pieces of a thread, few that they are known one by one.
func (s stager) turns() int64 { return (s.pieces + s.threads - 1) / s.threads }
func (s stager) few() bool    { return s.turns() <= 4 }

// keeps says that a thread keeps its pieces of the one row in registers.
func (s stager) keeps() bool {
	return s.few() && s.m.p.Columns == 1 && (s.m.p.Join == nil || s.turns() <= 2)
}

// each runs f for each piece of this thread; inside is nil where all threads have one.
func (s stager) each(f func(turn int, i kernel.I64, inside *kernel.Bool)) {
	k, g := s.m.k, s.m.g
	whole := s.pieces / s.threads
	if s.few() {
		for t := range whole {
			f(int(t), g.Thread().Plus(t*s.threads), nil)
		}
	} else {
		kernel.Each(k, k.Int(0), k.Int(whole), 1, func(t kernel.I64) { f(-1, g.Thread().Add(t.Times(s.threads)), nil) })
	}
	if whole < s.turns() {
		i := g.Thread().Plus(whole * s.threads)
		in := i.Lt(k.Int(s.pieces))
		f(int(whole), i, &in)
	}
}

// load loads a piece, zeros outside.
func (s stager) load(p kernel.Ptr[kernel.F32], i kernel.I64, inside *kernel.Bool) []kernel.F32 {
	at := p.At(i.Times(piece))
	both := func() []kernel.F32 { return append(kernel.LoadFloats(at, 4), kernel.LoadFloats(at.Plus(4), 4)...) }
	if inside == nil {
		return both()
	}
	return kernel.If(s.m.k, *inside, s.m.k.Floats(piece), both, nil)
}

// all loads the pieces of a thread that has few, so that all are under way together.
func (s stager) all(p kernel.Ptr[kernel.F32]) [][]kernel.F32 {
	var out [][]kernel.F32
	s.each(func(_ int, i kernel.I64, in *kernel.Bool) { out = append(out, s.load(p, i, in)) })
	return out
}

// row is row n of x.
func (s stager) row(n kernel.I64) kernel.Ptr[kernel.F32] { return s.rowOf("x", n) }

// rowOf is row n of an operand, the last one of those beyond.
func (s stager) rowOf(operand string, n kernel.I64) kernel.Ptr[kernel.F32] {
	if s.m.p.Columns > 1 {
		n = n.Min(s.m.k.Dim("N").Plus(-1))
	}
	return kernel.Arg[kernel.F32](s.m.k, operand).At(n.Times(int64(s.m.p.Cols)))
}

// loadGains loads gains before the launches before have ended.
func (m *gemv) loadGains() {
	s := m.stager()
	if m.p.Norm == nil || !s.keeps() {
		return
	}
	m.gains = s.all(kernel.Arg[kernel.F32](m.k, "g"))
	if m.p.Join != nil {
		m.joinGains = s.all(kernel.Arg[kernel.F32](m.k, "jg"))
	}
}

// stage puts x into shared memory: normed, rounded, and its sums over groups. Rows are
// staged in pairs, as lanes load their sums: of an odd number the last one twice.
func (m gemv) stage() {
	if m.wide() {
		return
	}
	s := m.stager()
	if m.p.Join != nil {
		m.stageJoin(s)
		return
	}
	if m.p.Norm != nil {
		m.stageNorm(s)
		return
	}
	m.rows(func(n kernel.I64) {
		var have [][]kernel.F32
		if s.few() {
			have = s.all(s.row(n))
		}
		s.each(func(turn int, i kernel.I64, in *kernel.Bool) {
			if have != nil {
				m.put(n, i, in, have[turn])
				return
			}
			m.put(n, i, in, s.load(s.row(n), i, in))
		})
	})
	m.g.Sync()
}

// rows runs f for each row of x.
func (m gemv) rows(f func(n kernel.I64)) {
	if m.p.Columns == 1 {
		f(m.k.Int(0))
		return
	}
	kernel.Each(m.k, m.k.Int(0), m.k.Dim("N").Plus(1).And(m.k.Int(-2)), 1, f)
}

// stageNorm finds the squares of all rows first.
func (m gemv) stageNorm(s stager) {
	k, g, warps := m.k, m.g, int64(m.plan.Warps)
	parts := kernel.SharedAt[kernel.F32](k, m.plan.Parts)
	var kept [][]kernel.F32
	m.rows(func(n kernel.I64) {
		if s.few() {
			kept = s.all(s.row(n))
		}
		sum := g.Sum(s.squares(func(turn int, i kernel.I64, in *kernel.Bool) []kernel.F32 {
			if kept != nil {
				return kept[turn]
			}
			return s.load(s.row(n), i, in)
		}), 32)
		kernel.When(k, m.lane.Eq(k.Int(0)), func() { kernel.StoreF32(parts.At(n.Times(warps).Add(m.warp)), sum) })
	})
	g.Sync()
	gains := kernel.Arg[kernel.F32](k, "g")
	m.rows(func(n kernel.I64) {
		inv := m.inverse(parts, n, m.p.Norm.Eps)
		s.each(func(turn int, i kernel.I64, in *kernel.Bool) {
			var v, gain []kernel.F32
			if s.keeps() {
				v, gain = kept[turn], m.gains[turn]
			} else {
				v, gain = s.load(s.row(n), i, in), s.load(gains, i, in)
			}
			m.put(n, i, in, scaled(k, v, inv, gain, m.p.Norm.Offset))
		})
	})
	g.Sync()
}

// inverse is what row n is scaled by, of whose squares the warps have left sums.
func (m gemv) inverse(parts kernel.Ptr[kernel.F32], n kernel.I64, eps float32) kernel.F32 {
	k, warps := m.k, int64(m.plan.Warps)
	sum := k.Float(0)
	for w := range warps {
		sum = sum.Add(kernel.LoadF32(parts.At(n.Times(warps)).Plus(w)))
	}
	return k.Float(1).Div(sum.Div(k.Float(float32(m.p.Cols))).Add(k.Float(eps)).Sqrt())
}

// scaled is v * inv * (gain + offset).
func scaled(k *kernel.Kernel, v []kernel.F32, inv kernel.F32, gain []kernel.F32, offset float32) []kernel.F32 {
	out := make([]kernel.F32, len(v))
	for j := range out {
		w := gain[j]
		if offset != 0 {
			w = w.Add(k.Float(offset))
		}
		out[j] = v[j].Mul(inv).Mul(w)
	}
	return out
}

// squares is the sum of the squares of this thread's pieces, as get gives them.
func (s stager) squares(get func(turn int, i kernel.I64, inside *kernel.Bool) []kernel.F32) kernel.F32 {
	k := s.m.k
	add := func(sum kernel.F32, v []kernel.F32) kernel.F32 {
		for _, e := range v {
			sum = e.FMA(e, sum)
		}
		return sum
	}
	if !s.few() {
		return kernel.For(k, s.m.g.Thread(), k.Int(s.pieces), s.threads, k.Floats(1), func(i kernel.I64, c []kernel.F32) []kernel.F32 {
			return []kernel.F32{add(c[0], get(-1, i, nil))}
		})[0]
	}
	sum := k.Float(0)
	s.each(func(turn int, i kernel.I64, in *kernel.Bool) { sum = add(sum, get(turn, i, in)) })
	return sum
}

// put rounds eight neighbours of a row and adds up what was rounded, over the lanes that
// hold a group.
func (m gemv) put(n, i kernel.I64, inside *kernel.Bool, v []kernel.F32) {
	k, g := m.k, m.g
	var w []kernel.I32
	sum := k.Float(0)
	for j := 0; j < piece; j += 2 {
		pair := g.Pack(m.half, v[j], v[j+1])
		w = append(w, pair)
		sum = sum.Add(g.Low(m.half, pair)).Add(g.High(m.half, pair))
	}
	store := func() {
		at := kernel.SharedAt[kernel.U8](k, 0).At(i.Times(2 * piece))
		if m.p.Columns > 1 {
			at = at.At(n.Times(m.plan.Row))
		}
		kernel.StoreWords(at, w)
	}
	when(k, inside, store)
	if m.f.Block == 1 {
		return
	}
	lanes := int64(m.plan.Group / piece)
	sum = g.Sum(sum, lanes)
	head := i.And(k.Int(lanes - 1)).Eq(k.Int(0))
	if inside != nil {
		head = head.And(*inside)
	}
	kernel.When(k, head, func() {
		group := i.Over(lanes).Times(int64(m.p.Columns))
		if m.p.Columns > 1 {
			group = group.Add(n)
		}
		kernel.StoreF32(kernel.SharedAt[kernel.F32](k, m.plan.Sums).At(group), sum)
	})
}
