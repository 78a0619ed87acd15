package duo_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"quire/ir"
	"quire/ir/interp"
	"quire/passes"
	"quire/passes/duo"
)

// The numbered cases are the conformance cases of DuoAttention (arXiv 2410.10819),
// read on the oracle; those of gates, 25 to 27, are in gates_test.go. Case 28, of the
// mixed output, the gradient and the learning rate of training gates, has no test: gates
// come trained or ranked by attention mass, and are only compared with a threshold. Cases
// 29 and 30 are tests of ir/types/kvpage and runtime/kv.

// seenText shows what a row sees: keys are all alike and the value of token t is the
// t-th unit vector, so the output is nonzero where a token is visible.
const seenText = `dim N launch 0..64
dim S launch 1..8
dim M launch 0..64
dim C device 0..4096
table @full {page = 64}
cache @kv0: kv<f32>[1, 32] on @full
weight @id: f32[32, 32]
func @step(%tok: i32[N], %pos: i32[N], %seq: rows[N, S], %out: i32[M], %kv0: @kv0) -> (f32[M, 32], @kv0) {
  %x: f32[N, 32] = embed %tok, @id
  %v: f32[N, 1, 32] = unflatten %x {dim = 32}
  %z: f32[N, 1, 32] = scale %v {by = 0}
  %c: @kv0 = kv.append %kv0, %z, %v, %seq
  %a: f32[N, 1, 32] = attention %z, %c, %seq {scale = 1}
  %f: f32[N, 32] = flatten %a
  %y: f32[M, 32] = gather %f, %out
  return %y, %c
}
`

