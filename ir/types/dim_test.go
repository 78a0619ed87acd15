package types

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// anyDim draws a Dim over a, b and c, with what it must evaluate to.
func anyDim(depth int) *rapid.Generator[func(Bindings) (Dim, int64)] {
	return rapid.Custom(func(t *rapid.T) func(Bindings) (Dim, int64) {
		kind := rapid.IntRange(0, 6).Draw(t, "kind")
		if depth == 0 {
			kind %= 2
		}
		sub := func() func(Bindings) (Dim, int64) { return anyDim(depth-1).Draw(t, "sub") }
		switch kind {
		case 0:
			n := rapid.Int64Range(-20, 20).Draw(t, "const")
			return func(Bindings) (Dim, int64) { return Const(n), n }
		case 1, 2:
			s := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "sym")
			return func(v Bindings) (Dim, int64) { return Sym(s), v[s] }
		case 3:
			n, x := rapid.Int64Range(1, 9).Draw(t, "div"), sub()
			return func(v Bindings) (Dim, int64) {
				d, m := x(v)
				q := m / n
				if q*n < m {
					q++
				}
				return d.CeilDiv(n), q
			}
		case 4:
			x, y := sub(), sub()
			return func(v Bindings) (Dim, int64) {
				d, m := x(v)
				e, n := y(v)
				return d.Mul(e), m * n
			}
		case 5:
			x, y := sub(), sub()
			return func(v Bindings) (Dim, int64) {
				d, m := x(v)
				e, n := y(v)
				return d.Sub(e), m - n
			}
		}
		x, y := sub(), sub()
		return func(v Bindings) (Dim, int64) {
			d, m := x(v)
			e, n := y(v)
			return d.Add(e), m + n
		}
	})
}

// A Dim evaluates to what its construction says, prints to text that reads back
// as the same Dim, and stays within its Bounds.
func TestDimMeaning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := Bindings{}
		bounds := map[string]Range{}
		for _, s := range []string{"a", "b", "c"} {
			lo := rapid.Int64Range(-5, 20).Draw(t, "lo "+s)
			v[s] = lo + rapid.Int64Range(0, 9).Draw(t, s)
			bounds[s] = Range{lo, v[s] + rapid.Int64Range(0, 3).Draw(t, "above "+s)}
		}
		d, want := anyDim(3).Draw(t, "dim")(v)
		got, err := d.Eval(v)
		if err != nil || got != want {
			t.Fatalf("%s with %s is %d (%v), expected %d", d, v.Key(), got, err, want)
		}
		if lo, hi, ok := d.Bounds(bounds); !ok || want < lo || want > hi {
			t.Fatalf("%s: bounds %d..%d, value %d", d, lo, hi, want)
		}
		if len(d.String()) > maxDimText {
			return
		}
		if back, err := ParseDim(d.String()); err != nil || back != d {
			t.Fatalf("%s reads back as %s (%v)", d, back, err)
		}
	})
}

// Equal never claims more than holds.
func TestDimEqualIsSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := Bindings{"a": rapid.Int64Range(1, 6).Draw(t, "a"), "b": rapid.Int64Range(1, 6).Draw(t, "b"), "c": rapid.Int64Range(1, 6).Draw(t, "c")}
		d, m := anyDim(2).Draw(t, "d")(v)
		e, n := anyDim(2).Draw(t, "e")(v)
		switch d.Equal(e, map[string]Range{"a": {1, 6}, "b": {1, 6}, "c": {1, 6}}) {
		case Yes:
			if m != n {
				t.Fatalf("%s = %s, but %d and %d with %s", d, e, m, n, v.Key())
			}
		case No:
			if m == n {
				t.Fatalf("%s != %s, but both are %d with %s", d, e, m, v.Key())
			}
		}
	})
}

