package packed

// GPTQ's layout (AutoGPTQ, GPTQModel): codes run along the inputs, down the array; zeros along the outputs. Format 1
// keeps zero - 1. At 4 bits its writers subtract once from each 32-bit word, so that a zero of 0 borrows from its
// neighbour, and a reader must add before it cuts the word into fields; at 3 bits they subtract in each field.
var gptq = format{
	bits: []int{4, 3}, k: 32, n: 32, zeros: always, order: true, codes: downCodes,
	planes: [Roles]plane{
		Codes: {
			elems: []string{"i32"}, dim: 1, rows: 1, step: whole(1), next: below,
			shape: func(m *Matrix) []int64 { return []int64{words(m.Cols, m.Bits), int64(m.Rows)} },
			at:    func(m *Matrix, wide, n, k int) (int, int) { return k*m.Bits/32*wide + n, k * m.Bits % 32 },
		},
		Scales: acrossScales,
		Zeros: {
			elems: []string{"i32"}, dim: 1, rows: 32, step: bitsOf, next: one,
			shape: func(m *Matrix) []int64 { return []int64{int64(m.countGroups()), words(m.Rows, m.Bits)} },
			at:    func(m *Matrix, wide, n, g int) (int, int) { return g*wide + n*m.Bits/32, n * m.Bits % 32 },
		},
	},
}

// ones is 1 in each field of 4 bits.
const ones = 0x11111111

func downCodes(m *Matrix, src []byte, wide, rows int, dst []byte) {
	for n := range rows {
		stream(dst[n*m.Cols:][:m.Cols], src, n, wide, m.Bits)
	}
}
