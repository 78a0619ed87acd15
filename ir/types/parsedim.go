package types

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
)

// Bounds of text, so that a hostile Dim costs little.
const (
	maxDimNesting = 16      // ceil() in ceil()
	maxDimText    = 256     // bytes, also of the canonical text
	maxDimTerms   = 64      // terms of the polynomial, at any time
	maxDimCoef    = 1 << 48 // absolute coefficient, at any time
)

// ParseDim reads the text of a Dim: sums and products of integers, symbols and
// ceil(DIM/INT).
func ParseDim(s string) (Dim, error) {
	if len(s) > maxDimText {
		return Dim{}, fmt.Errorf("dim of %d bytes, expected at most %d", len(s), maxDimText)
	}
	p := dimParser{s: s}
	d, err := p.sum(0)
	if err != nil {
		return Dim{}, fmt.Errorf("dim %q: %w", s, err)
	}
	if p.i != len(s) {
		return Dim{}, fmt.Errorf("dim %q: unexpected %q at %d", s, s[p.i:], p.i)
	}
	if n := len(d.String()); n > maxDimText {
		return Dim{}, fmt.Errorf("dim of %d bytes when written out, expected at most %d", n, maxDimText)
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
	neg := p.peek() == '-'
	if neg {
		p.i++
	}
	d, err := p.product(depth)
	if err != nil {
		return Dim{}, err
	}
	if neg {
		d = d.MulInt(-1)
	}
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
		if err := p.bounded(len(d.terms()), d.MaxCoef()); err != nil {
			return Dim{}, err
		}
	}
}

// bounded is an error when a polynomial of n terms and coefficients up to c would
// be too large.
func (p *dimParser) bounded(n int, c uint64) error {
	if n > maxDimTerms || c > maxDimCoef {
		return fmt.Errorf("%d terms with coefficients up to %d at %d, expected at most %d and 2^48", n, c, p.i, maxDimTerms)
	}
	return nil
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
		n := len(d.terms()) * len(e.terms())
		hi, c := bits.Mul64(d.MaxCoef(), e.MaxCoef())
		if hi > 0 || c > maxDimCoef/uint64(max(n, 1)) {
			c = math.MaxUint64
		}
		if err := p.bounded(n, c); err != nil {
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
