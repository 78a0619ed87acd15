package cpu

import (
	"fmt"
	"slices"

	"quire/ir/types"
	"quire/ir/work"
	"quire/runtime/device"
	"quire/runtime/program"
)

// Words of a step's context and of a launch record; see codegen/kernel's driver.go.
const (
	ctxWorkers = iota
	ctxLaunches
	ctxRecords
	ctxBarrier
	ctxBase
	ctxScratch
	ctxStride
	ctxTimings
	ctxSpin
	ctxWords = 16
)

const (
	recFn = iota
	recArgs
	recItems
	recChunk
	recNext
	recLast
	recCounters
	recGroup
	recWords
)

// spinTurns is how long a worker spins at a barrier before it offers its processor: some
// tens of microseconds of pause instructions.
const spinTurns = 1000

// bound is one Step of the Program with its memory: records and args that need only be
// touched where a step differs from the one before.
type bound struct {
	def      *program.Step
	guards   program.Guards
	launches []launch
	results  []result

	mem          region
	ctx, records []int64
	args         []int64
	timings      []int64

	// What the records hold now.
	sized    bool
	dims     work.Dims
	widths   []int64 // of each table
	want     device.Want
	moves    int // of the Model's memory when pointers were written
	counters int64
}

type result struct {
	def  *program.Result
	want device.Want
	rows types.Dim
}

// launch is a program.Launch with what a step needs of it at hand.
type launch struct {
	def     *program.Launch
	params  work.Params
	args    []int64 // its words of bound.args
	record  []int64
	table   int  // whose width is P, or -1
	device  bool // items, groups or temp depend on C or P, which change every few steps
	dims    []dimWord
	serves  device.Want // 0: every step
	counter int64       // offset of its counters
	tally   program.Tally
	ticks   int64 // of its runs
}

type dimWord struct {
	word int
	name string
}

// bind lays a Step out. Pointers are written later.
func (m *Model) bind(def *program.Step) (*bound, error) {
	s := &bound{def: def, widths: make([]int64, len(m.p.Tables))}
	var err error
	if s.guards, err = def.Guards(); err != nil {
		return nil, err
	}
	for i := range def.Results {
		r := &def.Results[i]
		rows, err := types.ParseDim(r.Rows)
		if err != nil {
			return nil, err
		}
		s.results = append(s.results, result{r, device.WantOf(r.Name), rows})
	}
	words, lists := 0, 0
	for i := range def.Launch {
		words += len(def.Launch[i].Args)
		for _, a := range def.Launch[i].Args {
			lists += (len(a.Ints) + 1) / 2 // words
		}
	}
	n := len(def.Launch)
	if s.mem, err = reserve(8 * int64(ctxWords+n*recWords+n*2+words+lists)); err != nil {
		return nil, err
	}
	all := view[int64](s.mem, 0, int(s.mem.size()/8))
	s.ctx, all = all[:ctxWords], all[ctxWords:]
	s.records, all = all[:n*recWords], all[n*recWords:]
	s.timings, s.args = all[:n*2], all[n*2:]
	rest := s.args
	for i := range def.Launch {
		l, err := m.bindLaunch(def, &def.Launch[i])
		if err != nil {
			return nil, err
		}
		l.record = s.records[i*recWords:][:recWords]
		l.args, rest = rest[:len(l.def.Args)], rest[len(l.def.Args):]
		s.launches = append(s.launches, l)
	}
	s.writeLists(words)
	return s, nil
}

// writeLists puts the constant lists behind the args and points the args to them.
func (s *bound) writeLists(words int) {
	at := int64(ctxWords+len(s.records)+len(s.timings)+words) * 8
	for i := range s.launches {
		l := &s.launches[i]
		for j, a := range l.def.Args {
			if a.Kind == program.ArgConst {
				copy(view[int32](s.mem, at, len(a.Ints)), a.Ints)
				l.args[j] = s.mem.base() + at
				at += 8 * int64((len(a.Ints)+1)/2)
			}
		}
	}
}

func (m *Model) bindLaunch(def *program.Step, d *program.Launch) (launch, error) {
	l := launch{def: d, params: m.p.Kernels[d.Kernel].Params, table: -1}
	for i, a := range d.Args {
		switch a.Kind {
		case program.ArgDim:
			l.dims = append(l.dims, dimWord{i, a.Name})
		case program.ArgPages:
			l.table = a.Index
		}
	}
	for _, r := range d.For {
		l.serves |= device.WantOf(def.Results[r].Name)
	}
	small, large := work.Dims{N: 2, M: 1, S: 2, P: 1, C: 1}, work.Dims{N: 2, M: 1, S: 2, P: 1 << 16, C: 1 << 20}
	l.device = l.params.Items(small) != l.params.Items(large) || l.params.Group(small) != l.params.Group(large) || l.params.Temp(small) != l.params.Temp(large)
	var err error
	l.tally, err = d.Tally(l.params)
	return l, err
}

