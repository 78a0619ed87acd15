package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// slotRows is a slot of a step: tokens that it has cached, and its new rows.
type slotRows struct{ cached, rows int }

// kvStep is a step over a paged cache, with the float64 keys and values it was filled with.
type kvStep struct {
	p                       work.Attention
	at                      kvpage.Page
	d                       work.Dims
	slots                   []slotRows
	q, o                    []float32
	cache                   []byte
	rowSlot, start, l, page []int32
	keys, values            [][]float64 // by slot: [token][kv head][dim]
	fresh                   []int32
	pages                   func(n, head int) []int // that a row reads; nil: all
}

// newKVStep fills a cache: pages in random order; all else, freed pages too, is NaN.
func newKVStep(t testing.TB, p work.Attention, slots []slotRows) *kvStep {
	return newKVStepOn(t, p, slots, kvpage.CPU)
}

// newKVStepGPU is newKVStep in a GPU's pages, whose keys lie as values do.
func newKVStepGPU(t testing.TB, p work.Attention, slots []slotRows) *kvStep {
	return newKVStepOn(t, p, slots, kvpage.GPU)
}

func newKVStepOn(t testing.TB, p work.Attention, slots []slotRows, m kvpage.Machine) *kvStep {
	s := &kvStep{p: p, slots: slots, at: p.At(m)}
	for _, r := range slots {
		s.d.N += int64(r.rows)
		s.d.C = max(s.d.C, int64(r.cached+r.rows))
	}
	s.d.S = int64(len(slots))
	s.d.P = (s.d.C+int64(p.Page)-1)/int64(p.Page) + 1
	n := int(s.d.N)
	s.q, s.o = random(t, n*p.Heads*p.Dim, 1.5), poison(alloc[float32](t, (n+1)*p.Heads*p.Dim))
	s.rowSlot, s.start, s.l = alloc[int32](t, n), alloc[int32](t, len(slots)), alloc[int32](t, len(slots))
	s.page = alloc[int32](t, int(s.d.S*s.d.P))
	physical := rand.Perm(len(slots) * int(s.d.P))
	s.cache = alloc[byte](t, int(s.at.Stride())*len(physical))
	s.fresh = alloc[int32](t, len(slots))
	for i := range s.cache {
		s.cache[i] = 0xff
	}
	row := 0
	for i, r := range slots {
		s.start[i], s.l[i], s.fresh[i] = int32(row), int32(r.cached), int32(r.rows)
		for range r.rows {
			s.rowSlot[row] = int32(i)
			row++
		}
		keys, values := make([]float64, 0), make([]float64, 0)
		table := s.page[i*int(s.d.P):][:s.d.P]
		for j := range table {
			table[j] = -1
		}
		for tok := range r.cached + r.rows {
			lp := tok / p.Page
			seen := p.Window == 0 || lp*p.Page < p.Sink || (lp+1)*p.Page > r.cached-p.Window+1
			if seen && table[lp] < 0 {
				table[lp] = int32(physical[0])
				physical = physical[1:]
			}
			for h := range p.KVHeads {
				for half, to := range []*[]float64{&keys, &values} {
					v := make([]float32, p.Dim)
					for x := range v {
						v[x] = float32(rand.NormFloat64())
					}
					if seen {
						s.at.Encode(s.physical(int(table[lp])), kvpage.Half(half), h, tok%p.Page, v)
					}
					kvpage.Round(p.CacheEnc, v)
					for _, x := range v {
						*to = append(*to, float64(x))
					}
				}
			}
		}
		s.keys, s.values = append(s.keys, keys), append(s.values, values)
		s.summarise(i)
	}
	return s
}

// physical is the bytes of a page.
func (s *kvStep) physical(page int) []byte {
	return s.cache[int64(page)*s.at.Stride():][:s.at.Stride()]
}

func (s *kvStep) operands() map[string]uintptr {
	return map[string]uintptr{"q": addr(s.q), "o": addr(s.o), "cache": addr(s.cache), "row_slot": addr(s.rowSlot),
		"slot_start": addr(s.start), "slot_new": addr(s.fresh), "slot_len": addr(s.l), "pages": addr(s.page)}
}

// want is the output of a row's head.
func (s *kvStep) want(n, head int) []float64 {
	p, slot := s.p, s.rowSlot[n]
	i := int(s.l[slot]) + n - int(s.start[slot])
	h := head / (p.Heads / p.KVHeads)
	q := s.q[(n*p.Heads+head)*p.Dim:][:p.Dim]
	w := i // whose window the row has
	if p.Chunked {
		w = int(s.l[slot])
	}
	scores, top := make([]float64, i+1), math.Inf(-1)
	for j := range scores {
		scores[j] = math.Inf(-1)
		if p.Window > 0 && w-j >= p.Window && j >= p.Sink {
			continue
		}
		if s.pages != nil && !slices.Contains(s.pages(n, head), j/p.Page) {
			continue
		}
		dot := 0.0
		for x, v := range s.keys[slot][(j*p.KVHeads+h)*p.Dim:][:p.Dim] {
			dot += v * float64(q[x])
		}
		dot *= float64(p.Scale)
		if c := float64(p.Softcap); c > 0 {
			dot = c * math.Tanh(dot/c)
		}
		scores[j], top = dot, max(top, dot)
	}
	out, sum := make([]float64, p.Dim), 0.0
	for j, x := range scores {
		w := math.Exp(x - top)
		sum += w
		for x, v := range s.values[slot][(j*p.KVHeads+h)*p.Dim:][:p.Dim] {
			out[x] += w * v
		}
	}
	for x := range out {
		out[x] /= sum
	}
	return out
}

