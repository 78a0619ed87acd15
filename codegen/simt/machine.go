package simt

import (
	"fmt"
	"math/bits"
	"strings"

	"quire/codegen/kernel"
)

// callOp is a call of an intrinsic that has a meaning.
type callOp struct {
	name    string
	means   kernel.Meaning
	in, out []int32
}

func callEffect(w *warp, o *op) {
	x := o.more.(*callOp)
	c := kernel.Call{Lanes: w.mask, Warp: w}
	var in, out [16]*kernel.Reg
	c.In, c.Out = in[:0], out[:0]
	for _, r := range x.in {
		c.In = append(c.In, w.reg(r))
	}
	for i := range x.out {
		c.Out = append(c.Out, &w.outs[i])
	}
	if strings.HasPrefix(x.name, "ldmatrix") {
		w.cost(kernel.Shared, c.In[0], 16)
	}
	x.means(&c)
	for i, d := range x.out {
		w.set(d, &w.outs[i], w.mask)
	}
}

// Place implements kernel.Warp.
func (w *warp) Place() kernel.Place {
	return kernel.Place{Block: w.b.number, Blocks: w.m.Blocks, Warp: w.number, Warps: w.m.Warps}
}

// Load implements kernel.Warp.
func (w *warp) Load(lane int, space kernel.Space, addr uint64, b []byte) {
	r, off := w.find(lane, space, addr, len(b), len(b))
	w.reads(lane, r, off, len(b))
	copy(b, r.bytes[off:])
}

// Store implements kernel.Warp.
func (w *warp) Store(lane int, space kernel.Space, addr uint64, b []byte) {
	r, off := w.find(lane, space, addr, len(b), len(b))
	w.writes(lane, r, off, b)
}

// Atomic implements kernel.Warp.
func (w *warp) Atomic(lane int, space kernel.Space, addr uint64, size int, order kernel.Order, next func(old uint64) uint64) uint64 {
	return w.atomic(lane, space, addr, size, order, changeAtomic, next)
}

// Sync implements kernel.Warp.
func (w *warp) Sync(barrier uint64, threads int) { w.b.arrive(w, barrier, threads, true) }

// Arrive implements kernel.Warp.
func (w *warp) Arrive(barrier uint64, threads int) { w.b.arrive(w, barrier, threads, false) }

// SyncWarp implements kernel.Warp.
func (w *warp) SyncWarp(lanes uint32) {
	if lanes&^w.mask != 0 {
		w.fail(Divergence, -1, "a warp barrier for lanes %08x, reached by %08x", lanes, w.mask)
	}
	w.tick()
}

// Fence implements kernel.Warp.
func (w *warp) Fence() {
	w.learn(w.pending)
	w.pending = nil
	w.fenced = w.fenced.join(w.known())
	w.tick()
}

// WaitLaunches implements kernel.Warp.
func (w *warp) WaitLaunches() { w.alone = true }

// Wait implements kernel.Warp.
func (w *warp) Wait(what string, until func() bool) {
	if until() {
		return
	}
	if before := w.until; before != nil { // another lane waits too
		done, also := false, until
		until = func() bool {
			done = done || before()
			return done && also()
		}
	}
	w.state, w.until = waiting, until
	w.why = fmt.Sprintf("%s at %s", what, w.line())
}

// Fail implements kernel.Warp.
func (w *warp) Fail(lane int, format string, args ...any) { w.fail(Misuse, lane, format, args...) }

// copies are a warp's asynchronous copies under way.
type copies struct {
	list      []asyncCopy
	committed [kernel.WarpSize]int
}

type asyncCopy struct {
	lane  int
	group int
	r     *region
	off   int
	data  []byte
}

// CopyAsync implements kernel.Warp. The bytes land at the wait: until then nobody may
// touch them.
func (w *warp) CopyAsync(lane int, to, from uint64, size, read int) {
	data := make([]byte, size)
	if read > 0 {
		r, off := w.find(lane, kernel.Global, from, read, size)
		w.reads(lane, r, off, read)
		copy(data, r.bytes[off:off+read])
	}
	r, off := w.find(lane, kernel.Shared, to, size, size)
	w.judgeWrite(lane, r, off, data, false)
	for i := off; i < off+size; i++ {
		r.cell(i).inFlight = true
	}
	w.copies.list = append(w.copies.list, asyncCopy{lane, w.copies.committed[lane], r, off, data})
}

// Commit implements kernel.Warp.
func (w *warp) Commit(lanes uint32) {
	for m := lanes; m != 0; m &= m - 1 {
		w.copies.committed[bits.TrailingZeros32(m)]++
	}
}

// WaitCopies implements kernel.Warp.
func (w *warp) WaitCopies(lanes uint32, groups int) {
	left := w.copies.list[:0]
	for _, c := range w.copies.list {
		if lanes>>c.lane&1 == 0 || c.group >= w.copies.committed[c.lane]-groups {
			left = append(left, c)
			continue
		}
		for i := c.off; i < c.off+len(c.data); i++ {
			c.r.cell(i).inFlight = false
		}
		w.judgeWrite(c.lane, c.r, c.off, c.data, false)
		copy(c.r.bytes[c.off:], c.data)
	}
	w.copies.list = left
}
