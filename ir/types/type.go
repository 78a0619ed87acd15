package types

import (
	"fmt"
	"strings"
)

// Shape is a list of extents, outermost first. Rank 0 is a scalar.
type Shape []Dim

// Of returns a shape of constant extents.
func Of(dims ...int64) Shape {
	s := make(Shape, len(dims))
	for i, d := range dims {
		s[i] = Const(d)
	}
	return s
}

// String returns the text between the brackets: "N, 4096".
func (s Shape) String() string {
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = d.String()
	}
	return strings.Join(parts, ", ")
}

// Equal reports whether the canonical extents are the same.
func (s Shape) Equal(t Shape) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range s {
		if s[i] != t[i] {
			return false
		}
	}
	return true
}

// Size returns the number of elements.
func (s Shape) Size() Dim {
	n := Const(1)
	for _, d := range s {
		n = n.Mul(d)
	}
	return n
}

// Kind says what a value is.
type Kind uint8

// The kinds of value types.
const (
	InvalidKind Kind = iota
	Tensor           // elem[shape]
	Cache            // @name: a version of a declared cache
	Rows             // rows[N, S]: which rows of a step belong to which sequence
	Void             // no value (a launch)
	Pick             // pick[N, H, K]: for each row and head all pages of its sequence, or at most K
)

// Type is the type of a Value. Compare with [Type.Equal].
type Type struct {
	Kind  Kind
	Elem  Elem   // Tensor
	Shape Shape  // Tensor; Rows: {rows, slots}; Pick: {rows, heads, pages}
	Cache string // Cache: the declaration's name, without @
}

// TensorOf returns the type elem[shape].
func TensorOf(e Elem, s ...Dim) Type { return Type{Kind: Tensor, Elem: e, Shape: s} }

// Of32 returns f32[shape].
func Of32(s ...Dim) Type { return TensorOf(Plain(F32), s...) }

// CacheOf returns the type of versions of the named cache.
func CacheOf(name string) Type { return Type{Kind: Cache, Cache: name} }

// RowsOf returns rows[n, s].
func RowsOf(n, s Dim) Type { return Type{Kind: Rows, Shape: Shape{n, s}} }

// PickOf returns pick[n, h, k].
func PickOf(n, h, k Dim) Type { return Type{Kind: Pick, Shape: Shape{n, h, k}} }

// Equal reports whether t and u are the same type.
func (t Type) Equal(u Type) bool {
	return t.Kind == u.Kind && t.Elem == u.Elem && t.Cache == u.Cache && t.Shape.Equal(u.Shape)
}

// Bytes returns the memory of a plain tensor, or of a pick: 4 bytes a page of a list.
func (t Type) Bytes() Dim {
	if t.Kind == Pick {
		return t.Shape.Size().MulInt(4)
	}
	return t.Shape.Size().MulInt(int64(t.Elem.DType.Bytes()))
}

// IsTensor reports whether t is a tensor.
func (t Type) IsTensor() bool { return t.Kind == Tensor }

// Last returns the innermost extent of a tensor of rank >= 1.
func (t Type) Last() Dim { return t.Shape[len(t.Shape)-1] }

// String returns the IR text of the type.
func (t Type) String() string {
	switch t.Kind {
	case Tensor:
		return fmt.Sprintf("%s[%s]", t.Elem, t.Shape)
	case Cache:
		return "@" + t.Cache
	case Rows:
		return fmt.Sprintf("rows[%s]", t.Shape)
	case Pick:
		return fmt.Sprintf("pick[%s]", t.Shape)
	case Void:
		return "void"
	}
	return "invalid"
}

// With returns a tensor of the same element and another shape.
func (t Type) With(s ...Dim) Type { return Type{Kind: Tensor, Elem: t.Elem, Shape: s} }