// modelText is a decoder of two layers, two KV heads and two query heads each;
// rotation is absolute.
var modelText = func() string {
	var decl, body strings.Builder
	x := "%x0"
	for l := range 2 {
		fmt.Fprintf(&decl, "cache @kv%d: kv<f32>[2, 8] on @full\n", l)
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
	return `dim N launch 0..64
dim S launch 1..8
dim M launch 0..64
dim C device 0..4096
table @full {page = 64}
weight @emb: f32[40, 32]
` + decl.String() + `func @step(%tok: i32[N], %pos: i32[N], %seq: rows[N, S], %out: i32[M], %kv0: @kv0, %kv1: @kv1) -> (f32[M, 40], @kv0, @kv1) {
  %x0: f32[N, 32] = embed %tok, @emb
  %t: f32[N, 4, 2] = rope.table %pos {dim = 8, base = 10000}
` + body.String() + `  %g: f32[M, 32] = gather %y1, %out
  %logits: f32[M, 40] = matmul %g, @emb
  return %logits, %c0, %c1
}
`
}()

// parsed reads text and runs the split on it; nil options leave it as it is.
func parsed(t *testing.T, text string, o *duo.Options) *ir.Module {
	t.Helper()
	m, err := ir.Parse("t", text)
	if err != nil {
		t.Fatal(err)
	}
	p := passes.Pipeline{}
	if o != nil {
		p = append(p, duo.SplitHeads(*o))
	}
	if _, err := p.Run(m, passes.Verify()); err != nil {
		t.Fatal(err)
	}
	if err := ir.Verify(m); err != nil {
		t.Fatal(err)
	}
	return m
}

func identity(string) ([]float32, error) {
	w := make([]float32, 32*32)
	for i := range 32 {
		w[i*33] = 1
	}
	return w, nil
}

// feed gives the tokens in steps of the given sizes, the last one repeated, and
// returns the logits of every token.
func feed(t *testing.T, m *ir.Module, w interp.Weights, tokens []int32, cuts ...int) [][]float64 {
	t.Helper()
	mach, state := interp.New(m, w, interp.Options{Wide: true}), interp.NewState()
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
	return rows
}

func count(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

// seen is which tokens a row sees.
func seen(row []float64) string {
	var out []int
	for t, x := range row {
		if x != 0 {
			out = append(out, t)
		}
	}
	return fmt.Sprint(out)
}

func stream(sink, recent, chunk int) *duo.Options {
	o := &duo.Options{Mask: duo.Mask{{false}}, Sink: sink, Recent: recent, Chunk: chunk}
	if chunk > 0 {
		o.Prefill = duo.Chunked
	}
	return o
}

func holdSeen(t *testing.T, name string, rows [][]float64, want map[int]string) {
	t.Helper()
	for i, w := range want {
		if got := seen(rows[i]); got != w {
			t.Errorf("%s: token %d sees %s, expected %s", name, i, got, w)
		}
	}
}

// Case 16: decode with sink 1 and recent 2 sees sink, two before, itself; so does a
// strict prefill in any cut.
func TestCase16Decode(t *testing.T) {
	want := map[int]string{0: "[0]", 3: "[0 1 2 3]", 4: "[0 2 3 4]", 5: "[0 3 4 5]", 7: "[0 5 6 7]"}
	holdSeen(t, "chunked, token by token", feed(t, parsed(t, seenText, stream(1, 2, 4)), identity, count(8), 1), want)
	m := parsed(t, seenText, stream(1, 2, 0))
	for _, cuts := range [][]int{{1}, {8}, {3, 5}, {5, 1, 1}} {
		holdSeen(t, fmt.Sprint("strict ", cuts), feed(t, m, identity, count(8), cuts...), want)
	}
}

// Case 17: chunks of 4 are dense inside, on top of what the cache kept.
func TestCase17Chunks(t *testing.T) {
	holdSeen(t, "chunked", feed(t, parsed(t, seenText, stream(1, 2, 4)), identity, count(16), 4), map[int]string{
		0: "[0]", 2: "[0 1 2]", 3: "[0 1 2 3]", 4: "[0 2 3 4]", 7: "[0 2 3 4 5 6 7]", 8: "[0 6 7 8]", 12: "[0 10 11 12]", 15: "[0 10 11 12 13 14 15]"})
}

func tokens(n int, seed uint64) []int32 {
	rng := rand.New(rand.NewPCG(seed, 9))
	out := make([]int32, n)
	for i := range out {
		out[i] = rng.Int32N(40)
	}
	return out
}

// differ lists the tokens whose logits differ by more than the order of sums.
func differ(a, b [][]float64) []int {
	var out []int
	for i := range a {
		if e := interp.RelL2(a[i], b[i]); !(e <= 1e-12) {
			out = append(out, i)
		}
	}
	return out
}

var mixed = duo.Mask{{true, false}, {false, true}}

func options(mask duo.Mask, sink, recent, chunk int) *duo.Options {
	o := stream(sink, recent, chunk)
	o.Mask = mask
	return o
}

// weights of a model do not depend on how its heads are split.
func weights(m *ir.Module) interp.Weights { return interp.RandomWeights(m, 5) }

// Case 18: a streaming head is a dense one until more than sink + recent tokens are
// behind it.
func TestCase18ShortPast(t *testing.T) {
	text := tokens(12, 1)
	dense := parsed(t, modelText, nil)
	m := parsed(t, modelText, options(duo.Mask{{false, false}, {false, false}}, 2, 3, 0))
	for _, cut := range []int{1, 12, 5} {
		d := differ(feed(t, m, weights(m), text, cut), feed(t, dense, weights(dense), text, cut))
		if fmt.Sprint(d) != "[6 7 8 9 10 11]" {
			t.Errorf("cut %d: tokens %v differ, expected those with more than 5 before them", cut, d)
		}
	}
}

// Case 19: a prompt of at most one chunk is dense whatever the mask; decoding after
// it differs once more than sink + recent tokens are behind.
func TestCase19PromptOfOneChunk(t *testing.T) {
	text := tokens(12, 2)
	dense := parsed(t, modelText, nil)
	for _, mask := range []duo.Mask{mixed, {{false, false}, {false, false}}, {{true, true}, {true, false}}} {
		m := parsed(t, modelText, options(mask, 1, 3, 10))
		d := differ(feed(t, m, weights(m), text, 10, 1), feed(t, dense, weights(dense), text, 10, 1))
		if fmt.Sprint(d) != "[10 11]" {
			t.Errorf("mask %v, prompt of 10: tokens %v differ, expected 10 and 11", mask, d)
		}
		d = differ(feed(t, m, weights(m), text, 3, 1), feed(t, dense, weights(dense), text, 3, 1))
		if len(d) == 0 || d[0] != 5 {
			t.Errorf("mask %v, prompt of 3: tokens %v differ, expected from 5 on", mask, d)
		}
	}
}

// Case 20: retrieval heads do not see how a prompt is cut, streaming heads do.
func TestCase20Cuts(t *testing.T) {
	text := tokens(16, 3)
	all := parsed(t, modelText, options(duo.Mask{{true, true}, {true, true}}, 1, 2, 8))
	if d := differ(feed(t, all, weights(all), text, 4), feed(t, all, weights(all), text, 8)); d != nil {
		t.Errorf("retrieval heads: tokens %v differ", d)
	}
	m := parsed(t, modelText, options(mixed, 1, 2, 8))
	if d := differ(feed(t, m, weights(m), text, 4), feed(t, m, weights(m), text, 8)); len(d) == 0 {
		t.Error("streaming heads by 4 and by 8 are alike: they run dense")
	}
}

// Case 21: sparsity 0 is the dense model, text and all; sparsity 1 has one ring a
// layer and runs.
func TestCase21Extremes(t *testing.T) {
	gates := duo.Gates{{1, 1}, {1, 1}}
	all, err := gates.BySparsity(0)
	if err != nil {
		t.Fatal(err)
	}
	dense := parsed(t, modelText, nil)
	m := parsed(t, modelText, options(all, 1, 2, 0))
	m.ClearProp(passes.HeadsSplit)
	if ir.Print(m) != ir.Print(dense) {
		t.Errorf("all heads retrieve, but the text changes:\n%s", ir.Print(m))
	}
	none, err := gates.BySparsity(1)
	if err != nil {
		t.Fatal(err)
	}
	m = parsed(t, modelText, options(none, 1, 2, 0))
	if len(m.Caches) != 2 || m.Cache("kv0s") == nil || m.Table("full") != nil || m.Cache("kv1s").Heads != 2 {
		t.Errorf("all heads stream:\n%s", ir.Print(m))
	}
	for _, row := range feed(t, m, weights(m), tokens(9, 4), 2) {
		if math.IsNaN(row[0]) {
			t.Error("NaN")
		}
	}
}

// Case 22, without permuted weights: split heads with memory enough compute what
// whole layers do, and no weight changes.
func TestCase22NothingIsPermuted(t *testing.T) {
	dense := parsed(t, modelText, nil)
	for _, mask := range []duo.Mask{mixed, {{false, true}, {false, false}}, nil} {
		m := parsed(t, modelText, options(mask, 0, 60, 0))
		o := interp.CompareOptions{Caches: true, Wide: true, Tolerance: 0}
		for o.Seed = range 4 {
			if err := interp.Compare(dense, dense.Func("step"), m, m.Func("step"), o); err != nil {
				t.Errorf("mask %v: %v", mask, err)
			}
		}
		if len(m.Weights) != len(dense.Weights) {
			t.Errorf("%d weights, before %d", len(m.Weights), len(dense.Weights))
		}
	}
}

// masked gives every attention of the dense model the mask of streaming heads, over
// a cache that keeps everything.
func masked(t *testing.T, sink, recent int) *ir.Module {
	m := parsed(t, modelText, nil)
	for _, v := range m.Func("step").Body {
		if a, ok := v.Attrs.(ir.AttentionAttrs); ok {
			a.Sink, a.Recent = sink, &recent
			v.Attrs = a
		}
	}
	return m
}

// Cases 23 and 24: after eviction a key still has the rotation of its place, of a
// repeated token too; a ring gives what a mask over everything gives, after several
// turns of it, in steps larger than recent and smaller than sink.
func TestCase23And24Rings(t *testing.T) {
	none := duo.Mask{{false, false}, {false, false}}
	repeated := slices.Repeat([]int32{7}, 40)
	for _, c := range []struct{ sink, recent int }{{2, 4}, {0, 3}, {5, 2}, {0, 0}} {
		full := masked(t, c.sink, c.recent)
		ring := parsed(t, modelText, options(none, c.sink, c.recent, 0))
		for _, text := range [][]int32{repeated, tokens(40, 6)} {
			want := feed(t, full, weights(full), text, 40)
			for _, cuts := range [][]int{{1}, {40}, {9, 1, 1, 7}, {3}, {1, 1, 20, 1}} {
				if d := differ(feed(t, ring, weights(ring), text, cuts...), want); d != nil {
					t.Errorf("sink %d, recent %d, steps %v: tokens %v differ from a mask", c.sink, c.recent, cuts, d)
				}
			}
		}
	}
}

// Case 27 on the oracle: pairs are what rows see, summed.
func TestCase27PairsAreSeen(t *testing.T) {
	for _, o := range []*duo.Options{stream(1, 2, 4), stream(3, 5, 8), stream(0, 1, 3), stream(1, 2, 0), stream(4, 6, 0), stream(0, 0, 0), stream(9, 30, 0)} {
		m := parsed(t, seenText, o)
		for _, n := range []int{1, 4, 7, 16, 30} {
			cut := n
			if o.Chunk > 0 {
				cut = o.Chunk
			}
			pairs := 0
			for _, row := range feed(t, m, identity, count(n), cut) {
				pairs += len(strings.Fields(seen(row)))
			}
			if got := o.Pairs(int64(n)); got != int64(pairs) {
				t.Errorf("%+v, %d tokens: %d pairs, the rows see %d", *o, n, got, pairs)
			}
		}
	}
}

// A second run, and a module that is specialised.
func TestOnlyOnceAndInTime(t *testing.T) {
	m := parsed(t, modelText, options(mixed, 1, 2, 0))
	text := ir.Print(m)
	if _, err := (passes.Pipeline{duo.SplitHeads(*options(mixed, 1, 2, 0))}).Run(m); err != nil || ir.Print(m) != text {
		t.Errorf("a second split changes the text: %v\n%s", err, ir.Print(m))
	}
	m = parsed(t, modelText, nil)
	m.SetProp(passes.Specialised)
	if _, err := (passes.Pipeline{duo.SplitHeads(duo.Defaults)}).Run(m); err == nil || !strings.Contains(err.Error(), "specialised") {
		t.Errorf("error %v", err)
	}
	for _, o := range []duo.Options{{Chunk: 4}, {Prefill: duo.Chunked}, {Sink: -1}} {
		if _, err := (passes.Pipeline{duo.SplitHeads(o)}).Run(parsed(t, modelText, nil)); err == nil || !strings.HasPrefix(err.Error(), "duo.split-heads: ") {
			t.Errorf("%+v: error %v", o, err)
		}
	}
}
