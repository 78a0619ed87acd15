package kernel

import (
	"encoding/binary"
	"math/bits"

	"quire/ir/types/block"
)

// uniform is an argument that all lanes share.
func (c *Call) uniform(i int) uint64 { return c.In[i][bits.TrailingZeros32(c.Lanes)] }

// half is an encoding of two bytes, as meanings read and write it.
type half struct {
	to   func(x float32) uint16
	from func(w uint16) float32
}

var (
	halfF16  = half{block.F32ToF16, block.F16ToF32}
	halfBF16 = half{block.F32ToBF16, block.BF16ToF32}
	// finiteF16 has no infinity.
	finiteF16 = half{func(x float32) uint16 { return block.F32ToF16(min(max(x, -65504), 65504)) }, block.F16ToF32}
)

// two gives both numbers of a lane's word.
func (h half) two(r *Reg, lane int) [2]float32 {
	w := uint32(r[lane])
	return [2]float32{h.from(uint16(w)), h.from(uint16(w >> 16))}
}

// pack rounds two numbers, the first to the high half.
func pack(h half) Meaning {
	return func(c *Call) {
		c.Each(func(l int) {
			c.Out[0][l] = uint64(h.to(c.In[0].Float32(l)))<<16 | uint64(h.to(c.In[1].Float32(l)))
		})
	}
}

// permuteBytes is prmt in its plain mode, with the sign bit of a selector replicating the
// byte's sign.
func permuteBytes(c *Call) {
	c.Each(func(l int) {
		both := uint64(uint32(c.In[0][l])) | c.In[1][l]<<32
		var out uint32
		for i := range 4 {
			pick := c.In[2][l] >> (4 * i) & 15
			b := byte(both >> (8 * (pick & 7)))
			if pick&8 != 0 {
				b = byte(int8(b) >> 7)
			}
			out |= uint32(b) << (8 * i)
		}
		c.Out[0][l] = uint64(out)
	})
}

// together fails unless the whole warp executes the call.
func (c *Call) together() bool {
	if c.Lanes != 1<<WarpSize-1 {
		c.Fail(bits.TrailingZeros32(c.Lanes), "executed by lanes %08x, expected the whole warp", c.Lanes)
		return false
	}
	return true
}

// transpose is movmatrix.m8n8.trans.
func transpose(c *Call) {
	if !c.together() {
		return
	}
	c.Each(func(l int) {
		var out uint64
		for e := range 2 { // element [l/4][2(l%4)+e] of the transpose
			row, col := 2*(l%4)+e, l/4
			out |= c.In[0][4*row+col/2] >> (16 * (col % 2)) & 0xffff << (16 * e)
		}
		c.Out[0][l] = out
	})
}

// mma is mma.m16n8k16.row.col with sums in float32, here rounded once from float64.
func mma(h half) Meaning {
	return func(c *Call) {
		if !c.together() {
			return
		}
		var a [16][16]float64
		var b [16][8]float64
		for l := range WarpSize {
			r, q := l/4, 2*(l%4)
			for i := range 4 {
				for e, x := range h.two(c.In[i], l) {
					a[r+8*(i%2)][q+8*(i/2)+e] = float64(x)
				}
			}
			for i := range 2 {
				for e, x := range h.two(c.In[4+i], l) {
					b[q+8*i+e][r] = float64(x)
				}
			}
		}
		for l := range WarpSize {
			for i := range 4 {
				row, col := l/4+8*(i/2), 2*(l%4)+i%2
				sum := float64(c.In[6+i].Float32(l))
				for k := range 16 {
					sum += a[row][k] * b[k][col]
				}
				c.Out[i].SetFloat32(l, float32(sum))
			}
		}
	}
}

// loadMatrices is ldmatrix.m8n8.x4, transposed or not.
func loadMatrices(trans bool) Meaning {
	return func(c *Call) {
		if !c.together() {
			return
		}
		for i := range 4 {
			var m [8][8]uint16
			for r := range 8 {
				var row [16]byte
				lane := 8*i + r
				c.Load(lane, Shared, uint64(uint32(c.In[0][lane]+c.In[1][lane])), row[:])
				for j := range 8 {
					m[r][j] = binary.LittleEndian.Uint16(row[2*j:])
				}
			}
			for l := range WarpSize {
				r, q := l/4, 2*(l%4)
				lo, hi := m[r][q], m[r][q+1]
				if trans {
					lo, hi = m[q][r], m[q+1][r]
				}
				c.Out[i][l] = uint64(hi)<<16 | uint64(lo)
			}
		}
	}
}

// countUp is atom.inc: it wraps to 0 after the limit.
func countUp(c *Call) {
	c.Each(func(l int) {
		c.Out[0][l] = c.Atomic(l, Global, c.In[0][l], 4, Relaxed, func(old uint64) uint64 {
			if uint32(old) >= uint32(c.In[1][l]) {
				return 0
			}
			return old + 1
		})
	})
}

// greater is the greater of two f32; the other one of a NaN.
func greater(c *Call) {
	c.Each(func(l int) {
		a, b := c.In[0].Float32(l), c.In[1].Float32(l)
		if a > b || b != b {
			c.Out[0].SetFloat32(l, a)
			return
		}
		c.Out[0].SetFloat32(l, b)
	})
}
