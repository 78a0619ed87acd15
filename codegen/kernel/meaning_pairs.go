package kernel

import (
	"encoding/binary"
	"math"
)

// Meanings of packed arithmetic and matrices. Sums are f64, rounded once.

func fmaPair(x [3]float64) float64 { return math.FMA(x[0], x[1], x[2]) }

func lanewise(h half, f func(x [3]float64) float64) Meaning {
	return func(c *Call) {
		c.Each(func(l int) {
			var lo, hi [3]float64
			for i, r := range c.In {
				p := h.two(r, l)
				lo[i], hi[i] = float64(p[0]), float64(p[1])
			}
			c.Out[0][l] = uint64(h.to(float32(f(lo)))) | uint64(h.to(float32(f(hi))))<<16
		})
	}
}

// halfAt is the float16 at a shift of the word.
func halfAt(shift int) Meaning {
	return func(c *Call) {
		c.Each(func(l int) { c.Out[0].SetFloat32(l, halfF16.from(uint16(c.In[0][l]>>shift))) })
	}
}

// ldmatrix: lanes 8i to 8i+7 give the addresses of matrix i's rows; lane l receives the
// values 2(l%4) and the next of row l/4 (of column l/4, transposed).
func ldmatrix(n int, trans bool) Meaning {
	return func(c *Call) {
		if !c.together() {
			return
		}
		for i := range n {
			var m [8][8]uint16
			for r := range 8 {
				lane := 8*i + r
				var b [16]byte
				c.Load(lane, Shared, c.In[0][lane]&0xffffffff, b[:])
				for k := range 8 {
					m[r][k] = binary.LittleEndian.Uint16(b[2*k:])
				}
			}
			for l := range WarpSize {
				r, k := l/4, 2*(l%4)
				x, y := m[r][k], m[r][k+1]
				if trans {
					x, y = m[k][r], m[k+1][r]
				}
				c.Out[i][l] = uint64(x) | uint64(y)<<16
			}
		}
	}
}
