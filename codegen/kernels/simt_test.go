package kernels

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"quire/codegen/kernel"
	"quire/codegen/simt"
	"quire/ir/target"
	"quire/ir/work"
)

// go test -run GEMV -v -costs prints what each line's accesses take of the memories.
var showCosts = flag.Bool("costs", false, "print sectors and bank conflicts of simulated kernels, by line")

// parallel marks a test that takes seconds. On a GPU, and where a bundle is filled, tests run one at a time.
func parallel(t *testing.T) {
	if *device == "simt" && *bundle == "" {
		t.Parallel()
	}
}

// launchGPU runs a launch of a kernel, simulated or on the device that -device names.
func launchGPU(t testing.TB, tgt target.Target, p work.Params, l simt.Launch) error {
	t.Helper()
	launched.add(t.Name(), tgt, p)
	pack(t, tgt, p, l.Kernel)
	if *device == "cuda" {
		return launchCUDA(t, tgt, p, l)
	}
	m := kernel.NewModule(tgt).Trace()
	if err := Define(m, l.Kernel, p); err != nil {
		return err
	}
	x, err := simt.Compile(m)
	if err != nil {
		return err
	}
	if *showCosts {
		l.Costs = &simt.Costs{}
		defer func() { t.Logf("%s: %d blocks of %d warps\n%s", p.Key(), l.Blocks, l.Warps, l.Costs) }()
	}
	return x.Launch(l)
}

// simulated are GPU kernels named k0, k1, ... to be run by launchGPU.
type simulated struct{ tgt target.Target }

// run launches kernel k<i> once, every operand in bounds of its own.
func (s *simulated) run(t testing.TB, i int, la *launch) {
	t.Helper()
	grid, items := work.GridOf(la.p), la.p.Items(la.d)
	l := simt.Launch{Kernel: fmt.Sprintf("k%d", i), Blocks: int(grid.Blocks(items, multiprocessors(2))), Warps: grid.Warps, Shared: int(grid.Shared),
		Overlaps: s.tgt.SM >= "sm_90"}
	buffers := map[uintptr]*simt.Buffer{}
	for j, o := range la.p.Operands() {
		if o.Kind == work.Dim {
			l.Args = append(l.Args, simt.Arg{Value: uint64(la.args[j])})
			continue
		}
		mode := simt.Update
		switch o.Mode {
		case work.Read:
			mode = simt.Input
		case work.Write:
			mode = simt.Output
		}
		b := buffers[la.args[j]]
		if b == nil {
			b = &simt.Buffer{Name: o.Name, Bytes: allocs.from(t, o.Name, la.args[j]), Mode: mode, Loaded: loaded(o)}
			if o.Kind == work.Cache && mode == simt.Input { // tests/conformance tells this step's tokens apart
				b.Before = b.Bytes
			}
			buffers[la.args[j]] = b
		} else if b.Mode != mode {
			b.Mode = simt.Update // an operand that becomes the result
		}
		l.Args = append(l.Args, simt.Arg{Buffer: b})
	}
	l.Args = append(l.Args, simt.Arg{Value: uint64(items)})
	if err := launchGPU(t, s.tgt, la.p, l); err != nil {
		t.Fatalf("%s %s: %v", s.tgt, la.p.Key(), err)
	}
}

// multiprocessors is how many blocks are made for: few where they are simulated, so that a block takes several
// items; on a GPU so few or as many as it has.
func multiprocessors(few int) int {
	if *device == "cuda" && rand.IntN(2) == 0 {
		return 132
	}
	return few
}

// loaded says that no launch changes an operand: it is of the model, or an input of steps.
func loaded(o work.Operand) bool {
	inputs := []string{"row_slot", "slot_start", "slot_len", "slot_new", "pages", "stream_pages"}
	return o.Kind == work.Weight || o.Kind == work.Vector || o.Kind == work.Const || slices.Contains(inputs, o.Name)
}

// gpus are the targets whose kernels are simulated; from compute capability 9.0 on launches
// overlap, and some instructions are others.
func gpus(t testing.TB) []target.Target {
	t.Helper()
	var out []target.Target
	for _, name := range []string{"sm_80", "sm_90a"} {
		x, err := target.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

// everywhere are CPUs and simulated GPUs, for families that both have.
func everywhere(t testing.TB) []target.Target {
	if *device != "simt" {
		return gpus(t)
	}
	return append(targets(t), gpus(t)...)
}

// allocs knows what alloc gave away.
var allocs = segments{at: map[uintptr][]byte{}}

type segments struct {
	mu sync.Mutex
	at map[uintptr][]byte
}

func (s *segments) add(b []byte, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[uintptr(unsafe.Pointer(&b[0]))] = b[:n]
}

func (s *segments) remove(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, uintptr(unsafe.Pointer(&b[0])))
}

// from is the memory from an address to the end of its segment.
func (s *segments) from(t testing.TB, name string, a uintptr) []byte {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for base, b := range s.at {
		if a >= base && a < base+uintptr(len(b)) {
			return b[a-base:]
		}
	}
	t.Fatalf("operand %s is at %#x, which alloc did not give", name, a)
	return nil
}
