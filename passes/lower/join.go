package lower

import (
	"fmt"
	"slices"

	"quire/ir"
	"quire/ir/work"
)

// branch takes what a norm is of: add(before, rmsnorm x) or the other way round, which is also
// yielded. The body then has the other yields alone.
func (b *body) branch(add *ir.Value, vals map[string]*ir.Value) (*work.RMSNorm, error) {
	n, before := b.under(add.Args[1]), add.Args[0]
	if !b.in[n] || n.Op != ir.OpRMSNorm {
		n, before = b.under(add.Args[0]), add.Args[1]
	}
	if !b.in[n] || n.Op != ir.OpRMSNorm {
		return nil, fmt.Errorf("norm of a sum of no norm, expected a branch's")
	}
	after, ok := b.dst(add)
	if !ok {
		return nil, fmt.Errorf("norm of a sum that is not yielded")
	}
	x, err := b.outer(n.Args[0])
	if err != nil {
		return nil, err
	}
	if before, err = b.outer(before); err != nil {
		return nil, err
	}
	if !before.Type.Equal(add.Type) || !n.Type.Equal(add.Type) {
		return nil, fmt.Errorf("sum of %s and %s, expected both alike", before.Type, n.Type)
	}
	for name, v := range map[string]*ir.Value{"x": x, "jg": n.Args[1], "before": before, "after": after} {
		vals[name] = v
	}
	part := *b.part
	i := slices.Index(part.Dst, after)
	part.Dst = slices.Delete(slices.Clone(part.Dst), i, i+1)
	part.Yield = slices.Delete(slices.Clone(part.Yield), i, i+1)
	b.part = &part
	r := rms(n)
	return &r, nil
}

// more gives the kernel what only a GPU's product of few rows does: to take a branch, and to
// round its result. In a product of many rows single values would be written apart, as the
// product that follows wants them in spans.
func (l *linear) more() error {
	if l.join == nil && l.round == nil {
		return nil
	}
	v, ok := l.k.Kernel.(work.GEMV)
	if !ok {
		return fmt.Errorf("takes a branch or rounds its result, expected a GPU's product of few rows")
	}
	v.Join, v.Round = l.join, l.round
	l.k.Kernel = v
	return nil
}
