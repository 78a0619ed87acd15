package packed_test

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"quire/ir/types/packed"
)

// With its columns in the order of activations a weight is read sorted by group: column j of the rows is column
// Columns[j] of the file, and takes the scale of its group.
func TestOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	for _, f := range []packed.Format{packed.GPTQ, packed.GPTQv2, packed.CompressedTensors} {
		for _, bits := range []int{4, 3} {
			m := matrix(t, f, bits, false)
			parts, err := m.Encode(sample(bits))
			if err != nil {
				t.Fatal(err)
			}
			file := decode(t, m, parts)
			group := make([]int, m.Cols)
			for i, k := range r.Perm(m.Cols) {
				group[k] = i / m.Group
			}
			parts[packed.Order] = words(group)
			m.Parts[packed.Order] = packed.Array{Elem: "i32", Shape: []int64{1, int64(m.Cols)}}
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
			from, err := m.Columns(parts[packed.Order])
			if err != nil {
				t.Fatal(err)
			}
			rows := decode(t, m, parts)
			e := m.Encoding()
			at, _, size := e.Parts(m.Cols)
			for n := range m.Rows {
				a, b := file[n*size:][:size], rows[n*size:][:size]
				for j, k := range from {
					if group[k] != j/m.Group {
						t.Fatalf("%s: column %d comes from %d of group %d, expected group %d", f, j, k, group[k], j/m.Group)
					}
					if got, want := codeOf(b, j, bits), codeOf(a, k, bits); got != want {
						t.Fatalf("%s: row %d, column %d is %d, expected %d", f, n, j, got, want)
					}
				}
				if !slices.Equal(a[at:], b[at:]) {
					t.Fatalf("%s: row %d: scales or zeros moved", f, n)
				}
			}
			if _, err := m.Encode(rows); err == nil || !strings.Contains(err.Error(), "order: columns in an order of their own") {
				t.Errorf("%s: Encode: %v", f, err)
			}
		}
	}
	m := &packed.Matrix{Format: packed.AWQGemm, Rows: 64, Cols: 128, Bits: 4, Group: 64}
	if err := m.Shapes(false); err != nil {
		t.Fatal(err)
	}
	m.Parts[packed.Order] = packed.Array{Elem: "i32", Shape: []int64{1, 128}}
	if err := m.Check(); err == nil || !strings.Contains(err.Error(), "order: elements") {
		t.Errorf("awq-gemm with an order: %v", err)
	}
}

func words(v []int) []byte {
	var out []byte
	for _, x := range v {
		out = binary.LittleEndian.AppendUint32(out, uint32(x))
	}
	return out
}

func codeOf(row []byte, k, bits int) int {
	q := 0
	for b := range bits {
		i := k*bits + b
		q |= int(row[i/8]>>(i%8)&1) << b
	}
	return q
}
