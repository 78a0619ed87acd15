package e2e

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"quire/frontends/weights"
	"quire/ir/types/block"
)

// expected is what transformers computes of a tiny model in float32.
type expected struct {
	Prompts []struct {
		Name   string
		IDs    []int32
		Greedy []int32
	}
	logits *weights.Source
}

func readExpected(t *testing.T, dir string) *expected {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	e := &expected{}
	if err := json.Unmarshal(text, e); err != nil {
		t.Fatal(err)
	}
	if e.logits, err = weights.Open(filepath.Join(dir, "expected.safetensors")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.logits.Close() })
	return e
}

// rows returns the logits after each token of a prompt and its greedy reply.
func (e *expected) rows(t *testing.T, name string) [][]float32 {
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

// checkpoints maps each model's path to the folder of what is expected of it.
func checkpoints(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	configs, _ := filepath.Glob(filepath.Join("reference", "*", "config.json"))
	for _, c := range configs {
		out[filepath.Dir(c)] = filepath.Dir(c)
	}
	ggufs, _ := filepath.Glob(filepath.Join("reference", "gguf", "*", "model.gguf"))
	for _, g := range ggufs {
		dir := filepath.Dir(g)
		if _, err := os.Stat(filepath.Join(dir, "expected.json")); err != nil {
			dir = filepath.Join("reference", filepath.Base(dir))
		}
		out[g] = dir
	}
	if len(out) < 30 {
		t.Fatalf("%d reference models, expected 30 or more", len(out))
	}
	return out
}

// Every tiny model, compiled, gives transformers' logits within 1e-4 of each row's
// norm: at once, in chunks and token by token.
func TestReferenceLogits(t *testing.T) {
	for path, dir := range checkpoints(t) {
		t.Run(path, func(t *testing.T) {
			prog := open(t, path, how{threads: 2})
			e := readExpected(t, dir)
			for _, p := range e.Prompts {
				ids := append(append([]int32{}, p.IDs...), p.Greedy[:len(p.Greedy)-1]...)
				want := e.rows(t, p.Name)
				for name, next := range map[string]func(at int) int{
					"at once":    func(int) int { return len(ids) },
					"in chunks":  func(at int) int { return []int{5, 1, 11, 3}[at%4] },
					"one by one": func(int) int { return 1 },
				} {
					s := session(t, prog)
					for at := 0; at < len(ids); {
						n := min(next(at), len(ids)-at)
						got, err := s.Prefill(context.Background(), ids[at:at+n])
						if err != nil {
							t.Fatal(err)
						}
						at += n
						if d := relL2(got, want[at-1]); !(d <= 1e-4) {
							t.Fatalf("%s prompt, %s: logits after %d tokens are %.3g from transformers', expected at most 1e-4", p.Name, name, at, d)
						}
					}
				}
				greedy(t, prog.NewSession, p.IDs, p.Greedy)
			}
		})
	}
}

// relL2 is the distance of a row in units of the expected row's norm.
func relL2(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var diff, norm float64
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		diff += d * d
		norm += float64(want[i]) * float64(want[i])
	}
	return math.Sqrt(diff / norm)
}
