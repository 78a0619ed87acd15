package conformance

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"quire/frontends"
	"quire/ir"
	"quire/ir/interp"
	machine "quire/ir/target"
	"quire/ir/types"
	"quire/passes/duo"
	"quire/passes/pipeline"
	"quire/passes/quest"
	"quire/runtime/cpu"
	"quire/runtime/device"
	"quire/runtime/program"
)

// sweep is the number of seeds: one in a usual run, many in `make sweep`.
var sweep = flag.Int("seeds", 1, "random scripts of each model, all on every target")

// pages is how many physical pages a case may use of each table.
const pages = 24

// variant is one model under test.
type variant struct {
	name  string
	spec  string
	dot   ir.Dot
	bound float64 // relative L2 of a row of logits
	duo   *duo.Options
	quest *quest.Options
}

// subject is a model on the oracle and on the device.
type subject struct {
	t      reporter
	vocab  int32
	step   *ir.Func
	oracle *oracle
	device device.Model
	tables []*table
	bound  float64
	ties   *ties // nil: rounding turns nothing over
}

// reporter is the part of a test that a subject uses.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Failed() bool
}

// oracle is a model on the interpreter, and its sequences.
type oracle struct {
	machine *interp.Machine
	state   *interp.State
}

func newOracle(m *ir.Module, w interp.Weights) *oracle {
	return &oracle{interp.New(m, w, interp.Options{}), interp.NewState()}
}

// answer is what an oracle makes of a step, by name.
func (o *oracle) answer(t reporter, f *ir.Func, bind types.Bindings, in interp.Inputs) map[string]*interp.Tensor {
	t.Helper()
	results, err := o.machine.Run(f, bind, in, o.state)
	if err != nil {
		t.Fatal(err)
	}
	return interp.Named(f, results)
}

// table hands out physical pages in a random order.
type table struct {
	page int // tokens
	free []int32
	slot [][]int32
}

