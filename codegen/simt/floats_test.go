package simt

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"quire/codegen/kernel"
)

// format is a float's precision with the implied bit, and the exponent of its least
// normal number.
type format struct {
	s         scalar
	precision int
	least     int
	greatest  float64
}

var formats = map[string]format{
	"half":   {scalar{floating, 16, 0}, 11, -14, 65504},
	"bfloat": {scalar{brain, 16, 0}, 8, -126, math.Ldexp(255, 120)},
	"float":  {scalar{floating, 32, 0}, 24, -126, math.MaxFloat32},
}

// round is the format's value nearest to x, ties to even, by integers.
func (f format) round(x *big.Float) float64 {
	if x.Sign() == 0 {
		return 0
	}
	e := x.MantExp(nil) - 1 // 2^e <= |x| < 2^(e+1)
	quantum := max(e, f.least) - f.precision + 1
	scaled := new(big.Float).SetPrec(4000).SetMantExp(x, -quantum)
	n, _ := scaled.Int(nil) // towards zero
	rest := new(big.Float).SetPrec(4000).Sub(scaled, new(big.Float).SetPrec(4000).SetInt(n))
	half := rest.Abs(rest).Cmp(big.NewFloat(0.5))
	if half > 0 || half == 0 && n.Bit(0) == 1 {
		n.Add(n, big.NewInt(int64(x.Sign())))
	}
	out, _ := new(big.Float).SetPrec(4000).SetMantExp(new(big.Float).SetInt(n), quantum).Float64()
	if math.Abs(out) > f.greatest {
		return math.Copysign(math.Inf(1), out)
	}
	return out
}

func exact(x float64) *big.Float { return new(big.Float).SetPrec(4000).SetFloat64(x) }

// random is a finite number of the format: any bits, or one whose exponent is near 0, so
// that sums cancel and round.
func (f format) random(r *rand.Rand) (uint64, float64) {
	for {
		w := r.Uint64() & f.s.mask()
		if r.IntN(2) == 0 {
			w = fromFloat(f.s, r.NormFloat64()*math.Ldexp(1, r.IntN(12)-6))
		}
		if x := toFloat(f.s, w); !math.IsInf(x, 0) && x == x {
			return w, x
		}
	}
}

// Sums, products, quotients and fma are rounded once, subnormals included.
func TestRoundedOnce(t *testing.T) {
	for name, f := range formats {
		r := rand.New(rand.NewPCG(1, uint64(f.precision)))
		for range 20000 {
			a, x := f.random(r)
			b, y := f.random(r)
			c, z := f.random(r)
			if r.IntN(4) == 0 { // nearly cancel a product
				c = fromFloat(f.s, -x*y)
				if z = toFloat(f.s, c); math.IsInf(z, 0) {
					continue
				}
			}
			product := new(big.Float).SetPrec(4000).Mul(exact(x), exact(y))
			check := func(what string, from map[string]pureFn, want *big.Float) {
				var d, p, q, s kernel.Reg
				p[5], q[5], s[5] = a, b, c
				from[what](&d, &p, &q, &s, &op{from: f.s, to: f.s, imm: f.s.mask()})
				if got, want := toFloat(f.s, d[5]), f.round(want); got != want {
					t.Fatalf("%s %s of %v, %v, %v is %v, want %v", name, what, x, y, z, got, want)
				}
			}
			check("fadd", floats, new(big.Float).SetPrec(4000).Add(exact(x), exact(y)))
			check("fsub", floats, new(big.Float).SetPrec(4000).Sub(exact(x), exact(y)))
			check("fmul", floats, product)
			check("fma", floats, new(big.Float).SetPrec(4000).Add(product, exact(z)))
			if y != 0 {
				check("fdiv", floats, new(big.Float).SetPrec(4000).Quo(exact(x), exact(y)))
			}
			if f.precision == 24 {
				check("f32.fma", floats, new(big.Float).SetPrec(4000).Add(product, exact(z)))
				check("f32.fmul", floats, product)
			}
		}
	}
}

// A double becomes a half or a bfloat in one rounding: just above a tie of the narrow
// format rounds up, though float32 sees the tie.
func TestNarrowedOnce(t *testing.T) {
	for name, f := range formats {
		tie := 1 + math.Ldexp(1, -f.precision)
		for _, x := range []float64{tie, math.Nextafter(tie, 2), math.Nextafter(tie, 0), -math.Nextafter(tie, 2), math.Ldexp(tie, f.least-3), 1e-310, f.greatest * (1 + math.Ldexp(1, -f.precision-1)), f.greatest * (1 + math.Ldexp(1, -f.precision+1))} {
			if got, want := toFloat(f.s, fromFloat(f.s, x)), f.round(exact(x)); got != want {
				t.Errorf("%s: %v becomes %v, want %v", name, x, got, want)
			}
		}
		if w := fromFloat(f.s, math.NaN()); toFloat(f.s, w) == toFloat(f.s, w) {
			t.Errorf("%s: a NaN becomes %#x", name, w)
		}
	}
}

// Integers of every width wrap, shift and compare as LLVM says.
func TestIntegers(t *testing.T) {
	i8 := scalar{integer, 8, 0}
	for _, c := range []struct {
		op         string
		a, b, want uint64
	}{
		{"add", 200, 100, 44}, {"sub", 3, 5, 254}, {"mul", 16, 17, 16}, {"shl", 0x81, 1, 2}, {"lshr", 0x81, 1, 0x40}, {"ashr", 0x81, 1, 0xc0},
		{"sdiv", 0xf9, 2, 0xfd}, {"srem", 0xf9, 2, 0xff}, {"udiv", 0xf9, 2, 0x7c}, {"urem", 0xf9, 2, 1}, {"smin", 0x80, 1, 0x80}, {"umin", 0x80, 1, 1},
		{"smax", 0x80, 1, 1}, {"umax", 0x80, 1, 0x80}, {"ctlz", 0x10, 0, 3}, {"cttz", 0, 0, 8}, {"ctpop", 0xf1, 0, 5}, {"bitreverse", 0x01, 0, 0x80}, {"abs", 0xff, 0, 1},
	} {
		var d, a, b kernel.Reg
		a[0], b[0] = c.a, c.b
		ints[c.op](&d, &a, &b, &b, &op{from: i8, to: i8, imm: i8.mask()})
		if d[0] != c.want {
			t.Errorf("%s of %#x, %#x is %#x, want %#x", c.op, c.a, c.b, d[0], c.want)
		}
	}
	if !intPreds["slt"](0x80, 1, 8) || intPreds["ult"](0x80, 1, 8) {
		t.Error("signed or unsigned less")
	}
}
