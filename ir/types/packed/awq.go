package packed

// AutoAWQ's layouts (awq/modules/linear: gemm.py, gemv.py, gemv_fast.py), which are llm-awq's too.

var halfs = []string{"f16", "bf16", "f32"}

// autoGroups are those for which AutoAWQ says how wide padded zeros are.
var autoGroups = []int{32, 64, 128}

func whole(n int) func(*Matrix) int { return func(*Matrix) int { return n } }

func bitsOf(m *Matrix) int { return m.Bits }

// acrossScales is [G, N].
var acrossScales = plane{
	elems: halfs, dim: 1, rows: 1, step: whole(1), next: one,
	shape: func(m *Matrix) []int64 { return []int64{int64(m.countGroups()), int64(m.Rows)} },
	at:    func(m *Matrix, wide, n, g int) (int, int) { return g*wide + n, 0 },
}

var awqGemm = format{
	bits: []int{4}, k: 8, n: 8, zeros: maybe, codes: gemmCodes,
	planes: [Roles]plane{
		Codes: {
			elems: []string{"i32"}, dim: 1, rows: 8, step: whole(1), next: one,
			shape: func(m *Matrix) []int64 { return []int64{int64(m.Cols), int64(m.Rows / 8)} },
			at:    func(m *Matrix, wide, n, k int) (int, int) { return k*wide + n/8, 4 * order[n%8] },
		},
		Scales: acrossScales,
		Zeros: {
			elems: []string{"i32"}, dim: 1, rows: 8, step: whole(1), next: one,
			shape: func(m *Matrix) []int64 { return []int64{int64(m.countGroups()), int64(m.Rows / 8)} },
			at:    func(m *Matrix, wide, n, g int) (int, int) { return g*wide + n/8, 4 * order[n%8] },
		},
	},
}

func gemmCodes(m *Matrix, src []byte, wide, rows int, dst []byte) {
	k := m.Cols
	for c := range rows / 8 {
		out := dst[8*c*k:][:8*k]
		for i := range k {
			w := word(src, i*wide+c)
			for j, nibble := range order {
				out[j*k+i] = byte(w>>(4*nibble)) & 15
			}
		}
	}
}

// awqGemv pads its groups to whole words of zeros.
var awqGemv = format{
	bits: []int{4}, k: 8, n: 1, groups: autoGroups, zeros: always, codes: alongCodes,
	planes: [Roles]plane{
		Codes: alongPlane,
		Scales: {
			elems: halfs, dim: 0, rows: 1, step: whole(1), next: one,
			shape: func(m *Matrix) []int64 { return []int64{int64(m.Rows), 8 * padded(m)} },
			at:    func(m *Matrix, wide, n, g int) (int, int) { return n*wide + g, 0 },
		},
		Zeros: {
			elems: []string{"i32"}, dim: 0, rows: 1, step: whole(1), next: one,
			shape: func(m *Matrix) []int64 { return []int64{int64(m.Rows), padded(m)} },
			at:    func(m *Matrix, wide, n, g int) (int, int) { return n*wide + g/8, 4 * (g % 8) },
		},
	},
}

// alongPlane holds the codes of each row one after the other: also compressed-tensors'.
var alongPlane = plane{
	elems: []string{"i32"}, dim: 0, rows: 1, step: whole(1), next: one,
	shape: func(m *Matrix) []int64 { return []int64{int64(m.Rows), words(m.Cols, m.Bits)} },
	at:    func(m *Matrix, wide, n, k int) (int, int) { return n*wide + k*m.Bits/32, k * m.Bits % 32 },
}

func alongCodes(m *Matrix, src []byte, wide, rows int, dst []byte) {
	for n := range rows {
		stream(dst[n*m.Cols:][:m.Cols], src, n*wide, 1, m.Bits)
	}
}

// awqGemvFast keeps minus zero times scale, rounded to float16: exact finds the integer behind it.
var awqGemvFast = format{
	bits: []int{4}, k: 64, n: 4, groups: autoGroups, zeros: always, codes: fastCodes,
	planes: [Roles]plane{
		Codes: {
			elems: []string{"i16"}, dim: 0, rows: 4, step: whole(1), next: one,
			shape: func(m *Matrix) []int64 { return []int64{int64(m.Rows / 4), int64(m.Cols)} },
			at: func(m *Matrix, wide, n, k int) (int, int) {
				t := k % 32
				return n/4*wide + k/64*32 + n%4*8 + k%64/32*4 + t%8/2, 4 * (t/8 + 4*(t&1))
			},
		},
		Scales: paddedScales,
		Zeros:  {elems: []string{"f16", "bf16"}, dim: 1, rows: 1, step: whole(1), next: one, shape: paddedScales.shape, at: paddedScales.at},
	},
}

// paddedScales is [padded G, N].
var paddedScales = plane{
	elems: halfs, dim: 1, rows: 1, step: whole(1), next: one,
	shape: func(m *Matrix) []int64 { return []int64{8 * padded(m), int64(m.Rows)} },
	at:    acrossScales.at,
}

func fastCodes(m *Matrix, src []byte, wide, rows int, dst []byte) {
	for n := range rows {
		for c := range m.Cols / 64 {
			for h := range 2 {
				at := n/4*wide + c*32 + n%4*8 + h*4
				out := dst[n*m.Cols+c*64+h*32:][:32]
				for j := range 4 {
					w := word(src, at+j)
					for i := range 4 {
						out[2*j+8*i] = byte(w>>(4*i)) & 15
						out[2*j+8*i+1] = byte(w>>(4*i+16)) & 15
					}
				}
			}
		}
	}
}
