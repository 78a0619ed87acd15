package simt

import (
	"math"
	"math/bits"

	"quire/codegen/kernel"
)

// op is one instruction of one register, for a whole warp.
type op struct {
	pure    func(d, a, b, c *kernel.Reg, o *op) // computes all lanes; or
	effect  func(w *warp, o *op)                // looks at the mask itself
	d       int32                               // register
	a, b, c int32                               // registers, or ^constant
	from    scalar                              // type of a
	to      scalar                              // type of d
	pred    uint8
	imm     uint64
	line    int32
	more    any // what only some effects need
}

// sext is the signed value of a word of so many bits.
func sext(w uint64, bits uint8) int64 { return int64(w<<(64-bits)) >> (64 - bits) }

type pureFn = func(d, a, b, c *kernel.Reg, o *op)

// ints are the operations of integers on words whose upper bits are zero.
var ints = map[string]pureFn{
	"add": func(d, a, b, _ *kernel.Reg, o *op) {
		m := o.imm
		for i := range d {
			d[i] = (a[i] + b[i]) & m
		}
	},
	"sub": func(d, a, b, _ *kernel.Reg, o *op) {
		m := o.imm
		for i := range d {
			d[i] = (a[i] - b[i]) & m
		}
	},
	"mul": func(d, a, b, _ *kernel.Reg, o *op) {
		m := o.imm
		for i := range d {
			d[i] = (a[i] * b[i]) & m
		}
	},
	"and": func(d, a, b, _ *kernel.Reg, o *op) {
		for i := range d {
			d[i] = a[i] & b[i]
		}
	},
	"or": func(d, a, b, _ *kernel.Reg, o *op) {
		for i := range d {
			d[i] = a[i] | b[i]
		}
	},
	"xor": func(d, a, b, _ *kernel.Reg, o *op) {
		for i := range d {
			d[i] = a[i] ^ b[i]
		}
	},
	"shl": func(d, a, b, _ *kernel.Reg, o *op) {
		m := o.imm
		for i := range d {
			d[i] = a[i] << b[i] & m
		}
	},
	"lshr": func(d, a, b, _ *kernel.Reg, o *op) {
		for i := range d {
			d[i] = a[i] >> b[i]
		}
	},
	"ashr":       signed(func(x, y int64) int64 { return x >> min(uint64(y), 63) }),
	"umin":       unsigned(func(x, y uint64) uint64 { return min(x, y) }),
	"umax":       unsigned(func(x, y uint64) uint64 { return max(x, y) }),
	"smin":       signed(func(x, y int64) int64 { return min(x, y) }),
	"smax":       signed(func(x, y int64) int64 { return max(x, y) }),
	"abs":        signed(func(x, _ int64) int64 { return max(x, -x) }),
	"ctpop":      unsigned(func(x, _ uint64) uint64 { return uint64(bits.OnesCount64(x)) }),
	"udiv":       unsigned(func(x, y uint64) uint64 { return x / max(y, 1) }), // zero: see emit
	"urem":       unsigned(func(x, y uint64) uint64 { return x % max(y, 1) }),
	"sdiv":       signed(func(x, y int64) int64 { return x / nonzero(y) }),
	"srem":       signed(func(x, y int64) int64 { return x % nonzero(y) }),
	"ctlz":       counted(func(x uint64, bits8 uint8) uint64 { return uint64(bits.LeadingZeros64(x)) - uint64(64-bits8) }),
	"cttz":       counted(func(x uint64, bits8 uint8) uint64 { return min(uint64(bits.TrailingZeros64(x)), uint64(bits8)) }),
	"bitreverse": counted(func(x uint64, bits8 uint8) uint64 { return bits.Reverse64(x) >> (64 - bits8) }),
	"bswap":      counted(func(x uint64, bits8 uint8) uint64 { return bits.ReverseBytes64(x) >> (64 - bits8) }),
	"fshl": ternary(func(x, y, z uint64, n uint8) uint64 {
		s := z % uint64(n)
		return x<<s | y>>(uint64(n)-s)
	}),
	"fshr": ternary(func(x, y, z uint64, n uint8) uint64 {
		s := z % uint64(n)
		return x<<(uint64(n)-s) | y>>s
	}),
}

func nonzero(y int64) int64 {
	if y == 0 {
		return 1
	}
	return y
}

func signed(f func(x, y int64) int64) pureFn {
	return func(d, a, b, _ *kernel.Reg, o *op) {
		n := o.from.bits
		for i := range d {
			d[i] = uint64(f(sext(a[i], n), sext(b[i], n))) & o.imm
		}
	}
}

func unsigned(f func(x, y uint64) uint64) pureFn {
	return func(d, a, b, _ *kernel.Reg, _ *op) {
		for i := range d {
			d[i] = f(a[i], b[i])
		}
	}
}

func counted(f func(x uint64, bits uint8) uint64) pureFn {
	return func(d, a, _, _ *kernel.Reg, o *op) {
		for i := range d {
			d[i] = f(a[i], o.from.bits)
		}
	}
}

