package kernels

import (
	"math"

	"quire/codegen/kernel"
	"quire/ir/work"
)

// Words that a row's last block keeps in shared memory. A range is some keys that follow each other
// in a bin, with what comes before them.
const (
	wordLast   = iota // how many items came before this one
	wordBin           // the range's bin
	wordBefore        // number of logits before the range
	wordBelow         // their weight
	wordListed        // logits of the range
	wordKept          // weight of what stays
	wordFrom          // first key of the range
	wordTo            // end of it
	wordCount         // logits gathered
	wordLeast         // weight of what min-p leaves of all
)

// noGoal is a number that no sum reaches.
const noGoal = 1 << 62

// idBits is the part of a key that is the token; the rest is the distance from the greatest
// logit, by its bits, so that keys have the order of candidates.
const idBits = 24

// choose writes the row's token.
func (s samplerGPU) choose() {
	k := s.k
	y := kernel.Arg[kernel.I32](k, "y").At(s.row)
	inf := k.Float(float32(math.Inf(1)))
	finite := inf.Gt(s.top.f).And(s.top.f.Gt(negInf(k)))
	is := func(mode int32) kernel.Bool { return finite.And(s.mode.i.Eq(k.Int32(mode))) }
	s.one(func() {
		kernel.When(k, finite.Not(), func() { kernel.StoreI32(y, k.Int32(-1)) })
		kernel.When(k, is(work.SampleGreatest), func() { kernel.StoreI32(y, s.top.i) })
	})
	kernel.When(k, is(work.SampleAll), func() { s.drawAll(y) })
	kernel.When(k, is(work.SampleBest), func() { s.drawBest(y) })
}

// drawn is the part of a weight that the row's number stands for: below the weight.
func (s samplerGPU) drawn(mass kernel.I64) kernel.I64 {
	k := s.k
	turn := kernel.LoadI32(kernel.Arg[kernel.I32](k, "turn")).I64()
	u := kernel.LoadI64(kernel.Arg[kernel.I64](k, "draws").At(turn.Mul(k.Dim("M")).Add(s.row)))
	return mass.F64().Mul(u.F64()).Mul(k.Double(1.0 / (1 << 53))).I64().Min(mass.Plus(-1))
}

// slices is the weight of all that reach MinP.
func (s samplerGPU) slices() kernel.I64 {
	k := s.k
	return kernel.For(k, k.Int(0), k64(k, s.p.Slices()), 1, []kernel.I64{k.Int(0)}, func(i kernel.I64, c []kernel.I64) []kernel.I64 {
		return []kernel.I64{c[0].Add(kernel.LoadI64(s.stateMasses().At(i)))}
	})[0]
}

// drawAll draws in the order of ids: the slice first, then the thread's four logits of it, then
// one of them.
func (s samplerGPU) drawAll(y kernel.Ptr[kernel.I32]) {
	k, g, n := s.k, s.g, k64(s.k, s.p.Vocab)
	goal := s.drawn(s.slices())
	found := kernel.While(k, []kernel.I64{k.Int(0), goal}, func(c []kernel.I64) (kernel.Bool, []kernel.I64) {
		m := kernel.LoadI64(s.stateMasses().At(c[0]))
		on := m.Le(c[1]).And(c[0].Lt(k64(k, s.p.Slices()-1)))
		return on, []kernel.I64{kernel.Select(on, c[0].Plus(1), c[0]), kernel.Select(on, c[1].Sub(m), c[1])}
	})
	slice, goal := found[0], found[1]
	each := work.SampleSlice / s.threads()
	first := slice.Times(work.SampleSlice).Add(g.ThreadAgain().Times(each))
	masses, sum := make([]kernel.I64, each), k.Int(0)
	for u := range masses {
		i := first.Plus(int64(u))
		w := s.weight(s.top.f.Sub(kernel.LoadF32(s.x.At(i.Min(n.Plus(-1))))))
		masses[u] = kernel.Select(i.Lt(n).And(s.minP.f.Gt(w).Not()), s.mass(w), k.Int(0))
		sum = sum.Add(masses[u])
	}
	kernel.StoreI64(s.sums().At(g.ThreadAgain()), sum)
	s.scan(s.sums())
	end := kernel.LoadI64(s.sums().At(g.ThreadAgain()))
	start := end.Sub(sum)
	kernel.When(k, start.Le(goal).And(goal.Lt(end)), func() {
		below, at := start, first
		for _, m := range masses {
			below = below.Add(m)
			at = kernel.Select(below.Le(goal), at.Plus(1), at)
		}
		kernel.StoreI32(y, at.I32())
	})
}

