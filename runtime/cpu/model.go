package cpu

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"quire/ir/types"
	"quire/runtime/device"
	"quire/runtime/program"
)

// Options are how a Program is bound. The zero value is one thread and no cache pages.
type Options struct {
	Threads int   // workers, the caller's thread included; 0: one
	Pages   []int // physical pages of each table
	// Packed gives a weight as laid out, which must stay mapped until Close; nil: from
	// the Program's sources.
	Packed   func(i int) []byte
	Map      bool // read Packed where it is, not from a copy in large pages
	Verify   bool // compare the sources' digests, which reads all of them once more
	Progress func(done, total int64)
	Profile  bool // time every launch
}

// Model is a Program on this machine's processors. It implements device.Model.
type Model struct {
	p         *program.Program
	threads   int
	profiling bool

	obj     *object
	pool    *pool
	kernels []kernel
	weights laid
	mapped  int64
	caches  []region
	tables  []device.Table

	slots    []growing
	slotted  [][]types.Dim
	inputs   []growing
	pages    []growing
	temp     growing
	counters growing
	scratch  region
	stride   int64
	barrier  region
	moves    int // how often any memory moved

	steps    []*bound
	bindings types.Bindings
	widths   []int64
	clock    clock
}

type kernel struct{ fn, last uintptr }

// laid is the weights in memory.
type laid struct {
	region
	at []int64 // address of each
}

// inputNames are the step inputs, by the index of their memory.
var inputNames = []string{"tok", "pos", "out", "row_slot", "slot_start", "slot_new", "slot_len"}

