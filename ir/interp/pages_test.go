package interp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"quire/ir"
	"quire/ir/types"
)

// The numbered cases are the conformance cases of Quest (arXiv 2406.10774) and of
// LServe's hierarchical pages (arXiv 2502.14866).

// summaries of keys of one head, size tokens each.
func summaries(size int, keys ...[]float64) []Summary {
	var sums []Summary
	for i, k := range keys {
		sums = summarise(sums, size, Entry{Index: i, K: k})
	}
	return sums
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// Case 1: the first page of figure 5.
func TestCase1ScoreOfAPage(t *testing.T) {
	keys := [][]float64{{4, -3, 4, -1, 3, -4, 1, 3}, {-3, -2, 0, 3, 0, -4, -2, -3}, {-1, 3, -1, 3, 1, -4, -4, -3}, {-2, -4, 0, 3, -1, 2, -3, -4}}
	s := summaries(4, keys...)
	if len(s) != 1 || !slices.Equal(s[0].Max, []float64{4, 3, 4, 3, 3, 2, 1, 3}) || !slices.Equal(s[0].Min, []float64{-3, -4, -1, -1, -1, -4, -4, -4}) {
		t.Fatalf("summaries %v", s)
	}
	q := []float64{-1, 1, 3, 0, 1, 0, -3, 2}
	if got := s[0].bound(q, 0); got != 39 {
		t.Errorf("score %v, expected 39", got)
	}
	for i, want := range []float64{11, 1, 8, -2} {
		if got := dot(q, keys[i]); got != want {
			t.Errorf("key %d: q.k is %v, expected %v", i, got, want)
		}
	}
}

// Case 2: a physical page scores as the best of its logical ones, which is tighter
// than one summary of all.
func TestCase2PagesOfPages(t *testing.T) {
	q := []float64{1, -2, 2, -2, 1, 1, 1, -3}
	a := Summary{4, []float64{2, 3, 2, 8, 4, 5, 2, 6}, []float64{-6, -1, -6, 1, -5, -6, -6, -2}}
	b := Summary{4, []float64{4, 6, 3, 4, 2, 4, 5, 7}, []float64{0, -2, -8, -3, -8, -7, -3, -3}}
	if x, y := a.bound(q, 0), b.bound(q, 0); x != 23 || y != 40 {
		t.Errorf("scores %v and %v, expected 23 and 40", x, y)
	}
	if got := pageScores([]Summary{a, b}, 2, q, 0, 1); len(got) != 1 || got[0] != 40 {
		t.Errorf("page scores %v, expected 40", got)
	}
	whole := Summary{8, slices.Clone(a.Max), slices.Clone(a.Min)}
	for i := range whole.Max {
		whole.Max[i], whole.Min[i] = math.Max(a.Max[i], b.Max[i]), math.Min(a.Min[i], b.Min[i])
	}
	if got := whole.bound(q, 0); got != 43 {
		t.Errorf("one summary scores %v, expected 43", got)
	}
}

func drawKeys(t *rapid.T, n, d int) [][]float64 {
	keys := make([][]float64, n)
	for i := range keys {
		keys[i] = rapid.SliceOfN(rapid.Float64Range(-8, 8), d, d).Draw(t, "key")
	}
	return keys
}

// Case 3: the score bounds every product, is it for a page of one token, and is 0
// for no query.
func TestCase3Bound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, d := rapid.IntRange(1, 9).Draw(t, "tokens"), rapid.IntRange(1, 8).Draw(t, "d")
		keys, q := drawKeys(t, n, d), rapid.SliceOfN(rapid.Float64Range(-8, 8), d, d).Draw(t, "q")
		s := summaries(n, keys...)[0]
		for _, k := range keys {
			if u, x := s.bound(q, 0), dot(q, k); u < x || n == 1 && u != x {
				t.Errorf("score %v, q.k %v", u, x)
			}
		}
		if got := s.bound(make([]float64, d), 0); got != 0 {
			t.Errorf("score %v for q = 0", got)
		}
	})
}

// pagedText is dense attention and attention over picked pages beside it; the
// holes: page, summary, heads of q, KV heads, d, scale, per, heads of the pick, budget.
const pagedText = `dim N launch 0..4096
dim S launch 1..8
dim C device 0..65536
table @t {page = %[1]d, summary = %[2]d}
cache @kv: kv<%[10]s>[%[4]d, %[5]d] on @t
func @f(%%q: f32[N, %[3]d, %[5]d], %%k: f32[N, %[4]d, %[5]d], %%v: f32[N, %[4]d, %[5]d], %%seq: rows[N, S], %%c: @kv) -> (f32[N, %[3]d, %[5]d], f32[N, %[3]d, %[5]d], f32[N, %[8]d, ceil(C/%[1]d)], @kv) {
  %%c1: @kv = kv.append %%c, %%k, %%v, %%seq
  %%dense: f32[N, %[3]d, %[5]d] = attention %%q, %%c1, %%seq {scale = %[6]v}
  %%e: f32[N, %[8]d, ceil(C/%[1]d)] = page.estimate %%q, %%c1, %%seq {scale = %[6]v, per = %[7]s}
  %%p: pick[N, %[8]d, %[9]d] = page.topk %%e, %%seq {budget = %[9]d, page = %[1]d}
  %%a: f32[N, %[3]d, %[5]d] = attention.paged %%q, %%c1, %%seq, %%p {scale = %[6]v}
  return %%a, %%dense, %%e, %%c1
}
`

