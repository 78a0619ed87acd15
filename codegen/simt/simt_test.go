package simt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"quire/codegen/kernel"
	"quire/ir/target"
)

type (
	kern = *kernel.Kernel
	i64  = kernel.I64
	f32s = kernel.Ptr[kernel.F32]
)

// run is a launch of a kernel with operands x (input), y (update) and z (output).
type run struct {
	blocks, warps, shared int
	x, y, z               []float32
}

var operands = []kernel.Operand{{Name: "x"}, {Name: "y"}, {Name: "z"}}

func define(t *testing.T, main func(k kern)) *Module {
	t.Helper()
	sm, err := target.Parse("sm_90a")
	if err != nil {
		t.Fatal(err)
	}
	m := kernel.NewModule(sm).Trace()
	m.Define("k", operands, kernel.Body{Main: main})
	x, err := Compile(m)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func bytesOf(x []float32) []byte {
	b := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	return b
}

func floatsOf(b []byte) []float32 {
	x := make([]float32, len(b)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}

// launch runs every warp with an item of its own and copies y and z back.
func (r *run) launch(m *Module) error {
	x := &Buffer{Name: "x", Bytes: bytesOf(r.x)}
	y := &Buffer{Name: "y", Bytes: bytesOf(r.y), Mode: Update}
	z := &Buffer{Name: "z", Bytes: bytesOf(r.z), Mode: Output}
	err := m.Launch(Launch{Kernel: "k", Blocks: r.blocks, Warps: r.warps, Shared: r.shared, Limit: 1e6,
		Args: []Arg{{Buffer: x}, {Buffer: y}, {Buffer: z}, {Value: uint64(r.blocks * r.warps)}}})
	r.y, r.z = floatsOf(y.Bytes), floatsOf(z.Bytes)
	return err
}

func iota32(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i)
	}
	return x
}

func arg(k kern, name string) f32s { return kernel.Arg[kernel.F32](k, name) }

func shared(k kern, offset int64) f32s { return kernel.SharedAt[kernel.F32](k, offset) }

// thread is the thread's number in its block.
func thread(k kern) i64 { return k.GPU().Warp().Times(32).Add(k.GPU().Lane()) }