func ternary(f func(x, y, z uint64, bits uint8) uint64) pureFn {
	return func(d, a, b, c *kernel.Reg, o *op) {
		for i := range d {
			d[i] = f(a[i], b[i], c[i], o.from.bits) & o.imm
		}
	}
}

func f32(w uint64) float32   { return math.Float32frombits(uint32(w)) }
func w32(x float32) uint64   { return uint64(math.Float32bits(x)) }
func isF32(s scalar) bool    { return s.class == floating && s.bits == 32 }
func both(a, b float64) bool { return a == a && b == b }

// floats are the operations of floats, computed as f64 and rounded once: exact for half,
// bfloat and float, whose results have less than half an f64's digits.
var floats = map[string]pureFn{
	"fadd":      float2(func(x, y float64) float64 { return x + y }),
	"fsub":      float2(func(x, y float64) float64 { return x - y }),
	"fmul":      float2(func(x, y float64) float64 { return x * y }),
	"fdiv":      float2(func(x, y float64) float64 { return x / y }),
	"frem":      float2(math.Mod),
	"sqrt":      float2(func(x, _ float64) float64 { return math.Sqrt(x) }),
	"fabs":      float2(func(x, _ float64) float64 { return math.Abs(x) }),
	"fneg":      float2(func(x, _ float64) float64 { return -x }),
	"floor":     float2(func(x, _ float64) float64 { return math.Floor(x) }),
	"ceil":      float2(func(x, _ float64) float64 { return math.Ceil(x) }),
	"trunc":     float2(func(x, _ float64) float64 { return math.Trunc(x) }),
	"nearbyint": float2(func(x, _ float64) float64 { return math.RoundToEven(x) }),
	"rint":      float2(func(x, _ float64) float64 { return math.RoundToEven(x) }),
	"roundeven": float2(func(x, _ float64) float64 { return math.RoundToEven(x) }),
	"copysign":  float2(math.Copysign),
	"minimum":   float2(func(x, y float64) float64 { return min(x, y) }),
	"maximum":   float2(func(x, y float64) float64 { return max(x, y) }),
	"minnum":    float2(func(x, y float64) float64 { return number(x, y, min(x, y)) }),
	"maxnum":    float2(func(x, y float64) float64 { return number(x, y, max(x, y)) }),
	"fma":       float3,
	"fmuladd":   float3,
	"fptrunc":   float2(func(x, _ float64) float64 { return x }),
	"fpext":     float2(func(x, _ float64) float64 { return x }),
	"f32.fadd":  single(func(x, y float32) float32 { return x + y }),
	"f32.fsub":  single(func(x, y float32) float32 { return x - y }),
	"f32.fmul":  single(func(x, y float32) float32 { return x * y }),
	"f32.fdiv":  single(func(x, y float32) float32 { return x / y }),
	"f32.fma":   fma32,
}

// number is the one that is a number, or both.
func number(x, y, b float64) float64 {
	switch {
	case x != x:
		return y
	case y != y:
		return x
	}
	return b
}

func float2(f func(x, y float64) float64) pureFn {
	return func(d, a, b, _ *kernel.Reg, o *op) {
		for i := range d {
			d[i] = fromFloat(o.to, f(toFloat(o.from, a[i]), toFloat(o.from, b[i])))
		}
	}
}

func float3(d, a, b, c *kernel.Reg, o *op) {
	for i := range d {
		d[i] = fma(o.from, toFloat(o.from, a[i]), toFloat(o.from, b[i]), toFloat(o.from, c[i]))
	}
}

func single(f func(x, y float32) float32) pureFn {
	return func(d, a, b, _ *kernel.Reg, _ *op) {
		for i := range d {
			d[i] = w32(f(f32(a[i]), f32(b[i])))
		}
	}
}

func fma32(d, a, b, c *kernel.Reg, _ *op) {
	for i := range d {
		d[i] = w32(float32(oddSum(float64(f32(a[i]))*float64(f32(b[i])), float64(f32(c[i])))))
	}
}

// casts change a scalar's type.
var casts = map[string]pureFn{
	"trunc": func(d, a, _, _ *kernel.Reg, o *op) {
		for i := range d {
			d[i] = a[i] & o.imm
		}
	},
	"zext": func(d, a, _, _ *kernel.Reg, _ *op) { *d = *a },
	"sext": func(d, a, _, _ *kernel.Reg, o *op) {
		for i := range d {
			d[i] = uint64(sext(a[i], o.from.bits)) & o.imm
		}
	},
	"fptosi": func(d, a, _, _ *kernel.Reg, o *op) {
		for i := range d {
			d[i] = uint64(saturate(toFloat(o.from, a[i]), o.to.bits)) & o.imm
		}
	},
	"fptoui": func(d, a, _, _ *kernel.Reg, o *op) {
		for i := range d {
			d[i] = saturateUnsigned(toFloat(o.from, a[i]), o.to)
		}
	},
	"sitofp": func(d, a, _, _ *kernel.Reg, o *op) {
		for i := range d {
			d[i] = fromInteger(o.to, sext(a[i], o.from.bits))
		}
	},
	"uitofp": func(d, a, _, _ *kernel.Reg, o *op) {
		for i := range d {
			if a[i] > math.MaxInt64 {
				d[i] = fromFloat(o.to, float64(a[i]>>1|a[i]&1)*2)
				continue
			}
			d[i] = fromInteger(o.to, int64(a[i]))
		}
	},
}

