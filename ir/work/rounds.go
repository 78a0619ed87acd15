package work

// key is "" without rounding.
func (p *Round) key() string {
	if p == nil {
		return ""
	}
	return p.Key()
}

// result is the operand y of a kernel that rounds its result, or does not.
func (p *Round) result() []Operand {
	if p == nil {
		return one("y", Float, Write)
	}
	return one("y", Codes, Write)
}

// rounds says how a GPU's kernel can round rows of its result.
func (c *check) rounds(p *Round, dim int) {
	if p == nil {
		return
	}
	if err := p.Validate(); err != nil {
		c.errs = append(c.errs, err.Error())
	}
	c.that(p.Dim == dim, "rounds rows of %d, expected of %d", p.Dim, dim)
	c.that(p.To == F16 || p.To == BF16, "rounds to %q, expected f16 or bf16", p.To)
}

// RoundOf is what a kernel rounds its result y with, nil if it does not.
func RoundOf(p Params) *Round {
	switch p := p.(type) {
	case Round:
		return &p
	case Norm:
		return p.Round
	case GEMV:
		return p.Round
	}
	return nil
}

// InSpans is a kernel that rounds its result, in spans; false where it cannot.
func InSpans(p Params, span int) (Params, bool) {
	switch p := p.(type) {
	case Round:
		p.Span = span
		return p, true
	case Norm:
		r := *p.Round
		r.Span = span
		p.Round = &r
		return p, true
	}
	return nil, false
}
