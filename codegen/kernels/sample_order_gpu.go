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
	kernel.StoreI32(s.numbers().At(t), kernel.LoadI32(s.stateNumbers().At(t)))
	s.scan(work.SampleBins)
	s.scanNumbers()
}

// narrow finds a range of keys with what is looked for and few enough logits: from the first
// key on, where they are few; else a bin, or a part of one.
func (s samplerGPU) narrow(number, mass kernel.I64) {
	k, g := s.k, s.g
	s.readBins()
	unit := k.Float(1).Div(s.fine.f)
	edge := func(b kernel.I64) kernel.I64 { return b.F32().Mul(unit).Bits().I64().Times(1 << idBits) }
	s.pick(k.Int(0), k.Int(0), number, mass, func(b, n, m, listed kernel.I64) {
		whole := n.Add(listed).Le(k.Int(work.SampleMost))
		end := kernel.Select(b.Eq(k.Int(work.SampleBins-1)), k.Int((0x7f800000+1)<<idBits), edge(b.Plus(1)))
		s.set(kernel.Select(whole, k.Int(0), edge(b)), end, kernel.Select(whole, k.Int(0), n), kernel.Select(whole, k.Int(0), m),
			kernel.Select(whole, n.Add(listed), listed))
	})
	kernel.While(k, nil, func([]kernel.Vec) (kernel.Bool, []kernel.Vec) {
		many := k.Int(work.SampleMost).Lt(kernel.LoadI64(s.word(wordListed)))
		kernel.When(k, many, func() { s.divide(number, mass) })
		g.Sync()
		return many, nil
	})
}

// divide narrows a range to a part of a thousandth of its keys.
func (s samplerGPU) divide(number, mass kernel.I64) {
	k, g := s.k, s.g
	from, to := kernel.LoadI64(s.word(wordFrom)), kernel.LoadI64(s.word(wordTo))
	before, below := kernel.LoadI64(s.word(wordBefore)), kernel.LoadI64(s.word(wordBelow))
	width := to.Sub(from).Plus(work.SampleBins - 1).Div(k.Int(work.SampleBins))
	s.empty()
	s.each(func(key kernel.I64) {
		kernel.When(k, from.Le(key).And(key.Lt(to)), func() { s.add(key.Sub(from).Div(width), s.massOf(key)) })
	})
	g.Sync()
	m := s.whole(g.ThreadAgain())
	g.Sync()
	kernel.StoreI64(s.sums().At(g.ThreadAgain()), m)
	s.scan(work.SampleBins)
	s.scanNumbers()
	s.pick(before, below, number, mass, func(b, n, m, listed kernel.I64) {
		first := from.Add(b.Mul(width))
		s.set(first, first.Add(width).Min(to), n, m, listed)
	})
}

