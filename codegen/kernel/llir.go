package kernel

import (
	"fmt"
	"math"
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// Quirks of llir v0.3.6, in one place:
//   - it knows typed pointers only; LLVM 19 reads them as opaque ones. All our pointers
//     are i8*, cast where they are used.
//   - its float constants print as decimals, which LLVM refuses when inexact: literal
//     prints the bits. Integers must be its own constants: a gep wants to look inside.
//   - a load or store without an alignment promises the type's natural one, 64 bytes for
//     a vector: ours always say the element's.

// literal is a constant by its text.
type literal struct {
	typ   types.Type
	ident string
}

func (c literal) String() string   { return c.typ.String() + " " + c.ident }
func (c literal) Type() types.Type { return c.typ }
func (c literal) Ident() string    { return c.ident }
func (c literal) IsConstant()      {}

func intLit(t *types.IntType, x int64) value.Value { return constant.NewInt(t, x) }

func floatBits(x float64) string { return fmt.Sprintf("0x%016X", math.Float64bits(x)) }

// vecLit writes a vector constant element by element (LLVM 19 has no splat literal).
func vecLit(elem types.Type, idents []string) value.Value {
	parts := make([]string, len(idents))
	for i, s := range idents {
		parts[i] = elem.String() + " " + s
	}
	return literal{types.NewVector(uint64(len(idents)), elem), "<" + strings.Join(parts, ", ") + ">"}
}

func bytePtr(space Space) *types.PointerType {
	p := types.NewPointer(types.I8)
	p.AddrSpace = types.AddrSpace(space)
	return p
}

func ptrTo(t types.Type, space Space) *types.PointerType {
	p := types.NewPointer(t)
	p.AddrSpace = types.AddrSpace(space)
	return p
}

func load(b *ir.Block, t types.Type, p value.Value, space Space, align int) value.Value {
	c := b.NewBitCast(p, ptrTo(t, space))
	l := b.NewLoad(t, c)
	l.Align = ir.Align(align)
	mark(b, &l.Metadata)
	return l
}

func store(b *ir.Block, v, p value.Value, space Space, align int) {
	c := b.NewBitCast(p, ptrTo(v.Type(), space))
	s := b.NewStore(v, c)
	s.Align = ir.Align(align)
	mark(b, &s.Metadata)
}

func gep(b *ir.Block, p, byteOffset value.Value) value.Value {
	return b.NewGetElementPtr(types.I8, p, byteOffset)
}

var contract = []enum.FastMathFlag{enum.FastMathFlagContract}

// attr is a function attribute by its text.
func attr(kv ...string) ir.FuncAttribute {
	if len(kv) == 2 {
		return ir.AttrPair{Key: kv[0], Value: kv[1]}
	}
	return ir.AttrString(kv[0])
}
