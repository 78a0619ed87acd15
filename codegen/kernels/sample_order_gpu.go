package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// readBins brings the row's bins to shared memory and sums them up.
func (s samplerGPU) readBins() {
	t := s.g.ThreadAgain()
	s.g.Sync()
	kernel.StoreI64(s.sums().At(t), kernel.LoadI64(s.stateBins().At(t)))
	kernel.StoreI32(s.totals().At(t), kernel.LoadI32(s.stateNumbers().At(t)))
	s.scan(s.sums())
	s.scanNumbers(s.totals())
}

// narrow finds a range of keys that has what is looked for, and few logits: a bin, or a part of
// one.
func (s samplerGPU) narrow(goal goalGPU) {
	k, g := s.k, s.g
	unit := k.Float(1).Div(s.fine.f)
	edge := func(b kernel.I64) kernel.I64 { return b.F32().Mul(unit).Bits().I64().Times(1 << idBits) }
	s.pick(k.Int(0), k.Int(0), s.totals(), s.sums(), goal, func(b, n, m, listed kernel.I64) {
		kernel.StoreI64(s.word(wordBin), b)
		end := kernel.Select(b.Eq(k.Int(work.SampleBins-1)), k.Int((0x7f800000+1)<<idBits), edge(b.Plus(1)))
		s.set(edge(b), end, n, m, listed)
	})
	kernel.While(k, nil, func([]kernel.Vec) (kernel.Bool, []kernel.Vec) {
		many := k.Int(work.SampleFew).Lt(kernel.LoadI64(s.word(wordListed)))
		kernel.When(k, many, func() { s.divide(goal) })
		g.Sync()
		return many, nil
	})
}

// divide narrows a range to a part of a thousandth of its keys.
func (s samplerGPU) divide(goal goalGPU) {
	k, g := s.k, s.g
	from, to := kernel.LoadI64(s.word(wordFrom)), kernel.LoadI64(s.word(wordTo))
	width := to.Sub(from).Plus(work.SampleBins - 1).Div(k.Int(work.SampleBins))
	s.empty()
	s.each(func(key kernel.I64) {
		kernel.When(k, from.Le(key).And(key.Lt(to)), func() { s.add(key.Sub(from).Div(width), s.massOf(key)) })
	})
	g.Sync()
	kernel.StoreI64(s.partSums().At(g.ThreadAgain()), s.whole(g.ThreadAgain()))
	s.scan(s.partSums())
	s.scanNumbers(s.numbers())
	before, below := kernel.LoadI64(s.word(wordBefore)), kernel.LoadI64(s.word(wordBelow))
	s.pick(before, below, s.numbers(), s.partSums(), goal, func(b, n, m, listed kernel.I64) {
		first := from.Add(b.Mul(width))
		s.set(first, first.Add(width).Min(to), n, m, listed)
	})
}

// pick gives the thread whose bin is the first to reach a goal: the bin, what comes before it, and
// its number. The bins' numbers and weights are sums of all up to each.
func (s samplerGPU) pick(before, below kernel.I64, numbers kernel.Ptr[kernel.I32], sums kernel.Ptr[kernel.I64], goal goalGPU, f func(b, n, m, listed kernel.I64)) {
	k, b := s.k, s.g.ThreadAgain()
	first := b.Eq(k.Int(0))
	sum := func(i kernel.I64) (n, m kernel.I64) {
		return before.Add(kernel.LoadI32(numbers.At(i)).I64()), below.Add(kernel.LoadI64(sums.At(i)))
	}
	n, m := sum(b)
	n0, m0 := sum(kernel.Select(first, b, b.Plus(-1)))
	n0, m0 = kernel.Select(first, before, n0), kernel.Select(first, below, m0)
	s.g.Sync()
	kernel.When(k, goal.reached(n, m).And(goal.reached(n0, m0).And(first.Not()).Not()), func() { f(b, n0, m0, n.Sub(n0)) })
	s.g.Sync()
}

// set writes what a range is.
func (s samplerGPU) set(from, to, before, below, listed kernel.I64) {
	kernel.StoreI64(s.word(wordFrom), from)
	kernel.StoreI64(s.word(wordTo), to)
	kernel.StoreI64(s.word(wordBefore), before)
	kernel.StoreI64(s.word(wordBelow), below)
	kernel.StoreI64(s.word(wordListed), listed)
}

// each gives the keys of the range's bin to the block's threads: a warp has a slice's, a lane two
// loads under way.
func (s samplerGPU) each(f func(key kernel.I64)) {
	k, g := s.k, s.g
	const loads = 2
	bin := kernel.LoadI64(s.word(wordBin))
	kernel.Each(k, g.Warp(), k64(k, s.p.Slices()), int64(s.warps), func(slice kernel.I64) {
		ends, order := s.stateEnds(slice), s.stateOrder(slice)
		start := kernel.Select(bin.Eq(k.Int(0)), k.Int(0), kernel.LoadI32(ends.At(bin.Plus(-1).Max(k.Int(0)))).I64())
		end := kernel.LoadI32(ends.At(bin)).I64()
		kernel.Each(k, start.Add(g.Lane()), end, 32*loads, func(i kernel.I64) {
			token, in, x := make([]kernel.I64, loads), make([]kernel.Bool, loads), make([]kernel.F32, loads)
			for u := range token {
				at := i.Plus(int64(32 * u))
				in[u] = at.Lt(end)
				token[u] = kernel.LoadI32(order.At(kernel.Select(in[u], at, i))).I64()
			}
			for u := range token {
				x[u] = kernel.LoadF32(s.x.At(token[u]))
			}
			for u := range token {
				key := s.top.f.Sub(x[u]).Bits().I64().Times(1 << idBits).Add(token[u])
				f(kernel.Select(in[u], key, k.Int(noGoal)))
			}
		})
	})
}

// massOf is the weight of a key.
func (s samplerGPU) massOf(key kernel.I64) kernel.I64 {
	return s.mass(s.weight(key.Shr(idBits).I32().Bits()))
}

// gather lists the keys of the range, in any order, with their weights.
func (s samplerGPU) gather() {
	k, g := s.k, s.g
	from, to := kernel.LoadI64(s.word(wordFrom)), kernel.LoadI64(s.word(wordTo))
	s.one(func() { kernel.StoreI64(s.word(wordCount), k.Int(0)) })
	g.Sync()
	count := kernel.As[kernel.I32](s.word(wordCount))
	s.each(func(key kernel.I64) {
		kernel.When(k, from.Le(key).And(key.Lt(to)), func() {
			at := g.AtomicAddShared(count, k.Int32(1)).I64()
			kernel.StoreI64(s.keys().At(at), key)
			kernel.StoreI64(s.keyMasses().At(at), s.massOf(key))
		})
	})
	g.Sync()
}
