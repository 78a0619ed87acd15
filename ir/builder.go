package ir

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"quire/ir/types"
)

// Builder makes a Module. Its methods never return errors: they accumulate them
// with the position of the first caller outside this package, and Module
// reports all at once. A method that erred returns a poisoned Value, which later
// ops accept silently, so one mistake gives one error.
type Builder struct {
	m    *Module
	errs []error
}

// NewBuilder starts a module.
func NewBuilder(name string) *Builder { return &Builder{m: &Module{Name: name}} }

// Module returns the module, or every error joined, each as file:line: message.
func (b *Builder) Module() (*Module, error) {
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	if err := Verify(b.m); err != nil {
		return nil, err
	}
	return b.m, nil
}

func (b *Builder) errorf(format string, a ...any) {
	p := callerPos()
	b.errs = append(b.errs, fmt.Errorf("%s:%d: %s", p.File, p.Line, fmt.Sprintf(format, a...)))
}

// callerPos is the first frame outside this package.
func callerPos() Pos {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		inside := strings.HasPrefix(f.Function, "quire/ir.") && !strings.HasSuffix(f.File, "_test.go")
		if !inside || !more {
			return Pos{File: filepath.Base(f.File), Line: f.Line}
		}
	}
}

// Dim declares a symbol and returns it.
func (b *Builder) Dim(name string, when When, min, max int64) types.Dim {
	if b.m.Dim(name) != nil {
		b.errorf("dim %s is declared twice", name)
	}
	b.m.Dims = append(b.m.Dims, &DimDecl{name, when, types.Range{Min: min, Max: max}, callerPos()})
	return types.Sym(name)
}

// Table declares a page table.
func (b *Builder) Table(t Table) {
	if b.m.Table(t.Name) != nil {
		b.errorf("table @%s is declared twice", t.Name)
		return
	}
	t.Pos = callerPos()
	b.m.Tables = append(b.m.Tables, &t)
}

// Cache declares the cache of one layer.
func (b *Builder) Cache(c CacheDecl) {
	if b.m.Cache(c.Name) != nil {
		b.errorf("cache @%s is declared twice", c.Name)
		return
	}
	c.Pos = callerPos()
	b.m.Caches = append(b.m.Caches, &c)
}

// Weight declares a weight; declaring the same name and type again is allowed
// and returns the first.
func (b *Builder) Weight(name string, e types.Elem, shape ...int64) *Weight {
	t := types.TensorOf(e, types.Of(shape...)...)
	if w := b.m.Weight(name); w != nil {
		if !w.Type.Equal(t) {
			b.errorf("weight @%s is declared as %s and as %s", name, w.Type, t)
		}
		return w
	}
	w := &Weight{Name: name, Type: t, Pos: callerPos()}
	b.m.Weights = append(b.m.Weights, w)
	return w
}

// Func starts a Graph-level function.
func (b *Builder) Func(name string) *FuncBuilder {
	f := NewFunc(name, Graph)
	f.Pos = callerPos()
	b.m.Funcs = append(b.m.Funcs, f)
	return &FuncBuilder{b: b, f: f}
}

// FuncBuilder adds values to one Func.
type FuncBuilder struct {
	b     *Builder
	f     *Func
	scope string
}

// Scope sets the dotted path that following values carry for drawings.
func (fb *FuncBuilder) Scope(s string) { fb.scope = s }

// Param adds a parameter.
func (fb *FuncBuilder) Param(name string, t types.Type) *Value {
	v := fb.f.AddParam(name, t)
	v.Pos = callerPos()
	return v
}

// Weight refers to a module weight.
func (fb *FuncBuilder) Weight(w *Weight) *Value { return fb.f.Weight(w) }

// Named gives v a name for people.
func (fb *FuncBuilder) Named(name string, v *Value) *Value {
	v.Name = name
	return v
}

// Return sets the results.
func (fb *FuncBuilder) Return(vs ...*Value) { fb.f.Results = vs }