// pick gives the thread whose bin is the first to reach a number or a weight: the bin, what
// comes before it, and its number.
func (s samplerGPU) pick(before, below, number, mass kernel.I64, f func(b, n, m, listed kernel.I64)) {
	k, b := s.k, s.g.ThreadAgain()
	first := b.Eq(k.Int(0))
	sum := func(i kernel.I64) (n, m kernel.I64) {
		return before.Add(kernel.LoadI32(s.numbers().At(i)).I64()), below.Add(kernel.LoadI64(s.sums().At(i)))
	}
	n, m := sum(b)
	n0, m0 := sum(kernel.Select(first, b, b.Plus(-1)))
	n0, m0 = kernel.Select(first, before, n0), kernel.Select(first, below, m0)
	reached := func(n, m kernel.I64) kernel.Bool { return number.Le(n).Or(mass.Le(m)) }
	s.g.Sync()
	kernel.When(k, reached(n, m).And(reached(n0, m0).And(first.Not()).Not()), func() { f(b, n0, m0, n.Sub(n0)) })
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

// each gives the keys of all logits of the row to the block's threads: a thread has four loads
// under way, or two of 16 bytes.
func (s samplerGPU) each(f func(key kernel.I64)) {
	k, n, w := s.k, k64(s.k, s.p.Vocab), width(s.p.Vocab)
	loads := 2
	if w == 1 {
		loads = 4
	}
	first := s.g.ThreadAgain().Times(int64(w))
	kernel.Each(k, first, n, int64(loads*w)*s.threads(), func(first kernel.I64) {
		x := make([][]kernel.F32, loads)
		for u := range x {
			i := first.Plus(int64(u*w) * s.threads())
			x[u] = kernel.LoadFloats(s.x.At(kernel.Select(i.Lt(n), i, first)), w)
		}
		for u := range x {
			i := first.Plus(int64(u*w) * s.threads())
			in := i.Lt(n)
			for j, v := range x[u] {
				key := s.top.f.Sub(v).Bits().I64().Times(1 << idBits).Add(i.Plus(int64(j)))
				f(kernel.Select(in, key, k.Int(noGoal)))
			}
		}
	})
}

// massOf is the weight of a key.
func (s samplerGPU) massOf(key kernel.I64) kernel.I64 {
	return s.mass(s.weight(key.Shr(idBits).I32().Bits()))
}

// gather lists the keys of the range, in any order.
func (s samplerGPU) gather() {
	k, g := s.k, s.g
	from, to := kernel.LoadI64(s.word(wordFrom)), kernel.LoadI64(s.word(wordTo))
	kernel.Each(k, g.ThreadAgain(), k.Int(work.SampleMost), s.threads(), func(i kernel.I64) { kernel.StoreI64(s.keys().At(i), k.Int(noGoal)) })
	s.one(func() { kernel.StoreI64(s.word(wordCount), k.Int(0)) })
	g.Sync()
	count := kernel.As[kernel.I32](s.word(wordCount))
	s.each(func(key kernel.I64) {
		kernel.When(k, from.Le(key).And(key.Lt(to)), func() {
			kernel.StoreI64(s.keys().At(g.AtomicAddShared(count, k.Int32(1)).I64()), key)
		})
	})
	g.Sync()
}

// order sorts the keys (bitonic: Batcher, "Sorting networks and their applications", 1968) and
// sums their weights.
func (s samplerGPU) order() {
	k, g := s.k, s.g
	n := kernel.LoadI64(s.word(wordListed))
	one := []kernel.I64{k.Int(2), k.Int(1)}
	kernel.While(k, one, func(c []kernel.I64) (kernel.Bool, []kernel.I64) {
		size, stride := c[0], c[1]
		s.exchange(size, stride)
		again := k.Int(1).Lt(stride)
		size = kernel.Select(again, size, size.Times(2))
		stride = kernel.Select(again, stride, size).Shr(1)
		return size.Lt(n.Times(2)), []kernel.I64{size, stride}
	})
	for u := range int64(work.SampleMost) / s.threads() {
		i := g.ThreadAgain().Plus(u * s.threads())
		m := s.massOf(kernel.LoadI64(s.keys().At(i)))
		kernel.StoreI64(s.sums().At(i), kernel.Select(i.Lt(n), m, k.Int(0)))
	}
	s.scan(work.SampleMost)
}

// exchange puts pairs of keys stride apart in order: upwards where the bit size of the place is 0.
func (s samplerGPU) exchange(size, stride kernel.I64) {
	k, q := s.k, s.g.ThreadAgain()
	low := q.And(stride.Plus(-1))
	i := q.Sub(low).Times(2).Add(low)
	at, with := s.keys().At(i), s.keys().At(i.Add(stride))
	a, b := kernel.LoadI64(at), kernel.LoadI64(with)
	up := i.And(size).Eq(k.Int(0))
	swap := b.Lt(a).And(up).Or(a.Lt(b).And(up.Not()))
	kernel.When(k, swap, func() {
		kernel.StoreI64(at, b)
		kernel.StoreI64(with, a)
	})
	s.g.Sync()
}
