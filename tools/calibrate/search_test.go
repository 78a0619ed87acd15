package calibrate

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"testing"

	"quire/frontends/decoder"
)

// nearest rounds groups of g by AWQ's quantiser in float64, zero in the range.
func nearest(bits, g int) func([]float32) error {
	top := float64(int(1)<<bits - 1)
	return func(x []float32) error {
		for ; len(x) > 0; x = x[g:] {
			var lo, hi float64
			for _, v := range x[:g] {
				lo, hi = min(lo, float64(v)), max(hi, float64(v))
			}
			s := max(hi-lo, 1e-5) / top
			z := min(max(-math.RoundToEven(lo/s), 0), top)
			for i, v := range x[:g] {
				x[i] = float32((min(max(math.RoundToEven(float64(v)/s)+z, 0), top) - z) * s)
			}
		}
		return nil
	}
}

// squares multiplies tokens of k values with rows of differences.
func squares(x []float32, k int) func(d []float32) ([]float64, error) {
	return func(d []float32) ([]float64, error) {
		out := make([]float64, len(d)/k)
		for r := range out {
			for t := 0; t < len(x); t += k {
				var y float64
				for j := range k {
					y += float64(x[t+j]) * float64(d[r*k+j])
				}
				out[r] += y * y
			}
		}
		return out, nil
	}
}

// Case 6.4 of "AWQ facts": losses of rounding to nearest, of the first ratio and of the best, for both searches.
func TestSearch(t *testing.T) {
	const n, k, g, tokens = 4, 16, 8, 8
	w, x, mean := make([]float32, n*k), make([]float32, tokens*k), make([]float32, k)
	for o := range n {
		for i := range k {
			w[o*k+i] = float32((37*o+59*i+31*o*i+11)%101-50) / 64
		}
	}
	times := map[int]float32{2: 8, 7: 2, 11: 4}
	for s := range tokens {
		for i := range k {
			v := float32((29*s+47*i+17*s*i+5)%97-48) / 16
			if c := times[i]; c != 0 {
				v *= c
			}
			x[s*k+i] = v
			mean[i] += abs(v) / tokens
		}
	}
	if got := fmt.Sprint(mean[:5]); got != "[1.6640625 1.4765625 13 1.2890625 3]" {
		t.Fatalf("mean |x| %s, expected [1.6640625 1.4765625 13 1.2890625 3]", got)
	}
	all := squares(x, k)
	loss := func(d []float32) (float64, error) {
		sums, err := all(d)
		var s float64
		for _, v := range sums {
			s += v
		}
		return s / (n * tokens), err
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-4*want {
			t.Errorf("%s is %v, expected %v", what, got, want)
		}
	}
	// 4 bits, activation only: all twenty ratios
	curve := []float64{.09939, .268761, .081515, .183803, .068892, .08559, .091253, .0656, .054339, .093242,
		.124418, .121408, .065139, .062443, .090925, .181447, .101267, .116292, .153764, .248999}
	for _, c := range []struct {
		bits                       int
		search                     Search
		nearest, zero, ratio, best float64
	}{
		{3, Activation, .561392, .561392, .60, .264974},
		{3, Duo, .561392, .554409, .60, .287109},
		{4, Activation, .099390, .099390, .40, .054339},
		{4, Duo, .099390, .310814, .35, .049656},
	} {
		list := Candidates(c.search, mean, RelativeWeights(w, k, g))
		what := fmt.Sprintf("%d bits %s: ", c.bits, c.search)
		best, err := Best(list, w, k, nearest(c.bits, g), loss)
		if err != nil {
			t.Fatal(err)
		}
		near(what+"nearest", best.Nearest, c.nearest)
		near(what+"best", best.Loss, c.best)
		near(what+"ratio", best.Ratio, c.ratio)
		losses, d := []float64{}, make([]float32, len(w))
		for _, l := range list[len(list)-grid:] { // from r = 0 on
			if err := difference(d, w, k, l.Scales, nearest(c.bits, g)); err != nil {
				t.Fatal(err)
			}
			x, _ := loss(d)
			losses = append(losses, x)
		}
		near(what+"r = 0", losses[0], c.zero)
		if c.bits == 4 && c.search == Activation {
			for i, want := range curve {
				near(fmt.Sprintf("%sr = %v", what, list[i].Ratio), losses[i], want)
			}
			for j, want := range []float64{.697629, .665055, 1.587574, .629892, .88309} {
				near(fmt.Sprintf("%sscale %d", what, j), float64(best.Scales[j]), want)
			}
		}
		lo, hi := best.Scales[0], best.Scales[0]
		for _, s := range best.Scales {
			lo, hi = min(lo, s), max(hi, s)
		}
		near(what+"max * min", float64(lo*hi), 1)
		if best.Loss > best.Nearest {
			t.Errorf("%sworse than nearest", what)
		}
	}
}

