package cuda

import (
	"fmt"
	"slices"
	"time"

	"quire/ir/types"
	"quire/ir/work"
	"quire/runtime/cuda/driver"
	"quire/runtime/device"
	"quire/runtime/program"
)

// bound is one Step of the Program with its launches ready.
type bound struct {
	def      *program.Step
	guards   program.Guards
	launches []launch
	results  []result
	shape    shape // that the launches' words are of
}

// shape is what the words of a step depend on.
type shape struct {
	n, m, s int64
	widths  [maxTables]int64
	want    device.Want
	moves   int
}

// maxTables is the most page tables that a Program may have here.
const maxTables = 8

type graphKey struct {
	step int
	runs bool // it makes the inputs of the step that follows
	shape
}

type result struct {
	def  *program.Result
	want device.Want
	rows types.Dim
}

// launch is a program.Launch with what a step needs of it at hand.
type launch struct {
	*driver.Launch
	def    *program.Launch
	params work.Params
	grid   work.Grid
	table  int // whose width is P, or -1
	lists  []driver.Pointer
	serves device.Want // 0: every step
	runs   bool
	tally  program.Tally
	time   time.Duration // of its runs
}

// bind lays all steps out, and puts the lists that launches bring with them on the device.
func (m *Model) bind() error {
	if len(m.p.Tables) > maxTables {
		return fmt.Errorf("cuda: %d page tables, expected at most %d", len(m.p.Tables), maxTables)
	}
	var ints []int32
	at := map[*program.Arg]int{}
	for i := range m.p.Steps {
		for j := range m.p.Steps[i].Launch {
			args := m.p.Steps[i].Launch[j].Args
			for k := range args {
				if args[k].Kind == program.ArgConst {
					at[&args[k]] = len(ints)
					ints = append(ints, args[k].Ints...)
					ints = append(ints, make([]int32, -len(ints)&(alignBytes/4-1))...)
				}
			}
		}
	}
	if err := m.upload(&m.lists, ints); err != nil {
		return err
	}
	for i := range m.p.Steps {
		s, err := m.bindStep(&m.p.Steps[i], at)
		if err != nil {
			return fmt.Errorf("cuda: step %q: %w", m.p.Steps[i].Name, err)
		}
		m.steps = append(m.steps, s)
	}
	return nil
}

// upload makes a block of ints, once.
func (m *Model) upload(b *block, ints []int32) error {
	if len(ints) == 0 {
		return nil
	}
	n := int64(4 * len(ints))
	if err := m.take(b, n); err != nil {
		return err
	}
	host, err := m.dev.AllocHost(n)
	if err != nil {
		return err
	}
	copy(view[int32](host, len(ints)), ints)
	if err = m.dev.Upload(m.stream, b.at, host); err == nil {
		err = m.wait()
	}
	if free := m.dev.FreeHost(host); err == nil {
		err = free
	}
	return err
}

func (m *Model) bindStep(def *program.Step, lists map[*program.Arg]int) (*bound, error) {
	s := &bound{def: def}
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
	for i := range def.Launch {
		d := &def.Launch[i]
		k := m.p.Kernels[d.Kernel]
		l := launch{def: d, params: k.Params, grid: work.GridOf(k.Params), table: -1, lists: make([]driver.Pointer, len(d.Args))}
		l.Launch = driver.NewLaunch(m.kernels[d.Kernel], 32*l.grid.Warps, l.grid.Shared, len(d.Args)+1)
		for j := range d.Args {
			switch a := &d.Args[j]; a.Kind {
			case program.ArgPages:
				l.table = a.Index
			case program.ArgConst:
				l.lists[j] = m.lists.at + driver.Pointer(4*lists[a])
			}
		}
		for _, r := range d.For {
			l.serves |= device.WantOf(def.Results[r].Name)
		}
		if l.tally, err = d.Tally(k.Params); err != nil {
			return nil, err
		}
		s.launches = append(s.launches, l)
	}
	return s, nil
}

// set writes the words of all launches for a shape.
func (m *Model) set(s *bound, d work.Dims, sh shape) error {
	if s.shape == sh {
		return nil
	}
	s.shape = shape{}
	first := true
	for i := range s.launches {
		l := &s.launches[i]
		dims := d
		if l.def.Rows == "M" {
			dims.N = dims.M
		}
		if l.table >= 0 {
			dims.P = sh.widths[l.table]
		}
		items := l.params.Items(dims)
		l.runs = items > 0 && dims.N > 0 && (l.serves == 0 || l.serves&sh.want != 0)
		if !l.runs {
			continue
		}
		words := l.Words()
		for j, a := range l.def.Args {
			if a.Kind == program.ArgDim {
				v := d // N of the launch is that of its rows already
				v.P = dims.P
				n, _ := v.Value(a.Name)
				words[j] = uint64(n)
				continue
			}
			words[j] = uint64(m.address(a, l.lists[j]))
		}
		words[len(words)-1] = uint64(items)
		l.Blocks(l.grid.Blocks(items, m.dev.Multiprocessors))
		l.Overlaps(m.overlaps && !first)
		first = false
	}
	s.shape = sh
	return nil
}

// address is where an arg points to.
func (m *Model) address(a program.Arg, list driver.Pointer) driver.Pointer {
	switch a.Kind {
	case program.ArgSlot:
		return m.slots[a.Index].at
	case program.ArgWeight:
		return m.at[a.Index]
	case program.ArgCache:
		return m.caches[a.Index].at
	case program.ArgPages:
		return m.pages[a.Index].dev.at
	case program.ArgTemp:
		return m.temp.at
	case program.ArgInput:
		return m.inputs.address(slices.Index(inputNames, a.Name))
	}
	return list
}

// temps is the most temporary memory of a launch.
func (s *bound) temps(d work.Dims, widths [maxTables]int64) int64 {
	var n int64
	for i := range s.launches {
		l := &s.launches[i]
		dims := d
		if l.def.Rows == "M" {
			dims.N = dims.M
		}
		if l.table >= 0 {
			dims.P = widths[l.table]
		}
		n = max(n, l.params.Temp(dims))
	}
	return n
}
