package lower

import (
	"fmt"
	"slices"

	"quire/ir"
	"quire/ir/work"
)

// matchMap turns a body of elementwise ops into one postfix expression.
func matchMap(b *body) (Found, error) {
	if len(b.part.Yield) != 1 {
		return Found{}, fmt.Errorf("yields %d values, an elementwise kernel yields one", len(b.part.Yield))
	}
	y := b.under(b.part.Yield[0])
	e := &expr{b: b, vals: map[string]*ir.Value{"y": b.part.Dst[0]}}
	if y.Op == ir.OpRound {
		return matchRound(b, y)
	}
	if err := e.push(y); err != nil {
		return Found{}, err
	}
	dim := 1
	for _, d := range y.Type.Shape[1:] {
		dim *= constant(d)
	}
	return Found{work.Map{Dim: dim, Expr: e.steps}, e.vals}, f32s(y)
}

func matchRound(b *body, y *ir.Value) (Found, error) {
	if err := b.only(ir.OpRound); err != nil {
		return Found{}, err
	}
	x, err := b.outer(y.Args[0])
	if err != nil {
		return Found{}, err
	}
	to, err := roundTo(y)
	if err != nil {
		return Found{}, err
	}
	return Found{work.Round{Dim: constant(y.Type.Last()), To: to}, map[string]*ir.Value{"x": x, "y": b.part.Dst[0]}}, f32s(x)
}

func roundTo(r *ir.Value) (work.Dot, error) {
	to, ok := map[ir.Dot]work.Dot{ir.DotBF16: work.BF16, ir.DotI8: work.I8, ir.DotF16: work.F16}[r.Attrs.(ir.RoundAttrs).To]
	if !ok {
		return to, fmt.Errorf("no kernel rounds to %v", r.Attrs.(ir.RoundAttrs).To)
	}
	return to, nil
}

// expr builds the expression; a value read twice is computed twice.
type expr struct {
	b      *body
	steps  []work.MapStep
	inputs []*ir.Value
	vals   map[string]*ir.Value
}

// maxMapSteps bounds expressions, so that repeated reads cannot explode.
const maxMapSteps = 64

func (e *expr) push(v *ir.Value) error {
	if len(e.steps) > maxMapSteps {
		return fmt.Errorf("an elementwise expression of more than %d steps", maxMapSteps)
	}
	v = e.b.under(v)
	if !e.b.in[v] {
		return e.input(v)
	}
	op, ok := mapOps[v.Op]
	if !ok && v.Op != ir.OpGELU {
		return fmt.Errorf("no kernel computes %s here", v.Op)
	}
	for _, a := range v.Args {
		if err := e.push(a); err != nil {
			return err
		}
	}
	s := work.MapStep{Op: op}
	switch a := v.Attrs.(type) {
	case ir.GELUAttrs:
		s.Op = work.MapGELU
		if a.Tanh {
			s.Op = work.MapGELUTanh
		}
	case ir.ScaleAttrs:
		s.Value = float32(a.By)
	case ir.SoftcapAttrs:
		s.Value = float32(a.Cap)
	}
	e.steps = append(e.steps, s)
	return nil
}

var mapOps = map[ir.Op]work.MapOp{
	ir.OpAdd: work.MapAdd, ir.OpMul: work.MapMul, ir.OpSiLU: work.MapSiLU,
	ir.OpScale: work.MapScale, ir.OpSoftcap: work.MapSoftcap,
}

func (e *expr) input(v *ir.Value) error {
	if err := f32s(v); err != nil {
		return err
	}
	i := slices.Index(e.inputs, v)
	if i < 0 {
		i = len(e.inputs)
		e.inputs = append(e.inputs, v)
		e.vals[fmt.Sprintf("a%d", i)] = v
	}
	s := work.MapStep{Op: work.MapIn, Arg: i}
	if v.Op == ir.OpWeight {
		s.Op = work.MapVec
	}
	e.steps = append(e.steps, s)
	return nil
}