// Every kind of bug, planted, is found, at the line that has it, and its cure is silent.
func TestPlantedBugs(t *testing.T) {
	for _, c := range []struct {
		name         string
		want         Kind
		detail       string
		run          run
		buggy, cured func(k kern)
	}{
		{"beyond an operand", Bounds, "4 bytes at 128 of x, which has 128", run{blocks: 1, warps: 1, x: iota32(32), z: make([]float32, 32)},
			func(k kern) {
				l := k.GPU().Lane()
				kernel.StoreF32(arg(k, "z").At(l), kernel.LoadF32(arg(k, "x").At(l.Plus(1))))
			},
			func(k kern) {
				l := k.GPU().Lane()
				kernel.StoreF32(arg(k, "z").At(l), kernel.LoadF32(arg(k, "x").At(l)))
			}},
		{"before an operand", Bounds, "4 bytes at -4 of x", run{blocks: 1, warps: 1, x: iota32(32), z: make([]float32, 32)},
			func(k kern) { kernel.LoadF32(arg(k, "x").At(k.GPU().Lane().Plus(-1))) },
			func(k kern) { kernel.LoadF32(arg(k, "x").Plus(-1).At(k.GPU().Lane().Plus(1))) }},
		{"beyond shared memory", Bounds, "of shared memory, which has 128", run{blocks: 1, warps: 1, shared: 128},
			func(k kern) { kernel.StoreF32(shared(k, 4).At(k.GPU().Lane()), k.Float(1)) },
			func(k kern) { kernel.StoreF32(shared(k, 0).At(k.GPU().Lane()), k.Float(1)) }},
		{"misaligned", Misaligned, "16 bytes at 4 of x, expected a multiple of 16", run{blocks: 1, warps: 1, x: iota32(256)},
			func(k kern) { kernel.LoadWords(arg(k, "x").At(k.GPU().Lane()), 4) },
			func(k kern) { kernel.LoadWords(arg(k, "x").At(k.GPU().Lane().Times(4)), 4) }},
		{"write of an input", ReadOnly, "of x", run{blocks: 1, warps: 1, x: iota32(32), y: iota32(32)},
			func(k kern) { kernel.StoreF32(arg(k, "x").At(k.GPU().Lane()), k.Float(1)) },
			func(k kern) { kernel.StoreF32(arg(k, "y").At(k.GPU().Lane()), k.Float(1)) }},
		{"read of an output", Unwritten, "byte 0 of z", run{blocks: 1, warps: 1, z: iota32(32)},
			func(k kern) {
				z := arg(k, "z").At(k.GPU().Lane())
				kernel.StoreF32(z, kernel.LoadF32(z))
			},
			func(k kern) {
				z := arg(k, "z").At(k.GPU().Lane())
				kernel.StoreF32(z, k.Float(2))
				kernel.StoreF32(z, kernel.LoadF32(z))
			}},
		{"read of unwritten shared memory", Unwritten, "of shared memory", run{blocks: 1, warps: 1, shared: 128},
			func(k kern) { kernel.LoadF32(shared(k, 0).At(k.GPU().Lane())) },
			func(k kern) {
				p := shared(k, 0).At(k.GPU().Lane())
				kernel.StoreF32(p, k.Float(1))
				kernel.LoadF32(p)
			}},
		{"race in shared memory", Race, "nothing orders the two", run{blocks: 1, warps: 2, shared: 256, z: make([]float32, 64)},
			func(k kern) { exchange(k, false) },
			func(k kern) { exchange(k, true) }},
		{"overwritten while read", Race, "nothing orders the two", run{blocks: 1, warps: 2, shared: 256, z: make([]float32, 64)},
			func(k kern) { twice(k, false) },
			func(k kern) { twice(k, true) }},
		{"race inside a warp", Race, "lane", run{blocks: 1, warps: 1, shared: 128, z: make([]float32, 32)},
			func(k kern) { neighbour(k, false) },
			func(k kern) { neighbour(k, true) }},
		{"two blocks write", Race, "wrote", run{blocks: 2, warps: 1, y: make([]float32, 64), z: make([]float32, 64)},
			func(k kern) { kernel.StoreF32(arg(k, "y").At(k.GPU().Lane()), k.Item().F32()) },
			func(k kern) {
				kernel.StoreF32(arg(k, "y").At(k.Item().Times(32).Add(k.GPU().Lane())), k.Item().F32())
			}},
		{"a block reads what another writes", Race, "reads byte", run{blocks: 2, warps: 1, y: make([]float32, 64)},
			func(k kern) {
				y, l := arg(k, "y"), k.GPU().Lane()
				kernel.StoreF32(y.At(k.Item().Times(32).Add(l)), k.Item().F32())
				kernel.LoadF32(y.At(l))
			},
			func(k kern) {
				y, l := arg(k, "y"), k.GPU().Lane()
				kernel.StoreF32(y.At(k.Item().Times(32).Add(l)), k.Item().F32())
				kernel.LoadF32(y.At(k.Item().Times(32).Add(l)))
			}},
		{"no fence before a counter", Race, "reads byte", run{blocks: 3, warps: 1, shared: 4, y: make([]float32, 97), z: make([]float32, 32)},
			func(k kern) { lastArriver(k, false) },
			func(k kern) { lastArriver(k, true) }},
		{"a write behind the counter", Race, "reads byte", run{blocks: 3, warps: 1, shared: 4, y: make([]float32, 97), z: make([]float32, 32)},
			func(k kern) {
				lastArriver(k, true)
				kernel.StoreF32(arg(k, "y").At(k.Item().Times(32).Add(k.GPU().Lane())), k.Float(1))
			},
			func(k kern) {
				lastArriver(k, true)
				kernel.LoadF32(arg(k, "y").At(k.Item().Times(32).Add(k.GPU().Lane())))
			}},
		{"no fence between two counters", Race, "reads byte", run{blocks: 3, warps: 1, shared: 4, y: make([]float32, 98), z: make([]float32, 32)},
			func(k kern) { twoCounters(k, false) },
			func(k kern) { twoCounters(k, true) }},
		{"a barrier some lanes skip", Divergence, "lanes 0000ffff", run{blocks: 1, warps: 1},
			func(k kern) {
				kernel.When(k, k.GPU().Lane().Lt(k.Int(16)), func() { k.GPU().Sync() })
			},
			func(k kern) { k.GPU().Sync() }},
		{"a barrier a warp skips", Divergence, "ended: warps 1; at a barrier: warps 0 (barrier 0", run{blocks: 1, warps: 2},
			func(k kern) {
				kernel.When(k, k.GPU().Warp().Lt(k.Int(1)), func() { k.GPU().Sync() })
			},
			func(k kern) { k.GPU().Sync() }},
		{"no end", Endless, "instructions ran", run{blocks: 1, warps: 1, y: make([]float32, 1)},
			func(k kern) {
				y := kernel.As[kernel.I32](arg(k, "y"))
				kernel.While(k, nil, func([]kernel.Vec) (kernel.Bool, []kernel.Vec) {
					return kernel.LoadI32(y).Eq(k.Int32(0)), nil
				})
			},
			func(k kern) {
				y := kernel.As[kernel.I32](arg(k, "y"))
				kernel.While(k, nil, func([]kernel.Vec) (kernel.Bool, []kernel.Vec) {
					return kernel.LoadI32(y).Eq(k.Int32(1)), nil
				})
			}},
		{"shuffle of lanes that left", Misuse, "shuffle among lanes ffffffff", run{blocks: 1, warps: 1},
			func(k kern) {
				kernel.When(k, k.GPU().Lane().Lt(k.Int(16)), func() { k.GPU().Xor(k.Float(1), 1) })
			},
			func(k kern) { k.GPU().Xor(k.Float(1), 1) }},
		{"division by zero", Misuse, "division by zero", run{blocks: 1, warps: 1},
			func(k kern) { k.Int(1).Div(k.GPU().Lane()) },
			func(k kern) { k.Int(1).Div(k.GPU().Lane().Plus(1)) }},
		{"copy read before its wait", InFlight, "reads byte", run{blocks: 1, warps: 1, x: iota32(128), shared: 512},
			func(k kern) { copied(k, 1) },
			func(k kern) { copied(k, 0) }},
		{"bulk copy read before its barrier", InFlight, "reads byte", run{blocks: 1, warps: 1, x: iota32(128), shared: 528},
			func(k kern) { bulk(k, false, true) },
			func(k kern) { bulk(k, true, true) }},
		{"barrier that nobody feeds", Deadlock, "waiting: warps 0 (mbarrier at simt_test.go", run{blocks: 1, warps: 1, x: iota32(128), shared: 528},
			func(k kern) { bulk(k, true, false) },
			func(k kern) { bulk(k, true, true) }},
		{"bulk copy over what is read", InFlight, "reads byte", run{blocks: 1, warps: 2, x: iota32(128), shared: 528},
			func(k kern) { refill(k, false) },
			func(k kern) { refill(k, true) }},
		{"write of what a product reads", Race, "byte", run{blocks: 1, warps: 4, shared: 16384},
			func(k kern) { product(k, 1) },
			func(k kern) { product(k, 0) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.run
			err := r.launch(define(t, c.buggy))
			var e *Error
			if !errors.As(err, &e) || e.Kind != c.want || !strings.Contains(e.Detail, c.detail) {
				t.Fatalf("error %v, expected %s with %q", err, c.want, c.detail)
			}
			if !strings.HasPrefix(e.Line, "simt_test.go:") {
				t.Errorf("error %v, expected a line of simt_test.go", err)
			}
			r = c.run
			if err := r.launch(define(t, c.cured)); err != nil {
				t.Errorf("cured: %v", err)
			}
		})
	}
}

