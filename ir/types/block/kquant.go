package block

import "math"

// The 256-element formats of ggml ("K-quants"). q4_k and q5_k hold eight sub-blocks of 32 with 6-bit scales and
// minima under one pair of f16; q6_k holds sixteen sub-blocks of 16 with 8-bit scales under one f16.

// ScaleMin is ggml's get_scale_min_k4: the 6-bit scale and minimum of sub-block j (0..7) from the 12 packed bytes.
func ScaleMin(j int, b []byte) (scale, minimum byte) {
	if j < 4 {
		return b[j] & 63, b[j+4] & 63
	}
	return b[j+4]&15 | b[j-4]>>6<<4, b[j+4]>>4 | b[j]>>6<<4
}

// putScaleMins is the inverse of ScaleMin over all eight sub-blocks.
func putScaleMins(b []byte, sc, mn [8]byte) {
	for j := range 4 {
		b[j] = sc[j] | sc[j+4]>>4<<6
		b[j+4] = mn[j] | mn[j+4]>>4<<6
		b[j+8] = sc[j+4]&15 | mn[j+4]<<4
	}
}

func decodeQ4K(src []byte, dst []float32) {
	for ; len(dst) >= 256; src, dst = src[144:], dst[256:] {
		d, dmin, sm := half(src), half(src[2:]), src[4:16]
		for c := range 4 {
			q, y := src[16+32*c:][:32], dst[64*c:][:64]
			s0, m0 := ScaleMin(2*c, sm)
			s1, m1 := ScaleMin(2*c+1, sm)
			d0, n0, d1, n1 := d*float32(s0), dmin*float32(m0), d*float32(s1), dmin*float32(m1)
			for l, v := range q {
				y[l] = float32(d0*float32(v&15)) - n0
				y[l+32] = float32(d1*float32(v>>4)) - n1
			}
		}
	}
}

func decodeQ5K(src []byte, dst []float32) {
	for ; len(dst) >= 256; src, dst = src[176:], dst[256:] {
		d, dmin, sm, h := half(src), half(src[2:]), src[4:16], src[16:48]
		for c := range 4 {
			q, y := src[48+32*c:][:32], dst[64*c:][:64]
			s0, m0 := ScaleMin(2*c, sm)
			s1, m1 := ScaleMin(2*c+1, sm)
			d0, n0, d1, n1 := d*float32(s0), dmin*float32(m0), d*float32(s1), dmin*float32(m1)
			for l, v := range q {
				up := h[l] >> (2 * c)
				y[l] = float32(d0*float32(v&15|up<<4&16)) - n0
				y[l+32] = float32(d1*float32(v>>4|up<<3&16)) - n1
			}
		}
	}
}

func decodeQ6K(src []byte, dst []float32) {
	for ; len(dst) >= 256; src, dst = src[210:], dst[256:] {
		d := half(src[208:])
		for n := range 2 {
			ql, qh, sc, y := src[64*n:][:64], src[128+32*n:][:32], src[192+8*n:][:8], dst[128*n:][:128]
			for l, h := range qh {
				a, b, i := ql[l], ql[l+32], l/16
				y[l] = float32(d*float32(int8(sc[i]))) * float32(int(a&15|h<<4&48)-32)
				y[l+32] = float32(d*float32(int8(sc[i+2]))) * float32(int(b&15|h<<2&48)-32)
				y[l+64] = float32(d*float32(int8(sc[i+4]))) * float32(int(a>>4|h&48)-32)
				y[l+96] = float32(d*float32(int8(sc[i+6]))) * float32(int(b>>4|h>>2&48)-32)
			}
		}
	}
}

// affine picks the 6-bit scales and minima of a q4_k or q5_k block whose codes run to top, writes them with their
// f16 pair at the head of dst, and returns the codes. Each sub-block's range is widened to contain 0, since a
// minimum is stored as a non-negative number to subtract.
func affine(src []float32, dst []byte, top float32) (codes [256]byte) {
	var scale, under [8]float32
	var dmax, mmax float32
	for j := range 8 {
		lo, hi := bounds(src[32*j:][:32])
		lo, hi = min(lo, 0), max(hi, 0)
		scale[j], under[j] = (hi-lo)/top, -lo
		dmax, mmax = max(dmax, scale[j]), max(mmax, under[j])
	}
	d, dmin := putHalf(dst, dmax/63), putHalf(dst[2:], mmax/63)
	id, imin := inverse(d), inverse(dmin)
	var sc, mn [8]byte
	for j := range 8 {
		sc[j] = byte(clamp(math.RoundToEven(float64(scale[j]*id)), 0, 63))
		mn[j] = byte(clamp(math.RoundToEven(float64(under[j]*imin)), 0, 63))
		ds, dm := inverse(d*float32(sc[j])), dmin*float32(mn[j])
		for l, v := range src[32*j:][:32] {
			codes[32*j+l] = byte(clamp(math.RoundToEven(float64((v+dm)*ds)), 0, float64(top)))
		}
	}
	putScaleMins(dst[4:16], sc, mn)
	return codes
}

func encodeQ4K(src []float32, dst []byte) {
	for ; len(src) >= 256; src, dst = src[256:], dst[144:] {
		codes := affine(src[:256], dst, 15)
		for c := range 4 {
			for l := range 32 {
				dst[16+32*c+l] = codes[64*c+l] | codes[64*c+32+l]<<4
			}
		}
	}
}

func encodeQ5K(src []float32, dst []byte) {
	for ; len(src) >= 256; src, dst = src[256:], dst[176:] {
		codes := affine(src[:256], dst, 31)
		clear(dst[16:48])
		for c := range 4 {
			for l := range 32 {
				a, b := codes[64*c+l], codes[64*c+32+l]
				dst[48+32*c+l] = a&15 | b<<4
				dst[16+l] |= (a>>4 | b>>4<<1) << (2 * c)
			}
		}
	}
}

func encodeQ6K(src []float32, dst []byte) {
	for ; len(src) >= 256; src, dst = src[256:], dst[210:] {
		var scale [16]float32
		for j := range scale {
			scale[j] = largest(src[16*j:][:16]) / -32
		}
		d := putHalf(dst[208:], largest(scale[:])/-128)
		var codes [256]byte
		for j := range scale {
			s := int8(clamp(math.RoundToEven(float64(scale[j]*inverse(d))), -128, 127))
			dst[192+j] = byte(s)
			id := inverse(d * float32(s))
			for l, v := range src[16*j:][:16] {
				codes[16*j+l] = byte(32 + int(clamp(math.RoundToEven(float64(v*id)), -32, 31)))
			}
		}
		for n := range 2 {
			ql, qh, q := dst[64*n:][:64], dst[128+32*n:][:32], codes[128*n:][:128]
			for l := range 32 {
				ql[l] = q[l]&15 | q[l+64]<<4
				ql[l+32] = q[l+32]&15 | q[l+96]<<4
				qh[l] = q[l]>>4 | q[l+32]>>4<<2 | q[l+64]>>4<<4 | q[l+96]>>4<<6
			}
		}
	}
}
