package cpu

import (
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ebitengine/purego"
)

// Workers look for the next step for a moment before they sleep: between the steps of one
// generation lie tens of microseconds, about what waking a thread costs.
const (
	lookTurns = 300_000 // of an atomic load, about 300 us
	joinTurns = 2_000   // before the caller lets others run
)

// pool is the threads of a Model: the caller of run is worker 0, the others are locked
// OS threads of their own.
type pool struct {
	fn      uintptr // quire_run
	look    int
	step    atomic.Int64 // number of the step that workers should be in
	ctx     atomic.Uintptr
	left    atomic.Int64 // workers still in the step
	closing atomic.Bool
	workers []*worker
	args    [2]uintptr // of the caller's call
	gone    sync.WaitGroup
}

// worker is a thread. Parked is 1 while it sleeps or is about to.
type worker struct {
	parked atomic.Int32
	wake   chan struct{}
	args   [2]uintptr
	_      [lineBytes]byte // workers' words are not on one cache line
}

// newPool starts threads-1 threads that call fn.
func newPool(fn uintptr, threads int) *pool {
	p := &pool{fn: fn}
	if goruntime.GOMAXPROCS(0) >= threads {
		p.look = lookTurns // with fewer processors looking would keep the caller from running
	}
	for i := 1; i < threads; i++ {
		w := &worker{wake: make(chan struct{}, 1)}
		w.args[1] = uintptr(i)
		p.workers = append(p.workers, w)
		p.gone.Add(1)
		go p.work(w)
	}
	return p
}

// run executes a step on all threads and returns when all have left it.
func (p *pool) run(ctx uintptr) {
	p.ctx.Store(ctx)
	p.left.Store(int64(len(p.workers)))
	p.step.Add(1)
	p.rouse()
	p.args[0] = ctx
	purego.SyscallN(p.fn, p.args[:]...)
	for n := 0; p.left.Load() > 0; n++ {
		switch {
		case n > 4*joinTurns:
			time.Sleep(20 * time.Microsecond)
		case n > joinTurns:
			goruntime.Gosched()
		}
	}
}

// rouse wakes the workers that sleep.
func (p *pool) rouse() {
	for _, w := range p.workers {
		if w.parked.CompareAndSwap(1, 0) {
			w.wake <- struct{}{}
		}
	}
}

func (p *pool) work(w *worker) {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	defer p.gone.Done()
	for seen := int64(0); ; {
		seen = p.await(w, seen)
		if p.closing.Load() {
			return
		}
		w.args[0] = p.ctx.Load()
		purego.SyscallN(p.fn, w.args[:]...)
		p.left.Add(-1)
	}
}

// await returns the number of a step after `seen`.
func (p *pool) await(w *worker, seen int64) int64 {
	for range p.look {
		if s := p.step.Load(); s != seen {
			return s
		}
	}
	for {
		w.parked.Store(1)
		if s := p.step.Load(); s != seen {
			if !w.parked.CompareAndSwap(1, 0) {
				<-w.wake // the caller saw us parked: take its token
			}
			return s
		}
		<-w.wake
		if s := p.step.Load(); s != seen {
			return s
		}
	}
}

// close ends the threads. No step may be running.
func (p *pool) close() {
	if p.closing.Swap(true) {
		return
	}
	p.step.Add(1)
	p.rouse()
	p.gone.Wait()
}
