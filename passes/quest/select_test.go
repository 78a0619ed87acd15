package quest_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"quire/ir"
	"quire/ir/interp"
	"quire/passes"
	"quire/passes/duo"
	"quire/passes/quest"
)

// The numbered cases are the conformance cases of Quest (arXiv 2406.10774); those of
// scores and picks alone are tests of the oracle.

// model is a decoder of some layers, two KV heads and four query heads each.
func model(layers int) string {
	var decl, body, params, results strings.Builder
	x := "%x0"
	for l := range layers {
		fmt.Fprintf(&decl, "cache @kv%d: kv<f32>[2, 8] on @full\n", l)
		fmt.Fprintf(&params, ", %%kv%d: @kv%d", l, l)
		fmt.Fprintf(&results, ", @kv%d", l)
		for _, w := range []string{"q: f32[32, 32]", "k: f32[16, 32]", "v: f32[16, 32]", "o: f32[32, 32]"} {
			fmt.Fprintf(&decl, "weight @l%d.%s\n", l, w)
		}
		r := strings.NewReplacer("#", fmt.Sprint(l), "%X", x)
		body.WriteString(r.Replace(`  %q#: f32[N, 32] = matmul %X, @l#.q
  %k#: f32[N, 16] = matmul %X, @l#.k
  %v#: f32[N, 16] = matmul %X, @l#.v
  %qh#: f32[N, 4, 8] = unflatten %q# {dim = 8}
  %kh#: f32[N, 2, 8] = unflatten %k# {dim = 8}
  %vh#: f32[N, 2, 8] = unflatten %v# {dim = 8}
  %qr#: f32[N, 4, 8] = rope %qh#, %t
  %kr#: f32[N, 2, 8] = rope %kh#, %t
  %c#: @kv# = kv.append %kv#, %kr#, %vh#, %seq
  %a#: f32[N, 4, 8] = attention %qr#, %c#, %seq {scale = 1}
  %f#: f32[N, 32] = flatten %a#
  %o#: f32[N, 32] = matmul %f#, @l#.o
  %y#: f32[N, 32] = add %X, %o#
`))
		x = fmt.Sprintf("%%y%d", l)
	}
	caches := ""
	for l := range layers {
		caches += fmt.Sprintf(", %%c%d", l)
	}
	return `dim N launch 0..64
dim S launch 1..8
dim M launch 0..64
dim C device 0..4096
table @full {page = 64}
weight @emb: f32[40, 32]
` + decl.String() + "func @step(%tok: i32[N], %pos: i32[N], %seq: rows[N, S], %out: i32[M]" + params.String() + ") -> (f32[M, 40]" + results.String() + `) {
  %x0: f32[N, 32] = embed %tok, @emb
  %t: f32[N, 4, 2] = rope.table %pos {dim = 8, base = 10000}
` + body.String() + "  %g: f32[M, 32] = gather " + x + `, %out
  %logits: f32[M, 40] = matmul %g, @emb
  return %logits` + caches + "\n}\n"
}

