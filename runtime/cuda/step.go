package cuda

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"quire/ir/work"
	"quire/runtime/cuda/driver"
	"quire/runtime/device"
)

// inputNames are the step inputs, in the order of their memory; the first four have a value
// a row.
var inputNames = []string{"tok", "pos", "out", "row_slot", "slot_start", "slot_new", "slot_len"}

// rowInputs is how many of them have a value a row; the others have one a slot.
const rowInputs = 4

// inputs are the step inputs: one piece of pinned memory, and the same on the device.
type inputs struct {
	dev         block
	host        []byte
	rows, slots int // room
}

// offset is where input i lies, in values.
func (in *inputs) offset(i int) int {
	if i <= rowInputs {
		return i * in.rows
	}
	return rowInputs*in.rows + (i-rowInputs)*in.slots
}

func (in *inputs) address(i int) driver.Pointer {
	return in.dev.at + driver.Pointer(4*in.offset(i))
}

// pageTable is one page table: the device has what host has.
type pageTable struct {
	dev    block
	host   []byte
	filled int // entries that are the device's
}

// graphRows is the most rows of a step that is launched as a graph: with more, launches are
// longer than what it costs to launch them.
const graphRows = 64

// graphsKept is the most graphs that are kept.
const graphsKept = 64

func power(n int64) int64 { return 1 << bits.Len64(uint64(max(n, 1)-1)) }

// Step implements device.Model.
func (m *Model) Step(b *device.Batch) (device.Output, error) {
	leave, err := m.dev.Enter()
	if err != nil {
		return device.Output{}, err
	}
	defer leave()
	i, sh, err := m.prepare(b)
	if err != nil {
		return device.Output{}, err
	}
	if b.Want&device.Chosen != 0 {
		if err := m.chooses(b, m.steps[i], 1, 0); err != nil {
			return device.Output{}, err
		}
		sh.moves = m.moves
	}
	if err := m.run(i, m.steps[i], sh, b); err != nil {
		return device.Output{}, err
	}
	return m.output(m.steps[i], b)
}

// prepare chooses the step of a batch, makes it ready for the batch's dims and brings the
// inputs to the device.
func (m *Model) prepare(b *device.Batch) (index int, sh shape, err error) {
	if m.closed {
		return 0, sh, errors.New("cuda: step after close")
	}
	if err := errors.Join(m.failed, m.life.Err()); err != nil {
		return 0, sh, fmt.Errorf("cuda: %w", err)
	}
	d := work.Dims{N: int64(len(b.Tok)), M: int64(len(b.Out)), S: int64(len(b.SlotStart))}
	longest, err := b.Check(m.p.Vocab, m.tables)
	if err != nil {
		return 0, sh, fmt.Errorf("cuda: %w", err)
	}
	if b.Want&device.Taps != 0 {
		return 0, sh, fmt.Errorf("cuda: taps are wanted, expected a CPU's model: no kernel of a GPU is tapped")
	}
	sh = shape{n: d.N, m: d.M, s: d.S, want: b.Want}
	if b.Want&device.Chosen != 0 {
		sh.want |= device.Logits // to choose from
	}
	var widest int64
	for i, p := range b.Pages {
		sh.widths[i] = max(16, power(int64(p.Width)))
		widest = max(widest, sh.widths[i])
		d.C = max(d.C, sh.widths[i]*int64(m.tables[i].Page))
	}
	m.bindings["N"], m.bindings["M"], m.bindings["S"], m.bindings["C"], m.bindings["P"] = d.N, d.M, d.S, d.C, widest
	index = slices.IndexFunc(m.steps, func(s *bound) bool { return s.guards.Hold(m.bindings) })
	if index < 0 {
		return 0, sh, fmt.Errorf("cuda: no step of the program is for N = %d, M = %d, S = %d", d.N, d.M, d.S)
	}
	s := m.steps[index]
	if err := m.room(s, d, sh); err != nil {
		return 0, sh, err
	}
	m.bindings["C"] = longest // of profiles: room is for what fits the tables
	if err := m.feed(b, sh); err != nil {
		return 0, sh, err
	}
	sh.moves = m.moves
	return index, sh, m.set(s, d, sh)
}