// size writes what depends on dims: dim words, items, chunks, groups. It returns with
// temp memory and counters large enough.
func (s *bound) size(m *Model, d work.Dims, widths []int64, want device.Want) error {
	same := s.sized && s.dims.N == d.N && s.dims.M == d.M && s.dims.S == d.S && s.want == want
	if same && s.dims.C == d.C && slices.Equal(s.widths, widths) {
		return nil
	}
	s.sized = false
	for i := range s.launches {
		l := &s.launches[i]
		if l.table >= 0 {
			d.P = widths[l.table]
		}
		for _, w := range l.dims {
			l.args[w.word], _ = d.Value(w.name)
		}
		if same && !l.device {
			continue
		}
		if err := l.size(m, d, want); err != nil {
			return err
		}
	}
	counters := int64(0)
	for i := range s.launches {
		l := &s.launches[i]
		l.counter = counters
		if g := l.record[recGroup]; g > 0 && m.kernels[l.def.Kernel].last != 0 {
			counters += 8 * (l.record[recItems] / g)
		}
		if s.moves == m.moves {
			l.record[recCounters] = m.counters.base() + l.counter
		}
	}
	if err := m.need(&m.counters, counters); err != nil {
		return err
	}
	s.counters = counters
	s.dims, s.want, s.sized = d, want, true
	copy(s.widths, widths)
	return nil
}

func (l *launch) size(m *Model, d work.Dims, want device.Want) error {
	if l.def.Rows == "M" {
		d.N = d.M
	}
	items := l.params.Items(d)
	if l.serves != 0 && l.serves&want == 0 || d.N == 0 {
		items = 0
	}
	group := l.params.Group(d)
	if items < 0 || group < 0 || group > 0 && items%group != 0 {
		return fmt.Errorf("cpu: %s: %d items in groups of %d", l.def.Name, items, group)
	}
	l.record[recItems] = items
	l.record[recGroup] = group
	l.record[recChunk] = chunk(items, int64(m.threads), l.params)
	if items == 0 {
		return nil
	}
	return m.need(&m.temp, l.params.Temp(d))
}

// chunk is how many items a worker takes at once. A matrix-vector product begins each take
// by preparing its vector, which costs about an item: two takes a worker. Others take
// little, so that workers end together although items differ.
func chunk(items, threads int64, p work.Params) int64 {
	if threads == 1 {
		return max(1, items)
	}
	takes := 16 * threads
	if l, ok := p.(work.Linear); ok && l.Tokens == work.One {
		takes = 2 * threads
	}
	return max(1, (items+takes-1)/takes)
}

// point writes all addresses.
func (s *bound) point(m *Model) {
	if s.moves == m.moves {
		return
	}
	s.ctx[ctxWorkers] = int64(m.threads)
	s.ctx[ctxLaunches] = int64(len(s.launches))
	s.ctx[ctxRecords] = s.mem.base() + ctxWords*8
	s.ctx[ctxBarrier] = m.barrier.base()
	s.ctx[ctxScratch] = m.scratch.base()
	s.ctx[ctxStride] = m.stride
	s.ctx[ctxSpin] = spinTurns
	if m.profiling {
		s.ctx[ctxTimings] = s.ctx[ctxRecords] + int64(len(s.records))*8
	}
	at := s.ctx[ctxRecords] + int64(len(s.records)+len(s.timings))*8
	for i := range s.launches {
		l := &s.launches[i]
		k := m.kernels[l.def.Kernel]
		l.record[recFn], l.record[recLast], l.record[recArgs] = int64(k.fn), int64(k.last), at
		l.record[recCounters] = m.counters.base() + l.counter
		at += int64(len(l.args)) * 8
		for j, a := range l.def.Args {
			if p, ok := m.address(a); ok {
				l.args[j] = p
			}
		}
	}
	s.moves = m.moves
}

// address is where an arg points to; a dim has none.
func (m *Model) address(a program.Arg) (int64, bool) {
	switch a.Kind {
	case program.ArgSlot:
		return m.slots[a.Index].base(), true
	case program.ArgWeight:
		return m.weights.at[a.Index], true
	case program.ArgCache:
		return m.caches[a.Index].base(), true
	case program.ArgPages:
		return m.pages[a.Index].base(), true
	case program.ArgTemp:
		return m.temp.base(), true
	case program.ArgInput:
		return m.inputs[slices.Index(inputNames, a.Name)].base(), true
	}
	return 0, false
}

// start makes the records ready for a run.
func (s *bound) start(m *Model) {
	for i := recNext; i < len(s.records); i += recWords {
		s.records[i] = 0
	}
	clear(view[int64](m.counters.region, 0, int(s.counters/8)))
	s.ctx[ctxBase] = view[int64](m.barrier, 0, 1)[0]
}
