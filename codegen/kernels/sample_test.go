package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"quire/ir/target"
	"quire/ir/work"
	"quire/runtime/sample"
)

// samples runs both launches of work.Sample on rows of logits, turn t of draws.
func samples(t testing.TB, tgt target.Target, x []float32, how []sample.Options, draws [][]float64, turn int) []int32 {
	t.Helper()
	m := len(how)
	p := work.Sample{Vocab: len(x) / m}
	tops := p
	tops.Tops = true
	state := alloc[byte](t, m*int(p.StateRow()))
	words, turns := alloc[uint32](t, m*work.SampleHow), alloc[int32](t, 1)
	turns[0] = int32(turn)
	numbers := alloc[int64](t, m*len(draws))
	for i, o := range how {
		row := p.How(o.Temperature, o.TopK, o.TopP, o.MinP)
		copy(words[i*work.SampleHow:], row[:])
		for j := range draws {
			numbers[j*m+i] = p.Draw(draws[j][i])
		}
	}
	y, d := alloc[int32](t, m), work.Dims{M: int64(m)}
	l := open(t, tgt, tops, p)
	operands := map[string]uintptr{"x": addr(x), "how": addr(words), "draws": addr(numbers), "turn": addr(turns), "state": addr(state), "y": addr(y)}
	first, second := l.bind(t, 0, tops, d, operands), l.bind(t, 1, p, d, operands)
	var out []int32
	for range 2 - turn { // the state of a step serves the next
		first.run(1)
		second.run(1)
		if out != nil && !slices.Equal(out, y) {
			t.Errorf("%s: %v, then of the same rows %v", tgt.Name, out, y)
		}
		out = slices.Clone(y)
	}
	return out
}

// chosen is the token of quire/runtime/sample for a number drawn, and whether the number, or a
// sum, is so near a limit that float32 may choose another.
func chosen(t testing.TB, row []float32, o sample.Options, u float64) (token int32, near bool) {
	t.Helper()
	s, err := sample.New(o)
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Choose(row, u)
	if err != nil {
		return -1, false
	}
	const eps = 1.0 / (1 << 18)
	for _, f := range []float64{1 - eps, 1 + eps} {
		v, p, m := o, o, o
		v.TopP, p.TopP = 0, min(1, o.TopP*f)
		m.MinP = min(1, o.MinP*f)
		for _, c := range []struct {
			o sample.Options
			u float64
		}{{o, u * f}, {p, u}, {m, u}, {p, u * f}} {
			if c.u >= 1 {
				continue
			}
			s, err := sample.New(c.o)
			if err != nil {
				t.Fatal(err)
			}
			if other, err := s.Choose(row, c.u); err != nil || other != id {
				near = true
			}
		}
	}
	return id, near
}

// Rows as models give them, flat ones, ones with ties, infinities and NaN; every filter; many
// draws: the token is the one that the CPU's sampler takes.
func TestSample(t *testing.T) {
	parallel(t)
	few := []sample.Options{{}, {Temperature: 0.7, MinP: 0.05}, {Temperature: 0.6, TopK: 20, TopP: 0.95}, {Temperature: 2, TopP: 0.9}}
	all := append([]sample.Options{
		{Temperature: 1}, {Temperature: 1, TopK: 1}, {Temperature: 1, TopK: 2}, {Temperature: 1, TopK: 3000}, {Temperature: 2, TopK: 50, TopP: 0.5, MinP: 0.1},
		{Temperature: 1, TopP: 1e-9}, {Temperature: 50, TopP: 0.99}, {Temperature: 1e-3, TopP: 0.9}, {Temperature: 1, TopK: 1 << 20, TopP: 0.999999},
	}, few...)
	for i, c := range []struct {
		n       int
		kind    string
		options []sample.Options
	}{
		{1, "normal", few}, {2, "ties", few}, {33, "holes", few}, {1000, "normal", all}, {1000, "nothing", few}, {4097, "nan", few}, {4097, "infinite", few},
		{4097, "ties", few}, {5000, "normal", all}, {5000, "flat", few}, {5000, "peaked", few}, {4097, "equal", few[2:]}, {3000, "huge", few},
	} {
		tgt := gpus(t)[i%2]
		t.Run(fmt.Sprintf("%s/%d/%s", tgt.Name, c.n, c.kind), func(t *testing.T) { checkSamples(t, tgt, sampleRows(c.n)[c.kind], c.options) })
	}
}

func checkSamples(t *testing.T, tgt target.Target, row []float32, options []sample.Options) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(len(row))))
	x := alloc[float32](t, len(row)*len(options))
	draws := [][]float64{make([]float64, len(options)), make([]float64, len(options))}
	for i := range options {
		copy(x[i*len(row):], row)
		draws[0][i], draws[1][i] = []float64{0, 0.999999999999, 0.5, r.Float64()}[i%4], r.Float64()
	}
	for turn := range draws {
		got, same := samples(t, tgt, x, options, draws, turn), 0
		for i, o := range options {
			want, near := chosen(t, row, o, draws[turn][i])
			if got[i] == want {
				same++
			} else if !near {
				t.Errorf("%+v, draw %v: token %d, want %d", o, draws[turn][i], got[i], want)
			}
		}
		if same < len(options)-2 {
			t.Errorf("%d of %d tokens are those of the CPU's sampler", same, len(options))
		}
	}
}

// sampleRows are rows of n logits by what is odd about them.
func sampleRows(n int) map[string][]float32 {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	row := func(f func(i int) float64) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(f(i))
		}
		return out
	}
	rows := map[string][]float32{
		"normal": row(func(int) float64 { return 3 * r.NormFloat64() }),
		"peaked": row(func(int) float64 { return -4 * r.ExpFloat64() * float64(1+r.IntN(5)) }),
		"flat":   row(func(int) float64 { return 1e-3 * r.NormFloat64() }),
		"equal":  row(func(int) float64 { return 5 }),
		"ties":   row(func(int) float64 { return float64(r.IntN(4)) }),
		"holes": row(func(i int) float64 {
			if i%3 > 0 {
				return math.Inf(-1)
			}
			return r.NormFloat64()
		}),
		"huge": row(func(int) float64 { return 1e30 * r.NormFloat64() }),
	}
	bad := slices.Clone(rows["normal"])
	bad[r.IntN(n)] = float32(math.NaN())
	rows["nan"] = bad
	bad = slices.Clone(rows["normal"])
	bad[r.IntN(n)] = float32(math.Inf(1))
	rows["infinite"] = bad
	rows["nothing"] = row(func(int) float64 { return math.Inf(-1) })
	return rows
}