func TestDimCanonical(t *testing.T) {
	a, b := Sym("a"), Sym("b")
	for _, c := range []struct {
		x, y Dim
		text string
	}{
		{a.Add(b), b.Add(a), "a+b"},
		{a.MulInt(2).Add(Const(3)).Sub(a), a.Add(Const(3)), "a+3"},
		{a.Add(b).Mul(a.Sub(b)), a.Mul(a).Sub(b.Mul(b)), "a*a-b*b"},
		{a.MulInt(6).CeilDiv(3), a.MulInt(2), "2*a"},
		{a.CeilDiv(4).MulInt(-1), Const(0).Sub(a.CeilDiv(4)), "-ceil(a/4)"},
		{Const(-4).CeilDiv(3), Const(-1), "-1"},
		{a.Sub(a), Dim{}, "0"},
	} {
		if c.x != c.y || c.x.String() != c.text {
			t.Errorf("%s and %s, expected both %s", c.x, c.y, c.text)
		}
	}
	if a.Equal(b, nil) != Unknown || a.Equal(a.Add(Const(1)), nil) != No || a.Equal(b, map[string]Range{"a": {1, 2}, "b": {3, 9}}) != No {
		t.Error("Equal of a and b, a and a+1, or of disjoint ranges is wrong")
	}
}

func TestDimOverflow(t *testing.T) {
	big := Bindings{"a": 1 << 40, "b": 1 << 40}
	ab := Sym("a").Mul(Sym("b"))
	if _, err := ab.Eval(big); err == nil || err.Error() != "dim a*b overflows with a=1099511627776,b=1099511627776" {
		t.Errorf("Eval: %v", err)
	}
	if _, err := (Dim{}).Add(Sym("z")).Eval(big); err == nil || err.Error() != "dim z: symbol z is unbound" {
		t.Errorf("Eval: %v", err)
	}
	lo, hi, ok := ab.Bounds(map[string]Range{"a": {0, 1 << 40}, "b": {0, 1 << 40}})
	if lo != 0 || hi != 1<<63-1 || !ok {
		t.Errorf("Bounds %d..%d", lo, hi)
	}
}

func TestParseDimRejects(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "expected a number, a symbol or ceil(...) at 0"},
		{"N+", "at 2"},
		{"N/2", `unexpected "/2" at 1`},
		{"2 N", `unexpected "N" at 2`},
		{"ceil(N)", "expected / in ceil at 6"},
		{"ceil(N/0)", "ceil by 0"},
		{"ceil(N/M)", "out of range"},
		{"281474976710656", "out of range"},
		{"140737488355327*140737488355327", "expected at most 64 and 2^48"},
		{"140737488355327*4*N", "2^48"},
		{strings.Repeat("N*", 200) + "N", "dim of 401 bytes, expected at most 256"},
		{strings.Repeat("ceil(", 17) + "N" + strings.Repeat("/2)", 17), "nested more than 16 deep"},
		{"ceil((N)/2)", "at 5"},
		{powers(6, 4), "terms"},
	} {
		if _, err := ParseDim(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, expected %q", c.text, err, c.want)
		}
	}
}

// powers is a sum of n symbols to the k-th power: ceil of an even sum is a sum.
func powers(n, k int) string {
	var sum []string
	for i := range n {
		sum = append(sum, fmt.Sprintf("2*%c", 'a'+i))
	}
	f := "ceil(" + strings.Join(sum, "+") + "/2)"
	return strings.TrimSuffix(strings.Repeat(f+"*", k), "*")
}

func FuzzParseDim(f *testing.F) {
	for _, s := range []string{"0", "-N+3", "2*N*M-ceil(C/64)", "ceil(ceil(C/4)*2/3)", powers(4, 3), "ceil", "N+", "ceil(-7/2)*M"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDim(s)
		if err != nil {
			return
		}
		if back, err := ParseDim(d.String()); err != nil || back != d {
			t.Fatalf("%q is %s, which reads back as %s (%v)", s, d, back, err)
		}
		v := Bindings{}
		for _, sym := range d.Symbols() {
			v[sym] = 3
		}
		_, _ = d.Eval(v)
	})
}
