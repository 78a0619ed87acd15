package packed

// compressed-tensors' "pack-quantized": codes and zeros are signed there, and kept plus 2^(bits-1), which makes them
// the unsigned ones of the others. Zeros are packed along the outputs.
var compressed = format{
	bits: []int{4, 3}, k: 8, n: 1, zeros: maybe, order: true, codes: alongCodes,
	planes: [Roles]plane{
		Codes: alongPlane,
		Scales: {
			elems: halfs, dim: 0, rows: 1, step: whole(1), next: one,
			shape: func(m *Matrix) []int64 { return []int64{int64(m.Rows), int64(m.countGroups())} },
			at:    func(m *Matrix, wide, n, g int) (int, int) { return n*wide + g, 0 },
		},
		Zeros: {
			elems: []string{"i32"}, dim: 0, rows: 32, step: bitsOf, next: below,
			shape: func(m *Matrix) []int64 { return []int64{words(m.Rows, m.Bits), int64(m.countGroups())} },
			at:    func(m *Matrix, wide, n, g int) (int, int) { return n*m.Bits/32*wide + g, n * m.Bits % 32 },
		},
	},
}
