package simt

import (
	"bytes"
	"math/bits"

	"quire/codegen/kernel"
)

// An address of global memory is a region's number above regionShift, and below it the
// region's first address plus an offset: pointers may leave a region and return, and an
// access outside is seen. A shared pointer is an offset; as a generic one it has a tag.
const (
	regionShift = 40
	regionBase  = 1 << 36
	sharedTag   = 1 << 62
	globalAlign = 256
)

func globalAddress(region int) uint64 { return uint64(region+1)<<regionShift | regionBase }

func regionOf(addr uint64) int { return int(addr>>regionShift) - 1 }

// region is memory with exact bounds.
type region struct {
	name     string
	bytes    []byte
	align    int // the first byte stands at an odd multiple of it
	writable bool
	shared   bool
	loaded   bool     // unchanged since the model was loaded
	before   []byte   // what the step found
	written  bool     // before the launch
	cells    [][]cell // what is known of each byte, if it can change; by pages
	readers  [][]read
}

// unchanged says that bytes are as they were before the step.
func (r *region) unchanged(off int64, size int) bool {
	end := off + int64(size)
	return off >= 0 && end <= int64(len(r.before)) && bytes.Equal(r.before[off:end], r.bytes[off:end])
}

const cellPage = 1 << 10

// track keeps cells.
func (r *region) track(written bool) {
	r.written = written
	r.cells = make([][]cell, (len(r.bytes)+cellPage-1)/cellPage)
}

func (r *region) cell(i int) *cell {
	p := &r.cells[i/cellPage]
	if *p == nil {
		*p = make([]cell, cellPage)
	}
	return &(*p)[i%cellPage]
}

// find is the region and offset of an access, which must lie inside.
func (w *warp) find(lane int, space kernel.Space, addr uint64, size, align int) (*region, int) {
	r, off := w.b.shared, int64(addr)
	if space == kernel.Shared && addr>>32 == 0 {
		off = int64(addr)
	} else if space != kernel.Shared && addr&sharedTag != 0 {
		off = int64(addr &^ sharedTag)
	} else if space != kernel.Shared {
		n := regionOf(addr)
		if n < 0 || n >= len(w.m.mem) {
			w.fail(Bounds, lane, "%d bytes at address %#x, which is in no operand", size, addr)
		}
		r = w.m.mem[n]
		off = int64(addr) - int64(globalAddress(n)) - int64(r.align)
	}
	if w.m.Overlaps && !w.alone && !r.shared && !r.loaded && !r.unchanged(off, size) {
		w.fail(Early, lane, "%d bytes at %d of %s", size, off, r.name)
	}
	if off < 0 || off+int64(size) > int64(len(r.bytes)) {
		w.fail(Bounds, lane, "%d bytes at %d of %s, which has %d", size, off, r.name, len(r.bytes))
	}
	if a := off + int64(r.align); a&int64(align-1) != 0 {
		w.fail(Misaligned, lane, "%d bytes at %d of %s, expected a multiple of %d", size, off, r.name, align)
	}
	return r, int(off)
}

// accessOp is how an instruction touches memory.
type accessOp struct {
	parts  []scalar
	size   int
	align  int
	space  kernel.Space
	atomic bool
	order  kernel.Order
	regs   []int32 // what a store stores; an atomic's operand, a compare-exchange's two
	next   func(old, x uint64) uint64
}

func little(b []byte) uint64 {
	var w uint64
	for i, x := range b {
		w |= uint64(x) << (8 * i)
	}
	return w
}

func put(b []byte, w uint64) {
	for i := range b {
		b[i] = byte(w >> (8 * i))
	}
}

func loadOp(w *warp, o *op) {
	a := o.more.(*accessOp)
	at := *w.reg(o.a)
	w.cost(a.space, &at, a.size)
	for m := w.mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		if a.atomic {
			w.regs[o.d][l] = w.atomic(l, a.space, at[l], a.size, a.order, readAtomic, nil)
			continue
		}
		r, off := w.find(l, a.space, at[l], a.size, a.align)
		w.reads(l, r, off, a.size)
		for i, p := range a.parts {
			n := p.size()
			w.regs[int(o.d)+i][l] = little(r.bytes[off:off+n]) & p.mask()
			off += n
		}
	}
}

