// Package types is the leaf vocabulary that every room of Quire shares: element
// types ([DType], [Elem]), symbolic extents ([Dim]), [Shape] and value types
// ([Type]).
//
// Border law: this package imports the standard library only. It knows no op,
// no model, no machine. Its sub-packages (block: quantised encodings, layout:
// physical weight layouts) are leaves too.
//
// Read in this order: dtype.go, dim.go, type.go.
//
// A [Dim] is a canonical polynomial over named symbols, so two Dims that mean
// the same extent are equal with ==:
//
//	n := types.Sym("N")
//	n.Add(n) == n.MulInt(2) // true
//	types.Sym("C").CeilDiv(64).String() // "ceil(C/64)"
package types