// Op appends one op; the typed methods below are the usual way.
func (fb *FuncBuilder) Op(op Op, attrs Attrs, args ...*Value) *Value {
	for _, a := range args {
		if a == nil || a.Type.Kind == types.InvalidKind {
			return &Value{Op: op} // poisoned: the cause is already reported
		}
	}
	v, err := fb.f.Add(fb.b.m, op, attrs, args...)
	if err != nil {
		fb.b.errorf("%v", err)
		return &Value{Op: op}
	}
	v.Scope, v.Pos = fb.scope, callerPos()
	return v
}

// Embed reads rows of a table: i32[N], [V, D] -> [N, D].
func (fb *FuncBuilder) Embed(tok, table *Value, to types.DType) *Value {
	return fb.Op(OpEmbed, ToAttrs{to}, tok, table)
}

// Linear is a matmul by a weight [R, K], with a dequant where it is quantised.
func (fb *FuncBuilder) Linear(x *Value, w *Weight, to types.DType) *Value {
	wv := fb.Weight(w)
	if w.Type.Elem.IsQuantised() {
		d := x.Type.Elem.DType
		if d == types.F32 {
			d = types.InvalidDType // the default, not printed
		}
		wv = fb.Op(OpDequant, ToAttrs{d}, wv)
	}
	return fb.Op(OpMatMul, MatMulAttrs{To: to}, x, wv)
}

// Add is a + b.
func (fb *FuncBuilder) Add(x, y *Value) *Value { return fb.Op(OpAdd, nil, x, y) }

// Mul is a * b.
func (fb *FuncBuilder) Mul(x, y *Value) *Value { return fb.Op(OpMul, nil, x, y) }

// SiLU is x * sigmoid(x).
func (fb *FuncBuilder) SiLU(x *Value) *Value { return fb.Op(OpSiLU, nil, x) }

// GELU is x * Phi(x), exactly or by tanh.
func (fb *FuncBuilder) GELU(x *Value, tanh bool) *Value { return fb.Op(OpGELU, GELUAttrs{tanh}, x) }

// Scale is x * by.
func (fb *FuncBuilder) Scale(x *Value, by float64) *Value {
	return fb.Op(OpScale, ScaleAttrs{by}, x)
}

// Softcap is cap * tanh(x / cap).
func (fb *FuncBuilder) Softcap(x *Value, cap float64) *Value {
	return fb.Op(OpSoftcap, SoftcapAttrs{cap}, x)
}

// RMSNorm normalises the last axis.
func (fb *FuncBuilder) RMSNorm(x *Value, g *Weight, eps, offset float64) *Value {
	return fb.Op(OpRMSNorm, NormAttrs{eps, offset}, x, fb.Weight(g))
}

// Slice takes count elements of the last axis.
func (fb *FuncBuilder) Slice(x *Value, first, count int) *Value {
	return fb.Op(OpSlice, SliceAttrs{first, count}, x)
}

// Unflatten sees [.., H*dim] as [.., H, dim].
func (fb *FuncBuilder) Unflatten(x *Value, dim int) *Value {
	return fb.Op(OpUnflatten, UnflattenAttrs{dim}, x)
}

// Flatten sees [.., H, d] as [.., H*d].
func (fb *FuncBuilder) Flatten(x *Value) *Value { return fb.Op(OpFlatten, nil, x) }

// RopeTable makes the rotation angles of a step.
func (fb *FuncBuilder) RopeTable(pos *Value, a RopeTableAttrs) *Value {
	return fb.Op(OpRopeTable, a, pos)
}

// Rope rotates heads.
func (fb *FuncBuilder) Rope(x, table *Value, s RopeStyle) *Value {
	return fb.Op(OpRope, RopeAttrs{s}, x, table)
}

// Append adds keys and values to a cache version and returns the next.
func (fb *FuncBuilder) Append(kv, k, v, seq *Value) *Value {
	return fb.Op(OpAppend, nil, kv, k, v, seq)
}

// Attention attends over a cache version.
func (fb *FuncBuilder) Attention(q, kv, seq *Value, a AttentionAttrs) *Value {
	return fb.Op(OpAttention, a, q, kv, seq)
}

// Gather picks rows.
func (fb *FuncBuilder) Gather(x, index *Value) *Value { return fb.Op(OpGather, nil, x, index) }
