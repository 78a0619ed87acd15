package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// norm is y = x / sqrt(mean(x^2) + eps) * (g + offset), for each vector of a row:
// 8 bytes moved an element.
func norm(k *kernel.Kernel, p work.Norm) {
	row := int64(p.Dim * p.Vectors())
	from := k.Item()
	if p.Gather {
		from = kernel.LoadI32(kernel.Arg[kernel.I32](k, "out").At(k.Item())).I64()
	}
	x, y := kernel.Arg[kernel.F32](k, "x").At(from.Times(row)), kernel.Arg[kernel.F32](k, "y").At(k.Item().Times(row))
	g := kernel.Arg[kernel.F32](k, "g")
	res := y
	if p.Add {
		res = kernel.Arg[kernel.F32](k, "res").At(k.Item().Times(row))
	}
	kernel.Each(k, k.Int(0), k.Int(int64(p.Vectors())), 1, func(v kernel.I64) {
		at := v.Times(int64(p.Dim))
		inv := rsqrtMean(k, x.At(at), p.Dim, p.RMS.Eps).Splat()
		kernel.Row(k, p.Dim, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
			out := l.Load(x.At(at)).Mul(inv).Mul(gain(k, l.Load(g), p.RMS.Offset))
			if p.Add {
				out = out.Add(l.Load(res.At(at)))
			}
			l.Store(y.At(at), out)
			return nil
		})
	})
}

// rsqrtMean is 1 / sqrt(mean(x^2) + eps) over n values.
func rsqrtMean(k *kernel.Kernel, x kernel.Ptr[kernel.F32], n int, eps float32) kernel.F32 {
	sum := kernel.Row(k, n, k.Zeros(1), func(l kernel.Lanes, acc []kernel.Vec) []kernel.Vec {
		v := l.Load(x)
		return []kernel.Vec{v.FMA(v, acc[0])}
	})[0].ReduceAdd()
	return k.Float(1).Div(sum.Div(k.Float(float32(n))).Add(k.Float(eps)).Sqrt())
}

func gain(k *kernel.Kernel, g kernel.Vec, offset float32) kernel.Vec {
	if offset == 0 {
		return g
	}
	return g.Add(k.Vec(offset))
}