// room makes the step's memory large enough.
func (m *Model) room(s *bound, d work.Dims, sh shape) error {
	for i, sizes := range m.slotted {
		for _, size := range sizes {
			n, err := size.Eval(m.bindings)
			if err != nil {
				return fmt.Errorf("cuda: slot %d: %w", i, err)
			}
			if _, err := m.need(&m.slots[i], n); err != nil {
				return err
			}
		}
	}
	grown, err := m.need(&m.temp, s.temps(d, sh.widths))
	if err == nil && grown { // counters begin as zeros
		err = m.dev.Zero(m.stream, m.temp.at, m.temp.n)
	}
	if err != nil {
		return err
	}
	in := &m.inputs
	if int(d.N) > in.rows || int(d.S) > in.slots {
		larger := inputs{rows: int(max(64, power(d.N), int64(in.rows))), slots: int(max(16, power(d.S), int64(in.slots)))}
		n := int64(4 * larger.offset(len(inputNames)))
		m.moves++
		in.rows, in.slots = 0, 0 // until there is memory for them
		if err := m.needHost(&in.host, n); err != nil {
			return err
		}
		if _, err := m.need(&in.dev, n); err != nil {
			return err
		}
		in.rows, in.slots = larger.rows, larger.slots
	}
	for i := range m.pages {
		t := &m.pages[i]
		n := 4 * d.S * sh.widths[i]
		if n > int64(len(t.host)) || n > t.dev.n {
			t.filled = 0
		}
		if err := m.needHost(&t.host, n); err != nil {
			return err
		}
		if _, err := m.need(&t.dev, n); err != nil {
			return err
		}
	}
	return nil
}

// feed brings the inputs to the device.
func (m *Model) feed(b *device.Batch, sh shape) error {
	in := &m.inputs
	all := view[int32](in.host, in.offset(len(inputNames)))
	for i, list := range [...][]int32{b.Tok, b.Pos, b.Out, b.RowSlot, b.SlotStart, b.SlotNew, b.SlotLen} {
		copy(all[in.offset(i):], list)
	}
	if err := m.dev.Upload(m.stream, in.dev.at, in.host[:4*len(all)]); err != nil {
		return err
	}
	for i, p := range b.Pages {
		if err := m.feedPages(&m.pages[i], p, int(sh.s), int(sh.widths[i])); err != nil {
			return err
		}
	}
	return nil
}

// feedPages writes a table with rows of the width given, if it differs from the device's.
func (m *Model) feedPages(t *pageTable, p device.Pages, slots, width int) error {
	all := view[int32](t.host, slots*width)
	same := t.filled == len(all)
	for s := range slots {
		row, from := all[s*width:][:width], p.Entries[s*p.Width:][:p.Width]
		if same && slices.Equal(row[:p.Width], from) && !slices.ContainsFunc(row[p.Width:], func(e int32) bool { return e != -1 }) {
			continue
		}
		same = false
		copy(row, from)
		for i := p.Width; i < width; i++ {
			row[i] = -1
		}
	}
	if same {
		return nil
	}
	t.filled = len(all)
	return m.dev.Upload(m.stream, t.dev.at, t.host[:4*len(all)])
}

// run puts a step into the stream, as a graph if it is short.
func (m *Model) run(index int, s *bound, sh shape, b *device.Batch) error {
	if m.opts.Profile {
		return m.measured(s, b)
	}
	work := func() error { return m.launch(s) }
	if b.Want&device.Chosen != 0 {
		work = func() error { return errors.Join(m.launch(s), m.choose.launch(m)) }
	}
	if m.opts.NoGraphs || sh.n > graphRows {
		return work()
	}
	return m.graph(graphKey{index, false, sh}, work)
}

// chooses makes ready what chooses the tokens of a step, or of the turns of a run, whose number is
// at turn; 0: the first.
func (m *Model) chooses(b *device.Batch, s *bound, turns int, turn driver.Pointer) error {
	if err := m.choose.prepare(m, b, turns); err != nil {
		return err
	}
	if turn == 0 {
		turn = m.choose.in.at
	}
	return m.choose.aim(m, s, len(b.Out), turn)
}