// paged is one attention over picked pages.
type paged struct {
	page, summary, heads, kv, d int
	scale                       float64
	per                         ir.Per
	budget                      int
	elem                        string
}

func (p paged) module(t *testing.T) *ir.Module {
	t.Helper()
	pickHeads := p.kv
	if p.per == ir.PerHead {
		pickHeads = p.heads
	}
	per, _ := p.per.MarshalText()
	if p.elem == "" {
		p.elem = "f32"
	}
	return parse(t, fmt.Sprintf(pagedText, p.page, p.summary, p.heads, p.kv, p.d, p.scale, per, pickHeads, p.budget, p.elem))
}

// tokens are the q, k and v of one sequence: [n][heads*d], [n][kv*d].
type tokens struct{ q, k, v [][]float64 }

func (p paged) random(n int, seed uint64) tokens {
	rng := rand.New(rand.NewPCG(seed, 3))
	row := func(w int) []float64 {
		x := make([]float64, w)
		for i := range x {
			x[i] = float64(float32(rng.NormFloat64()))
		}
		return x
	}
	var s tokens
	for range n {
		s.q, s.k, s.v = append(s.q, row(p.heads*p.d)), append(s.k, row(p.kv*p.d)), append(s.v, row(p.kv*p.d))
	}
	return s
}

// outcome is what one step gave: for each row picked and dense outputs, and scores.
type outcome struct{ out, dense, scores *Tensor }

// step feeds tokens first..last-1 of one sequence as slot 0.
func (p paged) step(t *testing.T, m *ir.Module, s tokens, first, last int, state *State) outcome {
	t.Helper()
	f32, n := types.Plain(types.F32), last-first
	in := Inputs{"q": &Tensor{f32, []int{n, p.heads, p.d}, slices.Concat(s.q[first:last]...)},
		"k":   &Tensor{f32, []int{n, p.kv, p.d}, slices.Concat(s.k[first:last]...)},
		"v":   &Tensor{f32, []int{n, p.kv, p.d}, slices.Concat(s.v[first:last]...)},
		"seq": &RowMap{N: n, Slots: []Slot{{0, n, first}}}}
	out, err := New(m, nil, Options{Wide: true}).Run(m.Func("f"), types.Bindings{"N": int64(n), "S": 1, "C": int64(last)}, in, state)
	if err != nil {
		t.Fatal(err)
	}
	return outcome{out[0], out[1], out[2]}
}

// decode feeds all tokens but the last as a prompt, then the last.
func (p paged) decode(t *testing.T, s tokens) outcome {
	t.Helper()
	m, state := p.module(t), NewState()
	p.step(t, m, s, 0, len(s.q)-1, state)
	return p.step(t, m, s, len(s.q)-1, len(s.q), state)
}

// tiny is the sequence of case 6.
func tiny() tokens {
	var s tokens
	for i, k := range [][]float64{{1, 0}, {0, 1}, {2, -1}, {-2, 2}, {1, -1}, {0, -2}, {0, 0}} {
		s.q, s.k, s.v = append(s.q, []float64{1, -2}), append(s.k, k), append(s.v, []float64{float64(i + 1), 0})
	}
	return s
}

// Case 6: outputs for each budget; case 9: the error is bounded by the mass that
// is left out.
func TestCase6And9TinyVector(t *testing.T) {
	for _, c := range []struct {
		budget    int
		out, mass float64
	}{{2, 5.720416, 0.577603}, {3, 4.654277, 0.950045}, {4, 4.477075, 1}} {
		p := paged{2, 2, 1, 1, 2, 1 / math.Sqrt2, ir.PerHead, c.budget, ""}
		o := p.decode(t, tiny())
		if math.Abs(o.out.Data[0]-c.out) > 1e-6 {
			t.Errorf("budget %d: %v, expected %v", c.budget, o.out.Data[0], c.out)
		}
		if e := math.Abs(o.out.Data[0] - o.dense.Data[0]); e > 2*(1-c.mass)*7+1e-9 {
			t.Errorf("budget %d: off by %v, more than twice the mass left out", c.budget, e)
		}
		for i, want := range []float64{1, 4, 5} {
			if got := o.scores.Data[i] * math.Sqrt2; math.Abs(got-want) > 1e-12 {
				t.Errorf("page %d scores %v, expected %v", i, got, want)
			}
		}
		if !math.IsInf(o.scores.Data[3], -1) {
			t.Errorf("the open page scores %v", o.scores.Data[3])
		}
	}
}

