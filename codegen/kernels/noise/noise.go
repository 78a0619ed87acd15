package noise

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/types/noise"
	"quire/ir/work"
)

// Main is an item of work.Noise, a unit of a tile in the frag layout.
func Main(k *kernel.Kernel, p work.Noise) {
	f, err := layout.FragOf(p.Enc, p.Cols)
	if err != nil {
		k.Errorf("noise: %v", err)
		return
	}
	g := k.GPU()
	how := kernel.Arg[kernel.I64](k, "how")
	units := int64(p.Cols / f.Unit)
	n := maker{k: k, g: g, p: p, f: f, q: g.Lane().And(k.Int(3)), r: g.Lane().Shr(2),
		mean:  kernel.LoadF64(kernel.As[kernel.F64](how.Plus(work.NoiseMean))),
		scale: kernel.LoadF64(kernel.As[kernel.F64](how.Plus(work.NoiseScale)))}
	n.unit = kernel.Arg[kernel.U8](k, "y").At(k.Item().Times(int64(f.UnitBytes())))
	tile, column := k.Item().Over(units), k.Item().Modulo(units).Times(int64(f.Unit)).Add(n.q.Times(int64(f.Span/4)))
	n.clear()
	for half := range 2 {
		row := tile.Times(layout.Lanes).Add(n.r).Plus(int64(8 * half))
		n.in = row.Lt(k.Dim("N"))
		first := row.Times(int64(p.Cols)).Add(column)
		state := kernel.LoadI64(how.Plus(work.NoiseSeed)).Add(first.Times(golden(1)))
		v := n.values(state)
		if f.Block == 1 {
			n.numbers(half, v)
			continue
		}
		n.blocks(half, v)
	}
	n.store()
}

// golden is n steps of a stream's state.
func golden(n uint64) int64 { return int64(n * noise.Golden) }

type maker struct {
	k           *kernel.Kernel
	g           kernel.GPU
	p           work.Noise
	f           layout.Frag
	q, r        kernel.I64 // the lane is 4r+q
	mean, scale kernel.F64
	unit        kernel.Ptr[kernel.U8]
	in          kernel.Bool // the weight has the row that is made

	words, high [][]kernel.I32 // of each chunk: the lane's of the plane of codes, and of the one of high bits
}

// chunks is the number of a unit's.
func (n *maker) chunks() int { return n.f.Unit / n.f.Chunk }

// laneWords are the words of a chunk's planes that a lane has.
func (n *maker) laneWords() (codes, high int) {
	codes, high = n.f.PlaneBytes()
	return codes / 128, high / 128
}

func (n *maker) clear() {
	zeros := func(count int) [][]kernel.I32 {
		out := make([][]kernel.I32, n.chunks())
		for c := range out {
			for range count {
				out[c] = append(out[c], n.k.Int32(0))
			}
		}
		return out
	}
	codes, high := n.laneWords()
	n.words, n.high = zeros(codes), zeros(high)
}

// values are the lane's elements of a row, in the order of columns: product after product of
// each chunk, four of each. The first one's state is given.
func (n *maker) values(state kernel.I64) []kernel.F32 {
	var out []kernel.F32
	for product := range n.f.Unit / 16 {
		first := product/(n.f.Span/16)*n.f.Span + product%(n.f.Span/16)*4
		for e := range 4 {
			out = append(out, n.from(n.value(state.Plus(golden(uint64(first+e+1))))))
		}
	}
	return out
}

// value is an element by its state, as noise.Fill has it.
func (n *maker) value(z kernel.I64) kernel.F32 {
	mix1, mix2 := uint64(noise.Mix1), uint64(noise.Mix2)
	z = z.XorBits(z.Shr(30)).Times(int64(mix1))
	z = z.XorBits(z.Shr(27)).Times(int64(mix2))
	z = z.XorBits(z.Shr(31))
	low, high := z.I32(), z.Shr(32).I32()
	sum := low.And(0xffff).Add(low.Shr(16)).Add(high.And(0xffff)).Add(high.Shr(16)).Plus(-noise.Centre)
	return n.mean.Add(n.scale.Mul(sum.I64().F64())).F32()
}

