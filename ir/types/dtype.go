package types

import "fmt"

// DType is the type of one plain element.
type DType uint8

// The element types. F8 is E4M3 (OCP 8-bit, no infinities); I4 and I3 are
// packed integer codes, which only occur inside quantised encodings and caches.
const (
	InvalidDType DType = iota
	F64
	F32
	F16
	BF16
	F8
	I64
	I32
	I8
	I4
	I3
	U32
	Bool
)

var dtypes = [...]struct {
	name  string
	bits  int
	float bool
}{
	InvalidDType: {"invalid", 0, false},
	F64:          {"f64", 64, true},
	F32:          {"f32", 32, true},
	F16:          {"f16", 16, true},
	BF16:         {"bf16", 16, true},
	F8:           {"f8", 8, true},
	I64:          {"i64", 64, false},
	I32:          {"i32", 32, false},
	I8:           {"i8", 8, false},
	I4:           {"i4", 4, false},
	I3:           {"i3", 3, false},
	U32:          {"u32", 32, false},
	Bool:         {"bool", 8, false},
}

// String returns the name used in IR text.
func (d DType) String() string {
	if int(d) < len(dtypes) {
		return dtypes[d].name
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// Bits returns the size of one element in bits.
func (d DType) Bits() int { return dtypes[d].bits }

// Bytes returns the size of one element in bytes; packed types (i4, i3) have
// no whole number of bytes and report 0.
func (d DType) Bytes() int { return dtypes[d].bits / 8 }

// IsFloat reports whether d is a floating-point type.
func (d DType) IsFloat() bool { return dtypes[d].float }

// ParseDType returns the DType of an IR name.
func ParseDType(s string) (DType, bool) {
	for d := F64; int(d) < len(dtypes); d++ {
		if dtypes[d].name == s {
			return d, true
		}
	}
	return InvalidDType, false
}

// Elem is the element of a tensor: a plain DType, or a quantised encoding named
// as in package block ("q4_1", "q4g128"), whose values read as floats. The zero
// Elem is invalid. Elems compare with ==.
type Elem struct {
	DType DType
	Quant string
}

// Plain returns the Elem of an unquantised DType.
func Plain(d DType) Elem { return Elem{DType: d} }

// Quantised returns the Elem of a block or group encoding.
func Quantised(name string) Elem { return Elem{Quant: name} }

// IsQuantised reports whether e is a block- or group-quantised encoding.
func (e Elem) IsQuantised() bool { return e.Quant != "" }

// IsFloat reports whether values of e read as floating-point numbers.
func (e Elem) IsFloat() bool { return e.Quant != "" || e.DType.IsFloat() }

// String returns the name used in IR text.
func (e Elem) String() string {
	if e.Quant != "" {
		return e.Quant
	}
	return e.DType.String()
}
