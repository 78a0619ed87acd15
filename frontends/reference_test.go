package frontends

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"quire/frontends/weights"
	"quire/ir"
	"quire/ir/interp"
	"quire/ir/types/block"
)

const reference = "../tests/e2e/reference"

// expectation is expected.json with its logits: what transformers computes in float32.
type expectation struct {
	Prompts []struct {
		Name   string
		IDs    []int32
		Greedy []int32
	}
	logits *weights.Source
}

func readExpected(t *testing.T, dir string) *expectation {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	e := &expectation{}
	if err := json.Unmarshal(text, e); err != nil {
		t.Fatal(err)
	}
	if e.logits, err = weights.Open(filepath.Join(dir, "expected.safetensors")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.logits.Close() })
	return e
}

// rows returns the expected logits of a prompt: row i after i+1 tokens.
func (e *expectation) rows(t *testing.T, name string) [][]float32 {
	t.Helper()
	l := e.logits.Tensor(name + ".logits")
	if l == nil {
		t.Fatalf("no %s.logits", name)
	}
	all := make([]float32, l.Elems())
	if err := block.Decode(l.Enc, l.Data(), all); err != nil {
		t.Fatal(err)
	}
	out := make([][]float32, l.Shape[0])
	for i := range out {
		out[i] = all[i*int(l.Shape[1]):][:l.Shape[1]]
	}
	return out
}

// models lists the folders that hold a checkpoint, with the folder of what is expected of it.
func models(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	configs, _ := filepath.Glob(filepath.Join(reference, "*", "config.json"))
	for _, c := range configs {
		out[filepath.Dir(c)] = filepath.Dir(c)
	}
	ggufs, _ := filepath.Glob(filepath.Join(reference, "gguf", "*", "model.gguf"))
	for _, g := range ggufs {
		dir := filepath.Dir(g)
		if _, err := os.Stat(filepath.Join(dir, "expected.json")); err != nil {
			dir = filepath.Join(reference, filepath.Base(dir))
		}
		out[g] = dir
	}
	if len(out) < 15 {
		t.Fatalf("%d reference models in %s, expected 15 or more", len(out), reference)
	}
	return out
}

// Every tiny model, evaluated by the oracle, must give transformers' logits, however its tokens are fed.
func TestReferenceLogits(t *testing.T) {
	for path, dir := range models(t) {
		rel, _ := filepath.Rel(reference, path)
		t.Run(rel, func(t *testing.T) {
			t.Parallel()
			m, err := Load(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if err := ir.Verify(m.Module); err != nil {
				t.Fatal(err)
			}
			e := readExpected(t, dir)
			mach := interp.New(m.Module, cached(m), interp.Options{})
			for _, p := range e.Prompts {
				ids := append(append([]int32{}, p.IDs...), p.Greedy[:len(p.Greedy)-1]...)
				want := e.rows(t, p.Name)
				for _, feed := range []struct {
					name string
					next func(at int) int
				}{
					{"at once", func(int) int { return len(ids) }},
					{"in chunks", func(at int) int { return []int{5, 1, 11, 3}[at%4] }},
					{"one by one", func(int) int { return 1 }},
				} {
					feedAndCompare(t, mach, m.Module, p.Name+" "+feed.name, ids, want, feed.next)
				}
			}
		})
	}
}

func cached(m *Model) interp.Weights {
	seen := map[string][]float32{}
	return func(name string) ([]float32, error) {
		if x, ok := seen[name]; ok {
			return x, nil
		}
		x, err := m.Float32(name)
		seen[name] = x
		return x, err
	}
}

func feedAndCompare(t *testing.T, mach *interp.Machine, m *ir.Module, name string, ids []int32, want [][]float32, next func(at int) int) {
	t.Helper()
	step, state := m.Func("step"), interp.NewState()
	worst, where := 0.0, 0
	for at := 0; at < len(ids); {
		n := min(next(at), len(ids)-at)
		bind, in := interp.StepOf(state, 1, interp.Turn{Slot: 0, Tokens: ids[at : at+n], Logits: n})
		out, err := mach.Run(step, bind, in, state)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		logits := interp.Named(step, out)["logits"]
		for i := range n {
			vocab := len(want[at+i])
			if d := distance(logits.Data[i*vocab:][:vocab], want[at+i]); !(d <= worst) {
				worst, where = d, at+i
			}
		}
		at += n
	}
	if !(worst < 1e-4) {
		t.Errorf("%s: row %d differs by %.3g (relative L2), expected less than 1e-4", name, where, worst)
	}
}

func distance(got []float64, want []float32) float64 {
	var diff, norm float64
	for i, w := range want {
		diff += (got[i] - float64(w)) * (got[i] - float64(w))
		norm += float64(w) * float64(w)
	}
	return math.Sqrt(diff / norm)
}
