package types

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// Dim is one extent of a shape: a canonical polynomial over symbols and
// ceil-division atoms with integer coefficients. Dims are interned: equal
// meaning (up to canonicalisation) is equal with ==. The zero Dim is the
// constant 0.
type Dim struct{ p *poly }

// poly is an interned polynomial; terms are sorted by monomial text.
type poly struct {
	terms []term
	text  string
}

// term is coef * product of atoms (sorted by text).
type term struct {
	coef  int64
	atoms []*atom
	key   string
}

// atom is a symbol or ceil(num/den).
type atom struct {
	sym  string
	num  Dim
	den  int64
	text string
}

var interned struct {
	sync.Mutex
	polys map[string]*poly
}

func intern(terms []term) Dim {
	terms = collect(terms)
	if len(terms) == 0 {
		return Dim{}
	}
	text := polyText(terms)
	interned.Lock()
	defer interned.Unlock()
	if p, ok := interned.polys[text]; ok {
		return Dim{p}
	}
	if interned.polys == nil {
		interned.polys = map[string]*poly{}
	}
	p := &poly{terms, text}
	interned.polys[text] = p
	return Dim{p}
}

// collect merges like terms, drops zeros and sorts: higher degree first, then
// by text, the constant last.
func collect(in []term) []term {
	byKey := map[string]int64{}
	atoms := map[string][]*atom{}
	for _, t := range in {
		byKey[t.key] += t.coef
		atoms[t.key] = t.atoms
	}
	var out []term
	for k, c := range byKey {
		if c != 0 {
			out = append(out, term{c, atoms[k], k})
		}
	}
	slices.SortFunc(out, func(a, b term) int {
		if c := cmp.Compare(len(b.atoms), len(a.atoms)); c != 0 {
			return c
		}
		return strings.Compare(a.key, b.key)
	})
	return out
}

func mono(atoms []*atom) string {
	names := make([]string, len(atoms))
	for i, a := range atoms {
		names[i] = a.text
	}
	return strings.Join(names, "*")
}

func polyText(ts []term) string {
	var b strings.Builder
	for i, t := range ts {
		c := t.coef
		switch {
		case i > 0 && c < 0:
			b.WriteString("-")
			c = -c
		case i > 0:
			b.WriteString("+")
		case c < 0 && t.key != "":
			b.WriteString("-")
			c = -c
		}
		switch {
		case t.key == "":
			b.WriteString(strconv.FormatInt(c, 10))
		case c == 1:
			b.WriteString(t.key)
		default:
			b.WriteString(strconv.FormatInt(c, 10) + "*" + t.key)
		}
	}
	return b.String()
}

// Const returns the constant extent n.
func Const(n int64) Dim {
	if n == 0 {
		return Dim{}
	}
	return intern([]term{{coef: n}})
}

// Sym returns the extent named by a declared symbol.
func Sym(name string) Dim {
	a := &atom{sym: name, text: name}
	return intern([]term{{1, []*atom{a}, name}})
}

func (d Dim) terms() []term {
	if d.p == nil {
		return nil
	}
	return d.p.terms
}

// String returns the canonical text, which [ParseDim] reads back.
func (d Dim) String() string {
	if d.p == nil {
		return "0"
	}
	return d.p.text
}

// MaxCoef returns the largest absolute coefficient, 0 for the constant 0.
func (d Dim) MaxCoef() uint64 {
	var c uint64
	for _, t := range d.terms() {
		c = max(c, abs(t.coef))
	}
	return c
}

// IsConst returns the value of a constant Dim.
func (d Dim) IsConst() (int64, bool) {
	switch ts := d.terms(); {
	case len(ts) == 0:
		return 0, true
	case len(ts) == 1 && ts[0].key == "":
		return ts[0].coef, true
	}
	return 0, false
}

// Add returns d + e.
func (d Dim) Add(e Dim) Dim {
	return intern(slices.Concat(d.terms(), e.terms()))
}

// Sub returns d - e.
func (d Dim) Sub(e Dim) Dim { return d.Add(e.MulInt(-1)) }

// MulInt returns n * d.
func (d Dim) MulInt(n int64) Dim { return d.Mul(Const(n)) }

// Mul returns d * e.
func (d Dim) Mul(e Dim) Dim {
	var out []term
	for _, a := range d.terms() {
		for _, b := range e.terms() {
			atoms := slices.Concat(a.atoms, b.atoms)
			slices.SortFunc(atoms, func(x, y *atom) int { return strings.Compare(x.text, y.text) })
			out = append(out, term{a.coef * b.coef, atoms, mono(atoms)})
		}
	}
	return intern(out)
}

// CeilDiv returns ceil(d / n) for n > 0, folded when exact or constant.
func (d Dim) CeilDiv(n int64) Dim {
	if n == 1 {
		return d
	}
	if c, ok := d.IsConst(); ok {
		return Const(ceilDiv(c, n))
	}
	exact := true
	for _, t := range d.terms() {
		exact = exact && t.coef%n == 0
	}
	if exact {
		out := slices.Clone(d.terms())
		for i := range out {
			out[i].coef /= n
		}
		return intern(out)
	}
	a := &atom{num: d, den: n, text: fmt.Sprintf("ceil(%s/%d)", d, n)}
	return intern([]term{{1, []*atom{a}, a.text}})
}

