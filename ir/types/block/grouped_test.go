package block_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"quire/ir/types/block"

	"pgregory.net/rapid"
)

// unpack reads a row of grouped integers the slow way: bit by bit.
func unpack(e block.Encoding, row []byte, k int) (codes []int, scales []float32, zeros []int) {
	for i := range k {
		q := 0
		for b := range e.Bits {
			at := i*e.Bits + b
			q |= int(row[at/8]>>(at%8)&1) << b
		}
		codes = append(codes, q)
	}
	s, z, _ := e.Parts(k)
	for g := range k / e.Group {
		scales = append(scales, block.F16ToF32(uint16(row[s+2*g])|uint16(row[s+2*g+1])<<8))
		zeros = append(zeros, int(row[z+g]))
	}
	return codes, scales, zeros
}

// TestGroupedQuantizer: published vectors of AWQ's quantiser (cases 6.3.1 to 6.3.4 of "AWQ facts"). This build forces zero
// into the range of a group (case 6.3.3: AWQ's own rule, which does not, gives s = 1/150 and codes all 15, values 0.1).
func TestGroupedQuantizer(t *testing.T) {
	for _, c := range []struct {
		name   string
		enc    string
		x      []float32
		scale  float32
		zero   int
		codes  []int
		values []float32 // nil: (q - z) of the float16 scale
	}{
		// Halves away from zero would give codes 0 6 7 8 9 10 11 15.
		{"6.3.1 ties to even", "q4g8", []float32{-1.75, -.125, 0, .125, .375, .625, 1, 2}, .25, 7, []int{0, 7, 7, 7, 9, 9, 11, 15}, []float32{-1.75, 0, 0, 0, .5, .5, 1, 2}},
		{"6.3.2 three bits", "q3g8", []float32{-.75, -.25, 0, .125, .375, .5, .625, 1}, .25, 3, []int{0, 2, 3, 3, 5, 5, 5, 7}, []float32{-.75, -.25, 0, 0, .5, .5, .5, 1}},
		{"6.3.3 one sign", "q4g8", []float32{1, 1.02, 1.05, 1.1, 1, 1.02, 1.05, 1.1}, 1.1 / 15, 0, []int{14, 14, 14, 15, 14, 14, 14, 15}, nil},
		{"6.3.3 one sign, negative", "q4g8", []float32{-1, -1.02, -1.05, -1.1, -1, -1.02, -1.05, -1.1}, 1.1 / 15, 15, []int{1, 1, 1, 0, 1, 1, 1, 0}, nil},
		{"6.3.4 zero", "q4g8", make([]float32, 8), 1e-5 / 15, 0, make([]int, 8), make([]float32, 8)},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, _ := block.Lookup(c.enc)
			row := make([]byte, e.Bytes)
			if err := block.Encode(c.enc, c.x, row); err != nil {
				t.Fatal(err)
			}
			codes, scales, zeros := unpack(e, row, 8)
			want := block.F16ToF32(block.F32ToF16(c.scale))
			if scales[0] != want || zeros[0] != c.zero || !slices.Equal(codes, c.codes) {
				t.Errorf("s = %g, z = %d, q = %v, expected %g, %d, %v", scales[0], zeros[0], codes, want, c.zero, c.codes)
			}
			values := c.values
			for i := range c.codes {
				if c.values == nil {
					values = append(values, float32(c.codes[i]-c.zero)*want)
				}
			}
			got := make([]float32, 8)
			if err := block.Decode(c.enc, row, got); err != nil || !slices.Equal(got, values) {
				t.Errorf("values %v (%v), expected %v", got, err, values)
			}
		})
	}
	if h := block.F32ToF16(1e-5 / 15); h != 0x000b {
		t.Errorf("case 6.3.4: a zero group's scale is %04x, expected 000b", h)
	}
}

// TestGroupedRow (case 6.3.5): Decode is (q - z) * s by the row layout, read here bit by bit, and what Encode packs comes back
// within a step of the input (half a step and the rounding of the zero).
func TestGroupedRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.SampledFrom([]int{3, 4, 8}).Draw(t, "bits")
		group := rapid.SampledFrom([]int{8, 32, 64, 128}).Draw(t, "group")
		groups := rapid.IntRange(1, 3).Draw(t, "groups")
		e, _ := block.Lookup(block.Grouped(bits, group))
		k := group * groups
		x := rapid.SliceOfN(rapid.Float32Range(-4, 4), k, k).Draw(t, "x")
		row, y := make([]byte, groups*e.Bytes), make([]float32, k)
		must(t, block.Encode(e.Name, x, row))
		must(t, block.Decode(e.Name, row, y))
		codes, scales, zeros := unpack(e, row, k)
		for i := range y {
			s := scales[i/group]
			if want := float32(codes[i]-zeros[i/group]) * s; y[i] != want {
				t.Fatalf("element %d: %g, expected (%d - %d) * %g = %g", i, y[i], codes[i], zeros[i/group], s, want)
			}
			if d := math.Abs(float64(y[i] - x[i])); d > 1.01*float64(s)+1e-4 {
				t.Fatalf("element %d: %g came back as %g, step %g", i, x[i], y[i], s)
			}
		}
	})
}

// TestGroupedLayout pins the bytes of one small row of each width.
func TestGroupedLayout(t *testing.T) {
	for _, c := range []struct{ enc, want string }{
		{"q4g8", "10 32 54 76 00 3c 00"},             // nibble pairs, low first; f16 1; zero 0
		{"q3g8", "88 c6 fa 00 3c 00"},                // 0..7 as a dense stream of three bits
		{"q8g8", "00 01 02 03 04 05 06 07 00 3c 00"}, // bytes
	} {
		e, _ := block.Lookup(c.enc)
		row := make([]byte, e.Bytes)
		for i := range row {
			if _, err := fmt.Sscanf(c.want[3*i:], "%02x", &row[i]); err != nil {
				t.Fatal(err)
			}
		}
		y := make([]float32, 8)
		if err := block.Decode(c.enc, row, y); err != nil || !slices.Equal(y, []float32{0, 1, 2, 3, 4, 5, 6, 7}) {
			t.Errorf("%s: %v, %v", c.enc, y, err)
		}
	}
}

func TestGroupedRows(t *testing.T) {
	x := make([]float32, 3*64)
	for i := range x {
		x[i] = float32(i%29) - 11
	}
	e, _ := block.Lookup("q3g32")
	size, _ := e.RowBytes(64)
	data, y := make([]byte, 3*size), make([]float32, len(x))
	if err := block.EncodeRows("q3g32", 64, x, data); err != nil {
		t.Fatal(err)
	}
	if err := block.DecodeRows("q3g32", 64, data, y); err != nil {
		t.Fatal(err)
	}
	one := make([]float32, 64)
	if err := block.Decode("q3g32", data[size:2*size], one); err != nil || !slices.Equal(one, y[64:128]) {
		t.Errorf("row 1 alone: %v differs from row 1 of the tensor (%v)", one, err)
	}
}

func must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
