package simt

import (
	"fmt"

	"quire/codegen/kernel"
)

// Mode is how a kernel may use a buffer.
type Mode uint8

// The modes. What Output holds before the launch may not be read; Update may be read,
// and left as it is.
const (
	Input Mode = iota
	Output
	Update
)

// Buffer is an operand's memory: exactly these bytes. Parameters that are one Buffer are
// one memory.
type Buffer struct {
	Name  string
	Bytes []byte
	Mode  Mode
	Align int // of the first byte, a power of two; 0 means 256
	// Loaded says that nothing changes it after the model was loaded, so that a launch
	// which overlaps others may read it early.
	Loaded bool
	// Before, if there is one, is what it held when a step began whose launches may overlap:
	// what they have not changed may be read early, too.
	Before []byte
}

// Arg is a parameter: a buffer, or a word.
type Arg struct {
	Buffer *Buffer
	Value  uint64
}

// Launch is a grid of blocks, each of so many warps.
type Launch struct {
	Kernel string
	Blocks int
	Warps  int
	Shared int   // bytes of dynamic shared memory
	Args   []Arg // as the entry has parameters
	// Overlaps says that the launch may begin before those before it have ended
	// (programmatic dependent launch): until griddepcontrol.wait it may touch nothing
	// but Loaded buffers, and what is as Before.
	Overlaps bool
	Costs    *Costs // counts accesses, if set
	Limit    int64  // instructions of a warp, summed over all; 0 means 4e9
}

// machine is one launch under way.
type machine struct {
	Launch
	f      *function
	consts []kernel.Reg
	mem    []*region
	static int
	spent  int64
	syncs  map[uint64]clocks // what atomics at an address publish
	blocks []*blockState     // that began and did not end
	spare  []*warp           // of blocks that ended, for their registers
}

// Launch runs a kernel. The error of a fault in the kernel is an *Error.
func (m *Module) Launch(l Launch) (err error) {
	f, ok := m.kernels[l.Kernel]
	switch {
	case !ok:
		return fmt.Errorf("simt: no kernel %q", l.Kernel)
	case len(l.Args) != len(f.params):
		return fmt.Errorf("simt: kernel %s: %d parameters, expected %d", l.Kernel, len(l.Args), len(f.params))
	case l.Blocks < 0 || l.Warps < 1 || l.Warps > 32 || l.Shared < 0:
		return fmt.Errorf("simt: kernel %s: %d blocks of %d warps with %d bytes shared", l.Kernel, l.Blocks, l.Warps, l.Shared)
	}
	if l.Limit == 0 {
		l.Limit = 4e9
	}
	x := &machine{Launch: l, f: f, consts: append([]kernel.Reg(nil), f.consts...), syncs: map[uint64]clocks{}}
	if err := x.bind(m); err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(fault)
			if !ok {
				panic(r)
			}
			err = e.err
		}
	}()
	x.run()
	return nil
}

// bind gives globals and buffers their regions and sets the parameters.
func (x *machine) bind(m *Module) error {
	for _, g := range m.globals {
		x.mem = append(x.mem, &region{name: g.name, bytes: g.bytes, align: globalAlign, loaded: true})
	}
	at := map[*Buffer]uint64{}
	for i, a := range x.Args {
		w := a.Value
		if isPtr := x.f.params[i].class == pointer; isPtr != (a.Buffer != nil) {
			return fmt.Errorf("simt: kernel %s: parameter %d: a pointer wants a buffer, a number a value", x.Kernel, i)
		}
		if b := a.Buffer; b != nil {
			if at[b] == 0 {
				at[b] = globalAddress(len(x.mem))
				align := b.Align
				if align == 0 {
					align = globalAlign
				}
				r := &region{name: b.Name, bytes: b.Bytes, align: align, writable: b.Mode != Input, loaded: b.Loaded, before: b.Before}
				if r.writable {
					r.track(b.Mode == Update)
				}
				x.mem = append(x.mem, r)
			}
			w = at[b] + uint64(x.mem[regionOf(at[b])].align)
		}
		for l := range x.consts[i] {
			x.consts[i][l] = w & x.f.params[i].mask()
		}
	}
	return nil
}

// run starts blocks one after the other, and a further one whenever those that began
// cannot go on or take long: they may wait for it.
func (x *machine) run() {
	next := 0
	for next < x.Blocks || len(x.blocks) > 0 {
		progress := false
		live := x.blocks[:0]
		for _, b := range x.blocks {
			progress = b.run() || progress
			if b.done() {
				x.spare = append(x.spare, b.warps...)
			} else {
				live = append(live, b)
			}
		}
		x.blocks = live
		switch {
		case next < x.Blocks && (len(live) == 0 || !progress || live[len(live)-1].turns > patience):
			x.blocks = append(x.blocks, x.newBlock(next))
			next++
		case len(live) > 0 && !progress:
			live[0].stuck()
		}
		if x.spent > x.Limit {
			b := x.blocks[0]
			b.warps[0].fail(Endless, -1, "%d instructions ran", x.spent)
		}
	}
}

// patience is how many turns a block has before the next one starts beside it.
const patience = 200
