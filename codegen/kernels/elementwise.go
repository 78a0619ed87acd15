package kernels

import (
	"fmt"

	"quire/codegen/kernel"
	"quire/ir/work"
)

// elementwise evaluates a Map's expression on each lane of a row.
func elementwise(k *kernel.Kernel, p work.Map) {
	y := kernel.Arg[kernel.F32](k, "y").At(k.Item().Times(int64(p.Dim)))
	kernel.Row(k, p.Dim, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
		l.Store(y, mapValue(k, p, func(s work.MapStep) kernel.Vec {
			at := kernel.Arg[kernel.F32](k, fmt.Sprintf("a%d", s.Arg))
			if s.Op == work.MapIn {
				at = at.At(k.Item().Times(int64(p.Dim)))
			}
			return l.Load(at)
		}))
		return nil
	})
}

// mapValue runs the postfix expression on the lanes that in loads.
func mapValue(k *kernel.Kernel, p work.Map, in func(s work.MapStep) kernel.Vec) kernel.Vec {
	var stack []kernel.Vec
	pop := func() kernel.Vec {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		return v
	}
	for _, s := range p.Expr {
		stack = append(stack, mapStep(k, s, in, pop))
	}
	return pop()
}

func mapStep(k *kernel.Kernel, s work.MapStep, in func(s work.MapStep) kernel.Vec, pop func() kernel.Vec) kernel.Vec {
	switch s.Op {
	case work.MapIn, work.MapVec:
		return in(s)
	case work.MapConst:
		return k.Vec(s.Value)
	}
	b := pop()
	switch s.Op {
	case work.MapAdd:
		return pop().Add(b)
	case work.MapSub:
		return pop().Sub(b)
	case work.MapMul:
		return pop().Mul(b)
	case work.MapDiv:
		return pop().Div(b)
	case work.MapSiLU:
		return silu(b, k)
	case work.MapGELUTanh:
		return geluTanh(b, k)
	case work.MapGELU:
		return gelu(b, k)
	case work.MapTanh:
		return tanh(b, k)
	case work.MapExp:
		return exp(b, k)
	case work.MapScale:
		return b.Scale(s.Value)
	case work.MapSoftcap:
		return softcap(b, s.Value, k)
	}
	k.Errorf("map: op %q has no code", s.Op)
	return b
}

// gather copies a row.
func gather(k *kernel.Kernel, p work.Gather) {
	from := kernel.LoadI32(kernel.Arg[kernel.I32](k, "out").At(k.Item())).I64()
	x := kernel.Arg[kernel.F32](k, "x").At(from.Times(int64(p.Dim)))
	y := kernel.Arg[kernel.F32](k, "y").At(k.Item().Times(int64(p.Dim)))
	kernel.Row(k, p.Dim, nil, func(l kernel.Lanes, _ []kernel.Vec) []kernel.Vec {
		l.Store(y, l.Load(x))
		return nil
	})
}