func storeOp(w *warp, o *op) {
	a := o.more.(*accessOp)
	at := w.reg(o.a)
	w.cost(a.space, at, a.size)
	var buf [64]byte
	for m := w.mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		if a.atomic {
			x := w.reg(a.regs[0])[l]
			w.atomic(l, a.space, at[l], a.size, a.order, writeAtomic, func(uint64) uint64 { return x })
			continue
		}
		b := buf[:0]
		for i, p := range a.parts {
			x := w.reg(a.regs[i])[l]
			for range p.size() {
				b = append(b, byte(x))
				x >>= 8
			}
		}
		r, off := w.find(l, a.space, at[l], a.size, a.align)
		w.writes(l, r, off, b)
	}
}

// writes stores bytes after judging the access.
func (w *warp) writes(lane int, r *region, off int, b []byte) {
	if !r.writable {
		w.fail(ReadOnly, lane, "%d bytes at %d of %s", len(b), off, r.name)
	}
	if r.before != nil && w.m.Overlaps && !w.alone {
		w.fail(Early, lane, "%d bytes stored at %d of %s", len(b), off, r.name)
	}
	w.judgeWrite(lane, r, off, b, false)
	copy(r.bytes[off:], b)
}

// reads judges a plain read.
func (w *warp) reads(lane int, r *region, off, size int) {
	if r.cells != nil {
		w.judgeRead(lane, r, off, size, false)
	}
}

type atomicKind uint8

const (
	changeAtomic atomicKind = iota
	readAtomic
	writeAtomic
)

// atomic reads, or replaces, a word as one.
func (w *warp) atomic(lane int, space kernel.Space, addr uint64, size int, order kernel.Order, kind atomicKind, next func(uint64) uint64) uint64 {
	r, off := w.find(lane, space, addr, size, size)
	var old uint64
	if kind != writeAtomic {
		w.acquire(addr, order)
		if r.cells != nil {
			w.judgeRead(lane, r, off, size, true)
		}
		old = little(r.bytes[off : off+size])
	}
	if kind != readAtomic {
		if !r.writable {
			w.fail(ReadOnly, lane, "an atomic access to %d of %s", off, r.name)
		}
		var buf [8]byte
		put(buf[:size], next(old))
		w.judgeWrite(lane, r, off, buf[:size], true)
		copy(r.bytes[off:], buf[:size])
		w.release(addr, order)
	}
	return old
}

func atomicOp(w *warp, o *op) {
	a := o.more.(*accessOp)
	at, x := *w.reg(o.a), *w.reg(a.regs[0])
	for m := w.mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		w.regs[o.d][l] = w.atomic(l, a.space, at[l], a.size, a.order, changeAtomic, func(old uint64) uint64 { return a.next(old, x[l]) })
	}
}

func exchangeOp(w *warp, o *op) {
	a := o.more.(*accessOp)
	at, x, c := *w.reg(o.a), *w.reg(a.regs[0]), *w.reg(a.regs[1])
	for m := w.mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		old := w.atomic(l, a.space, at[l], a.size, a.order, changeAtomic, func(old uint64) uint64 {
			if old == c[l] {
				return x[l]
			}
			return old
		})
		w.regs[o.d][l] = old
		w.regs[o.d+1][l] = 0
		if old == c[l] {
			w.regs[o.d+1][l] = 1
		}
	}
}

func fenceOp(w *warp, _ *op) { w.Fence() }

// pickOp is an extractelement at a position that the lanes know.
func pickOp(w *warp, o *op) {
	in := o.more.([]int32)
	at := w.reg(o.a)
	for m := w.mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		if at[l] >= uint64(len(in)) {
			w.fail(Misuse, l, "element %d of a vector of %d", at[l], len(in))
		}
		w.regs[o.d][l] = w.reg(in[at[l]])[l]
	}
}

func checkDivisor(w *warp, o *op) {
	for _, r := range o.more.([]int32) {
		x := w.reg(r)
		for m := w.mask; m != 0; m &= m - 1 {
			if l := bits.TrailingZeros32(m); x[l] == 0 {
				w.fail(Misuse, l, "division by zero")
			}
		}
	}
}
