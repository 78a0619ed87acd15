package packed

// Marlin's layout (IST-DASLab/marlin, marlin/__init__.py): tiles of 16 columns of W by 64 of its rows, whose words lie
// as the lanes of a warp load them. A word holds the codes {k, k+1, k+8, k+9} x {n, n+8}.
var marlin = format{
	bits: []int{4}, k: 16, n: 64, zeros: maybe, codes: marlinCodes,
	planes: [Roles]plane{
		Codes: {
			elems: []string{"i32"}, dim: 1, rows: 64, step: whole(128), next: one,
			shape: func(m *Matrix) []int64 { return []int64{int64(m.Cols / 16), int64(2 * m.Rows)} },
			at: func(m *Matrix, wide, n, k int) (int, int) {
				word := 4*(n%8*4+k%8/2) + n%64/16
				return k/16*wide + n/64*128 + word, 4 * order[4*(n%16/8)+2*(k%16/8)+k&1]
			},
		},
		Scales: {
			elems: halfs, dim: 1, rows: 64, step: whole(64), next: one,
			shape: acrossScales.shape,
			at:    func(m *Matrix, wide, n, g int) (int, int) { return g*wide + marlinColumn(m, n), 0 },
		},
		// The zeros are vLLM's: Marlin's own files have none.
		Zeros: {
			elems: []string{"i32"}, dim: 1, rows: 64, step: whole(8), next: one,
			shape: func(m *Matrix) []int64 { return []int64{int64(m.countGroups()), int64(m.Rows / 8)} },
			at: func(m *Matrix, wide, n, g int) (int, int) {
				c := n/64*64 + n%8*8 + n/8%8
				return g*wide + c/8, 4 * order[c%8]
			},
		},
	},
}

// marlinColumn is where the scale of row n stands: permuted among 64 rows, or among 32 with one scale a row.
func marlinColumn(m *Matrix, n int) int {
	if m.Group < m.Cols {
		return n/64*64 + n%8*8 + n/8%8
	}
	i := n % 32 // = 2*(n/2%4) + {0, 1, 8, 9, 16, 17, 24, 25}[j]
	return n/32*32 + i%8/2*8 + i/8*2 + i%2
}

func marlinCodes(m *Matrix, src []byte, wide, rows int, dst []byte) {
	for kt := range m.Cols / 16 {
		for nt := range rows / 64 {
			tile := kt*wide + nt*128
			for i := range 128 {
				w := word(src, tile+i)
				n := nt*64 + i%4*16 + i/16
				at := n*m.Cols + kt*16 + i/4%4*2
				for l, nibble := range order {
					dst[at+l/4*8*m.Cols+l/2%2*8+l%2] = byte(w>>(4*nibble)) & 15
				}
			}
		}
	}
}