// built runs passes on the model.
func built(t *testing.T, text string, p ...passes.Pass) *ir.Module {
	t.Helper()
	m, err := ir.Parse("t", text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := passes.Pipeline(p).Run(m, passes.Verify()); err != nil {
		t.Fatal(err)
	}
	return m
}

func small(budget, dense int) quest.Options {
	return quest.Options{Budget: budget, Page: 2, PhysicalPage: 4, DenseLayers: dense, Reselect: 1}
}

func selected(t *testing.T, layers int, o quest.Options) *ir.Module {
	return built(t, model(layers), quest.SelectPages(o))
}

// feed gives the tokens in steps of the given sizes, the last repeated, to slot 0,
// and returns the logits of every token and the state.
func feed(t *testing.T, m *ir.Module, tokens []int32, cuts ...int) ([][]float64, *interp.State) {
	t.Helper()
	mach, state := interp.New(m, interp.RandomWeights(m, 5), interp.Options{Wide: true}), interp.NewState()
	var rows [][]float64
	for len(rows) < len(tokens) {
		n := min(cuts[0], len(tokens)-len(rows))
		if len(cuts) > 1 {
			cuts = cuts[1:]
		}
		bind, in := interp.StepOf(state, 1, interp.Turn{Slot: 0, Tokens: tokens[len(rows) : len(rows)+n], Logits: n})
		out, err := mach.Run(m.Func("step"), bind, in, state)
		if err != nil {
			t.Fatal(err)
		}
		for r := range n {
			rows = append(rows, out[0].Row(r))
		}
	}
	return rows, state
}

func tokens(n int) []int32 {
	rng := rand.New(rand.NewPCG(uint64(n), 9))
	out := make([]int32, n)
	for i := range out {
		out[i] = rng.Int32N(40)
	}
	return out
}

// same counts rows of equal bits, from the first on.
func same(a, b [][]float64) int {
	for i := range a {
		for k := range a[i] {
			if a[i][k] != b[i][k] {
				return i
			}
		}
	}
	return len(a)
}

// Case 7: while the budget covers the context decode is the dense model bit for bit,
// at lengths that are no multiple of a page; from there on it is not.
func TestCase7BudgetCovers(t *testing.T) {
	dense := built(t, model(2))
	text := tokens(50)
	want, _ := feed(t, dense, text, 27, 1)
	for _, c := range []struct {
		budget, differs int // the first token that may differ
	}{{1000, 50}, {50, 50}, {48, 48}, {45, 48}, {44, 44}, {29, 32}, {28, 28}, {4, 27}} {
		got, _ := feed(t, selected(t, 2, small(c.budget, 0)), text, 27, 1)
		if n := same(got, want); n != c.differs {
			t.Errorf("budget %d: differs from token %d on, expected %d", c.budget, n, c.differs)
		}
	}
}

// Case 11: a prompt is dense for any budget, in chunks too, to the bit; and a single first token is.
func TestPromptsAreDense(t *testing.T) {
	text := tokens(20)
	want, _ := feed(t, built(t, model(2)), text, 20)
	m := selected(t, 2, small(4, 0))
	for _, cuts := range [][]int{{20}, {7, 13}, {1, 19}, {10, 2}} {
		got, _ := feed(t, m, text, cuts...)
		whole, _ := feed(t, built(t, model(2)), text, cuts...)
		if n := same(got, whole); n != 20 {
			t.Errorf("chunks %v: token %d differs", cuts, n)
		}
		if e := interp.RelL2(got[19], want[19]); e > 1e-12 {
			t.Errorf("chunks %v: off by %g", cuts, e)
		}
	}
}

// Case 10: the page after a prompt of whole pages is attended from its first token.
func TestCase10NewPage(t *testing.T) {
	text := tokens(13)
	_, state := feed(t, selected(t, 1, small(4, 0)), text, 12, 1)
	sums := state.Summaries("kv0", 0)
	if len(sums) != 7 || sums[6].Tokens != 1 {
		t.Errorf("%d summaries of 13 tokens, the last of %d", len(sums), sums[len(sums)-1].Tokens)
	}
}

// Case 11: the first two layers never select, however many there are; window layers
// and streaming heads are layers too.
func TestCase11DenseLayers(t *testing.T) {
	for _, layers := range []int{1, 2, 3, 28, 32, 40, 80} {
		m := selected(t, layers, quest.Options{Budget: 64, Page: 16, PhysicalPage: 64, DenseLayers: 2, Reselect: 1})
		got := ops(m)
		if want := min(layers, 2); got[ir.OpAttention] != want || got[ir.OpAttentionPaged] != layers-want {
			t.Errorf("%d layers: %d dense, %d paged", layers, got[ir.OpAttention], got[ir.OpAttentionPaged])
		}
	}
	mask := duo.Mask{{true, false}, {false, false}, {true, true}, {true, false}}
	m := built(t, model(4), duo.SplitHeads(duo.Options{Mask: mask, Sink: 1, Recent: 2}), quest.SelectPages(quest.Defaults))
	for _, v := range m.Func("step").Body {
		if v.Op == ir.OpAttentionPaged && v.Args[1].Type.Cache != "kv2" && v.Args[1].Type.Cache != "kv3r" {
			t.Errorf("@%s is selected", v.Args[1].Type.Cache)
		}
	}
	if got := ops(m); got[ir.OpAttentionPaged] != 2 || got[ir.OpAttention] != 4 {
		t.Errorf("%d paged and %d others, expected 2 and 4:\n%s", got[ir.OpAttentionPaged], got[ir.OpAttention], ir.Print(m))
	}
}

func ops(m *ir.Module) map[ir.Op]int {
	n := map[ir.Op]int{}
	m.Func("step").Walk(func(v *ir.Value) { n[v.Op]++ })
	return n
}

// Case 14: bytes that a row reads, relative to dense; of codes, whose summaries are float16,
// summaries take a larger share (128 channels: 2 * (128 + 4) or 2 * (64 + 4) bytes a token, 512 a summary).
func TestCase14Traffic(t *testing.T) {
	for _, c := range []struct {
		tokens, budget, group int
		per                   ir.Per
		token, summary        float64
		want                  float64
	}{{32768, 2048, 1, ir.PerHead, 512, 512, 0.125}, {131072, 4096, 1, ir.PerHead, 512, 512, 0.09375}, {32768, 2048, 4, ir.PerHead, 512, 512, 0.3125}, {32768, 2048, 4, ir.PerGroup, 512, 512, 0.125},
		{2048, 2048, 1, ir.PerHead, 512, 512, 1}, {2000, 4096, 4, ir.PerHead, 512, 512, 1},
		{32768, 2048, 4, ir.PerGroup, 264, 512, 512./264/16 + 0.0625}, {32768, 2048, 4, ir.PerGroup, 136, 512, 512./136/16 + 0.0625},
		{32768, 2048, 4, ir.PerGroup, 3 * 136, 3 * 512, 512./136/16 + 0.0625}} { // three heads that read alike
		o := quest.Options{Budget: c.budget, Page: 16, PhysicalPage: 16, Per: c.per}
		if got := o.Traffic(c.tokens, c.group, c.token, c.summary) / quest.Dense(c.tokens, c.token); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%d tokens of %v bytes, budget %d, groups of %d: %v of dense, expected %v", c.tokens, c.token, c.budget, c.group, got, c.want)
		}
	}
}

