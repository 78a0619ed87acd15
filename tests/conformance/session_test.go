package conformance

import (
	"testing"

	"quire/ir/interp"
	"quire/passes/pipeline"
)

// A session whose windowed layers have long given pages back still says what the
// oracle says, which keeps every token.
func TestSessionBeyondWindow(t *testing.T) {
	for name, text := range map[string]string{
		"every layer": spec("mistral", small, "window: 70"),
		"alternating": spec("gemma2", small, "window: 65"),
	} {
		t.Run(name, func(t *testing.T) {
			sess, m := session(t, text, pipeline.Options{}, 50)
			ids := draw(245)
			machine, state := interp.New(m.Module, m.Float32, interp.Options{}), interp.NewState()
			for _, n := range []int{230, 1, 1, 12, 1} {
				bind, in := interp.StepOf(state, 1, interp.Turn{Slot: 0, Tokens: ids[:n], Logits: 1})
				results, err := machine.Run(m.Module.Func("step"), bind, in, state)
				if err != nil {
					t.Fatal(err)
				}
				if d := interp.RelL2(prefill(t, sess, ids[:n]), interp.Named(m.Module.Func("step"), results)["logits"].Row(0)); !(d <= 2e-5) {
					t.Fatalf("after %d more tokens: %.3g from the oracle's", n, d)
				}
				ids = ids[n:]
			}
		})
	}
}
