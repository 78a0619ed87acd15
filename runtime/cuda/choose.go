package cuda

import (
	"errors"
	"fmt"
	"slices"

	"quire/ir/work"
	"quire/runtime/cuda/driver"
	"quire/runtime/device"
	"quire/runtime/program"
)

// chooser launches the Program's two kernels of work.Sample after a step's own.
type chooser struct {
	params     work.Sample // zero: the Program has none
	tops, draw *driver.Launch
	state, in  block // of the kernels; how, draws and the number of the step
	tokens     block
	host       []byte // what in has
	out        []byte // pinned: tokens on the host
	rows       int    // room
}

// chooseTurns is the most steps of a run whose numbers are on the device.
const chooseTurns = 64

// bind finds the kernels.
func (c *chooser) bind(m *Model) {
	find := func(p work.Sample) *driver.Launch {
		i := slices.IndexFunc(m.p.Kernels, func(k program.Kernel) bool { return k.Params == work.Params(p) })
		if i < 0 {
			return nil
		}
		g := work.GridOf(p)
		return driver.NewLaunch(m.kernels[i], 32*g.Warps, g.Shared, len(p.Operands())+1)
	}
	p := work.Sample{Vocab: m.p.Vocab}
	tops := p
	tops.Tops = true
	if c.tops, c.draw = find(tops), find(p); c.tops != nil && c.draw != nil {
		c.params = p
	}
}

// Chooses implements device.Chooser.
func (m *Model) Chooses() bool { return m.choose.params.Vocab > 0 && !m.opts.Profile }

// Where things lie in in: the number of the step (0), how of each row, numbers of each turn.
func (c *chooser) how() int64   { return alignBytes }
func (c *chooser) draws() int64 { return c.how() + 4*work.SampleHow*int64(c.rows) }
func (c *chooser) bytes() int64 { return c.draws() + 8*chooseTurns*int64(c.rows) }

// room makes the memory for so many rows.
func (c *chooser) room(m *Model, rows int) error {
	if rows <= c.rows {
		return nil
	}
	c.rows = 0                                      // until there is memory
	want := chooser{rows: int(up(int64(rows), 16))} // a row's state has more bytes than its logits
	n := int64(want.rows)
	grown, err := m.need(&c.state, n*c.params.StateRow())
	if err == nil && grown { // counters begin as zeros
		err = m.dev.Zero(m.stream, c.state.at, c.state.n)
	}
	if err == nil {
		_, err = m.need(&c.in, want.bytes())
	}
	if err == nil {
		_, err = m.need(&c.tokens, 4*n)
	}
	if err = errors.Join(err, m.needHost(&c.host, want.bytes()), m.needHost(&c.out, 4*n)); err != nil {
		return err
	}
	c.rows = want.rows
	return nil
}

// prepare brings the choices of a step, or of the turns of a run, to the device.
func (c *chooser) prepare(m *Model, b *device.Batch, turns int) error {
	if !m.Chooses() {
		return errors.New("cuda: tokens are to be chosen, expected a program with kernels of family sample, not profiled")
	}
	if len(b.Choices) != len(b.Out) || turns > chooseTurns {
		return fmt.Errorf("cuda: %d choices of %d results for %d steps, expected one each for at most %d", len(b.Choices), len(b.Out), turns, chooseTurns)
	}
	if err := c.room(m, len(b.Out)); err != nil {
		return err
	}
	all := c.host[:c.bytes()]
	clear(all[:c.draws()])
	how, draws := view[uint32](all[c.how():], work.SampleHow*c.rows), view[int64](all[c.draws():], chooseTurns*c.rows)
	for i, o := range b.Choices {
		row := c.params.How(o.Temperature, o.TopK, o.TopP, o.MinP)
		copy(how[i*work.SampleHow:], row[:])
		if o.Draw() && len(o.Draws) < turns {
			return fmt.Errorf("cuda: result %d: %d numbers drawn for %d steps", i, len(o.Draws), turns)
		}
		for t := range turns {
			draws[t*len(b.Out)+i] = 0
			if o.Draw() {
				draws[t*len(b.Out)+i] = c.params.Draw(o.Draws[t])
			}
		}
	}
	return m.dev.Upload(m.stream, c.in.at, all)
}

// aim writes the words of the launches: logits of so many rows, and where the number of the step
// is.
func (c *chooser) aim(m *Model, s *bound, rows int, turn driver.Pointer) error {
	i := slices.IndexFunc(s.results, func(r result) bool { return r.want == device.Logits })
	if i < 0 {
		return fmt.Errorf("cuda: step %q: no logits to choose from", s.def.Name)
	}
	x := uint64(m.slots[s.results[i].def.Slot].at)
	n, items := uint64(rows), c.params.Items(work.Dims{M: int64(rows)})
	copy(c.tops.Words(), []uint64{x, uint64(c.state.at), n, uint64(items)})
	in := func(offset int64) uint64 { return uint64(c.in.at) + uint64(offset) }
	copy(c.draw.Words(), []uint64{x, in(c.how()), in(c.draws()), uint64(turn), uint64(c.state.at), uint64(c.tokens.at), n, uint64(items)})
	for _, l := range []*driver.Launch{c.tops, c.draw} {
		l.Blocks(items)
		l.Overlaps(m.overlaps)
	}
	return nil
}

// launch puts the choice into the stream.
func (c *chooser) launch(m *Model) error {
	return errors.Join(m.dev.Launch(m.stream, c.tops), m.dev.Launch(m.stream, c.draw))
}

func (c *chooser) close(m *Model) error {
	var errs []error
	for _, b := range []block{c.state, c.in, c.tokens} {
		errs = append(errs, m.free(b))
	}
	return errors.Join(append(errs, m.dev.FreeHost(c.host), m.dev.FreeHost(c.out))...)
}
