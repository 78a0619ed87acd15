package plan_test

import (
	"strings"
	"testing"

	"quire/ir"
	"quire/passes/plan"
)

// A plan that lets a linear overwrite the rows that it still reads is refused.
func TestCheckRefusesOverlap(t *testing.T) {
	const text = `dim N launch 0..8
weight @w: f32[16, 16]
func @step(%x: f32[N, 16]) -> (f32[N, 16]) {
  %0: f32[N, 16] = silu %x
  %1: f32[N, 16] = matmul %0, @w
  return %1
}
kernels @step.any of @step (%x: f32[N, 16]) -> (f32[N, 16]) {
  buffer %a: f32[N, 16] {slot = 0}
  launch map {dim = 16, expr = [{op = in}, {op = silu}]} on %x, %a -> %a {
    %0: f32[N, 16] = silu %x
    yield %0
  }
  buffer %b: f32[N, 16] {slot = SLOT}
  launch linear {enc = f32, rows = [16], cols = 16, tokens = many, dot = f32, epilogue = store} on %a, @w, %b -> %b {
    %1: f32[N, 16] = matmul %a, @w
    yield %1
  }
  return %b
}
`
	for slot, bad := range map[string]bool{"0": true, "1": false} {
		m, err := ir.Parse("t", strings.Replace(text, "SLOT", slot, 1))
		if err != nil {
			t.Fatal(err)
		}
		if err := ir.Verify(m); err != nil {
			t.Fatal(err)
		}
		if err := plan.Check(m.Funcs[1]); (err != nil) != bad {
			t.Errorf("slot %s: error %v, want one: %v", slot, err, bad)
		}
	}
}
