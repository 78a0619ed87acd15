package sample_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"quire/runtime/sample"
)

var inf = float32(math.Inf(1))
var nan = float32(math.NaN())

func pick(t *testing.T, o sample.Options, logits []float32) int32 {
	t.Helper()
	s, err := sample.New(o)
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Sample(logits)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestGreedy(t *testing.T) {
	for _, c := range []struct {
		logits []float32
		want   int32
	}{
		{[]float32{1, 3, 3, 2}, 1},
		{[]float32{-inf, -5}, 1},
		{[]float32{-3}, 0},
	} {
		if got := pick(t, sample.Options{}, c.logits); got != c.want {
			t.Errorf("%v: %d, want %d", c.logits, got, c.want)
		}
		if got := pick(t, sample.Options{Temperature: 1, TopK: 1, Seed: 7}, c.logits); got != c.want {
			t.Errorf("%v, top-k 1: %d, want %d", c.logits, got, c.want)
		}
	}
}

func TestNotFinite(t *testing.T) {
	for _, o := range []sample.Options{{}, {Temperature: 1}, {Temperature: 1, TopP: 0.5, Repetition: 1.2}} {
		for _, row := range [][]float32{{1, nan, 2}, {nan}, {1, inf}, {-inf, -inf}, {}} {
			s, _ := sample.New(o)
			if _, err := s.Sample(row); !errors.Is(err, sample.ErrNotFinite) {
				t.Errorf("%v: error %v, want %v", row, err, sample.ErrNotFinite)
			}
		}
	}
}

func TestBadOptions(t *testing.T) {
	for _, c := range []struct {
		o    sample.Options
		says string
	}{
		{sample.Options{Temperature: math.NaN()}, "temperature is NaN"},
		{sample.Options{Temperature: -1}, "temperature is -1"},
		{sample.Options{TopK: -1}, "top-k is -1"},
		{sample.Options{TopP: 1.5}, "top-p is 1.5"},
		{sample.Options{MinP: -0.1}, "min-p"},
		{sample.Options{Repetition: math.Inf(1)}, "repetition penalty is +Inf"},
		{sample.Options{Frequency: 1e308}, "frequency penalty"},
		{sample.Options{Presence: -101}, "presence penalty"},
	} {
		if _, err := sample.New(c.o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: error %v, want it to say %q", c.o, err, c.says)
		}
	}
}

func TestPenalties(t *testing.T) {
	row := []float32{2, 1.9, -1, -1.1}
	s, _ := sample.New(sample.Options{Repetition: 2})
	s.Prompt([]int32{0, 9, -1})
	if id, _ := s.Sample(row); id != 1 { // 0 fell to 1
		t.Errorf("after the prompt: %d, want 1", id)
	}
	if id, _ := s.Sample(row); id != 0 { // 1 fell to 0.95
		t.Errorf("after the first token: %d, want 0", id)
	}
	s, _ = sample.New(sample.Options{Repetition: 2})
	s.Prompt([]int32{0, 1, 2})
	s.Accept(0)
	if id, _ := s.Sample([]float32{-10, -10, -1, -1.5}); id != 3 { // -1 became -2
		t.Errorf("negative logits: %d, want 3", id)
	}
	f, _ := sample.New(sample.Options{Frequency: 0.6, Presence: 0.1})
	f.Prompt([]int32{0}) // the prompt does not count
	var got []int32
	for range 4 {
		id, _ := f.Sample([]float32{2, 1, -9})
		got = append(got, id)
	}
	if want := []int32{0, 0, 1, 0}; !slices.Equal(got, want) { // 2, 1.3, then 0.7 < 1, then 0.7 > 0.3
		t.Errorf("frequency: %v, want %v", got, want)
	}
}

// reference is the documented order of steps with a full sort.
func reference(logits []float32, o sample.Options) []int32 {
	type tok struct {
		id int32
		w  float64
		l  float32
	}
	var all []tok
	top := slices.Max(logits)
	for i, l := range logits {
		all = append(all, tok{int32(i), math.Exp((float64(l) - float64(top)) / o.Temperature), l})
	}
	slices.SortStableFunc(all, func(a, b tok) int {
		if a.l > b.l {
			return -1
		} else if a.l < b.l {
			return 1
		}
		return 0
	})
	if o.TopK > 0 {
		all = all[:min(o.TopK, len(all))]
	}
	if o.TopP > 0 && o.TopP < 1 {
		sum, c := 0.0, 0.0
		for _, x := range all {
			sum += x.w
		}
		for i, x := range all {
			if c += x.w; c >= o.TopP*sum*(1-1e-12) {
				all = all[:i+1]
				break
			}
		}
	}
	var out []int32
	for _, x := range all {
		if x.w >= o.MinP {
			out = append(out, x.id)
		}
	}
	return out
}

// Whatever is drawn is in the set that the documented steps leave, and all of a small set
// is drawn in time.
func TestSupport(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "vocabulary")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "logits"), 0))
		row := make([]float32, n)
		for i := range row {
			row[i] = float32(math.Round(r.NormFloat64()*30) / 10) // ties
		}
		o := sample.Options{
			Temperature: rapid.SampledFrom([]float64{0.1, 0.7, 1, 3}).Draw(t, "temperature"),
			TopK:        rapid.SampledFrom([]int{0, 1, 2, 5, 40, 1000}).Draw(t, "k"),
			TopP:        rapid.SampledFrom([]float64{0, 0.01, 0.5, 0.9, 0.999, 1}).Draw(t, "p"),
			MinP:        rapid.SampledFrom([]float64{0, 0.05, 0.5, 1}).Draw(t, "min-p"),
			Seed:        rapid.Uint64().Draw(t, "seed"),
		}
		s, err := sample.New(o)
		if err != nil {
			t.Fatal(err)
		}
		want := reference(row, o)
		drawn := map[int32]bool{}
		for range 50 {
			id, err := s.Sample(row)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(want, id) {
				t.Fatalf("%+v drew %d (logit %v), want one of %v", o, id, row[id], want)
			}
			drawn[id] = true
		}
		if o.MinP == 1 && len(want) > 0 && row[want[0]] != slices.Max(row) {
			t.Fatalf("reference is wrong: %v", want)
		}
	})
}

