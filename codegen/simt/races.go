package simt

import (
	"fmt"
	"slices"

	"quire/codegen/kernel"
)

// Races are found by happens-before, as FastTrack does (Flanagan and Freund, PLDI 2009):
// each warp counts its own intervals between synchronisations, and knows up to which
// interval it has synchronised with every other. Two accesses of different threads to a
// byte, one of them a write, are a race unless the later one's warp knows the earlier
// one's interval; within a warp, unless a warp barrier or a block barrier stands between
// them. The order in which simt runs warps does not matter.

// cell is what is known of a byte.
type cell struct {
	write, read event
	atomic      bool // the write
	readAtomic  bool // all reads
	inFlight    bool // an asynchronous copy will write it
	more        int32
}

// event is the last access of a kind: who is the warp's number over the grid plus one, or
// manyWarps, whose reads are listed in the region.
type event struct {
	who   int32
	clock uint32
	line  int32
	lane  int8 // manyLanes: several
}

const (
	manyWarps = -1
	manyLanes = -1
)

type read = event

// clocks are intervals of warps, by their numbers over the grid. Nobody changes them, so that many may hold the same.
type clocks []uint32

// join is the later of both for each warp.
func (c clocks) join(o clocks) clocks {
	if len(c) < len(o) {
		c, o = o, c
	}
	switch {
	case len(o) == 0 || &c[0] == &o[0] || c.covers(o):
		return c
	case len(c) == len(o) && o.covers(c):
		return o
	}
	out := slices.Clone(c)
	join(out, o)
	return out
}

// covers says that nothing of o is later, which is no longer.
func (c clocks) covers(o clocks) bool {
	for i, v := range o {
		if v > c[i] {
			return false
		}
	}
	return true
}

func (c clocks) of(who int32) uint32 {
	if int(who) < len(c) {
		return c[who]
	}
	return 0
}

func join(to, from []uint32) {
	for i, v := range from {
		to[i] = max(to[i], v)
	}
}

func (w *warp) tick() { w.clock[w.number]++ }

// known is all that this warp has synchronised with, itself included.
func (w *warp) known() clocks {
	first := int(w.id) - w.number
	out := make(clocks, max(len(w.far), first+len(w.clock)))
	copy(out, w.far)
	copy(out[first:], w.clock)
	return out
}

// learn takes over what another published.
func (w *warp) learn(c clocks) {
	if first := int(w.id) - w.number; first < len(c) {
		own := c[first:]
		join(w.clock, own[:min(len(own), len(w.clock))])
	}
	w.far = w.far.join(c)
}

// after says whether this warp has synchronised with an event.
func (w *warp) after(e event) bool {
	first := w.id - int32(w.number)
	if i := e.who - 1 - first; i >= 0 && int(i) < len(w.clock) {
		return w.clock[i] >= e.clock
	}
	return w.far.of(e.who-1) >= e.clock
}

// conflicts says whether an event by another thread is not ordered before now.
func (w *warp) conflicts(e event, lane int) bool {
	if e.who == 0 {
		return false
	}
	if e.who-1 == w.id {
		return e.clock == w.clock[w.number] && int(e.lane) != lane
	}
	return !w.after(e)
}

func (w *warp) event(lane int) event {
	return event{who: w.id + 1, clock: w.clock[w.number], line: w.now, lane: int8(lane)}
}

func (w *warp) race(lane int, r *region, off int, what string, e event, did string) {
	id := int(e.who - 1)
	by := fmt.Sprintf("block %d, warp %d", id/w.m.Warps, id%w.m.Warps)
	if e.lane != manyLanes {
		by += fmt.Sprintf(", lane %d", e.lane)
	}
	if l := w.f.lines[e.line]; l != "" {
		by += " at " + l
	}
	w.fail(Race, lane, "%s byte %d of %s, which %s %s; nothing orders the two", what, off, r.name, by, did)
}

func (w *warp) judgeRead(lane int, r *region, off, size int, atomic bool) {
	mine := w.event(lane)
	for i := off; i < off+size; i++ {
		c := r.cell(i)
		switch {
		case c.inFlight:
			w.fail(InFlight, lane, "reads byte %d of %s before a wait for the copy that writes it", i, r.name)
		case c.write.who == 0 && !r.written:
			w.fail(Unwritten, lane, "byte %d of %s", i, r.name)
		case !(atomic && c.atomic) && w.conflicts(c.write, lane):
			w.race(lane, r, i, "reads", c.write, "wrote")
		}
		c.readAtomic = atomic && (c.readAtomic || c.read.who == 0)
		switch {
		case c.read.who == 0:
			c.read = mine
		case c.read.who == mine.who:
			if c.read.clock == mine.clock && c.read.lane != mine.lane {
				mine.lane = manyLanes
			}
			c.read, mine.lane = mine, int8(lane)
		case c.read.who != manyWarps && w.after(c.read):
			c.read = mine
		default:
			r.listRead(c, mine)
		}
	}
}

// listRead keeps the reads of several warps.
func (r *region) listRead(c *cell, e event) {
	if c.read.who != manyWarps {
		c.more = int32(len(r.readers))
		r.readers = append(r.readers, []read{c.read, e})
		c.read.who = manyWarps
		return
	}
	list := r.readers[c.more]
	for i := range list {
		if list[i].who == e.who {
			if list[i].clock == e.clock && list[i].lane != e.lane {
				e.lane = manyLanes
			}
			list[i] = e
			return
		}
	}
	r.readers[c.more] = append(list, e)
}

func (w *warp) judgeWrite(lane int, r *region, off int, b []byte, atomic bool) {
	mine := w.event(lane)
	for n, x := range b {
		i := off + n
		c := r.cell(i)
		if c.inFlight {
			w.fail(InFlight, lane, "writes byte %d of %s before a wait for the copy that writes it", i, r.name)
		}
		if !(atomic && c.atomic) && w.conflicts(c.write, lane) {
			same := c.write.who == mine.who && r.bytes[i] == x // lanes of one store that agree
			if !same {
				w.race(lane, r, i, "writes", c.write, "wrote")
			}
		}
		if !(atomic && c.readAtomic) {
			if c.read.who == manyWarps {
				for _, e := range r.readers[c.more] {
					if w.conflicts(e, lane) {
						w.race(lane, r, i, "writes", e, "read")
					}
				}
			} else if w.conflicts(c.read, lane) {
				w.race(lane, r, i, "writes", c.read, "read")
			}
		}
		c.write, c.atomic = mine, atomic
		c.read = event{}
	}
}

// acquire and release are what an atomic access orders.
func (w *warp) acquire(addr uint64, order kernel.Order) {
	seen := w.m.syncs[addr]
	if len(seen) == 0 {
		return
	}
	if order == kernel.Acquire || order == kernel.AcqRel {
		w.learn(seen)
		return
	}
	w.pending = w.pending.join(seen)
}

func (w *warp) release(addr uint64, order kernel.Order) {
	what := w.fenced
	if order == kernel.Release || order == kernel.AcqRel {
		what = w.known()
		w.tick()
	}
	if len(what) > 0 {
		w.m.syncs[addr] = w.m.syncs[addr].join(what)
	}
}
