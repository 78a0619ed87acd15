package kernels

import (
	"math"

	"quire/codegen/kernel"
	"quire/ir/work"
)

// sampleGPU is work.Sample: a block has a slice of a row's logits; the last block of a row
// chooses (sample_draw_gpu.go).
func sampleGPU(k *kernel.Kernel, p work.Sample) {
	slices := int64(p.Slices())
	s := samplerGPU{rowGPU: newRowGPU(k, p), p: p, row: k.Item().Over(slices), slice: k.Item().Modulo(slices)}
	s.x = kernel.Arg[kernel.F32](k, "x").At(s.row.Times(int64(p.Vocab)))
	s.state = kernel.Arg[kernel.U8](k, "state").Byte(s.row.Times(p.StateRow()))
	if p.Tops {
		s.tops()
		return
	}
	s.how = kernel.Arg[kernel.I32](k, "how").At(s.row.Times(work.SampleHow))
	s.weigh()
}

type samplerGPU struct {
	rowGPU
	p          work.Sample
	row, slice kernel.I64
	x          kernel.Ptr[kernel.F32]
	how        kernel.Ptr[kernel.I32]
	state      kernel.Ptr[kernel.U8]

	mode, top, scale, minP, fine sampled // of the row
}

// sampled is a number that all threads have.
type sampled struct {
	i kernel.I32
	f kernel.F32
}

// The parts of a row's state.
func (s samplerGPU) stateTops() kernel.Ptr[kernel.F32] {
	return kernel.As[kernel.F32](s.state.Plus(s.p.StateTops()))
}
func (s samplerGPU) stateMasses() kernel.Ptr[kernel.I64] {
	return kernel.As[kernel.I64](s.state.Plus(s.p.StateMasses()))
}
func (s samplerGPU) stateBins() kernel.Ptr[kernel.I64] {
	return kernel.As[kernel.I64](s.state.Plus(s.p.StateBins()))
}
func (s samplerGPU) stateNumbers() kernel.Ptr[kernel.I32] {
	return kernel.As[kernel.I32](s.state.Plus(s.p.StateNumbers()))
}
func (s samplerGPU) stateEnds(slice kernel.I64) kernel.Ptr[kernel.I32] {
	return kernel.As[kernel.I32](s.state.Plus(s.p.StateEnds())).At(slice.Times(work.SampleBins))
}
func (s samplerGPU) stateOrder(slice kernel.I64) kernel.Ptr[kernel.I32] {
	return kernel.As[kernel.I32](s.state.Plus(s.p.StateOrder())).At(slice.Times(work.SampleSlice))
}

// The parts of shared memory. Of words the first are the warps' sums.
func (s samplerGPU) sums() kernel.Ptr[kernel.I64] {
	return kernel.SharedAt[kernel.I64](s.k, work.SampleSums)
}
func (s samplerGPU) totals() kernel.Ptr[kernel.I32] {
	return kernel.SharedAt[kernel.I32](s.k, work.SampleTotals)
}
func (s samplerGPU) partSums() kernel.Ptr[kernel.I64] {
	return kernel.SharedAt[kernel.I64](s.k, work.SamplePartSums)
}
func (s samplerGPU) halves(high int64) kernel.Ptr[kernel.I32] {
	return kernel.SharedAt[kernel.I32](s.k, work.SampleHalves+high*4*work.SampleBins)
}
func (s samplerGPU) numbers() kernel.Ptr[kernel.I32] {
	return kernel.SharedAt[kernel.I32](s.k, work.SampleNumbers)
}
func (s samplerGPU) keys() kernel.Ptr[kernel.I64] {
	return kernel.SharedAt[kernel.I64](s.k, work.SampleKeys)
}
func (s samplerGPU) keyMasses() kernel.Ptr[kernel.I64] {
	return kernel.SharedAt[kernel.I64](s.k, work.SampleKeyMasses)
}
func (s samplerGPU) warpSums() kernel.Ptr[kernel.I64] {
	return kernel.SharedAt[kernel.I64](s.k, work.SampleWords)
}
func (s samplerGPU) word(i int64) kernel.Ptr[kernel.I64] { return s.warpSums().Plus(32 + i) }

// one is for the block's first thread.
func (s samplerGPU) one(f func()) { kernel.When(s.k, s.g.Thread().Eq(s.k.Int(0)), f) }

// logits gives the block's elements of the slice to its threads: an index, whether the row has
// it, and its value or, where not, minus infinity.
func (s samplerGPU) logits(f func(i kernel.I64, in kernel.Bool, x kernel.F32)) {
	k, n := s.k, k64(s.k, s.p.Vocab)
	first := s.slice.Times(work.SampleSlice).Add(s.g.Thread())
	each := work.SampleSlice / s.threads()
	at, in, x := make([]kernel.I64, each), make([]kernel.Bool, each), make([]kernel.F32, each)
	for u := range each {
		at[u] = first.Plus(u * s.threads())
		in[u] = at[u].Lt(n)
		x[u] = kernel.LoadF32(s.x.At(at[u].Min(n.Plus(-1))))
	}
	for u := range each {
		f(at[u], in[u], kernel.Select(in[u], x[u], negInf(k)))
	}
}

