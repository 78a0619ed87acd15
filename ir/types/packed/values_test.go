package packed_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"quire/ir/types/block"
	"quire/ir/types/packed"
)

// Case 6.3.5: what a layout packs and gives back are the values of the fake-quantised weight, (q - z) * s of the stored
// float16, to the bit; and quantising those values by that s and z gives the codes again. The form with one sum,
// q * s + -(z * s), whose second part is a stored float16 (gemv_fast), may differ by a step of that product, and does.
func TestValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 35))
	differ := 0
	for _, f := range packed.Formats() {
		for _, bits := range []int{3, 4} {
			m := &packed.Matrix{Format: f, Rows: 64, Cols: 128, Bits: bits, Group: 64}
			if m.Shapes(false) != nil {
				continue // a format of 4 bits alone
			}
			e := m.Encoding()
			scales, zeros, size := e.Parts(m.Cols)
			w, fake, got := make([]float32, 64*128), make([]float32, 64*128), make([]float32, 64*128)
			for i := range w {
				w[i] = float32(rng.NormFloat64()*0.05 + 0.02)
			}
			rows := make([]byte, m.Rows*size)
			if err := block.EncodeRows(e.Name, m.Cols, w, rows); err != nil {
				t.Fatal(err)
			}
			if err := block.DecodeRows(e.Name, m.Cols, rows, fake); err != nil {
				t.Fatal(err)
			}
			parts, err := m.Encode(rows)
			if err != nil {
				t.Fatal(err)
			}
			back := decode(t, m, parts)
			if err := block.DecodeRows(e.Name, m.Cols, back, got); err != nil {
				t.Fatal(err)
			}
			for i, v := range got {
				row, c := rows[i/128*size:][:size], i%128
				q := int(binary.LittleEndian.Uint16(row[c*bits/8:]) >> (c * bits % 8) & (1<<bits - 1))
				s, z := block.F16ToF32(binary.LittleEndian.Uint16(row[scales+c/e.Group*2:])), int(row[zeros+c/e.Group])
				if v != fake[i] || v != float32(q-z)*s {
					t.Fatalf("%s, %d bits: value %d is %v, the fake-quantised weight %v = (%d - %d) * %v", f, bits, i, v, fake[i], q, z, s)
				}
				if again := int(math.RoundToEven(float64((fake[i] + float32(z)*s) / s))); again != q {
					t.Fatalf("%s, %d bits: value %d has code %d, its value gives %d", f, bits, i, q, again)
				}
				if f != packed.AWQGemvFast {
					continue
				}
				product := float32(z) * s
				half := block.F16ToF32(block.F32ToF16(product))
				d := math.Abs(float64(float32(q)*s-half) - float64(v))
				if step := math.Exp2(math.Floor(math.Log2(float64(product))) - 10); d > step {
					t.Fatalf("value %d: %v and %v as a sum, %v apart, expected a step of %v at most", i, v, float32(q)*s-half, d, step)
				}
				if d > 0 {
					differ++
				}
			}
		}
	}
	if differ == 0 {
		t.Error("no sum differs from its product: the two forms are not told apart")
	}
}
