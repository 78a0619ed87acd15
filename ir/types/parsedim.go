package types

import (
	"fmt"
	"strconv"
)

// maxDimNesting bounds ceil() nesting in text.
const maxDimNesting = 32

// ParseDim reads the text of a Dim: sums and products of integers, symbols and
// ceil(DIM/INT).
func ParseDim(s string) (Dim, error) {
	p := dimParser{s: s}
	d, err := p.sum(0)
	if err != nil {
		return Dim{}, fmt.Errorf("dim %q: %w", s, err)
	}
	if p.i != len(s) {
		return Dim{}, fmt.Errorf("dim %q: unexpected %q at %d", s, s[p.i:], p.i)
	}
	return d, nil
}

type dimParser struct {
	s string
	i int
}

func (p *dimParser) peek() byte {
	for p.i < len(p.s) && p.s[p.i] == ' ' {
		p.i++
	}
	if p.i == len(p.s) {
		return 0
	}
	return p.s[p.i]
}

func (p *dimParser) sum(depth int) (Dim, error) {
	sign := int64(1)
	if p.peek() == '-' {
		p.i++
		sign = -1
	}
	d, err := p.product(depth)
	if err != nil {
		return Dim{}, err
	}
	d = d.MulInt(sign)
	for {
		c := p.peek()
		if c != '+' && c != '-' {
			return d, nil
		}
		p.i++
		e, err := p.product(depth)
		if err != nil {
			return Dim{}, err
		}
		if c == '-' {
			e = e.MulInt(-1)
		}
		d = d.Add(e)
	}
}

func (p *dimParser) product(depth int) (Dim, error) {
	d, err := p.factor(depth)
	if err != nil {
		return Dim{}, err
	}
	for p.peek() == '*' {
		p.i++
		e, err := p.factor(depth)
		if err != nil {
			return Dim{}, err
		}
		d = d.Mul(e)
	}
	return d, nil
}

func (p *dimParser) factor(depth int) (Dim, error) {
	c := p.peek()
	start := p.i
	switch {
	case c >= '0' && c <= '9':
		n, err := p.integer()
		return Const(n), err
	case isSymByte(c, true):
		for p.i < len(p.s) && isSymByte(p.s[p.i], false) {
			p.i++
		}
		name := p.s[start:p.i]
		if name == "ceil" && p.peek() == '(' {
			return p.ceil(depth + 1)
		}
		return Sym(name), nil
	}
	return Dim{}, fmt.Errorf("expected a number, a symbol or ceil(...) at %d", p.i)
}

func (p *dimParser) ceil(depth int) (Dim, error) {
	if depth > maxDimNesting {
		return Dim{}, fmt.Errorf("ceil nested more than %d deep", maxDimNesting)
	}
	p.i++ // (
	d, err := p.sum(depth)
	if err != nil {
		return Dim{}, err
	}
	if p.peek() != '/' {
		return Dim{}, fmt.Errorf("expected / in ceil at %d", p.i)
	}
	p.i++
	p.peek()
	n, err := p.integer()
	if err != nil {
		return Dim{}, err
	}
	if n <= 0 {
		return Dim{}, fmt.Errorf("ceil by %d, expected a positive number", n)
	}
	if p.peek() != ')' {
		return Dim{}, fmt.Errorf("expected ) at %d", p.i)
	}
	p.i++
	return d.CeilDiv(n), nil
}

func (p *dimParser) integer() (int64, error) {
	start := p.i
	for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' {
		p.i++
	}
	n, err := strconv.ParseInt(p.s[start:p.i], 10, 48)
	if err != nil {
		return 0, fmt.Errorf("integer %q is out of range", p.s[start:p.i])
	}
	return n, nil
}

func isSymByte(c byte, first bool) bool {
	letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
	return letter || !first && c >= '0' && c <= '9'
}
