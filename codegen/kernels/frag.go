package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
)

// fragUnit is a lane's part of one unit of a weight in the frag layout: registers of the
// first operand of mma.m16n8k16, made of codes by one or two bit operations a pair. A
// code c appears as the float16 base + c, exactly; the base of a product's rows r and r+8
// is what bases says, and the sum of base times x is taken off in float32.
//
// Where a pair of codes stands at bits 2 to 5 of both halves of a word, or-ing the
// exponent of 256 makes 256 + c of it (a step of the mantissa is 1/4); at bits 6 to 9 the
// exponent of 16 makes 16 + c. So two operations and half a rotation make four values.
type fragUnit struct {
	k     *kernel.Kernel
	g     kernel.GPU
	f     layout.Frag
	at    kernel.Ptr[kernel.U8]
	lane  kernel.I64
	codes map[int][]kernel.I32 // of each chunk
	high  map[int][]kernel.I32
	scale [2][]kernel.I32 // of rows r and r+8
	ahead [2][]kernel.I32 // codes and high bits of the first chunk
	masks [2]kernel.I32   // of four bits: 2 to 5, 6 to 9
}

// masks are the masks of openUnit, in registers.
func masks(g kernel.GPU) [2]kernel.I32 {
	return [2]kernel.I32{g.Register(0x003c003c), g.Register(0x03c003c0)}
}

// openUnit is a unit in shared memory, of which words are loaded when they are asked for.
func openUnit(k *kernel.Kernel, f layout.Frag, unit kernel.Ptr[kernel.U8], lane kernel.I64, masks [2]kernel.I32) *fragUnit {
	return &fragUnit{k: k, g: k.GPU(), f: f, at: unit, lane: lane, masks: masks, codes: map[int][]kernel.I32{}, high: map[int][]kernel.I32{}}
}

// small says that a lane's part is a few registers.
func (u *fragUnit) small() bool { return u.f.UnitBytes() <= 1088 }

// load loads all of the lane's part.
func (u *fragUnit) load() {
	for c := range u.f.Unit / u.f.Chunk {
		u.chunk(c)
	}
	u.scales(0)
}

// first loads the first chunk, and the scales.
func (u *fragUnit) first() {
	u.chunk(0)
	u.scales(0)
	u.keep()
}

// parts are the words that first loads, to be carried from one turn of a loop to the next;
// keep takes changed ones back.
func (u *fragUnit) parts() [4]*[]kernel.I32 {
	return [4]*[]kernel.I32{&u.ahead[0], &u.ahead[1], &u.scale[0], &u.scale[1]}
}

func (u *fragUnit) keep() {
	if u.codes[0] == nil {
		u.codes[0], u.high[0] = u.ahead[0], u.ahead[1]
		return
	}
	u.ahead = [2][]kernel.I32{u.codes[0], u.high[0]}
}

// chunk loads the codes of a chunk, once.
func (u *fragUnit) chunk(c int) {
	if u.codes[c] != nil {
		return
	}
	f := u.f
	codes, high := f.PlaneBytes()
	at := u.at.Plus(int64(c * codes))
	var words []kernel.I32
	switch f.Stored {
	case 16:
		for j := range f.Products() {
			words = append(words, kernel.LoadWords(at.At(u.lane.Times(16)).Plus(int64(512*j)), 4)...)
		}
	case 8:
		per := min(f.Products(), 2)
		for j := 0; j < f.Products(); j += per {
			words = append(words, kernel.LoadWords(at.At(u.lane.Times(int64(8*per))).Plus(int64(256*j)), 2*per)...)
		}
	default:
		n := codes / 128
		words = kernel.LoadWords(at.At(u.lane.Times(int64(4*n))), n)
	}
	u.codes[c] = words
	if high > 0 {
		at := u.at.Plus(int64(f.Unit/f.Chunk*codes + c*high))
		u.high[c] = kernel.LoadWords(at.At(u.lane.Times(int64(high/32))), high/128)
	}
}

// scales gives the words of the scales of row r or r+8, loaded once.
func (u *fragUnit) scales(row int) []kernel.I32 {
	if u.scale[row] == nil && u.f.Block > 1 {
		u.loadScales(u.at.Plus(int64(u.f.CodeBytes())), u.lane.Shr(2))
	}
	return u.scale[row]
}

// loadScales loads the scales of rows r and r+8, which are neighbours.
func (u *fragUnit) loadScales(at kernel.Ptr[kernel.U8], r kernel.I64) {
	f := u.f
	row := int64(f.Unit / f.Block * (2*f.Halfs + f.Bytes))
	if f.Min == layout.Scales8 {
		row = 16
	}
	for h := range u.scale {
		if f.Block == 1 {
			return
		}
		p := at.At(r.Times(2 * row)).Plus(int64(h) * row)
		u.scale[h] = words(p, row)
		if f.Min == layout.Scales8 { // a float16 of each row lies behind
			d := kernel.As[kernel.F16](at.Plus(256).At(r.Times(4)).Plus(int64(2 * h)))
			u.scale[h] = append(u.scale[h], kernel.LoadF16(d).Bits())
		}
	}
}