// Case 6.4, iv: twenty ratios, and of equal losses the first.
func TestFirstMinimum(t *testing.T) {
	list := Candidates(Activation, []float32{1, 2, 3}, nil)
	if len(list) != 20 || list[0].Ratio != 0 || list[19].Ratio != .95 {
		t.Fatalf("%d candidates", len(list))
	}
	calls := 0
	best, err := Best(list, []float32{1, 2, 3}, 3, func([]float32) error { return nil }, func([]float32) (float64, error) {
		calls++
		return max(1, 5-float64(calls)), nil // 4, 3, 2, 1, 1, ...
	})
	if err != nil || calls != 20 || best.Ratio != .15 || best.Nearest != 4 {
		t.Errorf("%d evaluations, ratio %v, nearest %v, %v; expected 20, 0.15, 4", calls, best.Ratio, best.Nearest, err)
	}
}

// Case 6.4, i and ii: whatever weights and inputs, neither search ends above rounding to nearest, which is the first
// candidate of both. Where nearest is exact, each takes it, though no ratio of the duo form is; without the identity
// that its list begins with it would lose.
func TestNeverWorse(t *testing.T) {
	const n, k, g, tokens = 3, 32, 16, 6
	rng := rand.New(rand.NewPCG(6, 4))
	for trial := range 200 {
		bits, exact := 3+trial%2, trial%4 >= 2
		w, x, mean := make([]float32, n*k), make([]float32, tokens*k), make([]float32, k)
		for i := range w {
			w[i] = float32(rng.NormFloat64())
		}
		for i := range x {
			x[i] = float32(rng.NormFloat64() * math.Exp(2*rng.NormFloat64()))
			mean[i%k] += abs(x[i]) / tokens
		}
		if exact { // codes of a scale of 1/8, the least and the greatest among them
			for i := range w {
				w[i] = float32(rng.IntN(1<<bits)-2) / 8
				if i%g < 2 {
					w[i] = float32(i%g*(1<<bits-1)-2) / 8
				}
			}
		}
		all := squares(x, k)
		loss := func(d []float32) (sum float64, err error) {
			rows, err := all(d)
			for _, v := range rows {
				sum += v
			}
			return sum, err
		}
		plain, err := Best(Candidates(None, mean, nil), w, k, nearest(bits, g), loss)
		if err != nil {
			t.Fatal(err)
		}
		if exact && plain.Loss != 0 {
			t.Fatalf("trial %d: nearest is off by %v of weights that it holds", trial, plain.Loss)
		}
		for search, identity := range map[Search]float64{Activation: 0, Duo: -1} {
			list := Candidates(search, mean, RelativeWeights(w, k, g))
			best, err := Best(list, w, k, nearest(bits, g), loss)
			if err != nil {
				t.Fatal(err)
			}
			if best.Nearest != plain.Loss || best.Loss > plain.Loss {
				t.Errorf("trial %d, %s: loss %v, nearest %v, expected at most that of no search, %v", trial, search, best.Loss, best.Nearest, plain.Loss)
			}
			if exact && best.Ratio != identity {
				t.Errorf("trial %d, %s: ratio %v of exact weights, expected the identity", trial, search, best.Ratio)
			}
			if rest, err := Best(list[1:], w, k, nearest(bits, g), loss); err != nil || exact && !(rest.Loss > 0) {
				t.Errorf("trial %d, %s: loss %v without the identity (%v), expected more than 0", trial, search, rest.Loss, err)
			}
		}
	}
}