func k64(k *kernel.Kernel, n int) kernel.I64 { return k.Int(int64(n)) }

// tops writes the greatest of the slice, plus infinity where it has a NaN.
func (s samplerGPU) tops() {
	k, g := s.k, s.g
	top, at := negInf(k), k.Int32(math.MaxInt32)
	s.logits(func(i kernel.I64, _ kernel.Bool, x kernel.F32) {
		x = kernel.Select(x.Eq(x), x, k.Float(float32(math.Inf(1))))
		more := x.Gt(top)
		top, at = kernel.Select(more, x, top), kernel.Select(more, i.I32(), at)
	})
	top, at = s.better(top, at)
	all := kernel.SharedAt[kernel.F32](k, 0)
	kernel.When(k, g.Lane().Eq(k.Int(0)), func() { kernel.StoreFloats(all.At(g.Warp().Times(2)), []kernel.F32{top, at.Bits()}) })
	g.Sync()
	kernel.When(k, g.Warp().Eq(k.Int(0)), func() {
		v := kernel.LoadFloats(all.At(g.Lane().Times(2)), 2)
		top, at := s.better(v[0], v[1].Bits())
		kernel.When(k, g.Lane().Eq(k.Int(0)), func() {
			kernel.StoreFloats(s.stateTops().At(s.slice.Times(2)), []kernel.F32{top, at.Bits()})
		})
	})
	kernel.When(k, s.slice.Eq(k.Int(0)), func() {
		kernel.Each(k, g.Thread(), k.Int(work.SampleBins), s.threads(), func(b kernel.I64) {
			kernel.StoreI64(s.stateBins().At(b), k.Int(0))
			kernel.StoreI32(s.stateNumbers().At(b), k.Int32(0))
		})
	})
	g.Sync()
}

// better is the greatest of a warp's lanes, the lowest token among equals.
func (s samplerGPU) better(top kernel.F32, at kernel.I32) (kernel.F32, kernel.I32) {
	for lanes := int64(16); lanes >= 1; lanes /= 2 {
		x, i := s.g.Xor(top, lanes), s.g.XorI(at, lanes)
		more := x.Gt(top).Or(x.Eq(top).And(i.Lt(at)))
		top, at = kernel.Select(more, x, top), kernel.Select(more, i, at)
	}
	return top, at
}

// about reads what the row's slices agree on.
func (s *samplerGPU) about() {
	k, g := s.k, s.g
	v := kernel.For(k, g.Lane(), k64(k, s.p.Slices()), 32, []kernel.Value{negInf(k), k.Int32(math.MaxInt32)}, func(i kernel.I64, c []kernel.Value) []kernel.Value {
		top, at := c[0].(kernel.F32), c[1].(kernel.I32)
		x := kernel.LoadFloats(s.stateTops().At(i.Times(2)), 2)
		more := x[0].Gt(top)
		return []kernel.Value{kernel.Select(more, x[0], top), kernel.Select(more, x[1].Bits(), at)}
	})
	s.top.f, s.top.i = s.better(v[0].(kernel.F32), v[1].(kernel.I32))
	float := func(i int64) kernel.F32 { return kernel.LoadI32(s.how.Plus(i)).Bits() }
	s.mode.i = kernel.LoadI32(s.how.Plus(work.SampleMode))
	s.scale.f, s.minP.f, s.fine.f = float(work.SampleScale), float(work.SampleMinP), float(work.SampleFine)
}

// weight is a logit's, by its distance from the greatest; mass is its integer.
func (s samplerGPU) weight(d kernel.F32) kernel.F32 { return s.g.Exp2F(d.Mul(s.scale.f).Neg()) }
func (s samplerGPU) mass(w kernel.F32) kernel.I64 {
	return w.Mul(s.k.Float(1 << work.SampleBits)).I64()
}

// bin is the bin of a distance: Fine of them a unit, the last for all beyond.
func (s samplerGPU) bin(d kernel.F32) kernel.I64 {
	last := s.k.Float(work.SampleBins - 1)
	return d.Mul(s.fine.f).Min(last).I64()
}

