package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
)

// column reads one column of a tile: a block of 16 rows, lane = row. A value is
// d*q + m with the unsigned code q as stored; the pairs (d, m) of a block make that equal,
// bit for bit, to ggml's dequantisation.
type column struct {
	k    *kernel.Kernel
	f    layout.Format
	p    kernel.Ptr[kernel.U8]
	row  kernel.I64 // the lane's place in 16 neighbours (0 on a CPU)
	d, m kernel.Vec
	sc   [2]kernel.VecI // K-quants: words of scales, then of mins
	mn   [2]kernel.VecI
}

// newColumn loads the float16 scales, and what the K-quants pack beside them.
func newColumn(k *kernel.Kernel, f layout.Format, p kernel.Ptr[kernel.U8]) *column {
	c := &column{k: k, f: f, p: p, row: k.Tile().Row}
	ahead(k, f, p)
	half := func(i int64) kernel.Vec { return kernel.LoadHalfs(kernel.As[kernel.F16](p.Plus(32 * i)).At(c.row)) }
	c.d = half(0)
	if f.Halfs == 2 {
		c.m = half(1)
	}
	switch f.Min {
	case layout.NoMin, layout.Table:
		c.m = c.d.Scale(float32(-offset(f)))
	case layout.Zero:
		c.m = c.m.Mul(c.d).Neg()
	case layout.KScales:
		a, b, e := c.scaleWord(0), c.scaleWord(1), c.scaleWord(2)
		c.sc = [2]kernel.VecI{a.Mask(0x3f3f3f3f), e.Mask(0x0f0f0f0f).Or(a.Shr(2).Mask(0x30303030))}
		c.mn = [2]kernel.VecI{b.Mask(0x3f3f3f3f), e.Shr(4).Mask(0x0f0f0f0f).Or(b.Shr(2).Mask(0x30303030))}
	}
	return c
}

// lead is how many bytes ahead of its use a weight is asked for. Measured from 100 MB in
// huge pages: 1024 to 2048 are best, 512 and 4096 cost 5 to 15 %.
const lead = 2048

// ahead asks for what the loop will read soon: the processor's own prefetcher stops at
// the end of every 4096 bytes.
func ahead(k *kernel.Kernel, f layout.Format, p kernel.Ptr[kernel.U8]) {
	for i := 0; i < f.ColumnBytes(); i += 64 {
		kernel.Prefetch(p.Plus(int64(lead + i)))
	}
}

func (c *column) word(at int64) kernel.VecI {
	return kernel.LoadVecI(kernel.As[kernel.I32](c.p.Plus(at)).At(c.row))
}

func (c *column) scaleWord(i int) kernel.VecI { return c.word(int64(32*c.f.Halfs + 64*i)) }

// scales is the pair (d, m) of the values from k on; it changes every Sub of them.
func (c *column) scales(k int) (d, m kernel.Vec) {
	switch c.f.Min {
	case layout.KScales:
		s, by := k/32/4, int32(8*(k/32%4))
		return c.d.Mul(c.sc[s].Shr(by).Mask(255).F32()), c.m.Mul(c.mn[s].Shr(by).Mask(255).F32()).Neg()
	case layout.Scales8:
		j := k / 16
		sc := c.scaleWord(j / 4).Shl(int32(24 - 8*(j%4))).Sar(24).F32()
		d = c.d.Mul(sc)
		return d, d.Scale(float32(-c.f.Offset))
	}
	return c.d, c.m
}

// plane is the offset of the code planes.
func (c *column) plane() int64 { return int64(32*c.f.Halfs + 16*c.f.Bytes) }

// words gives the codes of n values from k on, four bytes a word: word j holds k+4j to
// k+4j+3. n and k are multiples of 16.
func (c *column) words(k, n int) []kernel.VecI {
	var out []kernel.VecI
	if c.f.Bits == 8 {
		for j := range n / 4 {
			out = append(out, c.word(c.plane()+int64(64*(k/4+j))))
		}
		return out
	}
	low, high := c.f.Planes()
	out = c.fields(c.plane(), k, n, low, 0)
	if c.f.Min == layout.Table {
		return c.lookup(out)
	}
	if high > 0 {
		for j, up := range c.fields(c.plane()+int64(2*low*c.f.Block), k, n, high, low) {
			out[j] = out[j].Or(up)
		}
	}
	return out
}

// fields reads a plane of width bits a code and puts them at bit to of each byte.
func (c *column) fields(plane int64, k, n, width, to int) []kernel.VecI {
	per := 8 / width
	mask := int32(uint32(1<<width-1) << to * 0x01010101)
	var out []kernel.VecI
	var w kernel.VecI
	for j := range n / 4 {
		i := k/4 + j // word of the block
		if j == 0 || i%per == 0 {
			w = c.word(plane + int64(64*(i/per)))
		}
		by := int32(to - width*(i%per))
		out = append(out, w.Shl(max(0, by)).Shr(max(0, -by)).Mask(mask))
	}
	return out
}

// lookup turns iq4_nl's codes into its table's values plus 128.
func (c *column) lookup(words []kernel.VecI) []kernel.VecI {
	var table [16]byte
	for i, v := range layout.IQ4Values {
		table[i] = byte(int(v) + 128)
	}
	for j := range words {
		words[j] = c.k.X86().Bytes(table, words[j])
	}
	return words
}

// codes gives the codes of n values from k on as floats.
func (c *column) codes(k, n int) []kernel.Vec {
	var out []kernel.Vec
	if c.f.Bits == 4 && c.f.Min != layout.Table {
		for j := range n / 8 {
			w := c.word(c.plane() + int64(64*(k/8+j)))
			for i := range 8 {
				out = append(out, c.nibble(w, int32(8*(i%4)+4*(i/4))))
			}
		}
		return out
	}
	for _, w := range c.words(k, n) {
		for b := range 4 {
			v := w.Shr(int32(8 * b))
			if b < 3 {
				v = v.Mask(255)
			}
			out = append(out, v.F32())
		}
	}
	return out
}

// nibble is four bits of each lane as a float: a table look-up that ignores the other
// bits where there is one.
func (c *column) nibble(w kernel.VecI, shift int32) kernel.Vec {
	if c.k.Target().Has("avx512") {
		x := c.k.X86()
		var t [16]float32
		for i := range t {
			t[i] = float32(i)
		}
		return x.Permute(x.Table(t), w.Shr(shift))
	}
	v := w.Shr(shift)
	if shift < 28 {
		v = v.Mask(15)
	}
	return v.F32()
}

// offset is what a stored code exceeds the value by that d multiplies.
func offset(f layout.Format) int {
	if f.Min == layout.Table {
		return 128
	}
	return f.Offset
}

// floats loads 16 rows' values of a plain float weight at one k.
func floats(k *kernel.Kernel, f layout.Format, p kernel.Ptr[kernel.U8]) kernel.Vec {
	row := k.Tile().Row
	switch f.Enc {
	case layout.F16:
		return kernel.LoadHalfs(kernel.As[kernel.F16](p).At(row))
	case layout.BF16:
		return kernel.LoadBF16s(kernel.As[kernel.BF16](p).At(row))
	}
	return kernel.LoadVec(kernel.As[kernel.F32](p).At(row))
}
