package interp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"quire/ir"
	"quire/ir/types"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
)

// attnText is one attention over one cache; the holes are the table's fields,
// the cache's element type and the attention's.
const attnText = `dim N launch 0..64
dim S launch 1..8
table @t {page = 64%s}
cache @kv: kv<%s>[2, 4] on @t
func @f(%%q: f32[N, 4, 4], %%k: f32[N, 2, 4], %%v: f32[N, 2, 4], %%seq: rows[N, S], %%c: @kv) -> (f32[N, 4, 4], @kv) {
  %%c1: @kv = kv.append %%c, %%k, %%v, %%seq
  %%a: f32[N, 4, 4] = attention %%q, %%c1, %%seq {scale = 0.5%s}
  return %%a, %%c1
}
`

// history is the q, k and v of one sequence.
type history struct{ q, k, v []float64 }

func random(rng *rand.Rand, n int) history {
	h := history{make([]float64, n*16), make([]float64, n*8), make([]float64, n*8)}
	for _, s := range [][]float64{h.q, h.k, h.v} {
		for i := range s {
			s[i] = float64(float32(rng.NormFloat64()))
		}
	}
	return h
}

// reference is attention written once more, from the whole history: out [n*16].
func reference(h history, n int, see func(i, j int) bool, cap float64) []float64 {
	out := make([]float64, n*16)
	for i := range n {
		for head := range 4 {
			var sum float64
			acc := make([]float64, 4)
			for j := range n {
				if j > i || !see(i, j) {
					continue
				}
				s := 0.0
				for d := range 4 {
					s += h.q[i*16+head*4+d] * h.k[j*8+head/2*4+d]
				}
				s /= 2
				if cap > 0 {
					s = cap * math.Tanh(s/cap)
				}
				p := math.Exp(s)
				sum += p
				for d := range 4 {
					acc[d] += p * h.v[j*8+head/2*4+d]
				}
			}
			for d := range 4 {
				out[i*16+head*4+d] = acc[d] / sum
			}
		}
	}
	return out
}

// feed runs the histories through ragged steps: counts[step][slot] rows, slots in
// reverse order, and returns each sequence's outputs.
func feed(t *testing.T, m *ir.Module, hs []history, counts [][]int, o Options) ([][]float64, *State) {
	t.Helper()
	mach, state, f := New(m, nil, o), NewState(), m.Func("f")
	outs := make([][]float64, len(hs))
	for _, step := range counts {
		rows := &RowMap{N: 1, Slots: make([]Slot, len(hs))} // row 0 is dead
		q, k, v := make([]float64, 16), make([]float64, 8), make([]float64, 8)
		for s := len(hs) - 1; s >= 0; s-- {
			b, n := state.Length(s), step[s]
			rows.Slots[s] = Slot{Start: rows.N, New: n, Before: b}
			rows.N += n
			q = append(q, hs[s].q[b*16:(b+n)*16]...)
			k = append(k, hs[s].k[b*8:(b+n)*8]...)
			v = append(v, hs[s].v[b*8:(b+n)*8]...)
		}
		f32 := types.Plain(types.F32)
		in := Inputs{"q": &Tensor{f32, []int{rows.N, 4, 4}, q}, "k": &Tensor{f32, []int{rows.N, 2, 4}, k},
			"v": &Tensor{f32, []int{rows.N, 2, 4}, v}, "seq": rows}
		out, err := mach.Run(f, types.Bindings{"N": int64(rows.N), "S": int64(len(hs))}, in, state)
		if err != nil {
			t.Fatal(err)
		}
		if !math.IsNaN(out[0].Data[0]) {
			t.Errorf("dead row is %v, expected NaN", out[0].Data[:16])
		}
		for s, sl := range rows.Slots {
			outs[s] = append(outs[s], out[0].Data[sl.Start*16:(sl.Start+sl.New)*16]...)
		}
	}
	return outs, state
}