// words loads n bytes, 2 or a multiple of 4, as words.
func words(p kernel.Ptr[kernel.U8], n int64) []kernel.I32 {
	if n == 2 {
		return []kernel.I32{kernel.LoadU16(kernel.As[kernel.F16](p))}
	}
	var out []kernel.I32
	for i := int64(0); i < n; {
		step := int64(16)
		for step > n-i || n%step != 0 {
			step /= 2
		}
		out = append(out, kernel.LoadWords(p.Plus(i), int(step/4))...)
		i += step
	}
	return out
}

// bases are what a code is added to, for rows r and r+8.
func bases(f layout.Frag) [2]float32 {
	switch f.Stored {
	case 4:
		return [2]float32{256, 16}
	case 3, 5, 6:
		return [2]float32{256, 256}
	case 8:
		return [2]float32{1024, 1024}
	}
	return [2]float32{}
}

// product is the registers of product j of a chunk.
func (u *fragUnit) product(chunk, j int) [4]kernel.I32 {
	u.chunk(chunk)
	k, g, f := u.k, u.g, u.f
	w := u.codes[chunk]
	var out [4]kernel.I32
	switch f.Stored {
	case 16:
		copy(out[:], w[4*j:])
	case 8:
		for i := range out {
			out[i] = g.Bytes(w[2*j+i/2], k.Int32(0x64646464), [2]int32{0x4140, 0x4342}[i%2])
		}
	case 4:
		q := w[j]
		turned := g.Bytes(q, q, 0x0321)
		for i, v := range []kernel.I32{q, q, turned, turned} {
			out[i] = v.AndBits(u.masks[i%2]).Or(k.Int32([2]int32{0x5c005c00, 0x4c004c00}[i%2]))
		}
	case 3:
		for i := range out {
			two := move(w[j/2], 8*(j%2)+2*i, 2).And(0x000c000c)
			out[i] = two.Or(move(u.high[chunk][0], 4*j+i, 4).And(0x00100010)).Or(k.Int32(0x5c005c00))
		}
	case 5, 6:
		for i := range out {
			v := w[j]
			if i > 0 {
				v = v.RotateRight(int32(4 * i))
			}
			v = v.AndBits(u.masks[0]).Or(k.Int32(0x5c005c00))
			if f.Stored == 5 {
				out[i] = v.Or(move(u.high[chunk][0], 4*j+i, 6).And(0x00400040))
				continue
			}
			out[i] = v.Or(move(u.high[chunk][j/2], 8*(j%2)+2*i, 6).And(0x00c000c0))
		}
	}
	return out
}

// move shifts a word so that bit from stands at bit to.
func move(w kernel.I32, from, to int) kernel.I32 {
	switch {
	case from < to:
		return w.Shl(int32(to - from))
	case from > to:
		return w.Shr(int32(from - to))
	}
	return w
}

// groupScale is how sums of codes become sums of weights, for a group of columns that
// share a scale: mul * (sum of c x - zero * sum of x) + add * sum of x.
type groupScale struct {
	mul  kernel.F32
	zero kernel.F32
	add  *kernel.F32
}

// group is the scale of group n of the unit, for rows r (0) or r+8 (1).
func (u *fragUnit) group(n, row int) groupScale {
	k, g, f, s := u.k, u.g, u.f, u.scales(row)
	half := func(i int) kernel.F32 { // float16 number i
		if i%2 == 1 {
			return g.High(kernel.Float16, s[i/2])
		}
		return g.Low(kernel.Float16, s[i/2])
	}
	switch f.Min {
	case layout.NoMin:
		return groupScale{mul: half(n), zero: k.Float(float32(f.Offset))}
	case layout.Zero:
		b := n * f.Sub / f.Block
		return groupScale{mul: half(2 * b), zero: half(2*b + 1)}
	case layout.Added:
		m := half(2*n + 1)
		return groupScale{mul: half(2 * n), zero: k.Float(0), add: &m}
	case layout.Scales8:
		sc := s[n/4].Shr(int32(8 * (n % 4))).SignExtend8().F32()
		return groupScale{mul: s[4].Bits().Mul(sc), zero: k.Float(float32(f.Offset))}
	}
	sc, mn := kScale(s, n)
	add := half(1).Mul(mn.F32()).Neg()
	return groupScale{mul: half(0).Mul(sc.F32()), zero: k.Float(0), add: &add}
}

// kScale is the scale and minimum of 6 bits of sub-block n, from 12 bytes behind a word
// (ggml's get_scale_min_k4).
func kScale(s []kernel.I32, n int) (scale, min kernel.I32) {
	b := func(i int) kernel.I32 { return s[1+i/4].Shr(int32(8 * (i % 4))) }
	if n < 4 {
		return b(n).And(63), b(n + 4).And(63)
	}
	return b(n + 4).And(15).Or(b(n - 4).Shr(2).And(48)), b(n + 4).Shr(4).And(15).Or(b(n).Shr(2).And(48))
}

// groups is the number of groups of a unit, products that of a group's products.
func groups(f layout.Frag) int { return f.Unit / groupColumns(f) }

func groupColumns(f layout.Frag) int {
	if f.Block == 1 {
		return f.Unit
	}
	return f.Sub
}