func load(t *testing.T, v variant, target machine.Target, threads int) *subject {
	t.Helper()
	m, p := build(t, v.spec, v.options(target))
	s := newSubject(t, v, m, p, 8, pages)
	if target.Arch == machine.PTX {
		s.device = newSimulated(t, p, target, s.sizes())
		return s
	}
	dev, err := cpu.Load(context.Background(), p, cpu.Options{Threads: threads, Pages: s.sizes()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	s.device = dev
	return s
}

// options are the pipeline's for a target.
func (v variant) options(target machine.Target) pipeline.Options {
	return pipeline.Options{Dot: v.dot, Duo: v.duo, Quest: v.quest, Target: target}
}

// newSubject is a model on the oracle; a device may use so many slots, and physical pages of each table.
func newSubject(t *testing.T, v variant, m *frontends.Model, p *program.Program, slots, pages int) *subject {
	s := &subject{t: t, vocab: int32(p.Vocab), step: m.Module.Func("step"), oracle: newOracle(m.Module, m.Float32), bound: v.bound}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, t := range p.Tables {
		tb := &table{page: t.Page, slot: make([][]int32, slots)}
		for _, i := range rng.Perm(pages) {
			tb.free = append(tb.free, int32(i))
		}
		s.tables = append(s.tables, tb)
	}
	return s
}

// sizes are the pages of each table, none being in use.
func (s *subject) sizes() []int {
	var out []int
	for _, tb := range s.tables {
		out = append(out, len(tb.free))
	}
	return out
}

// restart ends all sequences.
func (s *subject) restart() {
	s.oracle.state = interp.NewState()
	s.ties.restart()
	for _, tb := range s.tables {
		for i := range tb.slot {
			tb.free, tb.slot[i] = append(tb.free, tb.slot[i]...), nil
		}
	}
}

// run does one step of the given turns on both sides and compares.
func (s *subject) run(slots int, turns ...interp.Turn) {
	s.t.Helper()
	bind, in := interp.StepOf(s.oracle.state, slots, turns...)
	b := s.batch(in)
	got, err := s.device.Step(b)
	if err != nil {
		s.t.Fatal(err)
	}
	want := s.oracle.answer(s.t, s.step, bind, in)
	bound := s.ties.bound(s, want["logits"], bind, in)
	what := fmt.Sprintf("N=%d S=%d", len(b.Tok), slots)
	logits := want["logits"]
	for i := range logits.Rows() {
		if s.t.Failed() {
			return // one row says enough
		}
		row := make([]float64, s.vocab)
		for k := range row {
			row[k] = float64(got.Logits[i*int(s.vocab)+k])
		}
		if d := interp.RelL2(row, logits.Row(i)); !(d <= bound) {
			s.t.Errorf("%s: logits of row %d are %.3g from the oracle's, expected at most %.3g", what, i, d, bound)
		}
		lse := float64(want["logsumexp"].F32()[i])
		if d := float64(got.LogSumExp[i]) - lse; !(math.Abs(d) < 20*bound+1e-4) {
			s.t.Errorf("%s: logsumexp of row %d is %v, the oracle's %v", what, i, got.LogSumExp[i], lse)
		}
		best := 0
		for k, x := range row {
			if x > row[best] {
				best = k
			}
		}
		if got.ArgMax[i] != int32(best) {
			s.t.Errorf("%s: argmax of row %d is %d, the row's is %d", what, i, got.ArgMax[i], best)
		}
	}
}

// batch turns the oracle's inputs into a device's, giving slots the pages they need.
func (s *subject) batch(in interp.Inputs) *device.Batch {
	ints := func(name string) []int32 {
		var out []int32
		for _, x := range in[name].(*interp.Tensor).F32() {
			out = append(out, int32(x))
		}
		return out
	}
	rows := in["seq"].(*interp.RowMap)
	b := &device.Batch{Tok: ints("tok"), Pos: ints("pos"), Out: ints("out"), RowSlot: make([]int32, rows.N), Want: device.Logits | device.ArgMax | device.LogSumExp}
	for i, sl := range rows.Slots {
		b.SlotStart = append(b.SlotStart, int32(sl.Start))
		b.SlotNew = append(b.SlotNew, int32(sl.New))
		b.SlotLen = append(b.SlotLen, int32(sl.Before))
		for r := sl.Start; r < sl.Start+sl.New; r++ {
			b.RowSlot[r] = int32(i)
		}
	}
	for _, tb := range s.tables {
		width := 1
		for i, sl := range rows.Slots {
			for len(tb.slot[i])*tb.page < sl.Before+sl.New {
				tb.slot[i] = append(tb.slot[i], tb.free[0])
				tb.free = tb.free[1:]
			}
			width = max(width, len(tb.slot[i]))
		}
		p := device.Pages{Width: width}
		for i := range rows.Slots {
			for k := range width {
				if k < len(tb.slot[i]) {
					p.Entries = append(p.Entries, tb.slot[i][k])
				} else {
					p.Entries = append(p.Entries, -1)
				}
			}
		}
		b.Pages = append(b.Pages, p)
	}
	return b
}

// tokens draws n token ids.
func (s *subject) tokens(rng *rand.Rand, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = rng.Int32N(s.vocab)
	}
	return out
}

// script is what every variant runs: a prefill, a ragged step, chunks over a page's
// border, a batch of single rows, single rows, a step without wanted rows, a single row
// beside a prompt, a prompt between single rows of one stretch of four.
func (s *subject) script(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	tok := func(n int) []int32 { return s.tokens(rng, n) }
	s.run(1, interp.Turn{Slot: 0, Tokens: tok(37), Logits: 37})
	s.run(3, interp.Turn{Slot: 0, Tokens: tok(30), Logits: 2}, interp.Turn{Slot: 1, Tokens: tok(5), Logits: 1}, interp.Turn{Slot: 2, Tokens: tok(1), Logits: 0})
	s.run(3, interp.Turn{Slot: 0, Tokens: tok(1), Logits: 1}, interp.Turn{Slot: 1, Tokens: tok(1), Logits: 1}, interp.Turn{Slot: 2, Tokens: tok(1), Logits: 1})
	s.run(1, interp.Turn{Slot: 0, Tokens: tok(1), Logits: 1})
	s.run(1, interp.Turn{Slot: 0, Tokens: tok(1), Logits: 0})
	s.run(2, interp.Turn{Slot: 1, Tokens: tok(61), Logits: 3})
	s.run(1, interp.Turn{Slot: 0, Tokens: tok(1), Logits: 1})
	s.run(2, interp.Turn{Slot: 0, Tokens: tok(1), Logits: 1}, interp.Turn{Slot: 1, Tokens: tok(9), Logits: 2})
	s.run(2, interp.Turn{Slot: 0, Tokens: tok(1), Logits: 1}, interp.Turn{Slot: 1, Tokens: tok(1), Logits: 1})
	s.run(1, interp.Turn{Slot: 0, Tokens: tok(2), Logits: 1})
	s.run(1, interp.Turn{Slot: 0, Tokens: tok(1), Logits: 1})
}

// long is a script over several pages of 64: prompts, single rows over a page's border and
// back into company, a prompt that goes on where single rows stopped.
func (s *subject) long(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	tok := func(n int) []int32 { return s.tokens(rng, n) }
	one := interp.Turn{Slot: 0, Tokens: tok(1), Logits: 1}
	s.run(1, interp.Turn{Slot: 0, Tokens: tok(317), Logits: 1})
	for range 5 {
		s.run(1, one)
	}
	s.run(2, one, interp.Turn{Slot: 1, Tokens: tok(190), Logits: 2})
	s.run(2, one, interp.Turn{Slot: 1, Tokens: tok(1), Logits: 1})
	s.run(2, one, interp.Turn{Slot: 1, Tokens: tok(1), Logits: 1})
	s.run(1, interp.Turn{Slot: 0, Tokens: tok(80), Logits: 2})
	s.run(1, one)
	s.run(2, one, interp.Turn{Slot: 1, Tokens: tok(1), Logits: 1})
}

// spec writes a model of two layers with the given lines besides.
func spec(family string, lines ...string) string {
	base := []string{"family: " + family, "layers: 2", "vocab: 83", "context: 512", "norm_eps: 1e-5"}
	return strings.Join(append(base, lines...), "\n") + "\n"
}

const small = "hidden: 64\nheads: 4\nkv_heads: 2\nhead_dim: 16\nffn: 96"

// variants cover the encodings, the family's differences, and sizes that are no
// multiple of anything.
func variants() []variant {
	exact := 2e-5
	// Where activations are rounded, a value that lies at a border may fall to either
	// side: one 8-bit code more or less in a row of 64 moves the logits by a per cent.
	coarse := 5e-2
	out := []variant{
		{"qwen2 biases tied", spec("qwen2", small, "tied_embeddings: true"), 0, exact, nil, nil},
		{"qwen3 head norms", spec("qwen3", "hidden: 48\nheads: 6\nkv_heads: 3\nhead_dim: 32\nffn: 80"), 0, exact, nil, nil},
		{"mistral window", spec("mistral", small, "window: 9"), 0, exact, nil, nil},
		{"gemma2 softcaps", spec("gemma2", small, "window: 8"), 0, exact, nil, nil},
		{"gemma3", spec("gemma3", "hidden: 80\nheads: 5\nkv_heads: 1\nhead_dim: 48\nffn: 112", "window: 8"), 0, exact, nil, nil},
		{"phi3", spec("phi3", small), 0, exact, nil, nil},
		{"llama mha odd", spec("llama", "hidden: 40\nheads: 5\nkv_heads: 5\nhead_dim: 16\nffn: 56"), 0, exact, nil, nil},
		{"f16 cache", spec("llama", small, "kv: f16"), 0, 2e-4, nil, nil},
		{"bf16 cache", spec("llama", small, "kv: bf16"), 0, 2e-3, nil, nil},
		{"q8 cache", spec("llama", small, "kv: int8"), 0, 1e-2, nil, nil},
		{"q4 cache biases tied", spec("qwen2", small, "tied_embeddings: true", "kv: int4"), 0, coarse, nil, nil},
		{"q4 cache head norms", spec("qwen3", "hidden: 48\nheads: 6\nkv_heads: 3\nhead_dim: 24\nffn: 80", "kv: int4"), 0, coarse, nil, nil},
		{"q4 cache window", spec("gemma3", "hidden: 80\nheads: 5\nkv_heads: 1\nhead_dim: 48\nffn: 112", "window: 8", "kv: int4"), 0, coarse, nil, nil},
		{"dot i8", spec("llama", small, "quantisation: q4_0"), ir.DotI8, coarse, nil, nil},
		{"dot bf16", spec("llama", small, "quantisation: q8_0"), ir.DotBF16, coarse, nil, nil},
		{"dot bf16 of bf16", spec("qwen2", small, "quantisation: bf16"), ir.DotBF16, coarse, nil, nil},
	}
	out = append(out,
		variant{"duo", spec("llama", small), 0, exact, &duo.Options{Mask: duo.Mask{{true, false}, {false, true}}, Sink: 3, Recent: 8}, nil},
		variant{"duo head norms", spec("qwen3", "hidden: 48\nheads: 6\nkv_heads: 3\nhead_dim: 32\nffn: 80"), 0, exact,
			&duo.Options{Mask: duo.Mask{{true, false, true}, {false, false, false}}, Sink: 0, Recent: 20}, nil},
		variant{"duo chunked", spec("llama", small), 0, exact,
			&duo.Options{Mask: duo.Mask{{true, false}, {false, false}}, Sink: 3, Recent: 8, Prefill: duo.Chunked, Chunk: 64}, nil},
		variant{"duo q4 cache chunked", spec("qwen2", small, "kv: int4"), 0, coarse,
			&duo.Options{Mask: duo.Mask{{true, false}, {false, false}}, Sink: 3, Recent: 8, Prefill: duo.Chunked, Chunk: 64}, nil},
		variant{"duo f16 cache", spec("qwen2", small, "kv: f16"), 0, 2e-4, &duo.Options{Mask: duo.Mask{{true, true}, {true, false}}, Sink: 16, Recent: 16}, nil})
	out = append(out, selecting()...)
	out = append(out, composed()...)
	for _, e := range []string{"f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "q4g32", "q3g32"} {
		out = append(out, variant{"llama " + e, spec("llama", small, "quantisation: "+e), 0, exact, nil, nil})
	}
	for _, e := range []string{"q4_k", "q5_k", "q6_k", "q4g128", "q3g64", "q3g128"} {
		out = append(out, variant{"llama " + e, spec("llama", "hidden: 256\nheads: 4\nkv_heads: 1\nhead_dim: 64\nffn: 256", "quantisation: "+e), 0, exact, nil, nil})
	}
	return out
}

// selecting are models that read picked pages: alone, under a GQA group or each head, with
// picks that are kept, with heads split, in every cache.
func selecting() []variant {
	pages := func(budget, page, physical, dense, reselect int, per ir.Per) *quest.Options {
		return &quest.Options{Budget: budget, Page: page, PhysicalPage: physical, DenseLayers: dense, Per: per, Reselect: reselect}
	}
	return []variant{
		{"quest", spec("llama", small), 0, 2e-5, nil, pages(32, 16, 16, 0, 1, ir.PerGroup)},
		{"quest biases tied", spec("qwen2", small, "tied_embeddings: true", "kv: f16"), 0, 2e-4, nil, pages(16, 16, 16, 0, 1, ir.PerHead)},
		{"quest kept", spec("llama", small), 0, 2e-5, nil, pages(32, 16, 16, 0, 4, ir.PerGroup)},
		{"quest softcap kept", spec("qwen3", "hidden: 48\nheads: 6\nkv_heads: 3\nhead_dim: 32\nffn: 80", "kv: bf16"), 0, 2e-3, nil, pages(40, 16, 32, 1, 16, ir.PerHead)},
		{"quest all pages", spec("llama", small), 0, 2e-5, nil, pages(256, 16, 64, 0, 1, ir.PerGroup)},
		{"quest duo", spec("llama", small), 0, 2e-5, &duo.Options{Mask: duo.Mask{{true, false}, {false, true}}, Sink: 3, Recent: 8}, pages(32, 16, 16, 0, 1, ir.PerGroup)},
		{"quest duo odd", spec("qwen3", "hidden: 48\nheads: 6\nkv_heads: 3\nhead_dim: 24\nffn: 80", "kv: f16"), 0, 2e-4,
			&duo.Options{Mask: duo.Mask{{true, false, true}, {true, true, true}}, Sink: 0, Recent: 20}, pages(33, 32, 32, 0, 8, ir.PerHead)},
		{"quest q4 cache kept", spec("llama", small, "kv: int4"), 0, 5e-2, nil, pages(32, 16, 16, 0, 4, ir.PerGroup)},
		{"quest duo q8 cache", spec("llama", small, "kv: int8"), 0, 1e-2, &duo.Options{Mask: duo.Mask{{true, false}, {false, true}}, Sink: 3, Recent: 8}, pages(32, 16, 16, 0, 1, ir.PerHead)},
		{"quest q4", spec("llama", small, "quantisation: q4g32"), 0, 2e-5, nil, pages(32, 16, 16, 0, 1, ir.PerGroup)},
	}
}

func TestCPU(t *testing.T) {
	host, err := machine.Host()
	if err != nil {
		t.Fatal(err)
	}
	base, err := machine.Parse("x86-64-v3")
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range variants() {
		targets := []machine.Target{host, base}
		if v.dot == ir.DotBF16 {
			targets = append(targets, pairs(t, host)...)
		}
		for _, tgt := range targets {
			if tgt.Name == base.Name && *sweep == 1 && (testing.Short() || i%3 != 0) && !strings.HasPrefix(v.name, "llama q") {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", v.name, tgt.Name), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(*sweep) {
					load(t, v, tgt, 1+i%2).script(uint64(i) + 1000*seed)
				}
			})
		}
	}
}

// pairs are this processor's ways to multiply pairs of bfloat16, each alone.
func pairs(t *testing.T, host machine.Target) []machine.Target {
	var out []machine.Target
	for _, f := range []machine.Feature{machine.BF16, machine.AMXBF16} {
		if !host.Has(f) {
			t.Logf("this processor lacks %s", f)
			continue
		}
		tgt, err := machine.Parse("x86-64-v3+avx512+" + string(f))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, tgt)
	}
	return out
}
