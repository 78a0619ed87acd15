package conformance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"quire/frontends"
	"quire/ir"
	"quire/ir/interp"
	machine "quire/ir/target"
	"quire/ir/types"
	"quire/runtime/device"
)

// A model that picks pages may turn over for rounding's sake: where two pages score nearly the same, either is right,
// and what comes after differs by more than rounding does, in its caches too. How far that goes is measured. Oracles
// whose weights are off by what float16 rounds answer the same steps, and the worst of them says how far a sequence may
// be by now: a device may be twice as far, and is within its own bound for as long as nothing turned over.
type ties struct {
	oracles []*oracle
	far     float64   // of the worst of them so far, relative L2 of a row of logits
	bounds  []float64 // of a device, in each step that had such rows
}

const (
	tieOracles  = 7
	tieRounding = 1.0 / 2048 // float16's unit of rounding
	tieMargin   = 2
)

func newTies(m *frontends.Model) *ties {
	t, exact := &ties{}, once(m.Float32)
	for seed := range uint64(tieOracles) {
		t.oracles = append(t.oracles, newOracle(m.Module, rounded(exact, seed)))
	}
	return t
}

// rounded are weights of which each is off by up to what float16 rounds.
func rounded(w interp.Weights, seed uint64) interp.Weights {
	rng := rand.New(rand.NewPCG(seed, 9))
	return once(func(name string) ([]float32, error) {
		x, err := w(name)
		y := slices.Clone(x)
		for i := range y {
			y[i] *= 1 + tieRounding*float32(2*rng.Float64()-1)
		}
		return y, err
	})
}

func (t *ties) restart() {
	if t == nil {
		return
	}
	t.far = 0
	for _, o := range t.oracles {
		o.state = interp.NewState()
	}
}

// bound answers a step of s, whose oracle wants these logits, and says how far a device may be from them.
func (t *ties) bound(s *subject, want *interp.Tensor, bind types.Bindings, in interp.Inputs) float64 {
	if t == nil {
		return s.bound
	}
	for _, o := range t.oracles {
		got := o.answer(s.t, s.step, bind, in)["logits"]
		for i := range want.Rows() {
			t.far = max(t.far, interp.RelL2(got.Row(i), want.Row(i)))
		}
	}
	bound := max(s.bound, tieMargin*t.far)
	if want.Rows() > 0 {
		t.bounds = append(t.bounds, bound)
	}
	return bound
}

func (t *ties) String() string {
	sorted := slices.Sorted(slices.Values(t.bounds))
	return fmt.Sprintf("a device may be off by %.3g to %.3g, by %.3g in half of the steps", sorted[0], sorted[len(sorted)-1], sorted[len(sorted)/2])
}

// oracleDevice answers as an oracle does.
type oracleDevice struct {
	device.Model
	t    reporter
	step *ir.Func
	*oracle
}

func (d *oracleDevice) Step(b *device.Batch) (device.Output, error) {
	var turns []interp.Turn
	for i, start := range b.SlotStart {
		if n := b.SlotNew[i]; n > 0 {
			turn := interp.Turn{Slot: i, Tokens: b.Tok[start : start+n]}
			for _, r := range b.Out {
				if start <= r && r < start+n {
					turn.Logits++
				}
			}
			turns = append(turns, turn)
		}
	}
	bind, in := interp.StepOf(d.state, len(b.SlotStart), turns...)
	want := d.answer(d.t, d.step, bind, in)
	out := device.Output{LogSumExp: want["logsumexp"].F32()}
	for r := range want["logits"].Rows() {
		best, row := 0, want["logits"].Row(r)
		for k, x := range row {
			out.Logits = append(out.Logits, float32(x))
			if x > row[best] {
				best = k
			}
		}
		out.ArgMax = append(out.ArgMax, int32(best))
	}
	return out, nil
}

// heard is a reporter that keeps what it is told.
type heard struct {
	*testing.T
	errors []string
}

func (h *heard) Errorf(format string, args ...any) {
	h.errors = append(h.errors, fmt.Sprintf(format, args...))
}

func (h *heard) Failed() bool { return len(h.errors) > 0 }

// What rounding turns over is no fault, and faults of picking and of caches are told from it.
func TestTies(t *testing.T) {
	tgt, err := machine.Parse("sm_90a")
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range []string{"f16", "int4"} {
		text := tiny("llama", "kv: "+kv, "quantisation: f16")
		for _, c := range []struct {
			name string
			of   func(*variant) // nil: nothing is wrong
		}{
			{"rounding", nil},
			{"one page less", func(v *variant) { v.quest.Budget -= v.quest.PhysicalPage }},
			{"all pages", func(v *variant) { v.quest = nil }},
			{"one summary a page", func(v *variant) { v.quest.Page = v.quest.PhysicalPage }},
			{"pages of each head", func(v *variant) { v.quest.Per = ir.PerHead }},
			{"picks that are kept", func(v *variant) { v.quest.Reselect = 8 }},
			{"another cache", func(v *variant) { v.spec = strings.Replace(text, "kv: "+kv, "kv: int8", 1) }},
		} {
			t.Run(kv+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				right, other := rewritten("", text, subset{quest: true, kv: kv}), rewritten("", text, subset{quest: true, kv: kv})
				if c.of != nil {
					c.of(&other)
				}
				m, p, err := compile(t, right.spec, right.options(tgt), true)
				if err != nil {
					t.Fatal(err)
				}
				wrong, _, err := compile(t, other.spec, other.options(tgt), true)
				if err != nil {
					t.Fatal(err)
				}
				said := &heard{T: t}
				s := newSubject(t, right, m, p, 2, 50)
				s.t, s.ties = said, newTies(m)
				s.device = &oracleDevice{t: t, step: wrong.Module.Func("step"), oracle: newOracle(wrong.Module, rounded(wrong.Float32, 100))}
				s.long(3)
				t.Log(s.ties, said.errors)
				if said.Failed() != (c.of != nil) {
					t.Errorf("told %q", said.errors)
				}
			})
		}
	}
}
