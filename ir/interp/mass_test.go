package interp

import (
	"math"
	"testing"

	"quire/ir"
)

// Equal scores share the mass: of row i, all but sink and the last recent + 1 of i + 1
// tokens are outside. A key that one head looks for takes it all.
func TestMassOutside(t *testing.T) {
	const n, heads, d = 6, 2, 2
	q, k := make([]float32, n*heads*d), make([]float32, n*d)
	for i := range n {
		q[i*heads*d+d] = 1 // head 1 looks along the first axis
	}
	k[1*d] = 100 // and finds token 1
	mass, err := MassOutside(Floats(q, n, heads, d), Floats(k, n, 1, d), ir.AttentionAttrs{Scale: 1}, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	for h, want := range []float64{1./5 + 2./6, 2} { // rows 4 and 5; token 1 is recent in the others
		if math.Abs(mass[h]-want) > 1e-12 {
			t.Errorf("head %d: %v outside, expected %v", h, mass[h], want)
		}
	}
	recent := 2
	if mass, err = MassOutside(Floats(q, n, heads, d), Floats(k, n, 1, d), ir.AttentionAttrs{Scale: 1, Recent: &recent}, 1, 2); err != nil || mass[0] != 0 || mass[1] != 0 {
		t.Errorf("a window of its own: %v outside, %v", mass, err)
	}
	if _, err := MassOutside(Floats(q, n, heads, d), Floats(k, d, 1, n), ir.AttentionAttrs{}, 1, 2); err == nil {
		t.Error("keys of another shape: no error")
	}
}
