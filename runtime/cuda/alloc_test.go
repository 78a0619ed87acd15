package cuda_test

import (
	"testing"
	"unsafe"

	"quire/runtime/cuda"
	"quire/runtime/cuda/driver"
	"quire/runtime/cuda/driver/fake"
	"quire/runtime/device"
)

// quiet is a fake driver that, once it is told to, does nothing and allocates nothing; a graph then
// shows a token in the ring of a run.
type quiet struct {
	*fake.Driver
	on    bool
	ring  []int32
	shown int
}

func (q *quiet) Call(f driver.Function, a ...uintptr) int {
	if q.on {
		if f == driver.GraphLaunch && q.ring != nil {
			q.ring[q.shown%len(q.ring)] = 5
			q.shown++
		}
		return fake.Success
	}
	code := q.Driver.Call(f, a...)
	const ringBytes = 256
	if f == driver.MemHostAlloc && code == fake.Success && a[1] == ringBytes {
		out := *(*unsafe.Pointer)(unsafe.Pointer(&a[0])) // where the call put the address
		q.ring = unsafe.Slice(*(**int32)(out), ringBytes/4)
	}
	return code
}

// A step of a run costs the host no allocation, and a step by itself a few of fixed number.
func TestNoAllocationInTheLoop(t *testing.T) {
	p, kernels := sampling(t)
	q := &quiet{Driver: &fake.Driver{Kernels: kernels}}
	o := options(q.Driver)
	o.Library = q
	m, err := cuda.Load(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	pl, s := &pool{}, &sequence{}
	b := pl.batch([]*sequence{s}, [][]int32{{4}})
	pages := make([]int32, 16)
	for i := range pages {
		pages[i] = int32(i)
	}
	b.Pages[0] = device.Pages{Width: len(pages), Entries: pages}
	for _, c := range []struct {
		name   string
		choice device.Choice
	}{{"greedy", device.Choice{}}, {"drawn", device.Choice{Temperature: 1, Draws: make([]float64, 64)}}} {
		b.Choices = []device.Choice{c.choice}
		run := func(steps int) {
			q.shown = 0
			if err := m.Run(b, steps, func(int32) bool { return true }); err != nil {
				t.Fatal(err)
			}
		}
		b.Want = device.ArgMax
		if _, err := m.Step(b); err != nil { // makes graphs and memory, as the run does
			t.Fatal(err)
		}
		run(2)
		if q.ring == nil {
			t.Fatal("no ring was allocated")
		}
		q.on = true
		few, many := testing.AllocsPerRun(50, func() { run(4) }), testing.AllocsPerRun(50, func() { run(60) })
		if many != few {
			t.Errorf("%s: a run of 4 steps allocates %v times, of 60 steps %v times", c.name, few, many)
		}
		if n := testing.AllocsPerRun(50, func() {
			if _, err := m.Step(b); err != nil {
				t.Fatal(err)
			}
		}); n > 8 {
			t.Errorf("a step allocates %v times, want at most 8", n)
		}
		q.on = false
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	empty(t, q.Driver)
}
