package cuda

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"quire/ir/types"
	"quire/ir/work"
	"quire/runtime/cuda/driver"
	"quire/runtime/device"
	"quire/runtime/program"
)

// Options are how a Program is bound. The zero value is device 0 without cache pages.
type Options struct {
	Ordinal int
	Library driver.Library // nil: the one that is installed
	Pages   []int          // physical pages of each table
	// Fit, if set, gives Pages when it is told how many bytes are left for pages.
	Fit func(free int64) []int
	// Packed gives a weight as laid out; nil: from the Program's sources, on Threads.
	Packed   func(i int) []byte
	Threads  int
	Verify   bool // compare the sources' digests, which reads all of them once more
	Progress func(done, total int64)
	Profile  bool   // time every launch; none overlaps another then, and there are no graphs
	CacheDir string // folder that keeps what the driver's compiler makes of PTX; "": none
	// Context and Stream, if not 0, are a CUcontext of the device and a CUstream of it that somebody else
	// made and keeps: steps run there. A Stream needs its Context, and is not the default one.
	Context, Stream uintptr
	Separate        bool // start no launch before what it follows has ended
	NoGraphs        bool
}

// Model is a Program on a GPU.
type Model struct {
	p        *program.Program
	dev      *driver.Device
	opts     Options
	closed   bool
	failed   error // of a call that has no result of its own; the next Step returns it
	life     context.Context
	stop     context.CancelFunc
	overlaps bool

	stream  driver.Stream
	pool    driver.Pool
	module  driver.Module
	kernels []driver.Kernel

	weights block
	at      []driver.Pointer // of each weight
	lists   block
	caches  []block
	tables  []device.Table

	slots   []block
	slotted [][]types.Dim
	temp    block
	inputs  inputs
	pages   []pageTable
	results [3]hostBlock // logits, argmax, logsumexp
	moves   int          // how often any memory moved

	steps    []*bound
	graphs   map[graphKey]captured
	bindings types.Bindings
	profile  events
	advance  advance
	choose   chooser
}

// Load binds a Program that Validate accepts. It is cancelled by ctx.
func Load(ctx context.Context, p *program.Program, o Options) (_ *Model, err error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if o.Library == nil {
		if o.Library, err = driver.Open(); err != nil {
			return nil, err
		}
	}
	m := &Model{p: p, opts: o, moves: 1, slots: make([]block, len(p.Slots)), pages: make([]pageTable, len(p.Tables)),
		graphs: map[graphKey]captured{}, bindings: types.Bindings{}, overlaps: !o.Separate && !o.Profile && strings.HasPrefix(p.Target, "sm_9")}
	m.life, m.stop = context.WithCancel(context.Background())
	if o.Stream != 0 && o.Context == 0 {
		return nil, errors.New("cuda: a stream without its context")
	}
	if o.Context != 0 {
		m.dev, err = driver.Share(o.Library, o.Ordinal, o.Context)
	} else {
		m.dev, err = driver.New(o.Library, o.Ordinal)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(ctx.Err(), err, m.Close())
		}
	}()
	leave, err := m.dev.Enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	release := context.AfterFunc(ctx, m.stop)
	defer release()
	for _, stage := range []func() error{m.code, m.memory, m.bind, func() error { return m.fill(ctx) }} {
		if err := stage(); err != nil {
			return nil, err
		}
	}
	if !release() {
		return nil, ctx.Err()
	}
	return m, nil
}

// Info is the GPU.
func (m *Model) Info() driver.Info { return m.dev.Info }

// code loads the cubin where the device is what it was assembled for, else the PTX.
func (m *Model) code() (err error) {
	if m.stream = driver.Stream(m.opts.Stream); m.stream == 0 {
		if m.stream, err = m.dev.NewStream(); err != nil {
			return err
		}
	}
	if err := m.openPool(); err != nil {
		return err
	}
	need, cubin, err := capability(m.p.Target)
	if err != nil {
		return err
	}
	sm := m.dev.SM()
	if sm < need || strings.HasSuffix(m.p.Target, "a") && sm != need {
		return fmt.Errorf("cuda: the program is for %s, %s is sm_%d", m.p.Target, m.dev.Name, sm)
	}
	code := m.p.Object
	if len(m.p.Cubin) > 0 && sm/10 == cubin/10 {
		code = m.p.Cubin
	}
	if m.module, err = m.load(code); err != nil {
		return err
	}
	for _, k := range m.p.Kernels {
		g := work.GridOf(k.Params)
		found, err := m.dev.Kernel(m.module, k.Symbol, g.Shared)
		if err != nil {
			return err
		}
		m.kernels = append(m.kernels, found)
	}
	m.choose.bind(m)
	return nil
}

// capability is the least compute capability of a target, and the one of its cubin.
func capability(target string) (need, cubin int, err error) {
	if _, err := fmt.Sscanf(target, "sm_%d", &need); err != nil || need <= 0 {
		return 0, 0, fmt.Errorf("cuda: the program is for %s, expected sm_80 or newer", target)
	}
	return need, need, nil
}

// Pages are the physical pages of each table.
func (m *Model) Pages() []int {
	var out []int
	for _, t := range m.tables {
		out = append(out, t.Pages)
	}
	return out
}

