package kernel

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// The driver's records, in words of 8 bytes. They are the contract with runtime/cpu.
const (
	ctxWorkers  = iota // number of workers
	ctxLaunches        // number of launches
	ctxRecords         // ptr: launch records, recordWords each
	ctxBarrier         // ptr: a line of its own; word 0 counts arrivals and is never reset
	ctxBase            // the counter's value when the step starts
	ctxScratch         // scratch of worker 0
	ctxStride          // bytes of scratch a worker
	ctxTimings         // ptr i64[launches * 2] that worker 0 stamps, or 0
	ctxSpin            // turns of the spin loop before it yields the processor
)

const (
	recFn       = iota // the kernel
	recArgs            // its args
	recItems           // number of items; 0: the launch is skipped
	recChunk           // items that a worker takes at once
	recNext            // i64: the first item nobody took; zeroed before each step
	recLast            // the kernel's Last, or 0
	recCounters        // ptr i64[groups]: finished items; zeroed before each step
	recGroup           // items of a group
	recordWords
)

// Driver adds the CPU's step loop:
//
//	void quire_run(ptr ctx, i64 worker)
//
// Every worker of a step calls it once. Launches run in order; within one, workers take
// chunks of items until none is left, then wait for each other. Whoever finishes the last
// item of a group runs the group's Last. Nothing waits but the barrier between launches,
// so one worker is enough.
func (m *Module) Driver() {
	ctx, worker := ir.NewParam("ctx", bytePtr(Generic)), ir.NewParam("worker", types.I64)
	k := m.newKernel("quire_run", m.newFunc("quire_run", ctx, worker))
	defer k.recover()
	d := driver{k: k, ctx: Ptr[I64]{k: k, v: ctx}, worker: I64{k, worker}}
	d.run()
	k.b.NewRet(nil)
}

type driver struct {
	k      *Kernel
	ctx    Ptr[I64]
	worker I64
}

func (d driver) word(p Ptr[I64], i int64) I64 { return LoadI64(p.Plus(i)) }

func (d driver) pointer(x I64) Ptr[I64] {
	return Ptr[I64]{k: d.k, v: d.k.b.NewIntToPtr(x.v, bytePtr(Generic))}
}

func (d driver) run() {
	k := d.k
	workers := d.word(d.ctx, ctxWorkers)
	records := d.pointer(d.word(d.ctx, ctxRecords))
	barrier := d.pointer(d.word(d.ctx, ctxBarrier))
	timings := d.word(d.ctx, ctxTimings)
	spin := d.word(d.ctx, ctxSpin)
	scratch := d.word(d.ctx, ctxScratch).Add(d.word(d.ctx, ctxStride).Mul(d.worker))
	stamps := timings.Ne(k.Int(0)).And(d.worker.Eq(k.Int(0)))
	For(k, k.Int(0), d.word(d.ctx, ctxLaunches), 1, []I64{d.word(d.ctx, ctxBase)}, func(i I64, c []I64) []I64 {
		rec := records.At(i.Times(recordWords))
		items := d.word(rec, recItems)
		return If(k, k.Int(0).Lt(items), c, func() []I64 {
			When(k, stamps, func() { d.stamp(timings, i.Times(2)) })
			d.launch(rec, items, scratch)
			goal := c[0].Add(workers)
			d.wait(barrier, goal, spin)
			When(k, stamps, func() { d.stamp(timings, i.Times(2).Plus(1)) })
			return []I64{goal}
		}, nil)
	})
}

func (d driver) stamp(timings, i I64) {
	StoreI64(d.pointer(timings).At(i), I64{d.k, d.k.call("rdtsc", types.I64)})
}

// launch takes chunks until none is left.
func (d driver) launch(rec Ptr[I64], items, scratch I64) {
	k := d.k
	fn, args, chunk := d.word(rec, recFn), d.word(rec, recArgs), d.word(rec, recChunk)
	next := rec.Plus(recNext)
	last := d.word(rec, recLast)
	When(k, scratch.Ne(k.Int(0)), func() { StoreI64(d.pointer(scratch), k.Int(unprepared)) })
	While(k, nil, func([]Vec) (Bool, []Vec) {
		first := d.add(next, chunk)
		live := first.Lt(items)
		When(k, live, func() {
			end := first.Add(chunk).Min(items)
			d.call(fn, first, end, args, scratch)
			When(k, last.Ne(k.Int(0)), func() { d.finish(rec, last, first, end, args, scratch) })
		})
		return live, nil
	})
}

// finish counts the items first to end-1 for their groups and runs the Last of those
// that are complete.
func (d driver) finish(rec Ptr[I64], last, first, end, args, scratch I64) {
	k := d.k
	counters, group := d.pointer(d.word(rec, recCounters)), d.word(rec, recGroup)
	lo, hi := first.Div(group), end.Plus(-1).Div(group)
	Each(k, lo, hi.Plus(1), 1, func(g I64) {
		a, b := g.Mul(group), g.Plus(1).Mul(group)
		n := end.Min(b).Sub(first.Max(a))
		before := d.add(counters.At(g), n)
		When(k, before.Add(n).Eq(group), func() { d.call(last, g, args, scratch) })
	})
}

func (d driver) call(fn I64, args ...I64) {
	k := d.k
	var ts []types.Type
	var vs []value.Value
	for i, a := range args {
		if i >= len(args)-2 { // args and scratch
			ts, vs = append(ts, bytePtr(Generic)), append(vs, k.b.NewIntToPtr(a.v, bytePtr(Generic)))
			continue
		}
		ts, vs = append(ts, types.I64), append(vs, a.v)
	}
	f := k.b.NewIntToPtr(fn.v, ptrTo(types.NewFunc(types.Void, ts...), Generic))
	k.b.NewCall(f, vs...)
}

// add is an atomic fetch-and-add that also orders memory.
func (d driver) add(p Ptr[I64], n I64) I64 {
	c := d.k.b.NewBitCast(p.v, ptrTo(types.I64, Generic))
	return I64{d.k, d.k.b.NewAtomicRMW(enum.AtomicOpAdd, c, n.v, enum.AtomicOrderingAcquireRelease)}
}

// wait arrives at the barrier and spins until everyone has.
func (d driver) wait(barrier Ptr[I64], goal, spin I64) {
	k := d.k
	d.add(barrier, k.Int(1))
	c := k.b.NewBitCast(barrier.v, ptrTo(types.I64, Generic))
	While(k, []I64{k.Int(0)}, func(n []I64) (Bool, []I64) {
		l := k.b.NewLoad(types.I64, c)
		l.Atomic, l.Ordering, l.Align = true, enum.AtomicOrderingAcquire, 8
		short := I64{k, l}.Lt(goal)
		turn := n[0].Plus(1)
		When(k, short, func() {
			k.call("pause", types.Void)
			When(k, spin.Lt(turn), func() { k.call("yield", types.I64, intLit(types.I64, 24)) })
		})
		return short, []I64{turn}
	})
}