// Load binds a Program that Validate accepts. It is cancelled by ctx.
func Load(ctx context.Context, p *program.Program, o Options) (_ *Model, err error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if err := checkFeatures(p.Target, p.Features); err != nil {
		return nil, err
	}
	if len(o.Pages) != len(p.Tables) {
		return nil, fmt.Errorf("cpu: pages for %d tables, the program has %d", len(o.Pages), len(p.Tables))
	}
	m := &Model{
		p: p, threads: max(1, o.Threads), profiling: o.Profile, moves: 1,
		slots: make([]growing, len(p.Slots)), inputs: make([]growing, len(inputNames)), pages: make([]growing, len(p.Tables)),
		bindings: types.Bindings{}, widths: make([]int64, len(p.Tables)),
	}
	for i, t := range p.Tables {
		m.tables = append(m.tables, device.Table{Page: t.Page, Pages: o.Pages[i]})
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	if err := m.code(); err != nil {
		return nil, err
	}
	if err := m.memory(); err != nil {
		return nil, err
	}
	for i := range p.Steps {
		s, err := m.bind(&p.Steps[i])
		if err != nil {
			return nil, fmt.Errorf("cpu: step %q: %w", p.Steps[i].Name, err)
		}
		m.steps = append(m.steps, s)
	}
	if err := m.fill(ctx, o); err != nil {
		return nil, err
	}
	m.pool = newPool(m.obj.run, m.threads)
	return m, nil
}

func (m *Model) code() (err error) {
	if m.obj, err = load(m.p.Object); err != nil {
		return err
	}
	for _, k := range m.p.Kernels {
		var found kernel
		if found.fn, err = m.obj.symbol(k.Symbol); err != nil {
			return err
		}
		if k.Last != "" {
			if found.last, err = m.obj.symbol(k.Last); err != nil {
				return err
			}
		}
		m.kernels = append(m.kernels, found)
	}
	return nil
}

// memory reserves what does not depend on a step.
func (m *Model) memory() (err error) {
	for _, k := range m.p.Kernels {
		m.stride = max(m.stride, up(k.Params.Scratch(), lineBytes)+lineBytes)
	}
	if m.scratch, err = reserveHuge(m.stride * int64(m.threads)); err != nil {
		return err
	}
	if m.barrier, err = reserve(lineBytes); err != nil {
		return err
	}
	for _, text := range m.p.Slots {
		sizes, err := program.Sizes(text)
		if err != nil {
			return err
		}
		m.slotted = append(m.slotted, sizes)
	}
	for _, c := range m.p.Caches {
		r, err := reserveHuge(c.PageBytes * int64(m.tables[c.Table].Pages))
		if err != nil {
			return fmt.Errorf("cpu: cache %s: %d pages: %w", c.Name, m.tables[c.Table].Pages, err)
		}
		r.huge(hugeBytes)
		m.caches = append(m.caches, r)
	}
	return nil
}

// need grows step memory; pointers to what moved are written before the next run.
func (m *Model) need(g *growing, n int64) error {
	before := g.moves
	err := g.need(n)
	m.moves += g.moves - before
	return err
}

// Step implements device.Model.
func (m *Model) Step(b *device.Batch) (device.Output, error) {
	d, err := m.check(b)
	if err != nil {
		return device.Output{}, err
	}
	m.bindings["N"], m.bindings["M"], m.bindings["S"], m.bindings["C"], m.bindings["P"] = d.N, d.M, d.S, d.C, 0
	for i, p := range b.Pages {
		m.widths[i] = int64(p.Width)
		m.bindings["P"] = max(m.bindings["P"], m.widths[i])
	}
	i := slices.IndexFunc(m.steps, func(s *bound) bool { return s.guards.Hold(m.bindings) })
	if i < 0 {
		return device.Output{}, fmt.Errorf("cpu: no step of the program is for N = %d, M = %d, S = %d", d.N, d.M, d.S)
	}
	s := m.steps[i]
	if err := m.feed(b); err != nil {
		return device.Output{}, err
	}
	for i, sizes := range m.slotted {
		for _, size := range sizes {
			n, err := size.Eval(m.bindings)
			if err != nil {
				return device.Output{}, fmt.Errorf("cpu: slot %d: %w", i, err)
			}
			if err := m.need(&m.slots[i], n); err != nil {
				return device.Output{}, err
			}
		}
	}
	if err := s.size(m, d, m.widths, b.Want); err != nil {
		return device.Output{}, err
	}
	s.point(m)
	s.start(m)
	m.run(s, b)
	return m.output(s, b)
}

// feed copies the step inputs to where kernels read them.
func (m *Model) feed(b *device.Batch) error {
	for i, in := range [...][]int32{b.Tok, b.Pos, b.Out, b.RowSlot, b.SlotStart, b.SlotNew, b.SlotLen} {
		if err := m.put(&m.inputs[i], in); err != nil {
			return err
		}
	}
	for i, p := range b.Pages {
		if err := m.put(&m.pages[i], p.Entries); err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) put(g *growing, in []int32) error {
	if err := m.need(g, max(lineBytes, 4*int64(len(in)))); err != nil {
		return err
	}
	copy(view[int32](g.region, 0, len(in)), in)
	return nil
}

func (m *Model) output(s *bound, b *device.Batch) (device.Output, error) {
	var out device.Output
	for _, r := range s.results {
		if r.want&b.Want == 0 {
			continue
		}
		rows, err := r.rows.Eval(m.bindings)
		if err != nil {
			return out, err
		}
		n, mem := rows*int64(max(1, r.def.Cols)), m.slots[r.def.Slot].region
		if n < 0 || n > mem.size()/4 {
			return out, fmt.Errorf("cpu: result %s of %d values, its slot has %d bytes", r.def.Name, n, mem.size())
		}
		switch r.want {
		case device.Logits:
			out.Logits = view[float32](mem, 0, int(n))
		case device.ArgMax:
			out.ArgMax = view[int32](mem, 0, int(n))
		case device.LogSumExp:
			out.LogSumExp = view[float32](mem, 0, int(n))
		case device.Taps:
			if out.Taps == nil {
				out.Taps = map[string][]float32{}
			}
			out.Taps[r.def.Name] = view[float32](mem, 0, int(n))
		}
	}
	return out, nil
}

// CopyPage implements device.Model.
func (m *Model) CopyPage(table int, from, to int32) {
	for i, c := range m.p.Caches {
		if c.Table == table {
			d := m.caches[i].data
			copy(d[int64(to)*c.PageBytes:][:c.PageBytes], d[int64(from)*c.PageBytes:][:c.PageBytes])
		}
	}
}

// Discard implements device.Model. A kernel that declines costs memory, not results.
func (m *Model) Discard(table int, pages []int32) {
	for i, c := range m.p.Caches {
		if c.Table != table {
			continue
		}
		for _, p := range pages {
			_ = m.caches[i].discard(int64(p)*c.PageBytes, c.PageBytes)
		}
	}
}

// Memory implements device.Model.
func (m *Model) Memory() device.Memory {
	out := device.Memory{Weights: m.weights.size(), Mapped: m.mapped, Steps: m.temp.size() + m.counters.size() + m.scratch.size() + m.barrier.size()}
	for _, list := range [][]growing{m.slots, m.inputs, m.pages} {
		for i := range list {
			out.Steps += list[i].size()
		}
	}
	for _, s := range m.steps {
		out.Steps += s.mem.size()
	}
	for i := range m.caches {
		out.Caches += m.caches[i].size()
	}
	if m.obj != nil {
		out.Code = m.obj.bytes
	}
	return out
}

// Close implements device.Model. It may be called again.
func (m *Model) Close() error {
	var errs []error
	if m.pool != nil {
		m.pool.close()
		m.pool = nil
	}
	if m.obj != nil {
		errs = append(errs, m.obj.close())
		m.obj = nil
	}
	m.mapped = 0
	for _, r := range []*region{&m.weights.region, &m.scratch, &m.barrier, &m.temp.region, &m.counters.region} {
		errs = append(errs, r.free())
	}
	for _, list := range [][]growing{m.slots, m.inputs, m.pages} {
		for i := range list {
			errs = append(errs, list[i].free())
		}
	}
	for i := range m.caches {
		errs = append(errs, m.caches[i].free())
	}
	for _, s := range m.steps {
		errs = append(errs, s.mem.free())
	}
	m.steps = nil
	return errors.Join(errs...)
}
