package conformance

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quire/frontends"
	"quire/frontends/decoder"
	modelspec "quire/frontends/spec"
	"quire/ir"
	"quire/ir/interp"
	"quire/passes"
	"quire/passes/awq"
	"quire/passes/canon"
	"quire/passes/duo"
	"quire/passes/kvquant"
	"quire/passes/quest"
	"quire/passes/siblings"
)

// subset is a choice among the rewrites of long contexts: one of 24.
type subset struct {
	awq, duo, quest bool
	kv              string // "", int8 or int4
}

func (s subset) String() string {
	var parts []string
	for _, p := range []struct {
		on   bool
		name string
	}{{s.awq, "awq"}, {s.duo, "duo"}, {s.quest, "quest"}, {s.kv != "", s.kv}} {
		if p.on {
			parts = append(parts, p.name)
		}
	}
	if parts == nil {
		return "plain"
	}
	return strings.Join(parts, "+")
}

// kvOnly is the caches of s alone.
func (s subset) kvOnly() subset { return subset{kv: s.kv} }

func subsets() []subset {
	var out []subset
	for _, kv := range caches {
		for i := range 8 {
			out = append(out, subset{i&1 != 0, i&2 != 0, i&4 != 0, kv})
		}
	}
	return out
}

// members are a tiny model of each family, of three layers; where the family has windows, the
// second layer has one.
var members = func() map[string]string {
	out := map[string]string{}
	for _, f := range decoder.Families() {
		lines := []string{strings.Replace(small, "ffn: 96", "ffn: 128", 1)}
		if f == "mistral" || f == "gemma2" || f == "gemma3" {
			lines = append(lines, "window: 8", "window_layers: [1]")
		}
		out[f] = strings.Replace(spec(f, lines...), "layers: 2", "layers: 3", 1)
	}
	return out
}()

// member opens a tiny model with weights and caches of a subset's encodings.
func member(t *testing.T, text string, s subset) *frontends.Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	o := frontends.Options{Seed: 7, Options: modelspec.Options{KV: s.kv}}
	if s.awq {
		o.AWQ = &modelspec.AWQ{Bits: 4, Group: 32}
	}
	m, err := frontends.Load(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// sizes say how much streaming heads and picked pages read.
type sizes struct{ sink, recent, budget, page, physical int }

var (
	everything = sizes{sink: 1, recent: 200, budget: 200, page: 4, physical: 8} // no sequence here is as long
	little     = sizes{sink: 4, recent: 24, budget: 40, page: 4, physical: 8}
)

// rewrite runs what a subset asks for over the module, in the pipeline's order.
func (s subset) rewrite(t *testing.T, m *ir.Module, z sizes) {
	t.Helper()
	p := passes.Pipeline{canon.Simplify()}
	if s.awq {
		p = append(p, awq.FuseDequantGemm(), canon.Simplify(), awq.AbsorbScales(nil), siblings.Merge(), canon.Simplify())
	}
	if s.duo {
		mask := duo.Mask{{true, false}, {false, false}, {false, true}}
		p = append(p, duo.SplitHeads(duo.Options{Mask: mask, Sink: z.sink, Recent: z.recent}))
	}
	if s.quest {
		p = append(p, quest.SelectPages(quest.Options{Budget: z.budget, Page: z.page, PhysicalPage: z.physical, Per: ir.PerGroup, Reselect: 1}))
	}
	if s.kv != "" {
		p = append(p, kvquant.QuantiseCaches(codes[s.kv]))
	}
	if _, err := p.Run(m, passes.Verify()); err != nil {
		t.Fatal(err)
	}
}

// transcript is the logits of two sequences: a prompt, a prompt beside a token, tokens in
// company and alone, a chunk, tokens again.
func transcript(t *testing.T, m *ir.Module, w interp.Weights) [][]float64 {
	t.Helper()
	machine, state, step := interp.New(m, once(w), interp.Options{Wide: true}), interp.NewState(), m.Func("step")
	ids := draw(160)
	var rows [][]float64
	run := func(turns ...int) { // pairs of a slot and its new tokens
		var list []interp.Turn
		for i := 0; i < len(turns); i += 2 {
			n := turns[i+1]
			list = append(list, interp.Turn{Slot: turns[i], Tokens: ids[:n], Logits: min(n, 2)})
			ids = ids[n:]
		}
		bind, in := interp.StepOf(state, 2, list...)
		out, err := machine.Run(step, bind, in, state)
		if err != nil {
			t.Fatal(err)
		}
		logits := interp.Named(step, out)["logits"]
		for r := range logits.Rows() {
			rows = append(rows, logits.Row(r))
		}
	}
	run(0, 41)
	run(1, 9, 0, 1)
	for range 5 {
		run(0, 1, 1, 1)
		run(0, 1)
	}
	run(1, 23)
	for range 4 {
		run(1, 1, 0, 1)
	}
	return rows
}

// scaled gives scales that AWQ would have found: some of each column's, about 1.
func scaled(w interp.Weights, m *ir.Module) interp.Weights {
	return func(name string) ([]float32, error) {
		if !strings.HasSuffix(name, awq.ScaleSuffix) {
			return w(name)
		}
		n, _ := m.Weight(name).Type.Shape.Size().IsConst()
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(math.Exp2(float64(i*7%5-2) / 3))
		}
		return out, nil
	}
}

