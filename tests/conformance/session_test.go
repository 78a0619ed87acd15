package conformance

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"quire/codegen"
	"quire/codegen/llc"
	"quire/frontends"
	"quire/ir/interp"
	"quire/ir/target"
	"quire/passes/pipeline"
	"quire/runtime"
)

// A session whose windowed layers have long given pages back still says what the
// oracle says, which keeps every token.
func TestSessionBeyondWindow(t *testing.T) {
	for name, text := range map[string]string{
		"every layer": spec("mistral", small, "window: 70"),
		"alternating": spec("gemma2", small, "window: 65"),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			path := filepath.Join(t.TempDir(), "m.yaml")
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			m, err := frontends.Load(path, frontends.Options{Seed: 5})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if _, err := pipeline.Standard(pipeline.Options{}).Run(m.Module); err != nil {
				t.Fatal(err)
			}
			host, err := target.Host()
			if err != nil {
				t.Fatal(err)
			}
			tools, err := llc.Find(ctx)
			if err != nil {
				t.Fatal(err)
			}
			p, err := codegen.Build(ctx, m.Module, codegen.Options{Target: host, Tools: tools, Segments: m.Segment})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Describe(p); err != nil {
				t.Fatal(err)
			}
			rt, err := runtime.Open(ctx, runtime.NewConfig().WithThreads(2).WithChunk(50))
			if err != nil {
				t.Fatal(err)
			}
			defer rt.Close(ctx)
			prog, err := rt.LoadProgram(ctx, p)
			if err != nil {
				t.Fatal(err)
			}
			sess, err := prog.NewSession(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer sess.Close(ctx)
			rng := rand.New(rand.NewPCG(9, 9))
			ids := make([]int32, 245)
			for i := range ids {
				ids[i] = rng.Int32N(83)
			}
			machine, state := interp.New(m.Module, m.Float32, interp.Options{}), interp.NewState()
			for _, n := range []int{230, 1, 1, 12, 1} {
				bind, in := interp.StepOf(state, 1, interp.Turn{Slot: 0, Tokens: ids[:n], Logits: 1})
				results, err := machine.Run(m.Module.Func("step"), bind, in, state)
				if err != nil {
					t.Fatal(err)
				}
				got, err := sess.Prefill(ctx, ids[:n])
				if err != nil {
					t.Fatal(err)
				}
				row := make([]float64, len(got))
				for i, x := range got {
					row[i] = float64(x)
				}
				if d := interp.RelL2(row, interp.Named(m.Module.Func("step"), results)["logits"].Row(0)); !(d <= 2e-5) {
					t.Fatalf("after %d more tokens: %.3g from the oracle's", n, d)
				}
				ids = ids[n:]
			}
		})
	}
}