// Case 6.5: the errors of the grid of clips, and which is taken. The names that llm-awq skips are those of queries and keys;
// that it also skips Mixtral's experts, by a substring of theirs, is not followed. A Wqkv is none of a weight here: rows of
// fused tensors are read as q, k and v, each with a name of its own, as all names of a model's linears show.
func TestClip(t *testing.T) {
	x := []float32{4, 4, 4, .0625, -4, 4, 2, .0625}
	for _, c := range []struct {
		bits   int
		want   []float64
		chosen float32
	}{
		{4, []float64{.045139, .012725, .008539, .217869, .089214, .023472, .000561, .020481, .083232, .009169}, 1.4},
		{3, []float64{.453842, .433329, .478936, .33295, .228789, .166454, .145945, .167261, .092928, .075778}, 1.1},
	} {
		w := []float32{-.5, .25, .375, 2}
		i := 0
		_, err := Clip(w, 4, nearest(c.bits, 4), func(d []float32) ([]float64, error) {
			sums, err := squares(x, 4)(d)
			if got := sums[0] / 2; math.Abs(got-c.want[i]) > 2e-3*c.want[i]+1e-6 {
				t.Errorf("%d bits: error of shrink %.2f is %v, expected %v", c.bits, Shrink(i), got, c.want[i])
			}
			i++
			return sums, err
		})
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(float64(w[3]-c.chosen)) > 1e-5 {
			t.Errorf("%d bits: the largest weight is %v, expected %v", c.bits, w[3], c.chosen)
		}
	}
	for name, want := range map[string]bool{"self_attn.q_proj": false, "self_attn.k_proj": false, "self_attn.v_proj": true, "self_attn.o_proj": true, "mlp.gate_proj": true, "mlp.up_proj": true,
		"mlp.down_proj": true, "block_sparse_moe.experts.0.w1": true} {
		if Clips(name) != want {
			t.Errorf("Clips(%s) is %v", name, !want)
		}
	}
	c := decoder.Config{Family: "phi3", Layers: 2, Hidden: 8, Heads: 2, KVHeads: 1, HeadDim: 4, FFN: 16, Vocab: 10, Bias: decoder.Bias{QKV: true}}
	skipped := map[bool]int{}
	for _, n := range c.Needs() {
		if n.Kind == decoder.KindAttn || n.Kind == decoder.KindMLP {
			skipped[!Clips(n.Name)]++
		}
	}
	if skipped[true] != 2*2 || skipped[false] != 2*5 { // q k; v o gate up down
		t.Errorf("of two layers %d linears are skipped and %d clipped, expected 4 and 10", skipped[true], skipped[false])
	}
}

// A channel that is always zero, or a weight that is: no scale is infinite or not a number.
func TestScalesAreNumbers(t *testing.T) {
	for _, s := range []Search{Activation, Duo} {
		for _, c := range Candidates(s, []float32{0, 1, 1e-30, 5}, []float32{0, 0, 1, 1}) {
			for _, v := range c.Scales {
				if !(v > 0) || math.IsInf(float64(v), 0) {
					t.Errorf("%s, ratio %v: scale %v", s, c.Ratio, v)
				}
			}
		}
	}
}

// The sample has a token of each stretch, of all places of windows alike: first ones too, which matter most.
func TestDrawn(t *testing.T) {
	const window, windows, most = 512, 64, 512
	for seed := range int64(20) {
		takes, stretch := drawn(window*windows, most, seed), map[int]bool{}
		for i := range takes {
			stretch[i*most/(window*windows)] = true
		}
		if !takes[0] || len(takes) != most || len(stretch) != most {
			t.Errorf("seed %d: %d tokens of %d stretches, expected %d, the first of all", seed, len(takes), len(stretch), most)
		}
	}
	first := 0
	for seed := range int64(20) {
		for i := range drawn(window*windows, most, seed) {
			if i%window == 0 {
				first++
			}
		}
	}
	if first < 20 || first > 60 { // the first of all, and one more a draw in the mean
		t.Errorf("%d first tokens of windows in 20 draws, expected about 40", first)
	}
	if got := drawn(7, 10, 0); len(got) != 7 {
		t.Errorf("a sample of 10 of 7 tokens has %d", len(got))
	}
	if got := drawn(1<<14, 512, 3); !maps.Equal(got, drawn(1<<14, 512, 3)) {
		t.Error("the same seed draws others")
	}
}