// captured is a graph, and how often memory had moved when it was made.
type captured struct {
	driver.Graph
	moves int
}

// graph puts work into the stream as a graph that is made once. Where memory moved since, it is
// made to point there.
func (m *Model) graph(key graphKey, work func() error) error {
	moves := key.moves
	key.moves = 0
	g, ok := m.graphs[key]
	if ok && g.moves != moves {
		err := m.dev.Update(m.stream, g.Graph, work)
		var e *driver.Error
		if ok = err == nil; ok {
			m.graphs[key] = captured{g.Graph, moves}
		} else {
			delete(m.graphs, key)
			if closed := m.dev.CloseGraph(g.Graph); !errors.As(err, &e) || e.Code != driver.NoUpdate || closed != nil {
				return errors.Join(err, closed)
			}
		}
	}
	if !ok {
		if len(m.graphs) >= graphsKept {
			if err := m.dropGraphs(); err != nil {
				return err
			}
		}
		var err error
		if g.Graph, err = m.dev.Capture(m.stream, work); err != nil {
			return err
		}
		m.graphs[key] = captured{g.Graph, moves}
	}
	return m.dev.LaunchGraph(m.stream, g.Graph)
}

func (m *Model) dropGraphs() error {
	var errs []error
	for k, g := range m.graphs {
		errs = append(errs, m.dev.CloseGraph(g.Graph))
		delete(m.graphs, k)
	}
	return errors.Join(errs...)
}

func (m *Model) launch(s *bound) error {
	for i := range s.launches {
		l := &s.launches[i]
		if !l.runs {
			continue
		}
		if err := m.dev.Launch(m.stream, l.Launch); err != nil {
			return fmt.Errorf("cuda: %s: %w", l.def.Name, err)
		}
	}
	return nil
}

// wait returns when the stream has come to its end; after Stop soon.
func (m *Model) wait() error {
	err := m.dev.Wait(m.life, m.stream)
	if err != nil && m.life.Err() != nil {
		err = errors.Join(err, m.settle())
	}
	return err
}

// output brings the wanted results back and waits for them.
func (m *Model) output(s *bound, b *device.Batch) (device.Output, error) {
	var out device.Output
	type part struct {
		want device.Want
		data []byte
		n    int
	}
	var parts []part
	for _, r := range s.results {
		if r.want&b.Want == 0 {
			continue
		}
		rows, err := r.rows.Eval(m.bindings)
		if err != nil {
			return out, err
		}
		n, slot := rows*int64(max(1, r.def.Cols)), m.slots[r.def.Slot]
		if n < 0 || n > slot.n/4 {
			return out, fmt.Errorf("cuda: result %s of %d values, its slot has %d bytes", r.def.Name, n, slot.n)
		}
		host := &m.results[bits.TrailingZeros8(uint8(r.want))].data
		if err := m.needHost(host, 4*n); err != nil {
			return out, err
		}
		if err := m.dev.Download(m.stream, (*host)[:4*n], slot.at); err != nil {
			return out, err
		}
		parts = append(parts, part{r.want, *host, int(n)})
	}
	if b.Want&device.Chosen != 0 {
		if err := m.dev.Download(m.stream, m.choose.out[:4*len(b.Out)], m.choose.tokens.at); err != nil {
			return out, err
		}
	}
	if err := m.wait(); err != nil {
		return out, fmt.Errorf("cuda: step %q: %w", s.def.Name, err)
	}
	if b.Want&device.Chosen != 0 {
		out.Chosen = view[int32](m.choose.out, len(b.Out))
	}
	for _, p := range parts {
		switch p.want {
		case device.Logits:
			out.Logits = view[float32](p.data, p.n)
		case device.ArgMax:
			out.ArgMax = view[int32](p.data, p.n)
		case device.LogSumExp:
			out.LogSumExp = view[float32](p.data, p.n)
		}
	}
	return out, nil
}