// saturate is what a GPU's cvt does with what does not fit; LLVM leaves it open.
func saturate(x float64, n uint8) int64 {
	top := int64(math.MaxInt64) >> (64 - n)
	switch {
	case x != x:
		return 0
	case x >= float64(top):
		return top
	case x <= -float64(top)-1:
		return -top - 1
	}
	return int64(x)
}

func saturateUnsigned(x float64, s scalar) uint64 {
	switch {
	case !(x > 0):
		return 0
	case x >= float64(s.mask()):
		return s.mask()
	}
	return uint64(x)
}

// fromInteger rounds once.
func fromInteger(s scalar, n int64) uint64 {
	switch {
	case s.bits == 64:
		return math.Float64bits(float64(n))
	case isF32(s):
		return w32(float32(n))
	}
	return fromFloat(s, float64(n)) // beyond 2^53 a half is infinite, and a bfloat's border is far from ties
}

// The predicates of comparisons. Ordered ones are false with a NaN.
var intPreds = map[string]func(x, y uint64, n uint8) bool{
	"eq":  func(x, y uint64, _ uint8) bool { return x == y },
	"ne":  func(x, y uint64, _ uint8) bool { return x != y },
	"ult": func(x, y uint64, _ uint8) bool { return x < y },
	"ule": func(x, y uint64, _ uint8) bool { return x <= y },
	"ugt": func(x, y uint64, _ uint8) bool { return x > y },
	"uge": func(x, y uint64, _ uint8) bool { return x >= y },
	"slt": func(x, y uint64, n uint8) bool { return sext(x, n) < sext(y, n) },
	"sle": func(x, y uint64, n uint8) bool { return sext(x, n) <= sext(y, n) },
	"sgt": func(x, y uint64, n uint8) bool { return sext(x, n) > sext(y, n) },
	"sge": func(x, y uint64, n uint8) bool { return sext(x, n) >= sext(y, n) },
}

var floatPreds = map[string]func(x, y float64) bool{
	"false": func(x, y float64) bool { return false },
	"true":  func(x, y float64) bool { return true },
	"oeq":   func(x, y float64) bool { return x == y },
	"one":   func(x, y float64) bool { return both(x, y) && x != y },
	"olt":   func(x, y float64) bool { return x < y },
	"ole":   func(x, y float64) bool { return x <= y },
	"ogt":   func(x, y float64) bool { return x > y },
	"oge":   func(x, y float64) bool { return x >= y },
	"ord":   both,
	"uno":   func(x, y float64) bool { return !both(x, y) },
	"ueq":   func(x, y float64) bool { return !both(x, y) || x == y },
	"une":   func(x, y float64) bool { return x != y },
	"ult":   func(x, y float64) bool { return !(x >= y) },
	"ule":   func(x, y float64) bool { return !(x > y) },
	"ugt":   func(x, y float64) bool { return !(x <= y) },
	"uge":   func(x, y float64) bool { return !(x < y) },
}

func compareInts(f func(x, y uint64, n uint8) bool) pureFn {
	return func(d, a, b, _ *kernel.Reg, o *op) {
		for i := range d {
			d[i] = 0
			if f(a[i], b[i], o.from.bits) {
				d[i] = 1
			}
		}
	}
}

func compareFloats(f func(x, y float64) bool) pureFn {
	return func(d, a, b, _ *kernel.Reg, o *op) {
		for i := range d {
			d[i] = 0
			if f(toFloat(o.from, a[i]), toFloat(o.from, b[i])) {
				d[i] = 1
			}
		}
	}
}

func selectOp(d, a, b, c *kernel.Reg, _ *op) {
	for i := range d {
		if a[i]&1 != 0 {
			d[i] = b[i]
		} else {
			d[i] = c[i]
		}
	}
}

// slicePart takes the bits imm of a from bit pred on: half of a bit cast.
func slicePart(d, a, _, _ *kernel.Reg, o *op) {
	for i := range d {
		d[i] = a[i] >> o.pred & o.imm
	}
}

// joinPart puts b above the pred low bits of a.
func joinPart(d, a, b, _ *kernel.Reg, o *op) {
	for i := range d {
		d[i] = a[i] | b[i]<<o.pred
	}
}

// addressOp is a + b*imm, b signed.
func addressOp(d, a, b, _ *kernel.Reg, o *op) {
	n := o.from.bits
	for i := range d {
		d[i] = a[i] + uint64(sext(b[i], n))*o.imm
	}
}