// Case 15: pages are selected at every 4th token only, and at the first one after a
// prompt; a step between attends to the pages of the last selection. Every token is
// in the pages that it reads (the oracle would refuse). Every one selected by itself
// is no reuse.
func TestCase15Reselect(t *testing.T) {
	text := tokens(60)
	without, _ := feed(t, selected(t, 2, small(12, 0)), text, 18, 1)
	for _, every := range []int{1, 2, 4} {
		o := small(12, 0)
		o.Reselect = every
		with, _ := feed(t, selected(t, 2, o), text, 18, 1)
		fresh := 18 // token 18 selects after the prompt; with 2, token 19 may be the first that does not
		if every > 1 {
			fresh = 19
		}
		n := same(with, without)
		if every == 1 && n != 60 || every > 1 && (n < fresh || n == 60) {
			t.Errorf("every %d: differs from token %d on", every, n)
		}
	}
	o := small(12, 0)
	o.Reselect = 4
	// one layer: what is cached does not depend on picks, so a step that selects is
	// what it is without reuse
	with, _ := feed(t, selected(t, 1, o), text, 18, 1)
	without, _ = feed(t, selected(t, 1, small(12, 0)), text, 18, 1)
	kept := 0
	for i := 18; i < 60; i++ {
		e := interp.RelL2(with[i], without[i])
		if (i == 18 || i%4 == 0) && e != 0 {
			t.Errorf("token %d selects, but is off by %g", i, e)
		}
		if e != 0 {
			kept++
		}
	}
	if kept == 0 {
		t.Error("no token between selections reads other pages")
	}
	// a prompt in between: the next token selects anew
	with, _ = feed(t, selected(t, 1, o), text, 18, 1, 5, 1)
	without, _ = feed(t, selected(t, 1, small(12, 0)), text, 18, 1, 5, 1)
	if e := interp.RelL2(with[24], without[24]); e != 0 {
		t.Errorf("after a prompt off by %g", e)
	}
}