// from rounds to the encoding that the values come in.
func (n *maker) from(x kernel.F32) kernel.F32 {
	switch n.p.From {
	case layout.F16:
		return n.g.Low(kernel.Float16, n.g.Pack(kernel.Float16, x, n.k.Float(0)))
	case layout.BF16:
		return n.g.Low(kernel.BFloat16, n.g.Pack(kernel.BFloat16, x, n.k.Float(0)))
	}
	return x
}

// numbers keeps values as numbers of 16 bits.
func (n *maker) numbers(half int, v []kernel.F32) {
	to := kernel.Float16
	if n.p.Enc == layout.BF16 {
		to = kernel.BFloat16
	}
	for product := range n.f.Unit / 16 {
		c, j := product/n.f.Products(), product%n.f.Products()
		for i := range 2 {
			w := n.g.Pack(to, v[4*product+2*i], v[4*product+2*i+1])
			n.words[c][4*j+half+2*i] = kernel.Select(n.in, w, n.k.Int32(0))
		}
	}
}

// codes keeps four neighbouring codes, as layout.PackFrag does.
func (n *maker) codes(half, product int, four []kernel.I32) {
	k, c, j := n.k, product/n.f.Products(), product%n.f.Products()
	code := make([]kernel.I32, 4)
	for e := range code {
		code[e] = kernel.Select(n.in, four[e], k.Int32(0))
	}
	// Registers half and half+2 hold e = 0, 1 and 2, 3: halves of bits 0 and 16.
	halves := func(shift int32, width int) kernel.I32 {
		bit := func(e int) kernel.I32 { return code[e].Shr(shift).And(1<<width - 1) }
		low, high := bit(0).Or(bit(1).Shl(16)), bit(2).Or(bit(3).Shl(16))
		return low.Or(high.Shl(int32(2 * width)))
	}
	or := func(to *kernel.I32, w kernel.I32) { *to = to.Or(w) }
	ones, twos := int32(4*j+half), int32(8*(j%2)+2*half)
	switch n.f.Stored {
	case 3:
		or(&n.words[c][j/2], halves(0, 2).Shl(twos))
		or(&n.high[c][0], halves(2, 1).Shl(ones))
	case 8:
		at := j/2*2*min(n.f.Products(), 2) + 2*(j%2)
		for i := range 2 {
			or(&n.words[c][at+i], code[2*i].Or(code[2*i+1].Shl(8)).Shl(int32(16*half)))
		}
	default:
		or(&n.words[c][j], halves(0, 4).Shl(int32(4*half)).RotateRight(30))
		switch n.f.Stored {
		case 5:
			or(&n.high[c][0], halves(4, 1).Shl(ones))
		case 6:
			or(&n.high[c][j/2], halves(4, 2).Shl(twos))
		}
	}
}

// store writes the unit's codes; scales are there already.
func (n *maker) store() {
	codes, high := n.f.PlaneBytes()
	_, highWords := n.laneWords()
	for c := range n.chunks() {
		n.plane(n.unit.Plus(int64(c*codes)), n.words[c])
		if highWords > 0 {
			n.storeLane(n.unit.Plus(int64(n.chunks()*codes+c*high)), n.high[c])
		}
	}
}

// plane writes a chunk's codes: for 16 and 8 bits a run of all lanes for each, or each two,
// products; else all of a lane's together.
func (n *maker) plane(at kernel.Ptr[kernel.U8], w []kernel.I32) {
	per := len(w)
	switch n.f.Stored {
	case 16:
		per = 4
	case 8:
		per = 2 * min(n.f.Products(), 2)
	}
	for i := 0; i < len(w); i += per {
		n.storeLane(at.Plus(int64(128*i)), w[i:i+per])
	}
}

// storeLane writes the lane's words of a run.
func (n *maker) storeLane(at kernel.Ptr[kernel.U8], w []kernel.I32) {
	kernel.StoreWords(kernel.As[kernel.I32](at).At(n.g.Lane().Times(int64(len(w)))), w)
}