// stepBytes is the memory of a device that pages leave for steps: 1 GiB, and a sixteenth
// of what weights leave.
func stepBytes(free int64) int64 { return 1<<30 + free/16 }

// fit decides how many pages there are.
func (m *Model) fit() error {
	pages := m.opts.Pages
	if m.opts.Fit != nil {
		free, err := m.dev.Available()
		if err != nil {
			return err
		}
		for _, w := range m.p.Weights {
			free -= up(w.Bytes, alignBytes)
		}
		if free -= stepBytes(free); free <= 0 {
			return fmt.Errorf("cuda: %s: %d bytes too few for weights and steps", m.dev.Name, -free)
		}
		pages = m.opts.Fit(free)
	}
	if len(pages) != len(m.p.Tables) {
		return fmt.Errorf("cuda: pages for %d tables, the program has %d", len(pages), len(m.p.Tables))
	}
	for i, t := range m.p.Tables {
		m.tables = append(m.tables, device.Table{Page: t.Page, Pages: pages[i]})
	}
	return nil
}

// memory takes what does not depend on a step.
func (m *Model) memory() error {
	if err := m.fit(); err != nil {
		return err
	}
	for _, text := range m.p.Slots {
		sizes, err := program.Sizes(text)
		if err != nil {
			return err
		}
		m.slotted = append(m.slotted, sizes)
	}
	m.caches = make([]block, len(m.p.Caches))
	for i, c := range m.p.Caches {
		n := c.PageBytes * int64(m.tables[c.Table].Pages)
		if n == 0 {
			continue
		}
		if err := m.take(&m.caches[i], n); err != nil {
			return fmt.Errorf("cuda: cache %s: %d pages: %w", c.Name, m.tables[c.Table].Pages, err)
		}
		// A kernel multiplies what lies behind a cache's end by zero: it must be finite.
		if err := m.dev.Zero(m.stream, m.caches[i].at, n); err != nil {
			return err
		}
	}
	return nil
}

// CopyPage implements device.Model. An error shows with the next step.
func (m *Model) CopyPage(table int, from, to int32) {
	leave, err := m.dev.Enter()
	if err != nil {
		m.failed = errors.Join(m.failed, err)
		return
	}
	defer leave()
	for i, c := range m.p.Caches {
		if c.Table == table {
			at := func(page int32) driver.Pointer { return m.caches[i].at + driver.Pointer(int64(page)*c.PageBytes) }
			m.failed = errors.Join(m.failed, m.dev.Copy(m.stream, at(to), at(from), c.PageBytes))
		}
	}
}

// Discard implements device.Model: device memory of pages is not given back one by one.
func (m *Model) Discard(int, []int32) {}

// Memory implements device.Model.
func (m *Model) Memory() device.Memory {
	out := device.Memory{Weights: m.weights.n, Steps: m.temp.n + m.lists.n + m.inputs.dev.n + m.advance.count.n + m.choose.state.n + m.choose.in.n + m.choose.tokens.n, Code: int64(len(m.p.Object) + len(m.p.Cubin))}
	for i := range m.slots {
		out.Steps += m.slots[i].n
	}
	for i := range m.pages {
		out.Steps += m.pages[i].dev.n
	}
	for i := range m.caches {
		out.Caches += m.caches[i].n
	}
	if m.closed {
		return device.Memory{}
	}
	return out
}

// patience is how long work may go on that was stopped, before the device is given up.
const patience = time.Second

// settle waits for what is in the stream, or gives the device up.
func (m *Model) settle() error {
	if m.stream == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := m.dev.Wait(ctx, m.stream)
	if err != nil && ctx.Err() != nil {
		m.dev.Abandon()
	}
	return err
}

// Stop makes the running Step, and all later ones, return with an error; any goroutine may
// call it. Work that then goes on for a second costs the device: what it holds is given back
// when the process ends.
func (m *Model) Stop() { m.stop() }

// Close implements device.Model. It may be called again.
func (m *Model) Close() error {
	if m.closed {
		return nil
	}
	m.closed = true
	var errs []error
	if leave, err := m.dev.Enter(); err == nil {
		defer leave()
		errs = append(errs, m.settle())
	}
	m.stop()
	errs = append(errs, m.dropGraphs(), m.profile.close(m.dev), m.advance.close(m), m.choose.close(m))
	for _, list := range [][]block{{m.weights, m.lists, m.temp, m.inputs.dev}, m.slots, m.caches} {
		for i := range list {
			errs = append(errs, m.free(list[i]))
		}
	}
	for i := range m.pages {
		errs = append(errs, m.free(m.pages[i].dev), m.dev.FreeHost(m.pages[i].host))
	}
	errs = append(errs, m.dev.FreeHost(m.inputs.host))
	for i := range m.results {
		errs = append(errs, m.dev.FreeHost(m.results[i].data))
	}
	errs = append(errs, m.settle(), m.dev.ClosePool(m.pool), m.dev.CloseModule(m.module))
	if m.opts.Stream == 0 {
		errs = append(errs, m.dev.CloseStream(m.stream))
	}
	errs = append(errs, m.dev.Close())
	if lost := m.dev.Lost(); lost != nil {
		return lost
	}
	return errors.Join(errs...)
}