func (s *kvStep) check(t *testing.T, name string) {
	t.Helper()
	tol := 4e-6
	if kvpage.Bits(s.p.CacheEnc) > 0 {
		tol = 1.5e-5 // codes are at least zero: a sum of their products is larger than the score
	}
	s.checkTo(t, name, tol)
}

// checkTo holds every row, all its heads together, to tol of its greatest: a head of seven elements may have none that is large.
func (s *kvStep) checkTo(t *testing.T, name string, tol float64) {
	t.Helper()
	p := s.p
	for n := range int(s.d.N) {
		var want []float64
		for head := range p.Heads {
			want = append(want, s.want(n, head)...)
		}
		close32(t, fmt.Sprintf("%s %s slots %v row %d", name, p.Key(), s.slots, n), s.o[n*len(want):][:len(want)], want, tol)
		if t.Failed() {
			t.FailNow()
		}
	}
	for _, v := range s.o[int(s.d.N)*p.Heads*p.Dim:] {
		if v == v {
			t.Fatalf("%s %s: wrote beyond its rows", name, p.Key())
		}
	}
}

// attentions are shapes that both phases are held to.
var attentions = []work.Attention{
	{Heads: 9, KVHeads: 3, Dim: 64, CacheEnc: layout.F16, Page: 64},
	{Heads: 9, KVHeads: 3, Dim: 64, CacheEnc: layout.F32, Page: 64},
	{Heads: 4, KVHeads: 1, Dim: 128, CacheEnc: layout.BF16, Page: 64, Softcap: 5},
	{Heads: 2, KVHeads: 2, Dim: 16, CacheEnc: layout.F32, Page: 16, Window: 21},
	{Heads: 7, KVHeads: 1, Dim: 80, CacheEnc: layout.F16, Page: 32, Window: 40, Sink: 3},
	{Heads: 16, KVHeads: 1, Dim: 48, CacheEnc: layout.F16, Page: 48, Window: 1},
	{Heads: 10, KVHeads: 2, Dim: 256, CacheEnc: layout.BF16, Page: 128, Window: 100, Sink: 64, Softcap: 30},
	{Heads: 6, KVHeads: 1, Dim: 112, CacheEnc: layout.F32, Page: 80},
	{Heads: 4, KVHeads: 2, Dim: 24, CacheEnc: layout.F16, Page: 64},
	{Heads: 3, KVHeads: 3, Dim: 10, CacheEnc: layout.F32, Page: 64, Window: 33},
	{Heads: 5, KVHeads: 1, Dim: 7, CacheEnc: layout.BF16, Page: 16},
	{Heads: 9, KVHeads: 3, Dim: 64, CacheEnc: kvpage.Q4, Page: 64},
	{Heads: 4, KVHeads: 1, Dim: 128, CacheEnc: kvpage.Q8, Page: 64, Softcap: 5},
	{Heads: 7, KVHeads: 1, Dim: 80, CacheEnc: kvpage.Q4, Page: 32, Window: 40, Sink: 3},
	{Heads: 2, KVHeads: 2, Dim: 16, CacheEnc: kvpage.Q8, Page: 16, Window: 21},
	{Heads: 10, KVHeads: 2, Dim: 256, CacheEnc: kvpage.Q4, Page: 128, Window: 100, Sink: 64, Softcap: 30},
	{Heads: 4, KVHeads: 2, Dim: 7, CacheEnc: kvpage.Q4, Page: 48},
	{Heads: 3, KVHeads: 3, Dim: 23, CacheEnc: kvpage.Q8, Page: 80},
}

func testAttention(t *testing.T, phase work.Phase, batches [][]slotRows) {
	for _, tgt := range targets(t) {
		var ps []work.Params
		for _, p := range attentions {
			p.Phase, p.Scale = phase, float32(1/math.Sqrt(float64(p.Dim)))
			if phase == work.Decode {
				p.Split = 2 * p.Page
			}
			ps = append(ps, p)
		}
		l := open(t, tgt, ps...)
		for i := range ps {
			for _, b := range batches {
				s := newKVStep(t, ps[i].(work.Attention), b)
				la := l.bind(t, i, ps[i], s.d, s.operands())
				la.run(3)
				s.check(t, tgt.Name)
				before := append([]float32(nil), s.o...)
				poison(s.o)
				la.run(1)
				for j, v := range s.o {
					if math.Float32bits(v) != math.Float32bits(before[j]) && v == v {
						t.Fatalf("%s %s: value %d is %v, then %v in other chunks", tgt.Name, ps[i].Key(), j, before[j], v)
					}
				}
			}
		}
	}
}

