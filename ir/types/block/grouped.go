package block

import "math"

// Grouped integers: AWQ's arithmetic (Lin et al., "AWQ", section 3; the quantiser of llm-awq with the range widened
// to contain 0, as compressed-tensors does, so that a group of one sign does not saturate).

func decodeGrouped(e Encoding, src []byte, dst []float32) {
	scales, zeros, _ := e.Parts(len(dst))
	mask := uint64(1)<<e.Bits - 1
	for g := range len(dst) / e.Group {
		s, z := half(src[scales+2*g:]), int(src[zeros+g])
		for i := g * e.Group; i < (g+1)*e.Group; i += 8 {
			w := word(src[i*e.Bits/8:][:e.Bits])
			for j := range 8 {
				dst[i+j] = float32(int(w&mask)-z) * s
				w >>= e.Bits
			}
		}
	}
}

// encodeGrouped takes codes by the scale as stored in f16: pack, unpack and (q - z) * s is then the fake-quantised
// weight bit for bit. Ties go to even, and a group without range takes AWQ's floor of 1e-5.
func encodeGrouped(e Encoding, src []float32, dst []byte) {
	scales, zeros, _ := e.Parts(len(src))
	top := float64(int(1)<<e.Bits - 1)
	for g := range len(src) / e.Group {
		x := src[g*e.Group:][:e.Group]
		lo, hi := bounds(x)
		lo, hi = min(lo, 0), max(hi, 0)
		s := putHalf(dst[scales+2*g:], min(max(hi-lo, 1e-5)/float32(top), 65504))
		z := clamp(math.RoundToEven(float64(-lo/s)), 0, top)
		dst[zeros+g] = byte(z)
		for i := 0; i < len(x); i += 8 {
			var w uint64
			for j := range 8 {
				q := clamp(math.RoundToEven(float64(x[i+j]/s))+z, 0, top)
				w |= uint64(q) << (j * e.Bits)
			}
			putWord(dst[(g*e.Group+i)*e.Bits/8:][:e.Bits], w)
		}
	}
}

// word reads eight codes of len(b) bits each as one little-endian integer.
func word(b []byte) (w uint64) {
	for i, v := range b {
		w |= uint64(v) << (8 * i)
	}
	return w
}

func putWord(b []byte, w uint64) {
	for i := range b {
		b[i] = byte(w >> (8 * i))
	}
}
