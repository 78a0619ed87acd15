package kernels

import (
	"quire/codegen/kernel"
)

// What PrefillGPU does with a warp's scores: masks, softmax, and the state that it carries
// from tile to tile.

// fragments is the state of a warp: out, and each row's maximum and sum.
type fragments struct {
	out [][][4]kernel.F32 // [m tile][8 dims]
	max [][2]kernel.F32   // [m tile] rows r and r + 8
	sum [][2]kernel.F32
}

func (f prefillerGPU) start() fragments {
	var s fragments
	z := f.k.Float(0)
	for range f.mtiles {
		var out [][4]kernel.F32
		for range f.pad / 8 {
			out = append(out, [4]kernel.F32{z, z, z, z})
		}
		s.out = append(s.out, out)
		s.max = append(s.max, [2]kernel.F32{f.k.Float(noMax), f.k.Float(noMax)})
		s.sum = append(s.sum, [2]kernel.F32{z, z})
	}
	return s
}

func (s fragments) flat() []kernel.F32 {
	var v []kernel.F32
	for m := range s.out {
		v = append(append(v, s.max[m][:]...), s.sum[m][:]...)
		for _, o := range s.out[m] {
			v = append(v, o[:]...)
		}
	}
	return v
}

func (s fragments) with(v []kernel.F32) fragments {
	var n fragments
	for m := range s.out {
		n.max = append(n.max, [2]kernel.F32(v[:2]))
		n.sum = append(n.sum, [2]kernel.F32(v[2:4]))
		v = v[4:]
		out := make([][4]kernel.F32, len(s.out[m]))
		for j := range out {
			out[j], v = [4]kernel.F32(v[:4]), v[4:]
		}
		n.out = append(n.out, out)
	}
	return n
}

// indices are the cache indices of a lane's rows, for the mask.
func (f prefillerGPU) indices(b blockGPU) [][2]kernel.I32 {
	at := f.warp().Times(int64(16 * f.mtiles)).Add(f.lane().Shr(2))
	var out [][2]kernel.I32
	for m := range f.mtiles {
		var two [2]kernel.I32
		for half := range two {
			row := at.Plus(int64(16*m + 8*half))
			two[half] = b.i.Add(row.Over(int64(f.group))).I32()
		}
		out = append(out, two)
	}
	return out
}

// mask puts minus infinity where a row does not see one of the tokens: only where there is
// such a pair.
func (f prefillerGPU) mask(b blockGPU, token kernel.I64, x [][][4]kernel.F32) {
	k := f.k
	some := b.i.Lt(token.Plus(int64(f.step - 1)))
	if f.p.Window > 0 {
		newest := b.last()
		if f.p.Chunked {
			newest = b.before
		}
		some = some.Or(token.Lt(newest.Plus(int64(1 - f.p.Window))))
	}
	var flat []kernel.F32
	for m := range x {
		for j := range x[m] {
			for e := range x[m][j] {
				x[m][j][e] = f.base(x[m][j][e])
			}
			flat = append(flat, x[m][j][:]...)
		}
	}
	flat = kernel.If(k, some, flat, func() []kernel.F32 {
		var out []kernel.F32
		index := f.indices(b)
		first := token.I32().Add(f.lane().And(k.Int(3)).Times(2).I32())
		for m := range x {
			for j := range x[m] {
				for e := range x[m][j] {
					w := index[m][e/2]
					if f.p.Chunked {
						w = b.before.I32()
					}
					sees := f.sees(first.Add(k.Int32(int32(8*j+e%2))), index[m][e/2], w)
					out = append(out, kernel.Select(sees, x[m][j][e], negInf(k)))
				}
			}
		}
		return out
	}, nil)
	for m := range x {
		for j := range x[m] {
			x[m][j], flat = [4]kernel.F32(flat[:4]), flat[4:]
		}
	}
}

// softmax turns scores into weights and scales what was summed before.
func (f prefillerGPU) softmax(x [][][4]kernel.F32, s *fragments) {
	g := f.g
	alphas := make([][2]kernel.F32, len(x))
	for m := range x {
		for half := range 2 {
			top := s.max[m][half]
			for j := range x[m] {
				top = g.MaxF(top, g.MaxF(x[m][j][2*half], x[m][j][2*half+1]))
			}
			top = g.MaxF(top, g.Xor(top, 1))
			top = g.MaxF(top, g.Xor(top, 2))
			alpha := g.Exp2F(s.max[m][half].Sub(top))
			s.max[m][half] = top
			sum := s.sum[m][half].Mul(alpha)
			for j := range x[m] {
				for e := 2 * half; e < 2*half+2; e++ {
					x[m][j][e] = g.Exp2F(x[m][j][e].Sub(top))
					sum = sum.Add(x[m][j][e])
				}
			}
			s.sum[m][half] = sum
			alphas[m][half] = alpha
		}
	}
	f.rescale(alphas, s)
}

// rescale multiplies what was summed before; once the maxima have settled there is nothing
// to do for most tiles.
func (f prefillerGPU) rescale(alphas [][2]kernel.F32, s *fragments) {
	k := f.k
	moved := k.False()
	for m := range alphas {
		for _, a := range alphas[m] {
			moved = moved.Or(k.Float(1).Gt(a))
		}
	}
	var flat []kernel.F32
	for m := range s.out {
		for j := range s.out[m] {
			flat = append(flat, s.out[m][j][:]...)
		}
	}
	flat = kernel.If(k, f.g.Any(moved), flat, func() []kernel.F32 {
		out := make([]kernel.F32, len(flat))
		for i := range flat {
			out[i] = flat[i].Mul(alphas[i/(4*len(s.out[0]))][i%4/2])
		}
		return out
	}, nil)
	for m := range s.out {
		for j := range s.out[m] {
			s.out[m][j], flat = [4]kernel.F32(flat[:4]), flat[4:]
		}
	}
}