// What a launch reads before the launches before it have ended must not be their result.
func TestEarly(t *testing.T) {
	sm, err := target.Parse("sm_90a")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		body kernel.Body
		want bool
	}{
		{"early", kernel.Body{Start: func(k kern) { kernel.LoadF32(arg(k, "x")) }, Main: func(kern) {}}, true},
		{"main", kernel.Body{Main: func(k kern) { kernel.LoadF32(arg(k, "x")) }}, false},
	} {
		m := kernel.NewModule(sm).Trace()
		m.Define("k", operands[:1], c.body)
		x, err := Compile(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, loaded := range []bool{false, true} {
			b := &Buffer{Name: "x", Bytes: make([]byte, 4), Loaded: loaded}
			err := x.Launch(Launch{Kernel: "k", Blocks: 1, Warps: 1, Overlaps: true, Args: []Arg{{Buffer: b}, {Value: 1}}})
			var e *Error
			if found := errors.As(err, &e) && e.Kind == Early; found != (c.want && !loaded) || err != nil && !found {
				t.Errorf("%s, loaded %v: %v", c.name, loaded, err)
			}
		}
	}
}

// What the step's launches have not changed may be read early, and what they have may not; nothing may be written.
func TestEarlyUnchanged(t *testing.T) {
	sm, err := target.Parse("sm_90a")
	if err != nil {
		t.Fatal(err)
	}
	read := func(i int64) func(kern) {
		return func(k kern) { kernel.LoadF32(arg(k, "x").Plus(i)) }
	}
	for _, c := range []struct {
		name  string
		start func(kern)
		want  bool
	}{
		{"old", read(0), false},
		{"new", read(1), true},
		{"written", func(k kern) { kernel.StoreF32(arg(k, "x"), k.Float(0)) }, true},
	} {
		m := kernel.NewModule(sm).Trace()
		m.Define("k", operands[:1], kernel.Body{Start: c.start, Main: func(kern) {}})
		x, err := Compile(m)
		if err != nil {
			t.Fatal(err)
		}
		b := &Buffer{Name: "x", Bytes: []byte{1, 2, 3, 4, 5, 6, 7, 8}, Before: []byte{1, 2, 3, 4, 5, 6, 7, 9}, Mode: Update}
		err = x.Launch(Launch{Kernel: "k", Blocks: 1, Warps: 1, Overlaps: true, Args: []Arg{{Buffer: b}, {Value: 1}}})
		var e *Error
		if found := errors.As(err, &e) && e.Kind == Early; found != c.want || err != nil && !found {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// exchange reads what a thread of the other warp wrote.
func exchange(k kern, sync bool) {
	i := thread(k)
	kernel.StoreF32(shared(k, 0).At(i), k.Float(0))
	k.GPU().Sync()
	kernel.StoreF32(shared(k, 0).At(i), i.F32())
	if sync {
		k.GPU().Sync()
	}
	kernel.StoreF32(arg(k, "z").At(i), kernel.LoadF32(shared(k, 0).At(k.Int(63).Sub(i))))
}

// twice uses the same shared memory for two exchanges.
func twice(k kern, sync bool) {
	i := thread(k)
	for n := range 2 {
		kernel.StoreF32(shared(k, 0).At(i), i.F32())
		k.GPU().Sync()
		kernel.StoreF32(arg(k, "z").At(i), kernel.LoadF32(shared(k, 0).At(k.Int(63).Sub(i))))
		if n == 0 && sync {
			k.GPU().Sync()
		}
	}
}

func neighbour(k kern, sync bool) {
	i := k.GPU().Lane()
	kernel.StoreF32(shared(k, 0).At(i), i.F32())
	if sync {
		k.GPU().SyncWarp()
	}
	kernel.StoreF32(arg(k, "z").At(i), kernel.LoadF32(shared(k, 0).At(k.Int(31).Sub(i))))
}

// lastArriver sums what three blocks wrote, in whichever comes last.
func lastArriver(k kern, fence bool) {
	y, l, g := arg(k, "y"), k.GPU().Lane(), k.GPU()
	kernel.StoreF32(y.At(k.Item().Times(32).Add(l)), k.Item().F32())
	if fence {
		g.Fence()
	}
	g.Sync()
	kernel.When(k, l.Eq(k.Int(0)), func() {
		kernel.StoreI32(kernel.As[kernel.I32](shared(k, 0)), g.Arrive(kernel.As[kernel.I32](y.Plus(96)), k.Int32(2)))
		if fence {
			g.Fence()
		}
	})
	g.Sync()
	kernel.When(k, kernel.LoadI32(kernel.As[kernel.I32](shared(k, 0))).Eq(k.Int32(2)), func() {
		sum := k.Float(0)
		for b := range 3 {
			sum = sum.Add(kernel.LoadF32(y.Plus(int64(32 * b)).At(l)))
		}
		kernel.StoreF32(arg(k, "z").At(l), sum)
	})
}

// twoCounters has blocks 0 and 1 meet at a counter, and the later of them and block 2 at another; the later of those
// reads what all wrote, though it may have met only one of the others.
func twoCounters(k kern, fence bool) {
	y, l, g := arg(k, "y"), k.GPU().Lane(), k.GPU()
	later := kernel.As[kernel.I32](shared(k, 0))
	kernel.StoreF32(y.At(k.Item().Times(32).Add(l)), k.Item().F32())
	g.Fence()
	g.Sync()
	kernel.When(k, l.Eq(k.Int(0)), func() {
		kernel.StoreI32(later, k.Int32(1))
		kernel.When(k, k.Item().Lt(k.Int(2)), func() {
			kernel.StoreI32(later, g.Arrive(kernel.As[kernel.I32](y.Plus(96)), k.Int32(1)))
		})
		if fence {
			g.Fence()
		}
		kernel.When(k, kernel.LoadI32(later).Eq(k.Int32(1)), func() {
			kernel.StoreI32(later, g.Arrive(kernel.As[kernel.I32](y.Plus(97)), k.Int32(1)))
		})
		g.Fence()
	})
	g.Sync()
	kernel.When(k, kernel.LoadI32(later).Eq(k.Int32(1)), func() {
		sum := k.Float(0)
		for b := range 3 {
			sum = sum.Add(kernel.LoadF32(y.Plus(int64(32 * b)).At(l)))
		}
		kernel.StoreF32(arg(k, "z").At(l), sum)
	})
}

// copied waits until at most so many copies are under way.
func copied(k kern, left int) {
	g, l := k.GPU(), k.GPU().Lane()
	to := shared(k, 0).At(l.Times(4))
	kernel.CopyAsync(g, kernel.Address(to), arg(k, "x").At(l.Times(4)))
	g.Commit()
	g.WaitCopies(left)
	kernel.LoadF32(to)
}

// bars are an mbarrier after 512 bytes of shared memory, for one arrival.
func bars(k kern) kernel.Ptr[kernel.I64] {
	p := kernel.SharedAt[kernel.I64](k, 512)
	kernel.When(k, thread(k).Eq(k.Int(0)), func() {
		k.GPU().MBarrierInit(p, 1)
		k.GPU().FenceMBarrier()
	})
	k.GPU().Sync()
	return p
}

// fetch copies x to shared memory.
func fetch(k kern, bar kernel.Ptr[kernel.I64]) {
	g := k.GPU()
	kernel.When(k, thread(k).Eq(k.Int(0)), func() {
		g.MBarrierExpect(bar, k.Int32(512))
		g.CopyBulk(kernel.As[kernel.U8](shared(k, 0)), kernel.As[kernel.U8](arg(k, "x")), k.Int32(512), bar, g.Streamed())
	})
}

func bulk(k kern, wait, feed bool) {
	bar := bars(k)
	if feed {
		fetch(k, bar)
	}
	if wait {
		k.GPU().MBarrierWait(bar, k.Int32(0))
	}
	kernel.LoadF32(shared(k, 0).At(k.GPU().Lane()))
}

// refill copies again once all have read, or too early.
func refill(k kern, sync bool) {
	bar := bars(k)
	fetch(k, bar)
	k.GPU().MBarrierWait(bar, k.Int32(0))
	kernel.LoadF32(shared(k, 0).At(thread(k)))
	if sync {
		k.GPU().Sync()
	}
	fetch(k, bar)
}

// product starts a product of a warpgroup with a row of each thread, and writes the rows
// again while at most so many groups of products are under way.
func product(k kern, left int) {
	g := k.GPU()
	row := shared(k, 0).At(thread(k).Times(32))
	write := func() {
		for i := range int64(8) {
			kernel.StoreWords(row.Plus(4*i), []kernel.I32{k.Int32(0), k.Int32(0), k.Int32(0), k.Int32(0)})
		}
	}
	write()
	g.Sync()
	one := k.Twice(0x3c00)
	g.MmaGroup(kernel.Float16, [4]kernel.I32{one, one, one, one}, g.Swizzled(kernel.Address(shared(k, 0))), k.Floats(kernel.GroupSums))
	g.GroupCommit()
	g.GroupWait(left)
	g.Sync()
	write()
	g.GroupWait(0)
}

// A column of a row-major matrix meets one bank, and one sector a lane; neighbours do not.
func TestCosts(t *testing.T) {
	m := define(t, func(k kern) {
		l := k.GPU().Lane()
		kernel.StoreF32(shared(k, 0).At(l.Times(32)), k.Float(1)) // a column: 32 words of a bank
		kernel.LoadF32(arg(k, "x").At(l.Times(8)))                // a sector a lane
		kernel.LoadWords(arg(k, "x").At(l.Times(4)), 4)           // 512 bytes in a row
		kernel.StoreF32(shared(k, 4096).At(l), k.Float(1))
	})
	c := &Costs{}
	x := &Buffer{Name: "x", Bytes: make([]byte, 1024)}
	if err := m.Launch(Launch{Kernel: "k", Blocks: 1, Warps: 1, Shared: 4096 + 128, Costs: c, Args: []Arg{{Buffer: x}, {Buffer: x}, {Buffer: x}, {Value: 1}}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range c.Lines() {
		got = append(got, fmt.Sprintf("%s %d %d %d", l.Space, l.Bytes, l.Least, l.Taken))
	}
	want := []string{"shared 128 1 32", "global 128 4 32", "global 512 16 16", "shared 128 1 1"}
	if !slices.Equal(got, want) {
		t.Errorf("costs %q, want %q\n%s", got, want, c)
	}
}
