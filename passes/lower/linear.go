package lower

import (
	"fmt"

	"quire/ir"
	"quire/ir/work"
)

// matchLinear recognises [norm] matmul [bias] and one of the epilogues.
func matchLinear(b *body) (Found, error) {
	mat := b.first(ir.OpMatMul)
	if b.count(ir.OpMatMul) != 1 {
		return Found{}, fmt.Errorf("%d matmuls in one body", b.count(ir.OpMatMul))
	}
	w := mat.Args[1]
	if w.Op != ir.OpWeight {
		return Found{}, fmt.Errorf("its second argument is %s, expected a weight", w.Op)
	}
	l := &linear{b: b, mat: mat, k: Found{Values: map[string]*ir.Value{"w": w}}}
	l.p = work.Linear{Enc: enc(w), Cols: constant(w.Type.Shape[1]), Tokens: work.Many, Dot: dotOf(mat)}
	if FewRows(b.t, b.f, mat) && (l.p.Dot == work.F32 || l.rounds()) {
		l.p.Tokens = work.One
	}
	if err := l.prologue(); err != nil {
		return Found{}, err
	}
	sum := l.bias()
	if err := f32s(mat, mat.Args[0]); err != nil {
		return Found{}, err
	}
	l.p.Rows = rowsOf(b.m, w)
	if err := l.epilogue(sum); err != nil {
		return Found{}, err
	}
	l.k.Kernel = l.p
	if b.gpu() {
		l.k.Kernel = tensorCores(l.b.t, l.p, atMost(b.f, mat.Type.Shape[0]))
	}
	return l.k, l.more()
}

type linear struct {
	b   *body
	mat *ir.Value
	p   work.Linear
	k   Found
	// join is the norm of a branch that joins x, round how the result is rounded: nil without.
	join  *work.RMSNorm
	round *work.Round
}

func dotOf(mat *ir.Value) work.Dot {
	switch mat.Attrs.(ir.MatMulAttrs).Dot {
	case ir.DotBF16:
		return work.BF16
	case ir.DotI8:
		return work.I8
	case ir.DotF16:
		return work.F16
	}
	return work.F32
}

// rounds reports whether the body rounds x for the product, as a kernel for few rows does
// itself; else x is what another launch rounded.
func (l *linear) rounds() bool {
	x := l.b.under(l.mat.Args[0])
	return l.b.in[x] && x.Op == ir.OpRound && x.Attrs.(ir.RoundAttrs).To == l.mat.Attrs.(ir.MatMulAttrs).Dot
}

// rowsOf returns the row counts of a weight's segments.
func rowsOf(m *ir.Module, ref *ir.Value) []int {
	var rows []int
	for _, s := range m.Sources(m.Weight(ir.WeightName(ref))) {
		rows = append(rows, constant(s.Type.Shape[0]))
	}
	return rows
}

// prologue takes x, or a norm of x made inside.
func (l *linear) prologue() (err error) {
	x := l.b.under(l.mat.Args[0])
	if l.p.Tokens == work.One && l.rounds() {
		x = l.b.under(x.Args[0]) // the kernel rounds the row itself
	}
	if l.b.in[x] && x.Op == ir.OpRMSNorm && l.p.Tokens == work.One {
		n := rms(x)
		l.p.Norm = &n
		l.k.Values["g"] = x.Args[1]
		x = l.b.under(x.Args[0])
	}
	if l.b.in[x] && x.Op == ir.OpAdd && l.p.Norm != nil {
		l.join, err = l.b.branch(x, l.k.Values)
		return err
	}
	if x, err = l.b.outer(x); err != nil {
		return err
	}
	l.k.Values["x"] = x
	return nil
}

// bias takes the add of a vector weight, if it follows, and returns the sum.
func (l *linear) bias() *ir.Value {
	add := l.b.reader(l.mat)
	if add == nil || add.Op != ir.OpAdd || add.Args[0] != l.mat {
		return l.mat
	}
	v := add.Args[1]
	if v.Op != ir.OpWeight || len(v.Type.Shape) != 1 {
		return l.mat
	}
	l.p.Bias = true
	l.k.Values["b"] = v
	return add
}