// scan makes of the threads' values the sums of all up to each.
func (s samplerGPU) scan(all kernel.Ptr[kernel.I64]) {
	k, g := s.k, s.g
	g.Sync()
	at := all.At(g.ThreadAgain())
	own := kernel.LoadI64(at)
	upTo := own
	for d := int64(1); d < 32; d *= 2 {
		low, high := g.UpI32(upTo.I32(), d).I64().And(k.Int(math.MaxUint32)), g.UpI32(upTo.Shr(32).I32(), d).I64()
		upTo = upTo.Add(kernel.Select(g.Lane().Lt(k.Int(d)), k.Int(0), high.Times(1<<32).Add(low)))
	}
	kernel.When(k, g.Lane().Eq(k.Int(31)), func() { kernel.StoreI64(s.warpSums().At(g.Warp()), upTo) })
	g.Sync()
	warp := kernel.LoadI64(s.warpSums().At(g.Lane()))
	before := s.warpSum(kernel.Select(g.Lane().Lt(g.Warp()), warp, k.Int(0)))
	kernel.StoreI64(at, before.Add(upTo))
	g.Sync()
}

// scanNumbers is scan of numbers.
func (s samplerGPU) scanNumbers(all kernel.Ptr[kernel.I32]) {
	k, g := s.k, s.g
	g.Sync()
	at, warps := all.At(g.ThreadAgain()), kernel.As[kernel.I32](s.warpSums())
	sum := kernel.LoadI32(at)
	for d := int64(1); d < 32; d *= 2 {
		up := g.UpI32(sum, d)
		sum = sum.Add(kernel.Select(g.Lane().Lt(k.Int(d)), k.Int32(0), up))
	}
	kernel.When(k, g.Lane().Eq(k.Int(31)), func() { kernel.StoreI32(warps.At(g.Warp()), sum) })
	g.Sync()
	before := g.SumI32(kernel.Select(g.Lane().Lt(g.Warp()), kernel.LoadI32(warps.At(g.Lane())), k.Int32(0)))
	kernel.StoreI32(at, sum.Add(before))
	g.Sync()
}

// drawBest finds, by their places in the order of weights, the last of top-k, then the last of
// top-p, then the token drawn.
func (s samplerGPU) drawBest(y kernel.Ptr[kernel.I32]) {
	k := s.k
	least := s.slices()
	s.readBins()
	s.one(func() {
		kernel.StoreI64(s.word(wordLeast), least)
		kernel.StoreI64(s.word(wordKept), kernel.LoadI64(s.sums().Plus(work.SampleBins-1)))
	})
	s.g.Sync()
	kernel.Each(k, k.Int(0), k.Int(3), 1, func(turn kernel.I64) {
		is := func(n int64) kernel.Bool { return turn.Eq(k.Int(n)) }
		topK := kernel.LoadI32(s.how.Plus(work.SampleK)).I64()
		p := kernel.LoadI32(s.how.Plus(work.SampleP)).Bits()
		kept, least := kernel.LoadI64(s.word(wordKept)), kernel.LoadI64(s.word(wordLeast))
		part := kept.F64().Mul(p.F64()).I64().Max(k.Int(1))
		draw := s.drawn(kernel.Select(least.Lt(kept), least, kept)).Plus(1)
		number := kernel.Select(is(0), topK, k.Int(noGoal))
		mass := kernel.Select(is(0), k.Int(noGoal), kernel.Select(is(1), part, draw))
		skip := is(0).And(topK.Eq(k.Int(0))).Or(is(1).And(k.Float(1).Gt(p).Not()))
		s.g.Sync()
		kernel.When(k, skip.Not(), func() { s.find(number, mass, is(2), y) })
	})
}

// find looks for the first candidate with which number logits, or weights of mass, are reached:
// what is reached is kept; the token is written where it is wanted.
func (s samplerGPU) find(number, mass kernel.I64, wanted kernel.Bool, y kernel.Ptr[kernel.I32]) {
	k, g := s.k, s.g
	goal := goalGPU{number, mass}
	s.narrow(goal)
	s.gather()
	n, i := kernel.LoadI64(s.word(wordListed)), g.ThreadAgain()
	kernel.When(k, i.Lt(n), func() {
		key, own := kernel.LoadI64(s.keys().At(i)), kernel.LoadI64(s.keyMasses().At(i))
		upTo := kernel.For(k, k.Int(0), n, 1, []kernel.I64{kernel.LoadI64(s.word(wordBefore)), kernel.LoadI64(s.word(wordBelow))}, func(j kernel.I64, c []kernel.I64) []kernel.I64 {
			counts := kernel.LoadI64(s.keys().At(j)).Le(key)
			return []kernel.I64{c[0].Add(kernel.Select(counts, k.Int(1), k.Int(0))), c[1].Add(kernel.Select(counts, kernel.LoadI64(s.keyMasses().At(j)), k.Int(0)))}
		})
		first := goal.reached(upTo[0], upTo[1]).And(goal.reached(upTo[0].Plus(-1), upTo[1].Sub(own)).Not())
		kernel.When(k, first, func() {
			kernel.StoreI64(s.word(wordKept), upTo[1])
			kernel.When(k, wanted, func() { kernel.StoreI32(y, key.And(k.Int(1<<idBits-1)).I32()) })
		})
	})
	g.Sync()
}

// goalGPU is a number of logits, or a weight, to be reached.
type goalGPU struct{ number, mass kernel.I64 }

func (g goalGPU) reached(n, m kernel.I64) kernel.Bool { return g.number.Le(n).Or(g.mass.Le(m)) }
