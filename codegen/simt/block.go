package simt

import (
	"fmt"
	"strings"

	"quire/codegen/kernel"
)

// blockState is a block under way.
type blockState struct {
	m        *machine
	number   int
	warps    []*warp
	shared   *region
	barriers map[uint64]*barrier
	turns    int
	mbars    map[uint64]*mbarrier
}

// barrier counts threads that arrive.
type barrier struct {
	need, have int
	waiting    []*warp
	clocks     []uint32 // joined over those that arrived
	far        clocks
	fenced     clocks
	pending    clocks
	alone      bool
}

func (x *machine) newBlock(number int) *blockState {
	b := &blockState{m: x, number: number, barriers: map[uint64]*barrier{}, mbars: map[uint64]*mbarrier{}}
	b.shared = &region{name: "shared memory", bytes: make([]byte, x.f.static+x.Shared), writable: true, shared: true}
	b.shared.track(false)
	for i := range x.Warps {
		w := &warp{m: x, b: b, f: x.f, number: i, id: int32(number*x.Warps + i)}
		if n := len(x.spare); n > 0 {
			w.regs, w.outs, x.spare = x.spare[n-1].regs, x.spare[n-1].outs, x.spare[:n-1]
		} else {
			w.regs, w.outs = make([]kernel.Reg, x.f.regs), make([]kernel.Reg, x.f.outs)
		}
		w.clock = make([]uint32, x.Warps)
		w.clock[i] = 1
		w.enter(0, fullMask)
		w.next()
		b.warps = append(b.warps, w)
	}
	return b
}

// run gives every warp a turn and says whether any moved.
func (b *blockState) run() bool {
	moved := false
	b.turns++
	for _, w := range b.warps {
		if w.state == waiting && w.until != nil && w.until() {
			w.state, w.until = running, nil
		}
		if w.state == running {
			w.run(quantum)
			moved = true
		}
	}
	return moved
}

// quantum is how many instructions a warp runs at a time.
const quantum = 1 << 14

func (b *blockState) done() bool {
	for _, w := range b.warps {
		if w.state != ended {
			return false
		}
	}
	return true
}

// stuck reports why no warp can go on.
func (b *blockState) stuck() {
	var gone, atBarrier, other []string
	var who *warp
	for _, w := range b.warps {
		switch {
		case w.state == ended:
			gone = append(gone, fmt.Sprint(w.number))
		case w.until == nil:
			atBarrier = append(atBarrier, fmt.Sprintf("%d (%s)", w.number, w.why))
		default:
			other = append(other, fmt.Sprintf("%d (%s)", w.number, w.why))
		}
		if who == nil && w.state != ended {
			who = w
		}
	}
	kind := Deadlock
	if len(atBarrier) > 0 {
		who = b.firstAtBarrier()
		if len(gone) > 0 || len(other) == 0 {
			kind = Divergence
		}
	}
	list := func(what string, ws []string) string {
		if len(ws) == 0 {
			return ""
		}
		return "; " + what + ": warps " + strings.Join(ws, ", ")
	}
	who.fail(kind, -1, "no warp can go on%s%s%s", list("ended", gone), list("at a barrier", atBarrier), list("waiting", other))
}

func (b *blockState) firstAtBarrier() *warp {
	for _, w := range b.warps {
		if w.state == waiting && w.until == nil {
			return w
		}
	}
	return nil
}

// arrive counts a warp's threads at a barrier; wait says that it waits there.
func (b *blockState) arrive(w *warp, number uint64, threads int, wait bool) {
	whole := len(b.warps) * kernel.WarpSize
	if threads == 0 {
		threads = whole
	}
	switch {
	case number > 15:
		w.fail(Misuse, -1, "barrier %d, expected 0 to 15", number)
	case threads%kernel.WarpSize != 0 || threads > whole:
		w.fail(Misuse, -1, "barrier %d for %d threads, expected a multiple of 32 up to the block's %d", number, threads, whole)
	case w.mask != fullMask:
		w.fail(Divergence, -1, "barrier %d is reached by lanes %08x, expected all of the warp", number, w.mask)
	}
	r := b.barriers[number]
	if r == nil || r.have == 0 {
		r = &barrier{need: threads, clocks: make([]uint32, len(b.warps))}
		b.barriers[number] = r
	}
	if r.need != threads {
		w.fail(Divergence, -1, "barrier %d for %d threads, others arrived for %d", number, threads, r.need)
	}
	r.have += kernel.WarpSize
	join(r.clocks, w.clock)
	r.far = r.far.join(w.far)
	r.fenced = r.fenced.join(w.fenced)
	r.pending = r.pending.join(w.pending)
	r.alone = r.alone || w.alone
	w.tick()
	if wait {
		w.state, w.why = waiting, fmt.Sprintf("barrier %d at %s", number, w.line())
		r.waiting = append(r.waiting, w)
	}
	if r.have < r.need {
		return
	}
	for _, o := range r.waiting {
		join(o.clock, r.clocks)
		o.far = o.far.join(r.far)
		o.fenced = o.fenced.join(r.fenced) // a fence before, or after, may be another thread's than the atomic is
		o.pending = o.pending.join(r.pending)
		o.alone = o.alone || r.alone
		o.state = running
	}
	delete(b.barriers, number)
}