// once reads each weight once.
func once(w interp.Weights) interp.Weights {
	read := map[string][]float32{}
	return func(name string) ([]float32, error) {
		if x, ok := read[name]; ok {
			return x, nil
		}
		x, err := w(name)
		read[name] = x
		return x, err
	}
}

// off is the relative L2 distance of all rows together.
func off(got, want [][]float64) float64 {
	return interp.RelL2(slices.Concat(got...), slices.Concat(want...))
}

// worst is the largest relative L2 distance of rows.
func worst(got, want [][]float64) float64 {
	d := 0.0
	for i := range want {
		if e := interp.RelL2(got[i], want[i]); !(e <= d) {
			d = e // NaN too
		}
	}
	return d
}

// caches are the words of --kv that subsets are made of.
var caches = []string{"", "int8", "int4"}

// codes are the widths of those that quantise.
var codes = map[string]kvquant.Bits{"int8": kvquant.KV8, "int4": kvquant.KV4}

// Every subset in its exact case (a budget and a recent window that cover the sequences,
// scales whose inverse is absorbed) is the model of the same weights and caches up to the
// order of sums, in every family.
func TestSubsetsExact(t *testing.T) {
	for _, family := range decoder.Families() {
		plain := map[subset][][]float64{}
		for _, s := range subsets() {
			base := subset{awq: s.awq, kv: s.kv}
			m := member(t, members[family], s)
			if plain[base] == nil {
				b := member(t, members[family], base)
				if s.kv != "" {
					base.kvOnly().rewrite(t, b.Module, everything)
				}
				plain[base] = transcript(t, b.Module, b.Float32)
			}
			s.rewrite(t, m.Module, everything)
			if d := worst(transcript(t, m.Module, scaled(m.Float32, m.Module)), plain[base]); !(d <= 1e-9) {
				t.Errorf("%s %v: %.3g from the model without it", family, s, d)
			}
		}
	}
}

// limits are how far each rewrite may move the logits of the tiny models (relative L2 of all
// rows together, at the sizes of little); several together move them as independent errors
// do, by the root of the sum of squares, or less.
var limits = map[string]float64{"awq": 0.4, "duo": 0.7, "quest": 0.5, "int8": 0.03, "int4": 0.2}

func (s subset) limit() float64 {
	sum := 0.0
	for _, part := range strings.Split(s.String(), "+") {
		sum += limits[part] * limits[part]
	}
	return math.Sqrt(sum)
}

// Every subset at sizes that leave out much stays inside its limit, in every family; and is
// no longer the plain model.
func TestSubsetsApproximate(t *testing.T) {
	for _, family := range decoder.Families() {
		var plain [][]float64
		for _, s := range subsets() {
			m := member(t, members[family], s)
			if s == (subset{}) {
				plain = transcript(t, m.Module, m.Float32)
				continue
			}
			s.rewrite(t, m.Module, little)
			d := off(transcript(t, m.Module, scaled(m.Float32, m.Module)), plain)
			t.Logf("%s %v: %.3g of at most %.3g", family, s, d, s.limit())
			if !(d <= s.limit()) || d < 1e-3 {
				t.Errorf("%s %v: %.3g from the plain model, expected another one within %.3g", family, s, d, s.limit())
			}
		}
	}
}

// composed are members of the families with several rewrites at once, for the compiled run.
func composed() []variant {
	o := func(budget int) *quest.Options {
		return &quest.Options{Budget: budget, Page: 16, PhysicalPage: 16, Per: ir.PerGroup, Reselect: 1}
	}
	split := func(mask duo.Mask) *duo.Options { return &duo.Options{Mask: mask, Sink: 3, Recent: 8} }
	return []variant{
		{"awq duo quest qwen2", spec("qwen2", small, "awq: {bits: 4, group: 32}", "kv: f16"), 0, 2e-4, split(duo.Mask{{true, false}, {true, true}}), o(32)},
		{"awq duo quest gemma2", spec("gemma2", small, "window: 8", "awq: {bits: 3, group: 32}"), 0, 2e-5, split(duo.Mask{{false, false}, {false, true}}), o(48)},
		{"awq duo quest int8 qwen2", spec("qwen2", small, "awq: {bits: 4, group: 32}", "kv: int8"), 0, 2e-2, split(duo.Mask{{true, false}, {true, true}}), o(32)},
		{"awq duo quest int4 gemma2", spec("gemma2", small, "window: 8", "awq: {bits: 3, group: 32}", "kv: int4"), 0, 1e-1, split(duo.Mask{{false, false}, {false, true}}), o(48)},
		{"awq duo phi3", spec("phi3", small, "awq: {bits: 4, group: 32}"), 0, 2e-5, split(duo.Mask{{false, false}, {true, false}}), nil},
	}
}
