package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// quantised is expected.json of a packed checkpoint (reference/quantised): what comes of its matrices, dequantised by
// the format's own package, in float32.
type quantised struct {
	Reference struct {
		InputIDs   []int32   `json:"input_ids"`
		LastLogits []float32 `json:"last_logits_f32"`
		Greedy     []int32   `json:"greedy_f32"`
		Greedy24   []int32   `json:"greedy24_f32"`
	}
}

// Packed checkpoints of 4 and 3 bits run from their own codes, compiled, and give the logits and ids of the packages'
// dequantised matrices. Those are rounded to float16, which is most of the distance allowed.
func TestReferencePacked(t *testing.T) {
	configs, _ := filepath.Glob(filepath.Join("reference", "quantised", "*", "config.json"))
	if len(configs) < 14 {
		t.Fatalf("%d packed checkpoints, expected 14 or more", len(configs))
	}
	for _, c := range configs {
		dir := filepath.Dir(c)
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(dir, "expected.json"))
			if err != nil {
				t.Fatal(err)
			}
			var q quantised
			if err := json.Unmarshal(text, &q); err != nil {
				t.Fatal(err)
			}
			want := q.Reference
			prog := open(t, dir, how{threads: 2})
			got, err := session(t, prog).Prefill(context.Background(), want.InputIDs)
			if err != nil {
				t.Fatal(err)
			}
			limit := 2e-3
			if strings.HasSuffix(name, "_bf16") { // its package rounds the matrices to bfloat16
				limit = 4e-3
			}
			if d := relL2(got, want.LastLogits); !(d <= limit) {
				t.Errorf("logits are %.3g from those wanted, expected at most %.0e", d, limit)
			}
			ids := append(want.Greedy, want.Greedy24...)
			if len(ids) < 12 {
				t.Fatalf("%d greedy ids, expected 12 or more", len(ids))
			}
			greedy(t, prog.NewSession, want.InputIDs, ids)
		})
	}
}