// Frequencies follow the probabilities, and equal seeds draw equal tokens.
func TestDistribution(t *testing.T) {
	row := []float32{0, float32(math.Log(2)), float32(math.Log(5)), -30}
	for _, c := range []struct {
		o    sample.Options
		want []float64
	}{
		{sample.Options{Temperature: 1, Seed: 1}, []float64{0.125, 0.25, 0.625, 0}},
		{sample.Options{Temperature: 1, TopK: 2, Seed: 2}, []float64{0, 2. / 7, 5. / 7, 0}},
		{sample.Options{Temperature: 1, TopP: 0.7, Seed: 3}, []float64{0, 2. / 7, 5. / 7, 0}},
		{sample.Options{Temperature: 0.5, Seed: 4}, []float64{1. / 30, 4. / 30, 25. / 30, 0}},
		{sample.Options{Temperature: 1, MinP: 0.3, Seed: 5}, []float64{0, 2. / 7, 5. / 7, 0}},
	} {
		a, _ := sample.New(c.o)
		b, _ := sample.New(c.o)
		const n = 20000
		count := make([]float64, len(row))
		for range n {
			x, _ := a.Sample(row)
			y, _ := b.Sample(row)
			if x != y {
				t.Fatalf("%+v: equal seeds drew %d and %d", c.o, x, y)
			}
			count[x]++
		}
		for i := range row {
			if math.Abs(count[i]/n-c.want[i]) > 0.015 {
				t.Errorf("%+v: token %d came %v of the time, want %v", c.o, i, count[i]/n, c.want[i])
			}
		}
	}
}

func TestTopAndLogSumExp(t *testing.T) {
	row := []float32{1, 4, 4, 0, 2}
	if got := sample.Top(row, 3); !slices.Equal(got, []sample.Candidate{{1, 4}, {2, 4}, {4, 2}}) {
		t.Errorf("top 3: %v", got)
	}
	if got := sample.Top(row, 9); len(got) != 5 {
		t.Errorf("top 9 of 5: %v", got)
	}
	want := math.Log(math.Exp(1) + 2*math.Exp(4) + 1 + math.Exp(2))
	if got := sample.LogSumExp(row); math.Abs(got-want) > 1e-12 {
		t.Errorf("log sum exp %v, want %v", got, want)
	}
	if got := sample.LogSumExp([]float32{1e30, 1e30}); got < 9e29 {
		t.Errorf("log sum exp of large logits: %v", got)
	}
}

func BenchmarkSample(b *testing.B) {
	row := make([]float32, 128256)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range row {
		row[i] = float32(r.NormFloat64() * 3)
	}
	for _, c := range []struct {
		name string
		o    sample.Options
	}{{"greedy", sample.Options{}}, {"top-k", sample.Options{Temperature: 1, TopK: 40, TopP: 0.9}}, {"top-p", sample.Options{Temperature: 0.7, TopP: 0.9}}} {
		b.Run(c.name, func(b *testing.B) {
			s, _ := sample.New(c.o)
			for b.Loop() {
				s.Sample(row)
			}
		})
	}
}

// Whatever the pieces, the shown text is the text before the first stop string, and no part of
// a stop string is shown early.
func TestStops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.StringMatching(`[ab]{0,12}`)
		stops := rapid.SliceOfN(rapid.StringMatching(`[ab]{0,4}`), 0, 3).Draw(t, "stops")
		pieces := rapid.SliceOfN(letters, 0, 6).Draw(t, "pieces")
		text := strings.Join(pieces, "")
		want, stopped := text, false
	search:
		for end := range len(text) + 1 {
			for first := range end {
				if text[first:end] != "" && slices.Contains(stops, text[first:end]) {
					want, stopped = text[:first], true
					break search
				}
			}
		}
		s := sample.NewStops(stops)
		shown, hit := "", false
		for _, p := range pieces {
			show, stop := s.Push(p)
			shown += show
			if !strings.HasPrefix(want, shown) {
				t.Fatalf("showed %q of %q with stops %q, want %q", shown, text, stops, want)
			}
			hit = hit || stop
		}
		if !hit {
			shown += s.Flush()
		}
		if shown != want || hit != stopped {
			t.Fatalf("showed %q (stopped %v) of %q with stops %q, want %q (%v)", shown, hit, text, stops, want, stopped)
		}
	})
}