func TestAttentionDecode(t *testing.T) {
	testAttention(t, work.Decode, [][]slotRows{
		{{0, 1}},
		{{63, 1}, {0, 1}, {64, 1}, {200, 1}},
		{{127, 3}, {300, 2}},
	})
}

func TestAttentionPrefill(t *testing.T) {
	testAttention(t, work.Prefill, [][]slotRows{
		{{0, 1}},
		{{0, 70}},
		{{63, 1}, {0, 5}, {64, 40}, {200, 1}, {150, 20}},
	})
}

// huge is memory in large pages, as the runtime's caches are.
func huge(b *testing.B, n int) []byte {
	m, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Munmap(m) })
	_ = unix.Madvise(m, unix.MADV_HUGEPAGE)
	return m
}

// attentionBench is a step of rows new tokens on a slot that has cached others.
func attentionBench(b *testing.B, l lib, i int, p work.Attention, s slotRows) *launch {
	d := work.Dims{N: int64(s.rows), S: 1, C: int64(s.cached + s.rows)}
	d.P = (d.C + int64(p.Page) - 1) / int64(p.Page)
	cache := huge(b, int(d.P*work.PageBytes(p.KVHeads, p.Dim, p.Page, p.CacheEnc)))
	for j := 1; j < len(cache); j += 2 {
		cache[j] = 0x30 + byte(j)&7
	}
	pages, one := alloc[int32](b, int(d.P)), alloc[int32](b, s.rows)
	for j := range pages {
		pages[j] = int32(j)
	}
	l32 := alloc[int32](b, 1)
	l32[0] = int32(s.cached)
	q, o := random(b, s.rows*p.Heads*p.Dim, 1), alloc[float32](b, s.rows*p.Heads*p.Dim)
	return l.bind(b, i, p, d, map[string]uintptr{"q": addr(q), "o": addr(o), "cache": addr(cache), "row_slot": addr(one),
		"slot_start": addr(one), "slot_len": addr(l32), "pages": addr(pages)})
}

var benchShapes = []struct {
	name string
	p    work.Attention
}{
	{"smol", work.Attention{Heads: 9, KVHeads: 3, Dim: 64, Scale: 0.125, Page: 64}},
	{"llama", work.Attention{Heads: 32, KVHeads: 8, Dim: 128, Scale: 0.09, Page: 64}},
	{"qwen05", work.Attention{Heads: 14, KVHeads: 2, Dim: 64, Scale: 0.125, Page: 64}},
}

// BenchmarkAttentionDecode streams the caches of so many layers that they fill 300 MB, on
// one and on two cores: MB/s of keys and values.
func BenchmarkAttentionDecode(b *testing.B) {
	for _, tgt := range targets(b) {
		for _, s := range benchShapes {
			for _, e := range []layout.Enc{layout.F16, layout.F32, layout.BF16} {
				for _, cores := range []int{1, 2} {
					b.Run(fmt.Sprintf("%.20s/%s/%s/%d", tgt.Name, s.name, e, cores), func(b *testing.B) {
						p := s.p
						p.Phase, p.CacheEnc, p.Split = work.Decode, e, 512
						l := openWithDriver(b, tgt, p)
						const depth = 6000
						layers := int(300e6 / work.PageBytes(p.KVHeads, p.Dim, depth, e))
						var las []*launch
						for range layers {
							las = append(las, attentionBench(b, l, 0, p, slotRows{depth - 1, 1}))
						}
						st := newStep(b, l, las, cores, func(int64) int64 { return 1 })
						b.SetBytes(work.PageBytes(p.KVHeads, p.Dim, depth, e) * int64(layers))
						for b.Loop() {
							st.once()
						}
					})
				}
			}
		}
	}
}

// BenchmarkAttentionPrefill is one core on a prompt: GFLOP/s of the products that a
// causal mask leaves.
func BenchmarkAttentionPrefill(b *testing.B) {
	for _, tgt := range targets(b) {
		for _, s := range benchShapes {
			for _, n := range []int{512, 4096} {
				b.Run(fmt.Sprintf("%.14s/%s/%d", tgt.Name, s.name, n), func(b *testing.B) {
					p := s.p
					p.Phase, p.CacheEnc = work.Prefill, layout.F16
					la := attentionBench(b, open(b, tgt, p), 0, p, slotRows{0, n})
					for b.Loop() {
						la.run(1)
					}
					flop := 2 * float64(n) * float64(n+1) * float64(p.Heads*p.Dim) * float64(b.N)
					b.ReportMetric(flop/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
				})
			}
		}
	}
}