// Symbols returns the sorted names of the symbols that d depends on.
func (d Dim) Symbols() []string {
	set := map[string]bool{}
	d.addSymbols(set)
	return slices.Sorted(maps.Keys(set))
}

func (d Dim) addSymbols(set map[string]bool) {
	for _, t := range d.terms() {
		for _, a := range t.atoms {
			if a.sym != "" {
				set[a.sym] = true
			} else {
				a.num.addSymbols(set)
			}
		}
	}
}

// Bindings give each symbol a value.
type Bindings map[string]int64

// Key is a deterministic name of the bindings ("M=1,N=1"), for caches.
func (b Bindings) Key() string {
	parts := make([]string, 0, len(b))
	for k, v := range b {
		parts = append(parts, k+"="+strconv.FormatInt(v, 10))
	}
	sort.Strings(parts)
	return strings.Join(parts, ",")
}

// Eval resolves d; a symbol without a binding is an error naming it, a value
// beyond 64 bits is one too.
func (d Dim) Eval(b Bindings) (int64, error) {
	var sum int64
	for _, t := range d.terms() {
		v, ok := t.coef, true
		for _, a := range t.atoms {
			var x int64
			if a.sym != "" {
				bound, ok := b[a.sym]
				if !ok {
					return 0, fmt.Errorf("dim %s: symbol %s is unbound", d, a.sym)
				}
				x = bound
			} else {
				n, err := a.num.Eval(b)
				if err != nil {
					return 0, err
				}
				x = ceilDiv(n, a.den)
			}
			if v, ok = mul(v, x); !ok {
				return 0, fmt.Errorf("dim %s overflows with %s", d, b.Key())
			}
		}
		if s := sum + v; (s < sum) == (v < 0) {
			sum = s
		} else {
			return 0, fmt.Errorf("dim %s overflows with %s", d, b.Key())
		}
	}
	return sum, nil
}

// mul is a * b; ok is false when it does not fit, and then it is the nearest
// value that does.
func mul(a, b int64) (v int64, ok bool) {
	hi, lo := bits.Mul64(abs(a), abs(b))
	neg := (a < 0) != (b < 0)
	switch {
	case hi == 0 && lo <= math.MaxInt64:
		if neg {
			return -int64(lo), true
		}
		return int64(lo), true
	case neg:
		return math.MinInt64, false
	}
	return math.MaxInt64, false
}

func abs(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// add is a + b, clamped to 64 bits.
func add(a, b int64) int64 {
	s := a + b
	switch {
	case a > 0 && b > 0 && s < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && s >= 0:
		return math.MinInt64
	}
	return s
}

func ceilDiv(n, d int64) int64 {
	q := n / d
	if n%d > 0 {
		q++
	}
	return q
}

// Range is an inclusive interval of a symbol's values.
type Range struct{ Min, Max int64 }

// Tri is a three-valued truth.
type Tri int8

// The answers of [Dim.Equal].
const (
	Unknown Tri = iota
	Yes
	No
)

// Equal says whether d and e are the same extent for all, no, or perhaps some
// values of the symbols within their bounds.
func (d Dim) Equal(e Dim, bounds map[string]Range) Tri {
	if d == e {
		return Yes
	}
	diff := d.Sub(e)
	if c, ok := diff.IsConst(); ok {
		if c == 0 {
			return Yes
		}
		return No
	}
	if lo, hi, ok := diff.Bounds(bounds); ok && (lo > 0 || hi < 0) {
		return No
	}
	return Unknown
}

// Bounds returns an interval that contains every value of d, clamped to 64 bits;
// ok is false when a symbol has no bounds.
func (d Dim) Bounds(bounds map[string]Range) (lo, hi int64, ok bool) {
	for _, t := range d.terms() {
		l, h := int64(1), int64(1)
		for _, a := range t.atoms {
			var al, ah int64
			if a.sym != "" {
				r, have := bounds[a.sym]
				if !have {
					return 0, 0, false
				}
				al, ah = r.Min, r.Max
			} else {
				nl, nh, have := a.num.Bounds(bounds)
				if !have {
					return 0, 0, false
				}
				al, ah = ceilDiv(nl, a.den), ceilDiv(nh, a.den)
			}
			l, h = mulRange(l, h, al, ah)
		}
		l, h = mulRange(l, h, t.coef, t.coef)
		lo, hi = add(lo, l), add(hi, h)
	}
	return lo, hi, true
}

func mulRange(a, b, c, d int64) (int64, int64) {
	var v [4]int64
	for i, f := range [4][2]int64{{a, c}, {a, d}, {b, c}, {b, d}} {
		v[i], _ = mul(f[0], f[1])
	}
	return slices.Min(v[:]), slices.Max(v[:])
}
