package kernel

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"quire/ir/target"
)

type phase int

const (
	entry phase = iota
	early
	prep
	mainPhase
	lastPhase
)

type argument struct {
	v     value.Value
	dim   bool
	space Space
}

// Kernel is the builder state of one function, and what a body may know of its work.
type Kernel struct {
	m       *Module
	name    string
	f       *ir.Func
	b       *ir.Block
	args    map[string]argument
	scratch value.Value
	item    *I64
	grid    Grid // of a GPU's driver, with the number of items, the distance of a block's items, and how many it finished
	items   I64
	stride  I64
	turn    I64
	phase   phase
	width   int
	blocks  int
}

// Target is the machine that the kernel is for.
func (k *Kernel) Target() target.Target { return k.m.target }

// Width is the number of lanes of a Vec.
func (k *Kernel) Width() int { return k.width }

// Item is the work item of Main, or the group of Last: the only position there is.
func (k *Kernel) Item() I64 {
	if k.item == nil {
		k.Errorf("item: Prep has none")
		return k.Int(0)
	}
	return *k.item
}

// Dim is a run-time extent among the operands.
func (k *Kernel) Dim(name string) I64 {
	a, ok := k.args[name]
	if !ok || !a.dim {
		k.Errorf("dim %q: no such operand", name)
		return k.Int(0)
	}
	return I64{k, a.v}
}

// Arg is the base of an operand.
func Arg[T Elem](k *Kernel, name string) Ptr[T] {
	a, ok := k.args[name]
	if !ok || a.dim {
		k.Errorf("operand %q: no such pointer", name)
		return Ptr[T]{k: k, v: literal{bytePtr(Generic), "null"}}
	}
	return Ptr[T]{k, a.v, a.space}
}

// Scratch is the worker's private memory at a byte offset, a CPU's verb.
func Scratch[T Elem](k *Kernel, offset int64) Ptr[T] {
	if k.scratch == nil {
		k.Errorf("scratch: a GPU's workers have none")
		return Ptr[T]{k: k, v: literal{bytePtr(Generic), "null"}}
	}
	return Ptr[T]{k: k, v: gep(k.b, k.scratch, intLit(types.I64, offset))}
}

// bind loads the words of args, in the entry block so that every phase sees them.
func (k *Kernel) bind(ops []Operand, args value.Value) {
	for i, o := range ops {
		p := gep(k.b, args, intLit(types.I64, int64(8*i)))
		if o.Dim {
			k.args[o.Name] = argument{v: load(k.b, types.I64, p, Generic, 8), dim: true}
		} else {
			k.args[o.Name] = argument{v: load(k.b, bytePtr(Generic), p, Generic, 8)}
		}
	}
}

// Errorf records an error at the kernel author's line.
func (k *Kernel) Errorf(format string, args ...any) {
	k.m.errs = append(k.m.errs, fmt.Errorf("%s: kernel %s: %s", author(), k.name, fmt.Sprintf(format, args...)))
}

// recover turns a panic of llir (operands of different types) into an error.
func (k *Kernel) recover() {
	if r := recover(); r != nil {
		if e, ok := r.(runtime.Error); ok {
			panic(e)
		}
		k.Errorf("%v", r)
	}
}

// author is the first caller outside this package (but inside its tests).
func author() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		inside := strings.Contains(f.Function, "quire/codegen/kernel.") && !strings.HasSuffix(f.File, "_test.go")
		if !inside && f.Function != "" && !strings.HasPrefix(f.Function, "runtime.") && !strings.Contains(f.Function, "github.com/llir/") {
			return fmt.Sprintf("%s:%d", f.File[strings.LastIndexByte(f.File, '/')+1:], f.Line)
		}
		if !more {
			return "?"
		}
	}
}

func (k *Kernel) newBlock(hint string) *ir.Block {
	k.blocks++
	return k.f.NewBlock(fmt.Sprintf("%s.%d", hint, k.blocks))
}

// lanes gives the LLVM type of a Vec of elements.
func (k *Kernel) lanes(elem types.Type) types.Type {
	if k.width == 1 {
		return elem
	}
	return types.NewVector(uint64(k.width), elem)
}