// Cases 4 and 5: summaries of appended keys are those of the keys at once, however
// they were cut, and those of a page that is not full know its tokens only.
func TestCase4And5SummariesAreIncremental(t *testing.T) {
	p := paged{8, 4, 2, 2, 3, 0.5, ir.PerGroup, 2, "f16"}
	m, s := p.module(t), p.random(30, 1)
	for _, cuts := range [][]int{{0, 30}, {0, 1, 2, 3, 4, 5, 9, 16, 17, 30}, {0, 7, 8, 9, 29, 30}} {
		state := NewState()
		for i := range cuts[1:] {
			p.step(t, m, s, cuts[i], cuts[i+1], state)
		}
		entries, sums := state.Entries("kv", 0), state.Summaries("kv", 0)
		if len(sums) != 8 || sums[7].Tokens != 2 {
			t.Fatalf("%v: %d summaries, the last of %d tokens", cuts, len(sums), sums[len(sums)-1].Tokens)
		}
		for i, got := range sums {
			for c := range got.Max {
				hi, lo := math.Inf(-1), math.Inf(1)
				for _, e := range entries[i*4 : min(i*4+4, 30)] {
					hi, lo = math.Max(hi, e.K[c]), math.Min(lo, e.K[c])
				}
				if got.Max[c] != hi || got.Min[c] != lo {
					t.Errorf("%v: summary %d, channel %d: %v..%v, expected %v..%v", cuts, i, c, got.Min[c], got.Max[c], lo, hi)
				}
			}
		}
	}
}

// Case 7: a budget that covers all pages is dense, bit for bit, at any length; and
// prompts are, whatever the budget.
func TestCase7DenseWhileTheBudgetCovers(t *testing.T) {
	for _, n := range []int{27, 50, 61, 113, 482, 577} {
		pages := (n + 15) / 16
		for _, budget := range []int{pages, pages + 1, 1000} {
			p := paged{16, 16, 2, 1, 4, 0.5, ir.PerGroup, budget, ""}
			if o := p.decode(t, p.random(n, 2)); !slices.Equal(o.out.Data, o.dense.Data) {
				t.Errorf("%d tokens, budget %d: not dense", n, budget)
			}
		}
		p := paged{16, 16, 2, 1, 4, 0.5, ir.PerGroup, pages - 1, ""}
		s := p.random(n, 2)
		if o := p.decode(t, s); slices.Equal(o.out.Data, o.dense.Data) {
			t.Errorf("%d tokens, budget %d: dense", n, pages-1)
		}
		if o := p.step(t, p.module(t), s, 0, n, NewState()); !slices.Equal(o.out.Data, o.dense.Data) {
			t.Errorf("prompt of %d tokens: not dense", n)
		}
	}
}

// Cases 8 and 10: a larger budget adds pages to those of a smaller one; the last
// page is always among them, once; equal scores go to the lower page.
func TestCase8And10Nesting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 20).Draw(t, "pages")
		scores := make([]float64, n-1)
		for i := range scores {
			scores[i] = float64(rapid.IntRange(0, 4).Draw(t, "score"))
		}
		var before []int
		for budget := 1; budget < n; budget++ {
			got := topPages(scores, n, budget)
			if len(got) != budget || got[budget-1] != n-1 || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != budget {
				t.Fatalf("budget %d of %d: pages %v", budget, n, got)
			}
			for _, p := range before {
				if !slices.Contains(got, p) {
					t.Fatalf("budget %d: pages %v, with one less %v", budget, got, before)
				}
			}
			for _, p := range got[:budget-1] {
				for q := range p {
					if scores[q] == scores[p] && !slices.Contains(got, q) {
						t.Fatalf("budget %d: page %d but not %d, which scores the same", budget, p, q)
					}
				}
			}
			before = got
		}
		if topPages(scores, n, n) != nil {
			t.Fatal("a budget of all pages picks some")
		}
	})
}

// Case 10: after a prompt of whole pages the first new token opens a page.
func TestCase10FirstDecodeOpensAPage(t *testing.T) {
	p := paged{4, 4, 1, 1, 2, 1, ir.PerGroup, 1, ""}
	s := p.random(9, 3)
	o := p.decode(t, s) // 8 tokens, then one: its page holds it alone
	if !slices.Equal(o.out.Data, s.v[8]) {
		t.Errorf("attends to more than the page of its own: %v, expected %v", o.out.Data, s.v[8])
	}
	if math.IsInf(o.scores.Data[1], -1) || !math.IsInf(o.scores.Data[2], -1) {
		t.Errorf("scores %v, expected pages 0 and 1 closed", o.scores.Data)
	}
}