func TestAttentionInAnyChunks(t *testing.T) {
	all := func(i, j int) bool { return true }
	window := func(sink, recent int) func(i, j int) bool {
		return func(i, j int) bool { return j < sink || i-j <= recent }
	}
	for _, c := range []struct {
		name, table, attn string
		see               func(i, j int) bool
		cap               float64
		kept              int // entries after 11 tokens of slot 0, the last step of 1
	}{
		{"causal", "", "", all, 0, 11},
		{"softcap", "", ", cap = 1.5", all, 1.5, 11},
		{"window masked only", "", ", recent = 3", window(0, 3), 0, 11},
		{"window", ", recent = 3", ", recent = 3", window(0, 3), 0, 4},
		{"recent 0", ", recent = 0", ", recent = 0", window(0, 0), 0, 1},
		{"sink and ring", ", sink = 2, recent = 3", ", sink = 2, recent = 3", window(2, 3), 0, 6},
	} {
		m := parse(t, fmt.Sprintf(attnText, c.table, "f32", c.attn))
		rng := rand.New(rand.NewPCG(7, 7))
		hs := []history{random(rng, 11), random(rng, 7)}
		for _, counts := range [][][]int{
			{{11, 7}},
			{{4, 0}, {0, 7}, {6, 0}, {1, 0}},
			{{1, 1}, {1, 1}, {1, 1}, {1, 0}, {1, 1}, {1, 1}, {1, 0}, {1, 1}, {1, 0}, {1, 1}, {1, 0}},
		} {
			outs, state := feed(t, m, hs, counts, Options{Wide: true})
			for s, h := range hs {
				want := reference(h, len(h.k)/8, c.see, c.cap)
				if e := RelL2(outs[s], want); e > 1e-13 {
					t.Errorf("%s: %v: slot %d differs by %g", c.name, counts, s, e)
				}
			}
			if last := counts[len(counts)-1]; last[0] == 1 && len(state.Entries("kv", 0)) != c.kept {
				t.Errorf("%s: keeps %d entries, expected %d", c.name, len(state.Entries("kv", 0)), c.kept)
			}
		}
	}
}

func TestCachesRoundAsStored(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	h := random(rng, 5)
	m := parse(t, fmt.Sprintf(attnText, "", "f16", ""))
	_, state := feed(t, m, []history{h}, [][]int{{5}}, Options{})
	for _, e := range state.Entries("kv", 0) {
		for i, x := range e.K {
			if want := Round(types.F16, h.k[e.Index*8+i]); x != want {
				t.Fatalf("token %d: k is %v, expected %v", e.Index, x, want)
			}
		}
	}
	// Even a wide run attends a quantised cache as stored, each head's vector by itself.
	m = parse(t, fmt.Sprintf(attnText, "", "q4", ""))
	outs, state := feed(t, m, []history{h}, [][]int{{2}, {3}}, Options{Wide: true})
	stored := history{h.q, keptBy("q4", h.k), keptBy("q4", h.v)}
	for _, e := range state.Entries("kv", 0) {
		for i, x := range e.K {
			if want := stored.k[e.Index*8+i]; x != want {
				t.Fatalf("token %d: k is %v, expected %v", e.Index, x, want)
			}
		}
	}
	want := reference(stored, 5, func(i, j int) bool { return true }, 0)
	if d := RelL2(outs[0], want); d > 1e-12 {
		t.Errorf("a q4 cache: %.3g from attention over what it keeps", d)
	}
}

// keptBy is what a cache of heads of 4 keeps of keys or values.
func keptBy(e layout.Enc, x []float64) []float64 {
	out := make([]float64, len(x))
	for at := 0; at < len(x); at += 4 {
		f := make([]float32, 4)
		for i := range f {
			f[i] = float32(x[at+i])
		}
		kvpage.Round(e, f)
		for i := range f {
			out[at+i] = float64(f[i])
		}
	}
	return out
}

func TestRowMapMustFitTheState(t *testing.T) {
	m := parse(t, fmt.Sprintf(attnText, "", "f32", ""))
	zero := func(n int) Inputs {
		f32 := types.Plain(types.F32)
		return Inputs{"q": NewTensor(f32, n, 4, 4), "k": NewTensor(f32, n, 2, 4), "v": NewTensor(f32, n, 2, 4)}
	}
	run := func(n int, slots ...Slot) error {
		in := zero(n)
		in["seq"] = &RowMap{N: n, Slots: slots}
		_, err := New(m, nil, Options{}).Run(m.Func("f"), types.Bindings{"N": int64(n), "S": int64(len(slots))}, in, NewState())
		return err
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{run(2, Slot{0, 2, 3}), "@f: %c1: @kv = kv.append %c, %k, %v, %seq: slot 0 holds 0 tokens, the row map says 3"},
		{run(2, Slot{0, 2, 0}, Slot{1, 1, 0}), "@f: param %seq: row 1 belongs to slots 0 and 1"},
		{run(2, Slot{1, 2, 0}), "@f: param %seq: slot 0 has rows 1..2 after 0 tokens, expected rows of 0..1"},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("got %v\nwant %s", c.err, c.want)
		}
	}
}

func TestDropAndClone(t *testing.T) {
	m := parse(t, fmt.Sprintf(attnText, "", "f32", ""))
	rng := rand.New(rand.NewPCG(2, 2))
	_, state := feed(t, m, []history{random(rng, 5), random(rng, 5)}, [][]int{{5, 3}}, Options{})
	copy := state.Clone()
	state.Drop(0)
	if state.Length(0) != 0 || state.Length(1) != 3 || copy.Length(0) != 5 {
		t.Errorf("lengths %d %d, copy %d", state.Length(0), state.Length(1), copy.Length(0))
	}
}