// A row picks the same alone and in a batch with a prompt and other decoding rows.
func TestCompanyChangesNothing(t *testing.T) {
	m := selected(t, 3, small(8, 1))
	mach := interp.New(m, interp.RandomWeights(m, 5), interp.Options{Wide: true})
	text := tokens(30)
	alone, _ := feed(t, m, text, 29, 1)
	state := interp.NewState()
	run := func(turns ...interp.Turn) *interp.Tensor {
		bind, in := interp.StepOf(state, 3, turns...)
		out, err := mach.Run(m.Func("step"), bind, in, state)
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	run(interp.Turn{Slot: 1, Tokens: text[:29]}, interp.Turn{Slot: 0, Tokens: text[3:20]})
	out := run(interp.Turn{Slot: 2, Tokens: text[5:9]}, interp.Turn{Slot: 0, Tokens: text[20:21]}, interp.Turn{Slot: 1, Tokens: text[29:], Logits: 1})
	if e := interp.RelL2(out.Row(0), alone[29]); e > 1e-12 {
		t.Errorf("in company off by %g", e)
	}
}

// Both rewrites in their exact cases are the plain model; in company of each other
// they stay within what each leaves out.
func TestWithSplitHeads(t *testing.T) {
	plain := built(t, model(3))
	mask := duo.Mask{{true, false}, {false, true}, {true, true}}
	for _, per := range []ir.Per{ir.PerGroup, ir.PerHead} {
		q := small(1000, 0)
		q.Per = per
		m := built(t, model(3), duo.SplitHeads(duo.Options{Mask: mask, Sink: 2, Recent: 1000}), quest.SelectPages(q))
		for seed := range uint64(4) {
			o := interp.CompareOptions{Seed: seed, Caches: true, Wide: true}
			if err := interp.Compare(plain, plain.Func("step"), m, m.Func("step"), o); err != nil {
				t.Errorf("per %v: %v", per, err)
			}
		}
	}
	m := built(t, model(3), duo.SplitHeads(duo.Options{Mask: mask, Sink: 2, Recent: 6}), quest.SelectPages(small(8, 1)))
	text := tokens(40)
	got, state := feed(t, m, text, 12, 1)
	want, _ := feed(t, plain, text, 12, 1)
	for i := range got {
		if e := interp.RelL2(got[i], want[i]); !(e < 1) || i < 8 && e > 1e-12 {
			t.Errorf("token %d is off by %g", i, e)
		}
	}
	if r, s := len(state.Entries("kv0r", 0)), len(state.Entries("kv0s", 0)); r != 40 || s != 2+6+1 {
		t.Errorf("caches keep %d and %d tokens, expected 40 and 9", r, s)
	}
	if state.Summaries("kv0s", 0) != nil || len(state.Summaries("kv0r", 0)) != 20 {
		t.Errorf("%d summaries of streaming heads, %d of retrieval heads", len(state.Summaries("kv0s", 0)), len(state.Summaries("kv0r", 0)))
	}
}

// A larger budget is nearer to dense, on the whole (case 8: it keeps more mass).
func TestLargerBudgetsAreNearer(t *testing.T) {
	text := tokens(48)
	want, _ := feed(t, built(t, model(2)), text, 30, 1)
	last := math.Inf(1)
	for _, budget := range []int{4, 12, 24, 36, 48} {
		got, _ := feed(t, selected(t, 2, small(budget, 0)), text, 30, 1)
		sum := 0.0
		for i := 30; i < 48; i++ {
			sum += interp.RelL2(got[i], want[i])
		}
		if sum > last {
			t.Errorf("budget %d: off by %g in all, with less by %g", budget, sum, last)
		}
		last = sum
	}
	if last != 0 {
		t.Errorf("a budget of all tokens is off by %g", last)
	}
}

func TestPages(t *testing.T) {
	for _, c := range [][3]int{{4096, 64, 64}, {1, 64, 1}, {64, 64, 1}, {65, 64, 2}, {512, 16, 32}} {
		if o := (quest.Options{Budget: c[0], PhysicalPage: c[1]}); o.Pages() != c[2] {
			t.Errorf("%d tokens in pages of %d: %d pages, expected %d", c[0], c[1], o.Pages(), c[2])
		}
	}
}

// A module without a bound on cached tokens gets one; a second run changes nothing; options that
// make no sense are refused, selections every so many tokens that do not divide a page (case 15) among them.
func TestOnlyOnceAndDeclared(t *testing.T) {
	m := built(t, strings.Replace(model(1), "dim C device 0..4096\n", "", 1), quest.SelectPages(small(8, 0)))
	if d := m.Dim("C"); d == nil || d.When != ir.Device || d.Range.Max < 1<<20 {
		t.Errorf("dim C is %+v", d)
	}
	text := ir.Print(m)
	if _, err := (passes.Pipeline{quest.SelectPages(small(4, 0))}).Run(m); err != nil || ir.Print(m) != text {
		t.Errorf("a second selection changes the text: %v", err)
	}
	for _, o := range []quest.Options{{}, {Budget: 4, Page: 3, PhysicalPage: 4, Reselect: 1}, {Budget: 4, Page: 4, PhysicalPage: 4, Reselect: 1, DenseLayers: -1}, {Budget: 4, Page: 4, PhysicalPage: 4}, {Budget: 4, Page: 4, PhysicalPage: 4, Reselect: 3}, {Budget: 4, Page: 4, PhysicalPage: 4, Reselect: 8}} {
		if _, err := (passes.Pipeline{quest.SelectPages(o)}).Run(built(t, model(1))); err == nil || !strings.HasPrefix(err.Error(), "quest.select-pages: ") {
			t.Errorf("%+v: error %v", o, err)
		}
	}
}