// Case 12: equal heads of a group pick as one; a loud head does not change what
// the others pick by themselves, and the group's rule takes each head's scores less
// its best, so that loudness is no vote.
func TestCase12Groups(t *testing.T) {
	group := paged{2, 2, 4, 1, 4, 0.5, ir.PerGroup, 4, ""}
	single := group
	single.per = ir.PerHead
	s := group.random(25, 4)
	for _, q := range s.q {
		for h := 1; h < 4; h++ {
			copy(q[h*4:], q[:4])
		}
	}
	if a, b := group.decode(t, s), single.decode(t, s); !slices.Equal(a.out.Data, b.out.Data) {
		t.Error("equal heads: a group picks other pages than its heads")
	}
	s = group.random(25, 5)
	quiet := single.decode(t, s)
	for i := range 4 {
		s.q[24][i] *= 100
	}
	loud := single.decode(t, s)
	if !slices.Equal(quiet.out.Data[4:], loud.out.Data[4:]) {
		t.Error("a loud head changes the others")
	}
	shared := shareScores([][]float64{{100, 300, 200}, {2, 1, 0}})
	if !slices.Equal(shared, []float64{0, 0, -2}) {
		t.Errorf("shared scores %v, expected each head's best at 0", shared)
	}
}

// Case 13: a positive factor on q changes no selection of a head.
func TestCase13Scaling(t *testing.T) {
	p := paged{2, 1, 2, 2, 4, 0.5, ir.PerHead, 3, ""}
	s := p.random(21, 6)
	pages := func(o outcome) (out [][]int) {
		for h := range 2 {
			out = append(out, topPages(o.scores.Row(h), 11, 3))
		}
		return out
	}
	first := pages(p.decode(t, s))
	for i := range s.q[20] {
		s.q[20][i] *= 4
	}
	if second := pages(p.decode(t, s)); fmt.Sprint(first) != fmt.Sprint(second) {
		t.Errorf("picks %v, scaled %v", first, second)
	}
}

// A row picks the same alone and in company: rows of a prompt are dense, dead rows
// and rows without scores are NaN.
func TestPicksDoNotDependOnCompany(t *testing.T) {
	p := paged{2, 2, 1, 1, 2, 1, ir.PerGroup, 2, ""}
	m, s := p.module(t), p.random(12, 7)
	alone := p.decode(t, s)
	state := NewState()
	p.step(t, m, s, 0, 11, state)
	f32 := types.Plain(types.F32)
	rows := func(x [][]float64) []float64 { return slices.Concat([]float64{0, 0}, x[11], x[0], x[1], x[2]) }
	in := Inputs{"q": &Tensor{f32, []int{5, 1, 2}, rows(s.q)}, "k": &Tensor{f32, []int{5, 1, 2}, rows(s.k)}, "v": &Tensor{f32, []int{5, 1, 2}, rows(s.v)},
		"seq": &RowMap{N: 5, Slots: []Slot{{1, 1, 11}, {2, 3, 0}}}}
	out, err := New(m, nil, Options{Wide: true}).Run(m.Func("f"), types.Bindings{"N": 5, "S": 2, "C": 12}, in, state)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out[0].Data[2:4], alone.out.Data) {
		t.Errorf("in company %v, alone %v", out[0].Data[2:4], alone.out.Data)
	}
	if !slices.Equal(out[0].Data[4:], out[1].Data[4:]) || !math.IsNaN(out[0].Data[0]) || !math.IsNaN(out[2].Row(2)[0]) {
		t.Errorf("prompt rows %v, dense %v; scores %v", out[0].Data[4:], out[1].Data[4:], out[2].Data)
	}
}

// A table that says how many tokens a step may append is believed.
func TestChunksAreBounded(t *testing.T) {
	m := parse(t, fmt.Sprintf(attnText, ", sink = 1, recent = 2, chunk = 4", "f32", ""))
	in := Inputs{"q": NewTensor(types.Plain(types.F32), 5, 4, 4), "k": NewTensor(types.Plain(types.F32), 5, 2, 4), "v": NewTensor(types.Plain(types.F32), 5, 2, 4),
		"seq": &RowMap{N: 5, Slots: []Slot{{0, 5, 0}}}}
	_, err := New(m, nil, Options{}).Run(m.Func("f"), types.Bindings{"N": 5, "S": 1}, in, nil)
	if err == nil || !strings.Contains(err.Error(), "slot 0 appends 5 tokens, table @t takes at most 4 a step") {
		t.Errorf("got %v", err)
	}
}
