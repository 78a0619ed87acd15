package interp

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"quire/ir/types"
	"quire/ir/types/block"
)

// Every f16 and bf16 value is itself, and a float32 rounds as package block does.
func TestRound(t *testing.T) {
	for h := range 1 << 16 {
		for d, x := range map[types.DType]float32{types.F16: block.F16ToF32(uint16(h)), types.BF16: block.BF16ToF32(uint16(h))} {
			if got := Round(d, float64(x)); got != float64(x) && x == x {
				t.Fatalf("%s: %v rounds to %v", d, x, got)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		x := math.Float32frombits(rapid.Uint32().Draw(t, "bits"))
		if got, want := Round(types.F16, float64(x)), block.F16ToF32(block.F32ToF16(x)); x == x && got != float64(want) {
			t.Errorf("f16: %v rounds to %v, expected %v", x, got, want)
		}
		if got, want := Round(types.BF16, float64(x)), block.BF16ToF32(block.F32ToBF16(x)); x == x && got != float64(want) {
			t.Errorf("bf16: %v rounds to %v, expected %v", x, got, want)
		}
	})
}

func TestRoundF8(t *testing.T) {
	for _, c := range [][2]float64{{448, 448}, {1000, 448}, {-1e9, -448}, {1.0625, 1}, {1.1875, 1.25}, {0x1p-9, 0x1p-9}, {0x1p-10, 0}, {0x1.8p-10, 0x1p-9}, {17, 16}, {19, 20}} {
		if got := Round(types.F8, c[0]); got != c[1] {
			t.Errorf("%v rounds to %v, expected %v", c[0], got, c[1])
		}
	}
}

func TestTensorRows(t *testing.T) {
	x := Floats([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
	if x.Rows() != 3 || x.Row(1)[1] != 4 || x.String() != "f32[3, 2]" || Ints(4, 5).Elem.DType != types.I32 {
		t.Errorf("%d rows, %v, %s", x.Rows(), x.Row(1), x)
	}
	if s := Floats([]float32{7}); s.Rows() != 1 || s.Row(0)[0] != 7 {
		t.Errorf("scalar: %v", s)
	}
	if e := NewTensor(x.Elem, 3, 0); e.Rows() != 0 {
		t.Errorf("empty: %d rows", e.Rows())
	}
}