func (l *linear) epilogue(sum *ir.Value) error {
	b := l.b
	if b.has(ir.OpAppend) {
		l.p.Epilogue = work.QKV
		return l.qkv(sum)
	}
	if d, ok := b.dst(sum); ok {
		return l.store(d)
	}
	if len(b.part.Yield) == 3 && len(l.p.Rows) == 3 {
		l.p.Epilogue = work.QKV
		return l.apart(sum)
	}
	next := b.reader(sum)
	switch {
	case next == nil:
		return l.glu(sum)
	case next.Op == ir.OpRound:
		return l.end(sum)
	case next.Op == ir.OpAdd:
		return l.residual(sum, next)
	case next.Op == ir.OpSoftcap:
		l.p.Softcap = float32(next.Attrs.(ir.SoftcapAttrs).Cap)
		return l.end(next)
	case actOf(next) != work.NoAct:
		l.p.Act = actOf(next)
		return l.end(next)
	}
	return fmt.Errorf("no epilogue computes %s", next.Op)
}

// end requires v, perhaps rounded, to be all that is yielded, by a store.
func (l *linear) end(v *ir.Value) (err error) {
	if v, l.round, err = l.b.rounding(v); err != nil {
		return err
	}
	d, err := l.b.result(v)
	if err != nil {
		return err
	}
	return l.store(d)
}

func (l *linear) store(d *ir.Value) error {
	if len(l.b.part.Yield) != 1 {
		return fmt.Errorf("yields %d values, expected the sum only", len(l.b.part.Yield))
	}
	l.p.Epilogue = work.Store
	l.k.Values["y"] = d
	return nil
}

// residual takes add(res, sum) or add(sum, res).
func (l *linear) residual(sum, add *ir.Value) error {
	res := add.Args[0]
	if res == sum {
		res = add.Args[1]
	}
	r, err := l.b.outer(res)
	if err != nil {
		return err
	}
	if r.Type.Shape.Size() != add.Type.Shape.Size() {
		return fmt.Errorf("residual of type %s", r.Type)
	}
	d, err := l.b.result(add)
	if err != nil {
		return err
	}
	l.p.Epilogue = work.Add
	l.k.Values["res"], l.k.Values["y"] = r, d
	return nil
}

func actOf(v *ir.Value) work.Act {
	switch v.Op {
	case ir.OpSiLU:
		return work.SiLU
	case ir.OpGELU:
		if v.Attrs.(ir.GELUAttrs).Tanh {
			return work.GELUTanh
		}
		return work.GELU
	}
	return work.NoAct
}

// glu takes act(slice 0) * slice 1 of two equal segments.
func (l *linear) glu(sum *ir.Value) error {
	b := l.b
	mul := b.first(ir.OpMul)
	if mul == nil || b.count(ir.OpSlice) != 2 || len(l.p.Rows) != 2 || l.p.Rows[0] != l.p.Rows[1] {
		return fmt.Errorf("no epilogue computes these readers of the sum")
	}
	act, up := mul.Args[0], mul.Args[1]
	if actOf(act) == work.NoAct {
		act, up = up, act
	}
	if actOf(act) == work.NoAct || !sliceAt(act.Args[0], sum, 0, l.p.Rows[0]) || !sliceAt(up, sum, l.p.Rows[0], l.p.Rows[1]) {
		return fmt.Errorf("not act(gate) * up of segments %v", l.p.Rows)
	}
	y, round, err := b.rounding(mul)
	if err != nil {
		return err
	}
	d, err := b.result(y)
	if err != nil {
		return err
	}
	l.round = round
	l.p.Epilogue, l.p.Act = work.GLU, actOf(act)
	l.k.Values["y"] = d
	return nil
}

func sliceAt(v, of *ir.Value, first, count int) bool {
	return v.Op == ir.OpSlice && v.Args[0] == of && v.Attrs.(ir.SliceAttrs) == ir.SliceAttrs{First: first, Count: count}
}
