package block

// grid holds the 16 values of iq4_nl, ggml's kvalues_iq4nl.
var grid = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// IQ4NLGrid returns the 16 values that an iq4_nl code stands for, before the block's scale.
func IQ4NLGrid() [16]int8 { return grid }

func decodeIQ4NL(src []byte, dst []float32) {
	for ; len(dst) >= 32; src, dst = src[18:], dst[32:] {
		d, q, y := half(src), src[2:18], dst[:32]
		for j, c := range q {
			y[j] = d * float32(grid[c&15])
			y[j+half32] = d * float32(grid[c>>4])
		}
	}
}

// encodeIQ4NL is quantize_row_iq4_nl_ref: codes by the scale that puts the largest value on grid[0], then the scale
// that fits those codes best, weighted by x^2. A block of all but zeros takes scale 0 (and code 0; ggml leaves
// there whatever the block before had).
func encodeIQ4NL(src []float32, dst []byte) {
	for ; len(src) >= 32; src, dst = src[32:], dst[18:] {
		top := largest(src[:32])
		clear(dst[:18])
		if abs(top) < 1e-15 {
			continue
		}
		id := 1 / (top / float32(grid[0]))
		var sumqx, sumq2 float32
		for j, v := range src[:32] {
			l := nearest(float32(id * v))
			dst[2+j%half32] |= l << (4 * (j / half32))
			wq := float32(float32(v*v) * float32(grid[l]))
			sumqx += float32(wq * v)
			sumq2 += float32(wq * float32(grid[l]))
		}
		if sumq2 > 0 {
			putHalf(dst, sumqx/sumq2)
		}
	}
}

// nearest is best_index_int8: the index of the grid value closest to x, the upper one on a tie.
func nearest(x float32) byte {
	if x <= float32(grid[0]) {
		return 0
	}
	for i := 1; i < len(grid); i++ {
		if x < float32(grid[i]) {
			if x-float32(grid[i-1]) < float32(grid[i])-x {
				return byte(i - 1)
			}
			return byte(i)
		}
	}
	return byte(len(grid) - 1)
}
