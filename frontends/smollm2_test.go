package frontends

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"quire/ir/interp"
)

// The default model's own file, evaluated by the oracle, gives transformers' first tokens and logits.
func TestSmolLM2Logits(t *testing.T) {
	if testing.Short() {
		t.Skip("three seconds of plain loops")
	}
	m := load(t, smollm2(t), Options{})
	text, err := os.ReadFile("../tests/e2e/testdata/smollm2/greedy.json")
	if err != nil {
		t.Fatal(err)
	}
	var run struct {
		Prompts []struct {
			Prompt []int32 `json:"prompt_ids"`
			Tokens []int32
			Top    []struct {
				IDs    []int
				Logits []float64
			} `json:"top8_first16"`
		}
	}
	if err := json.Unmarshal(text, &run); err != nil {
		t.Fatal(err)
	}
	const steps = 4
	p, step, state := run.Prompts[0], m.Module.Func("step"), interp.NewState()
	ids := append(append([]int32{}, p.Prompt...), p.Tokens[:steps-1]...)
	bind, in := interp.StepOf(state, 1, interp.Turn{Slot: 0, Tokens: ids, Logits: steps})
	results, err := interp.New(m.Module, m.Float32, interp.Options{}).Run(step, bind, in, state)
	if err != nil {
		t.Fatal(err)
	}
	out := interp.Named(step, results)
	for i := range steps {
		if got := int32(out["argmax"].Data[i]); got != p.Tokens[i] {
			t.Errorf("step %d: token %d, expected %d", i, got, p.Tokens[i])
		}
		logits := out["logits"].Data[i*m.Config.Vocab:]
		for k, id := range p.Top[i].IDs {
			if want := p.Top[i].Logits[k]; math.Abs(logits[id]-want) > 1e-3 {
				t.Errorf("step %d: logit of %d is %v, expected %v", i, id, logits[id], want)
			}
		}
	}
}
