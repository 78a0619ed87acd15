package cpu_test

import (
	"testing"

	"quire/runtime/cpu"
)

// Two programs that are open at once each run their own code.
func TestTwoProgramsAtOnce(t *testing.T) {
	path, _ := weightFile(t)
	for _, factor := range []float32{2, 6, 4} {
		p := buildTimes(t, path, factor)
		m := open(t, p, cpu.Options{}) // closed at the end of the test
		out, err := m.Step(batch(0, []int32{5, 6}))
		if err != nil {
			t.Fatal(err)
		}
		x := want(p, 6)
		for i := range x {
			x[i] *= factor / 2
		}
		if got := out.Logits[:rot]; !near(got, x, 1e-5) {
			t.Errorf("factor %v: %v, want %v", factor, got, x)
		}
	}
}