// weigh sums the slice's weights, and shares them out among the bins.
func (s samplerGPU) weigh() {
	k, g := s.k, s.g
	s.about()
	s.empty()
	total := k.Int(0)
	best := s.mode.i.Eq(k.Int32(work.SampleBest))
	var bins []kernel.I32
	s.logits(func(_ kernel.I64, in kernel.Bool, x kernel.F32) {
		d := g.MaxF(s.top.f.Sub(x), k.Float(0)) // 0 where no token can be chosen
		w := s.weight(d)
		m := s.mass(w)
		stays := in.And(s.minP.f.Gt(w).Not())
		total = total.Add(kernel.Select(stays, m, k.Int(0)))
		b := s.bin(d)
		kernel.When(k, best.And(in), func() { s.add(b, m) })
		bins = append(bins, kernel.Select(in, b.I32(), k.Int32(-1)))
	})
	total = s.warpSum(total)
	kernel.When(k, g.Lane().Eq(k.Int(0)), func() { kernel.StoreI64(s.warpSums().At(g.Warp()), total) })
	g.Sync()
	s.one(func() {
		sum := k.Int(0)
		for w := range int64(s.warps) {
			sum = sum.Add(kernel.LoadI64(s.warpSums().Plus(w)))
		}
		kernel.StoreI64(s.stateMasses().At(s.slice), sum)
	})
	kernel.When(k, best, func() { s.sort(bins) })
	g.Fence()
	g.Sync()
	last := k.Int32(int32(s.p.Slices() - 1))
	s.one(func() {
		n := g.Arrive(kernel.As[kernel.I32](s.state), last)
		kernel.StoreI64(s.word(0), n.I64())
	})
	g.Sync()
	kernel.When(k, kernel.LoadI64(s.word(0)).I32().Eq(last), func() {
		g.Fence()
		s.choose()
	})
	g.Sync()
}

// sort adds the slice's bins, a thread each, to the row's, and lists the slice's tokens in the
// order of bins; a thread's are given, or -1.
func (s samplerGPU) sort(bins []kernel.I32) {
	k, g, b := s.k, s.g, s.g.ThreadAgain()
	n := kernel.LoadI32(s.numbers().At(b))
	kernel.When(k, k.Int32(0).Lt(n), func() {
		g.AtomicAdd(s.stateNumbers().At(b), n)
		g.AtomicAdd64(s.stateBins().At(b), s.whole(b))
	})
	s.scanNumbers(s.numbers())
	end := kernel.LoadI32(s.numbers().At(b))
	kernel.StoreI32(s.stateEnds(s.slice).At(b), end)
	next := kernel.As[kernel.I32](s.partSums())
	kernel.StoreI32(next.At(b), end.Sub(n))
	g.Sync()
	first := s.slice.Times(work.SampleSlice).Add(b)
	for u, bin := range bins {
		kernel.When(k, k.Int32(-1).Lt(bin), func() {
			at := g.AtomicAddShared(next.At(bin.I64()), k.Int32(1))
			kernel.StoreI32(s.stateOrder(s.slice).At(at.I64()), first.Plus(int64(u)*s.threads()).I32())
		})
	}
}

// empty clears the bins in shared memory.
func (s samplerGPU) empty() {
	k := s.k
	s.g.Sync() // of what was read there before
	kernel.Each(k, s.g.Thread(), k.Int(work.SampleBins), s.threads(), func(b kernel.I64) {
		for half := range int64(2) {
			kernel.StoreI32(s.halves(half).At(b), k.Int32(0))
		}
		kernel.StoreI32(s.numbers().At(b), k.Int32(0))
	})
	s.g.Sync()
}

// add counts a logit in a bin: its weight in halves, of which the upper one of most is 0.
func (s samplerGPU) add(b, mass kernel.I64) {
	k, low := s.k, s.k.Int(math.MaxUint32)
	s.g.AtomicAddShared(s.numbers().At(b), k.Int32(1))
	old := s.g.AtomicAddShared(s.halves(0).At(b), mass.I32())
	carry := old.I64().And(low).Add(mass.And(low)).Shr(32)
	high := mass.Shr(32).Add(carry).I32()
	kernel.When(k, k.Int32(0).Lt(high), func() { s.g.AtomicAddShared(s.halves(1).At(b), high) })
}

// whole is the weight of a bin.
func (s samplerGPU) whole(b kernel.I64) kernel.I64 {
	half := func(i int64) kernel.I64 { return kernel.LoadI32(s.halves(i).At(b)).I64() }
	return half(0).And(s.k.Int(math.MaxUint32)).Add(half(1).Times(1 << 32))
}

// warpSum is the sum over the lanes of a warp.
func (s samplerGPU) warpSum(x kernel.I64) kernel.I64 {
	for lanes := int64(16); lanes >= 1; lanes /= 2 {
		low, high := s.g.XorI(x.I32(), lanes).I64().And(s.k.Int(math.MaxUint32)), s.g.XorI(x.Shr(32).I32(), lanes).I64()
		x = x.Add(high.Times(1 << 32).Add(low))
	}
	return x
}
