package simt

import (
	"fmt"
	"math/bits"

	"quire/codegen/kernel"
)

const fullMask = ^uint32(0)

type state uint8

const (
	running state = iota
	waiting
	ended
)

// warp is 32 lanes in lockstep. Lanes at different blocks of code form groups; the group
// at the first block runs.
type warp struct {
	m      *machine
	b      *blockState
	f      *function
	number int
	id     int32 // over the grid
	regs   []kernel.Reg
	outs   []kernel.Reg
	state  state
	why    string
	until  func() bool

	groups []group // by block; not the current one
	cur    int32
	at     int // next operation of the current block
	mask   uint32
	now    int32 // line

	clock    []uint32 // of the block's warps, as far as this one knows
	far      clocks   // of other blocks' warps; those of its own are out of date
	fenced   clocks   // what the last fence covered
	pending  clocks   // what relaxed atomics saw
	copies   copies
	started  []func()   // products since the last group was closed
	products [][]func() // groups under way, oldest first
	alone    bool       // the launches before have ended
}

type group struct {
	block int32
	mask  uint32
}

func (w *warp) line() string { return w.f.lines[w.now] }

func (w *warp) fail(kind Kind, lane int, format string, args ...any) {
	panic(fault{&Error{Kind: kind, Kernel: w.f.name, Block: w.b.number, Warp: w.number, Lane: lane, Line: w.line(), Detail: fmt.Sprintf(format, args...)}})
}

func (w *warp) reg(i int32) *kernel.Reg {
	if i < 0 {
		return &w.m.consts[^i]
	}
	return &w.regs[i]
}

// enter puts lanes at the start of a block.
func (w *warp) enter(block int32, mask uint32) {
	i := 0
	for i < len(w.groups) && w.groups[i].block < block {
		i++
	}
	if i < len(w.groups) && w.groups[i].block == block {
		w.groups[i].mask |= mask
		return
	}
	w.groups = append(w.groups, group{})
	copy(w.groups[i+1:], w.groups[i:])
	w.groups[i] = group{block, mask}
}

// next takes the first group.
func (w *warp) next() {
	if len(w.groups) == 0 {
		w.state = ended
		return
	}
	w.cur, w.mask, w.at = w.groups[0].block, w.groups[0].mask, 0
	w.groups = w.groups[:copy(w.groups, w.groups[1:])]
}

// run executes until the warp waits or ends, or about n operations have run.
func (w *warp) run(n int) {
	for w.state == running && n > 0 {
		b := &w.f.blocks[w.cur]
		from := w.at
		for w.at < len(b.ops) {
			o := &b.ops[w.at]
			w.at++
			if o.pure == nil {
				w.now = o.line
				if o.effect(w, o); w.state != running {
					w.m.spent += int64(w.at - from)
					return
				}
				continue
			}
			w.compute(o)
		}
		n -= w.at - from + 1
		w.m.spent += int64(w.at - from + 1)
		w.leave(b)
	}
}

func (w *warp) compute(o *op) {
	if w.mask == fullMask {
		o.pure(&w.regs[o.d], w.reg(o.a), w.reg(o.b), w.reg(o.c), o)
		return
	}
	var all kernel.Reg
	o.pure(&all, w.reg(o.a), w.reg(o.b), w.reg(o.c), o)
	w.set(o.d, &all, w.mask)
}

// set changes the lanes of a register that the mask names.
func (w *warp) set(d int32, from *kernel.Reg, mask uint32) {
	to := &w.regs[d]
	for m := mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m) & 31
		to[l] = from[l]
	}
}

// leave follows the block's terminator.
func (w *warp) leave(b *block) {
	switch b.kind {
	case jump:
		w.follow(&b.to[0], w.mask)
	case branch:
		c := w.reg(b.cond)
		yes := uint32(0)
		for l := range c {
			yes |= uint32(c[l]&1) << l
		}
		yes &= w.mask
		no := w.mask &^ yes
		if yes != 0 {
			w.follow(&b.to[0], yes)
		}
		if no != 0 {
			w.follow(&b.to[1], no)
		}
	case unreachable:
		w.fail(Misuse, bits.TrailingZeros32(w.mask), "reached an instruction said to be unreachable")
	}
	w.next()
}

// follow moves lanes along an edge.
func (w *warp) follow(e *edge, mask uint32) {
	if e.apart {
		for _, m := range e.moves {
			if mask == fullMask {
				w.regs[m.d] = *w.reg(m.s)
			} else {
				w.set(m.d, w.reg(m.s), mask)
			}
		}
	} else {
		old := make([]kernel.Reg, len(e.moves))
		for i, m := range e.moves {
			old[i] = *w.reg(m.s)
		}
		for i, m := range e.moves {
			w.set(m.d, &old[i], mask)
		}
	}
	w.enter(e.to, mask)
}
