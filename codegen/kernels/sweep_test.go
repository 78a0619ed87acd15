package kernels

import (
	"math/rand/v2"
	"testing"

	"quire/ir/work"
)

// Every word is read, once: the sums are those of all of them.
func TestSweep(t *testing.T) {
	for _, tgt := range gpus(t) {
		for _, n := range []int{1, 7, 33} {
			x, y := alloc[int32](t, n*work.SweepBytes/4), alloc[int32](t, n)
			want := make([]int32, n)
			for i := range x {
				x[i] = int32(rand.Uint32())
				want[i*4/work.SweepBytes] += x[i]
			}
			p := work.Sweep{}
			open(t, tgt, p).bind(t, 0, p, work.Dims{N: int64(n)}, map[string]uintptr{"x": addr(x), "y": addr(y)}).run(1)
			for i := range y {
				if y[i] != want[i] {
					t.Errorf("%s: piece %d of %d: sum %d, want %d", tgt.Name, i, n, y[i], want[i])
				}
			}
		}
	}
}
