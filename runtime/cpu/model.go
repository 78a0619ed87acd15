package cpu

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"quire/ir/types"
	"quire/ir/work"
	"quire/runtime/device"
	"quire/runtime/program"
	"quire/runtime/weights"
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
	limits  []int // physical pages of each table

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
		p: p, threads: max(1, o.Threads), profiling: o.Profile, limits: slices.Clone(o.Pages), moves: 1,
		slots: make([]growing, len(p.Slots)), inputs: make([]growing, len(inputNames)), pages: make([]growing, len(p.Tables)),
		bindings: types.Bindings{}, widths: make([]int64, len(p.Tables)),
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
		r, err := reserveHuge(c.PageBytes * int64(m.limits[c.Table]))
		if err != nil {
			return fmt.Errorf("cpu: cache %s: %d pages: %w", c.Name, m.limits[c.Table], err)
		}
		r.huge(hugeBytes)
		m.caches = append(m.caches, r)
	}
	return nil
}

// fill lays the weights out, or finds them in the Program's file.
func (m *Model) fill(ctx context.Context, o Options) error {
	n := len(m.p.Weights)
	m.weights.at = make([]int64, n)
	for i := range n {
		if o.Packed == nil {
			break
		}
		b := o.Packed(i)
		if int64(len(b)) != m.p.Weights[i].Bytes {
			return fmt.Errorf("cpu: weight %s: %d bytes, expected %d", m.p.Weights[i].Name, len(b), m.p.Weights[i].Bytes)
		}
		m.weights.at[i] = region{b}.base()
		m.mapped += int64(len(b))
	}
	if o.Packed != nil && o.Map {
		return nil
	}
	var size int64
	offset := make([]int64, n)
	for i, w := range m.p.Weights {
		offset[i] = size
		size += up(w.Bytes, lineBytes)
	}
	r, err := reserveHuge(size)
	if err != nil {
		return fmt.Errorf("cpu: weights: %w", err)
	}
	m.weights.region = r
	dst := func(i int) []byte { return r.data[offset[i]:][:m.p.Weights[i].Bytes] }
	for i := range n {
		m.weights.at[i] = r.base() + offset[i]
	}
	if o.Packed != nil {
		m.mapped = 0
		return m.copy(ctx, o, dst)
	}
	src, err := weights.Open(m.p)
	if err != nil {
		return err
	}
	defer src.Close()
	if o.Verify {
		if err := src.Verify(ctx); err != nil {
			return err
		}
	}
	return src.Fill(ctx, dst, min(m.threads, goruntime.GOMAXPROCS(0)), o.Progress)
}

// copy reads packed weights on all threads. Pages of their file that were copied are not
// this process's memory any more.
func (m *Model) copy(ctx context.Context, o Options, dst func(i int) []byte) error {
	var total int64
	var done atomic.Int64
	for _, w := range m.p.Weights {
		total += w.Bytes
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(min(m.threads, goruntime.GOMAXPROCS(0)))
	for i := range m.p.Weights {
		g.Go(func() error {
			src := region{o.Packed(i)}
			copy(dst(i), src.data)
			src.leave()
			if n := done.Add(src.size()); o.Progress != nil {
				o.Progress(n, total)
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

// Weight is weight i as it lies in memory, for who writes it to a file.
func (m *Model) Weight(i int) []byte {
	if m.weights.data == nil {
		return nil
	}
	at := m.weights.at[i] - m.weights.base()
	return m.weights.data[at:][:m.p.Weights[i].Bytes]
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
	i := slices.IndexFunc(m.steps, func(s *bound) bool { return s.holds(m.bindings) })
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
	m.run(s)
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

// check proves that a Batch stays inside the memory that it names, and gives its dims.
func (m *Model) check(b *device.Batch) (work.Dims, error) {
	n, s := len(b.Tok), len(b.SlotStart)
	d := work.Dims{N: int64(n), M: int64(len(b.Out)), S: int64(s)}
	if m.pool == nil {
		return d, errors.New("cpu: step after close")
	}
	if n == 0 || len(b.Pos) != n || len(b.RowSlot) != n || s == 0 || len(b.SlotNew) != s || len(b.SlotLen) != s || len(b.Pages) != len(m.p.Tables) {
		return d, fmt.Errorf("cpu: batch of %d tokens, %d positions, %d row slots, %d %d %d slots and %d tables", n, len(b.Pos), len(b.RowSlot), s, len(b.SlotNew), len(b.SlotLen), len(b.Pages))
	}
	for i, t := range b.Tok {
		if t < 0 || int(t) >= m.p.Vocab || b.Pos[i] < 0 {
			return d, fmt.Errorf("cpu: row %d: token %d at position %d, the vocabulary has %d", i, t, b.Pos[i], m.p.Vocab)
		}
	}
	for i, r := range b.Out {
		if r < 0 || int(r) >= n {
			return d, fmt.Errorf("cpu: result %d is of row %d, the step has %d", i, r, n)
		}
	}
	row := 0
	for i := range s {
		if int(b.SlotStart[i]) != row || b.SlotNew[i] < 0 || int(b.SlotNew[i]) > n-row || b.SlotLen[i] < 0 {
			return d, fmt.Errorf("cpu: slot %d: %d rows from %d after %d tokens, expected them from %d", i, b.SlotNew[i], b.SlotStart[i], b.SlotLen[i], row)
		}
		for ; row < int(b.SlotStart[i]+b.SlotNew[i]); row++ {
			if int(b.RowSlot[row]) != i {
				return d, fmt.Errorf("cpu: row %d: slot %d, expected %d", row, b.RowSlot[row], i)
			}
		}
		d.C = max(d.C, int64(b.SlotLen[i])+int64(b.SlotNew[i]))
	}
	if row != n {
		return d, fmt.Errorf("cpu: %d rows in slots, the step has %d", row, n)
	}
	return d, m.checkPages(b)
}

func (m *Model) checkPages(b *device.Batch) error {
	for t, p := range b.Pages {
		if len(p.Entries) != p.Width*len(b.SlotLen) {
			return fmt.Errorf("cpu: table %d: %d entries, expected %d slots of %d", t, len(p.Entries), len(b.SlotLen), p.Width)
		}
		for s, n := range b.SlotLen {
			if used := int64(n) + int64(b.SlotNew[s]); used > int64(p.Width)*int64(m.p.Tables[t].Page) {
				return fmt.Errorf("cpu: table %d, slot %d: %d tokens in %d pages of %d", t, s, used, p.Width, m.p.Tables[t].Page)
			}
		}
		for i, e := range p.Entries {
			if e < -1 || int(e) >= m.limits[t] {
				return fmt.Errorf("cpu: table %d: entry %d is page %d of %d", t, i, e, m.limits[t])
			}
		}
	}
	return nil
}
