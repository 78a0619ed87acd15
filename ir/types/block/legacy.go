package block

import (
	"encoding/binary"
	"math"
)

// The 32-element formats of ggml. Byte j of the codes holds element j in its low nibble and element j+16 in its high
// nibble; the fifth bits of q5_0 and q5_1 are bit i of one little-endian word for element i.
// Every product is rounded to float32 before the sum (the conversions forbid a fused multiply-add).

const half32 = 16 // elements in each half of a 32-element block

func decodeQ4x0(src []byte, dst []float32) {
	for ; len(dst) >= 32; src, dst = src[18:], dst[32:] {
		d, q, y := half(src), src[2:18], dst[:32]
		for j, c := range q {
			y[j] = float32(int(c&15)-8) * d
			y[j+half32] = float32(int(c>>4)-8) * d
		}
	}
}

func decodeQ4x1(src []byte, dst []float32) {
	for ; len(dst) >= 32; src, dst = src[20:], dst[32:] {
		d, m, q, y := half(src), half(src[2:]), src[4:20], dst[:32]
		for j, c := range q {
			y[j] = float32(float32(c&15)*d) + m
			y[j+half32] = float32(float32(c>>4)*d) + m
		}
	}
}

func decodeQ5x0(src []byte, dst []float32) {
	for ; len(dst) >= 32; src, dst = src[22:], dst[32:] {
		d, h, q, y := half(src), binary.LittleEndian.Uint32(src[2:]), src[6:22], dst[:32]
		for j, c := range q {
			y[j] = float32(int(c&15|byte(h>>j<<4)&16)-16) * d
			y[j+half32] = float32(int(c>>4|byte(h>>(j+half32)<<4)&16)-16) * d
		}
	}
}

func decodeQ5x1(src []byte, dst []float32) {
	for ; len(dst) >= 32; src, dst = src[24:], dst[32:] {
		d, m, h, q, y := half(src), half(src[2:]), binary.LittleEndian.Uint32(src[4:]), src[8:24], dst[:32]
		for j, c := range q {
			y[j] = float32(float32(c&15|byte(h>>j<<4)&16)*d) + m
			y[j+half32] = float32(float32(c>>4|byte(h>>(j+half32)<<4)&16)*d) + m
		}
	}
}

func decodeQ8x0(src []byte, dst []float32) {
	for ; len(dst) >= 32; src, dst = src[34:], dst[32:] {
		d, q, y := half(src), src[2:34], dst[:32]
		for j, c := range q {
			y[j] = float32(int8(c)) * d
		}
	}
}

func encodeQ4x0(src []float32, dst []byte) {
	for ; len(src) >= 32; src, dst = src[32:], dst[18:] {
		d := largest(src[:32]) / -8
		id := inverse(d)
		putHalf(dst, d)
		for j := range half32 {
			dst[2+j] = truncate(float32(src[j]*id)+8.5, 15) | truncate(float32(src[j+half32]*id)+8.5, 15)<<4
		}
	}
}

func encodeQ4x1(src []float32, dst []byte) {
	for ; len(src) >= 32; src, dst = src[32:], dst[20:] {
		lo, hi := bounds(src[:32])
		d := (hi - lo) / 15
		id := inverse(d)
		putHalf(dst, d)
		putHalf(dst[2:], lo)
		for j := range half32 {
			a, b := float32((src[j]-lo)*id), float32((src[j+half32]-lo)*id)
			dst[4+j] = truncate(a+0.5, 15) | truncate(b+0.5, 15)<<4
		}
	}
}

func encodeQ5x0(src []float32, dst []byte) {
	for ; len(src) >= 32; src, dst = src[32:], dst[22:] {
		d := largest(src[:32]) / -16
		id := inverse(d)
		putHalf(dst, d)
		var h uint32
		for j := range half32 {
			a, b := truncate(float32(src[j]*id)+16.5, 31), truncate(float32(src[j+half32]*id)+16.5, 31)
			dst[6+j] = a&15 | b<<4
			h |= uint32(a>>4)<<j | uint32(b>>4)<<(j+half32)
		}
		binary.LittleEndian.PutUint32(dst[2:], h)
	}
}

func encodeQ5x1(src []float32, dst []byte) {
	for ; len(src) >= 32; src, dst = src[32:], dst[24:] {
		lo, hi := bounds(src[:32])
		d := (hi - lo) / 31
		id := inverse(d)
		putHalf(dst, d)
		putHalf(dst[2:], lo)
		var h uint32
		for j := range half32 {
			a, b := float32((src[j]-lo)*id), float32((src[j+half32]-lo)*id)
			p, q := truncate(a+0.5, 31), truncate(b+0.5, 31)
			dst[8+j] = p&15 | q<<4
			h |= uint32(p>>4)<<j | uint32(q>>4)<<(j+half32)
		}
		binary.LittleEndian.PutUint32(dst[4:], h)
	}
}

func encodeQ8x0(src []float32, dst []byte) {
	for ; len(src) >= 32; src, dst = src[32:], dst[34:] {
		d := abs(largest(src[:32])) / 127
		id := inverse(d)
		putHalf(dst, d)
		for j, v := range src[:32] { // roundf: half away from zero
			dst[2+j] = byte(int8(clamp(math.Round(float64(v*id)), -127, 127)))
		}
	}
}

// largest is the first value of greatest magnitude, with its sign.
func largest(x []float32) float32 {
	var amax, at float32
	for _, v := range x {
		if a := abs(v); amax < a {
			amax, at = a, v
		}
	}
	return at
}

func bounds(x []float32) (lo, hi float32) {
	lo, hi = x[0], x[0]
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// inverse is 1/d, or 0 when d is 0.
func inverse(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

// truncate is x cut to an integer in 0..top. (ggml converts to int8 and takes the lesser; the clamp changes nothing
// but values that C leaves undefined.)
func truncate(x float32, top int) byte { return byte(clamp(float64(x), 0, float64(top))) }

func clamp(x, lo, hi float64) float64 { // a NaN (0 times an infinite inverse) counts as lo
	if !(x > lo) {
		return lo
	}
	return min(x, hi)
}
