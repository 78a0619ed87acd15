package kernels

import (
	"math"
	"testing"

	"quire/ir/types/layout"
	"quire/ir/work"
)

// sameBits compares the rows of one output.
func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i, v := range want {
		if math.Float32bits(got[i]) != math.Float32bits(v) {
			t.Fatalf("%s: element %d is %v, want the bits of %v", what, i, got[i], v)
		}
	}
}

// A row's attention has the same bits at any number of workers, in any chunks, and
// whatever rows are computed beside it.
func TestAttentionIsFixed(t *testing.T) {
	dec := work.Attention{Phase: work.Decode, Heads: 6, KVHeads: 2, Dim: 32, Scale: 0.2, CacheEnc: layout.F16, Page: 16, Split: 32, Window: 90, Sink: 4}
	pre := dec
	pre.Phase, pre.Split = work.Prefill, 0
	for _, tgt := range targets(t) {
		ps := []work.Params{dec, pre}
		l := openWithDriver(t, tgt, ps...)
		for i, p := range ps {
			s := newKVStep(t, p.(work.Attention), []slotRows{{5, 1}, {200, 40}, {0, 3}, {130, 1}})
			la := l.bind(t, i, p, s.d, s.operands())
			la.run(1)
			want := append([]float32(nil), s.o[:int(s.d.N)*dec.Heads*dec.Dim]...)
			for _, c := range []struct{ workers, chunk int64 }{{1, 1}, {2, 1}, {3, 5}, {5, 2}} {
				poison(s.o)
				st := newStep(t, l, []*launch{la}, int(c.workers), func(int64) int64 { return c.chunk })
				for range 3 {
					st.once()
				}
				sameBits(t, tgt.Name+" "+p.Key(), s.o, want)
			}
			for _, n := range []int{0, 1, 17, 40, 43, 44} {
				sameBits(t, tgt.Name+" alone "+p.Key(), s.alone(t, l, i, n), want[n*dec.Heads*dec.Dim:][:dec.Heads*dec.Dim])
			}
		}
	}
}

// alone computes row n as the only one of a step.
func (s *kvStep) alone(t *testing.T, l lib, kernel, n int) []float32 {
	row := s.p.Heads * s.p.Dim
	q, o, slot := alloc[float32](t, row), poison(alloc[float32](t, row)), alloc[int32](t, 1)
	start, cached := alloc[int32](t, len(s.start)), alloc[int32](t, len(s.l))
	copy(q, s.q[n*row:])
	slot[0] = s.rowSlot[n]
	i := s.l[slot[0]] + int32(n) - s.start[slot[0]]
	cached[slot[0]] = i
	d := s.d
	d.N, d.C = 1, int64(i)+1
	ops := s.operands()
	ops["q"], ops["o"], ops["row_slot"], ops["slot_start"], ops["slot_len"] = addr(q), addr(o), addr(slot), addr(start), addr(cached)
	l.bind(t, kernel, s.p, d, ops).run(1)
	return o
}
