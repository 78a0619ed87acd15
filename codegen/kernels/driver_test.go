package kernels

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/ebitengine/purego"

	"quire/ir/target"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// step is a launch list for quire_run: what runtime/cpu will do, in small.
type step struct {
	run     uintptr
	ctx     []int64
	records []int64
	groups  [][]int64
	barrier []int64
	times   []int64
}

func newStep(t testing.TB, l lib, ls []*launch, workers int, chunk func(items int64) int64) *step {
	s := &step{run: l.sym(t, "quire_run"), ctx: alloc[int64](t, 9), records: alloc[int64](t, 8*len(ls)),
		barrier: alloc[int64](t, 8), times: alloc[int64](t, 2*len(ls))}
	scratch := 64
	for i, la := range ls {
		items := la.p.Items(la.d)
		r := s.records[8*i:]
		r[0], r[1], r[2], r[3] = int64(la.fn), int64(addr(la.args)), items, max(1, chunk(items))
		if g := la.p.Group(la.d); g > 0 {
			counters := alloc[int64](t, int(items/g)+1)
			s.groups = append(s.groups, counters)
			r[5], r[6], r[7] = int64(la.last), int64(addr(counters)), g
		}
		scratch = max(scratch, int(la.p.Scratch())+64)
	}
	scratch = (scratch + 4095) &^ 4095
	all := alloc[byte](t, scratch*workers)
	copy(s.ctx, []int64{int64(workers), int64(len(ls)), int64(addr(s.records)), int64(addr(s.barrier)), 0,
		int64(addr(all)), int64(scratch), int64(addr(s.times)), 2000})
	return s
}

func (s *step) once() {
	for i := 4; i < len(s.records); i += 8 {
		s.records[i] = 0
	}
	for _, g := range s.groups {
		clear(g)
	}
	s.ctx[4] = s.barrier[0]
	var wg sync.WaitGroup
	for w := int64(1); w < s.ctx[0]; w++ {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			purego.SyscallN(s.run, addr(s.ctx), uintptr(w))
		})
	}
	purego.SyscallN(s.run, addr(s.ctx), 0)
	wg.Wait()
}

// openWithDriver is open, plus quire_run.
func openWithDriver(t testing.TB, tgt target.Target, ps ...work.Params) lib {
	t.Helper()
	tools, err := findTools()
	if err != nil {
		t.Skip(err)
	}
	text, err := DriverText(tgt)
	if err != nil {
		t.Fatal(err)
	}
	names, texts := []string{"driver"}, []string{text}
	for i, p := range ps {
		text, err := Text(tgt, fmt.Sprintf("k%d", i), p)
		if err != nil {
			t.Fatal(err)
		}
		names, texts = append(names, p.Key()), append(texts, text)
	}
	so, err := tools.Shared(context.Background(), tgt, names, texts)
	if err != nil {
		t.Fatal(err)
	}
	return load(t, so)
}

// A chain of launches, each reading what all items of the one before wrote, gives the
// same bits at any number of workers.
func TestDriver(t *testing.T) {
	const n, dim = 37, 64
	tgt := targets(t)[0]
	double := work.Map{Dim: dim, Expr: []work.MapStep{{Op: work.MapIn}, {Op: work.MapScale, Value: 2}}}
	rotate := work.Gather{Dim: dim} // out is a permutation: rows come from other workers
	l := openWithDriver(t, tgt, double, rotate)
	for _, workers := range []int{1, 2, 3, 5} {
		x, y := alloc[float32](t, n*dim), alloc[float32](t, n*dim)
		for i := range x {
			x[i] = float32(i)
		}
		out := alloc[int32](t, n)
		for i := range out {
			out[i] = int32((i + 1) % n)
		}
		d := work.Dims{N: n, M: n}
		var ls []*launch
		for range 10 {
			ls = append(ls, l.bind(t, 0, double, d, map[string]uintptr{"a0": addr(x), "y": addr(y)}),
				l.bind(t, 0, double, work.Dims{}, map[string]uintptr{"a0": addr(x), "y": addr(y)}),
				l.bind(t, 1, rotate, d, map[string]uintptr{"x": addr(y), "out": addr(out), "y": addr(x)}))
		}
		s := newStep(t, l, ls, workers, func(int64) int64 { return 3 })
		s.once()
		s.once()
		for i := range x {
			want := float32((i+20*dim)%(n*dim)) * (1 << 20)
			if x[i] != want {
				t.Fatalf("%d workers: element %d is %v, want %v", workers, i, x[i], want)
			}
		}
		for i, c := range s.times[:2*len(ls)] {
			if (c != 0) != (i/2%3 != 1) {
				t.Errorf("%d workers: stamp %d is %d; only launches with items are stamped", workers, i, c)
			}
		}
	}
}

