package simt

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// class is what the bits of a scalar mean.
type class uint8

const (
	integer class = iota
	floating
	brain // bfloat16
	pointer
)

// scalar is the type of one register.
type scalar struct {
	class class
	bits  uint8
	space uint8 // of a pointer
}

func (s scalar) mask() uint64 { return math.MaxUint64 >> (64 - s.bits) }

// size is the scalar's bytes in memory.
func (s scalar) size() int { return (int(s.bits) + 7) / 8 }

// flatten lists the scalars of a type, elements of vectors and structs in order.
func flatten(t types.Type) ([]scalar, error) {
	switch t := t.(type) {
	case *types.VoidType:
		return nil, nil
	case *types.IntType:
		if t.BitSize <= 64 {
			return []scalar{{integer, uint8(t.BitSize), 0}}, nil
		}
	case *types.PointerType:
		return []scalar{{pointer, 64, uint8(t.AddrSpace)}}, nil
	case *types.FloatType:
		switch t.Kind {
		case types.FloatKindHalf:
			return []scalar{{floating, 16, 0}}, nil
		case types.FloatKindFloat:
			return []scalar{{floating, 32, 0}}, nil
		case types.FloatKindDouble:
			return []scalar{{floating, 64, 0}}, nil
		}
	case *types.VectorType:
		return times(t.ElemType, t.Len)
	case *types.ArrayType:
		return times(t.ElemType, t.Len)
	case *types.StructType:
		var out []scalar
		for _, f := range t.Fields {
			s, err := flatten(f)
			if err != nil {
				return nil, err
			}
			out = append(out, s...)
		}
		return out, nil
	}
	if t.String() == "bfloat" {
		return []scalar{{brain, 16, 0}}, nil
	}
	return nil, fmt.Errorf("type %s", t)
}

func times(elem types.Type, n uint64) ([]scalar, error) {
	one, err := flatten(elem)
	if err != nil {
		return nil, err
	}
	var out []scalar
	for range n {
		out = append(out, one...)
	}
	return out, nil
}

// constantBits are the words of a constant, by its text.
func constantBits(v value.Value) ([]uint64, error) {
	return parseConstant(v.Type(), v.Ident())
}

func parseConstant(t types.Type, text string) ([]uint64, error) {
	parts, err := flatten(t)
	if err != nil {
		return nil, err
	}
	switch text {
	case "zeroinitializer", "null", "undef", "poison", "none":
		return make([]uint64, len(parts)), nil
	}
	if inner, elems := elements(t, text); elems != nil {
		var out []uint64
		for i, e := range elems {
			words, err := parseConstant(inner(i), e)
			if err != nil {
				return nil, err
			}
			out = append(out, words...)
		}
		if len(out) != len(parts) {
			return nil, fmt.Errorf("constant %s %s has %d elements, its type %d", t, text, len(out), len(parts))
		}
		return out, nil
	}
	if len(parts) != 1 {
		return nil, fmt.Errorf("constant %s %s", t, text)
	}
	w, err := scalarBits(parts[0], text)
	if err != nil {
		return nil, fmt.Errorf("constant %s %s: %w", t, text, err)
	}
	return []uint64{w}, nil
}

// elements splits "<i32 1, i32 2>", "[...]" and "{...}" into the elements' idents.
func elements(t types.Type, text string) (func(i int) types.Type, []string) {
	var inner func(i int) types.Type
	switch t := t.(type) {
	case *types.VectorType:
		inner = func(int) types.Type { return t.ElemType }
	case *types.ArrayType:
		inner = func(int) types.Type { return t.ElemType }
	case *types.StructType:
		inner = func(i int) types.Type { return t.Fields[i] }
	default:
		return nil, nil
	}
	text = strings.TrimSpace(text)
	if len(text) < 2 {
		return nil, nil
	}
	var out []string
	depth, start := 0, 1
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case strings.IndexByte("<[{(", c) >= 0:
			depth++
		case c == ',' && depth == 0, i == len(text)-1:
			e := strings.TrimSpace(text[start:i])
			if n := len(out); e != "" {
				out = append(out, strings.TrimSpace(strings.TrimPrefix(e, inner(n).String())))
			}
			start = i + 1
		case strings.IndexByte(">]})", c) >= 0:
			depth--
		}
	}
	return inner, out
}

func scalarBits(s scalar, text string) (uint64, error) {
	switch text {
	case "true":
		return 1, nil
	case "false":
		return 0, nil
	}
	if s.class == integer {
		base := 10
		if hex, ok := strings.CutPrefix(strings.TrimLeft(text, "us"), "0x"); ok {
			text, base = hex, 16
		}
		n, ok := new(big.Int).SetString(text, base)
		if !ok {
			return 0, fmt.Errorf("not an integer")
		}
		if n.IsUint64() {
			return n.Uint64() & s.mask(), nil
		}
		return uint64(n.Int64()) & s.mask(), nil
	}
	if s.class == pointer {
		return 0, fmt.Errorf("a pointer constant")
	}
	x, err := floatText(text)
	if err != nil {
		return 0, err
	}
	return fromFloat(s, x), nil
}

// floatText reads LLVM's forms: decimals, and 0x with the bits of a double, of a half (0xH)
// or of a bfloat (0xR).
func floatText(text string) (float64, error) {
	hex, ok := strings.CutPrefix(text, "0x")
	if !ok {
		return strconv.ParseFloat(text, 64)
	}
	as := scalar{floating, 64, 0}
	if h, ok := strings.CutPrefix(hex, "H"); ok {
		hex, as = h, scalar{floating, 16, 0}
	} else if h, ok := strings.CutPrefix(hex, "R"); ok {
		hex, as = h, scalar{brain, 16, 0}
	}
	w, err := strconv.ParseUint(hex, 16, 64)
	return toFloat(as, w), err
}
