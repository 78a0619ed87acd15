package noise

import (
	"math"
	"slices"
	"testing"
)

func TestMoments(t *testing.T) {
	x := make([]float32, 1<<18)
	Fill(x, Seed(1, "w"), 0, 1, 0.5)
	var sum, sq float64
	for _, v := range x {
		sum += float64(v)
		sq += (float64(v) - 1) * (float64(v) - 1)
	}
	mean, std := sum/float64(len(x)), math.Sqrt(sq/float64(len(x)))
	if math.Abs(mean-1) > 0.005 || math.Abs(std-0.5) > 0.005 {
		t.Fatalf("mean %v, std %v, expected 1 and 0.5", mean, std)
	}
}

func TestAnyOrder(t *testing.T) {
	whole, parts := make([]float32, 100), make([]float32, 100)
	Fill(whole, -7, 0, 0, 1)
	Fill(parts[60:], -7, 60, 0, 1)
	Fill(parts[:60], -7, 0, 0, 1)
	if !slices.Equal(whole, parts) {
		t.Fatal("elements made from the middle differ")
	}
}

// The numbers are part of the Program format: a change here changes every random model.
func TestGolden(t *testing.T) {
	x := make([]float32, 4)
	Fill(x, Seed(42, "model.norm"), 0, 0, 1)
	want := []float32{0.34220266, 1.0507376, -0.6241208, 0.5344736}
	if !slices.Equal(x, want) {
		t.Fatalf("%v, expected %v", x, want)
	}
	if Seed(1, "a") == Seed(2, "a") || Seed(1, "a") == Seed(1, "b") {
		t.Fatal("seeds are equal for different models or weights")
	}
}
