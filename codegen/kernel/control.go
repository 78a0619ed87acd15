package kernel

import (
	"github.com/llir/llvm/ir"
)

// For runs body for i = start, start+step, ... below end. The values that body returns
// are the next turn's; the last turn's are the result (init if there was none).
func For[T Value](k *Kernel, start, end I64, step int64, init []T, body func(i I64, carried []T) []T) []T {
	pre, loop, exit := k.b, k.newBlock("loop"), k.newBlock("exit")
	pre.NewCondBr(start.Lt(end).v, loop, exit)
	iv := loop.NewPhi(ir.NewIncoming(start.v, pre))
	carried := make([]T, len(init))
	phis := make([]*ir.InstPhi, len(init))
	for j, x := range init {
		phis[j] = loop.NewPhi(ir.NewIncoming(x.raw(), pre))
		carried[j] = x.with(phis[j]).(T)
	}
	k.b = loop
	i := I64{k, iv}
	next := body(i, carried)
	if len(next) != len(init) {
		k.Errorf("for: the body returns %d values, it is given %d", len(next), len(init))
		return init
	}
	latch := k.b
	j := i.Plus(step)
	latch.NewCondBr(j.Lt(end).v, loop, exit)
	iv.Incs = append(iv.Incs, ir.NewIncoming(j.v, latch))
	k.b = exit
	out := make([]T, len(init))
	for n, x := range init {
		phis[n].Incs = append(phis[n].Incs, ir.NewIncoming(next[n].raw(), latch))
		out[n] = x.with(exit.NewPhi(ir.NewIncoming(x.raw(), pre), ir.NewIncoming(next[n].raw(), latch))).(T)
	}
	return out
}

// Range is For with Go bounds, which are known to run at least once or not at all.
func Range[T Value](k *Kernel, start, end, step int64, init []T, body func(i I64, carried []T) []T) []T {
	if start >= end {
		return init
	}
	return For(k, k.Int(start), k.Int(end), step, init, body)
}

// Each is a loop that carries nothing.
func Each(k *Kernel, start, end I64, step int64, body func(i I64)) {
	For(k, start, end, step, nil, func(i I64, _ []Vec) []Vec { body(i); return nil })
}

// If runs then or, when it is not nil, otherwise; without otherwise the results are the
// values of init.
func If[T Value](k *Kernel, c Bool, init []T, then, otherwise func() []T) []T {
	from, yes, join := k.b, k.newBlock("then"), k.newBlock("join")
	no := join
	if otherwise != nil {
		no = k.newBlock("else")
	}
	from.NewCondBr(c.v, yes, no)
	k.b = yes
	a := then()
	yesEnd := k.b
	yesEnd.NewBr(join)
	b, noEnd := init, from
	if otherwise != nil {
		k.b = no
		b = otherwise()
		noEnd = k.b
		noEnd.NewBr(join)
	}
	k.b = join
	if len(a) != len(b) {
		k.Errorf("if: one arm returns %d values, the other %d", len(a), len(b))
		return init
	}
	out := make([]T, len(a))
	for i := range a {
		out[i] = a[i].with(join.NewPhi(ir.NewIncoming(a[i].raw(), yesEnd), ir.NewIncoming(b[i].raw(), noEnd))).(T)
	}
	return out
}

// When runs then if c.
func When(k *Kernel, c Bool, then func()) {
	If(k, c, nil, func() []Vec { then(); return nil }, nil)
}

// While runs body until it returns false.
func While[T Value](k *Kernel, init []T, body func(carried []T) (Bool, []T)) []T {
	pre, loop, exit := k.b, k.newBlock("while"), k.newBlock("done")
	pre.NewBr(loop)
	phis := make([]*ir.InstPhi, len(init))
	carried := make([]T, len(init))
	for j, x := range init {
		phis[j] = loop.NewPhi(ir.NewIncoming(x.raw(), pre))
		carried[j] = x.with(phis[j]).(T)
	}
	k.b = loop
	more, next := body(carried)
	if len(next) != len(init) {
		k.Errorf("while: the body returns %d values, it is given %d", len(next), len(init))
		return init
	}
	latch := k.b
	latch.NewCondBr(more.v, loop, exit)
	for j := range init {
		phis[j].Incs = append(phis[j].Incs, ir.NewIncoming(next[j].raw(), latch))
	}
	k.b = exit
	return next
}