// BenchmarkDecodeWeights is a step of SmolLM2-135M's matrix-vector products (30 layers and
// the output projection, 96 MB), two workers: tokens a second, without attention.
func BenchmarkDecodeWeights(b *testing.B) {
	rms := &work.RMSNorm{Eps: 1e-5}
	qkv := work.Linear{Enc: layout.Q4_1, Rows: []int{576, 192, 192}, Cols: 576, Tokens: work.One, Dot: work.F32, Norm: rms, Epilogue: work.QKV,
		QKV: &work.Heads{Heads: 9, KVHeads: 3, Dim: 64, RotaryDim: 64, Style: work.Adjacent, CacheEnc: layout.F16, Page: 64}}
	o := work.Linear{Enc: layout.Q4_1, Rows: []int{576}, Cols: 576, Tokens: work.One, Dot: work.F32, Epilogue: work.Add}
	glu := work.Linear{Enc: layout.Q4_1, Rows: []int{1536, 1536}, Cols: 576, Tokens: work.One, Dot: work.F32, Norm: rms, Epilogue: work.GLU, Act: work.SiLU}
	down := work.Linear{Enc: layout.Q4_1, Rows: []int{576}, Cols: 1536, Tokens: work.One, Dot: work.F32, Epilogue: work.Add}
	head := work.Linear{Enc: layout.Q8_0, Rows: []int{49152}, Cols: 576, Tokens: work.One, Dot: work.F32, Norm: rms, Epilogue: work.Store}
	ps := []work.Linear{qkv, o, glu, down, head}
	for _, tgt := range targets(b) {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%.14s/workers=%d", tgt.Name, workers), func(b *testing.B) {
				l := openWithDriver(b, tgt, qkv, o, glu, down, head)
				c := newCache(b, layout.F16, 3, 64, 64, []int{100}, []int{1})
				g := alloc[float32](b, 1536)
				for i := range g {
					g[i] = 1
				}
				x, q, m, y := random(b, 1536, 1), random(b, 576, 1), random(b, 1536, 1), alloc[float32](b, 49152)
				w := alloc[byte](b, 100<<20)
				var packed [][]byte // one layer's weights, copied 30 times
				for _, p := range ps {
					bytes, _ := weight(b, p.Enc, p.Rows, p.Cols)
					packed = append(packed, bytes)
				}
				at, ls := 0, []*launch(nil)
				add := func(i int, from, to uintptr) {
					ls = append(ls, l.bind(b, i, ps[i], c.dims(), c.operands(map[string]uintptr{"x": from, "g": addr(g), "w": addr(w[at:]), "res": addr(q), "y": to, "q": to, "cs": addr(m)})))
					at += copy(w[at:], packed[i])
				}
				for range 30 {
					add(0, addr(x), addr(q))
					add(1, addr(q), addr(y))
					add(2, addr(x), addr(m))
					add(3, addr(m), addr(y))
				}
				add(4, addr(x), addr(y))
				s := newStep(b, l, ls, workers, func(items int64) int64 { return (items + 2*int64(workers) - 1) / (2 * int64(workers)) })
				s.once()
				b.SetBytes(int64(at))
				best := make([]int64, len(ls)) // other work on this machine costs the most
				for b.Loop() {
					s.once()
					for i := range ls {
						if c := s.times[2*i+1] - s.times[2*i]; best[i] == 0 || c < best[i] {
							best[i] = c
						}
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tok/s")
				var sum [5]int64
				for i, c := range best {
					j := i % 4
					if i == 120 {
						j = 4
					}
					sum[j] += c
				}
				for j, what := range []string{"qkv", "o", "glu", "down", "head"} {
					b.ReportMetric(float64(sum[j])/1e6, "best-Mcycles-"+what)
				}
			})
		}
	}
}
