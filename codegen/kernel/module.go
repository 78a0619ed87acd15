package kernel

import (
	"fmt"
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"quire/ir/target"
)

// Operand is one word of a kernel's args: a base pointer, or an i64 if Dim.
type Operand struct {
	Name string
	Dim  bool
}

// The first driverBytes of a worker's scratch are the driver's; its first word is
// unprepared until the launch's Prep has run there, then prepared.
const (
	driverBytes = 64
	unprepared  = -1
	prepared    = 0
)

// Body is a kernel over work items. Prep runs once a launch on each worker (on a GPU, each
// block), before its first item, and may fill the scratch (shared memory). Main runs for
// each item. Last, if any, runs once for each group, after all of the group's items,
// wherever they ran (CPU only: on a GPU, Main counts arrivals).
//
// Start and Early are for GPUs: they run before the launches that this one follows have
// ended, and may read nothing but what was written at load (weights, vectors). Start runs
// once on each block, Early before each item; their Go variables reach Main.
type Body struct {
	Start func(k *Kernel)
	Early func(k *Kernel)
	Prep  func(k *Kernel)
	Main  func(k *Kernel)
	Last  func(k *Kernel)
	Grid  Grid
}

// Module is one unit of machine code: kernels for one target.
type Module struct {
	target target.Target
	m      *ir.Module
	decls  map[string]*ir.Func
	names  map[string]bool
	errs   []error
	late   bool
}

// shortPointers is LLVM 19's data layout of nvptx64 where pointers to shared memory have
// 32 bits, as instructions take them; codegen/llc asks for it with -nvptx-short-ptr.
const shortPointers = "e-p3:32:32-p4:32:32-p5:32:32-i64:64-i128:128-v16:16-v32:32-n16:32:64"

// NewModule starts an empty module.
func NewModule(t target.Target) *Module {
	m := ir.NewModule()
	m.TargetTriple = t.Triple()
	if t.Arch == target.PTX {
		m.DataLayout = shortPointers
	}
	return &Module{target: t, m: m, decls: map[string]*ir.Func{}, names: map[string]bool{}}
}

// Target is the machine that the module is for.
func (m *Module) Target() target.Target { return m.target }

// Define adds a kernel. On a CPU it becomes
//
//	void name(i64 first, i64 last, ptr args, ptr scratch)
//	void name.last(i64 group, ptr args, ptr scratch)
//
// whose scratch is 64 bytes longer than Scratch says (the driver's part: its first word is
// -1 at the start of a launch), and for PTX an entry whose parameters are the operands in order, then the i64 number
// of items, which blocks or warps take in turn (Grid).
func (m *Module) Define(name string, ops []Operand, body Body) {
	if m.names[name] {
		m.errs = append(m.errs, fmt.Errorf("kernel %s: defined twice", name))
		return
	}
	m.names[name] = true
	if m.target.Arch == target.PTX {
		m.ptxEntry(name, ops, body)
		return
	}
	m.cpuEntry(name, ops, body)
	if body.Last != nil {
		m.cpuLast(name, ops, body)
	}
}

// Text is the module's LLVM IR, or all errors of its kernels.
func (m *Module) Text() (string, error) {
	if err := m.err(); err != nil {
		return "", err
	}
	return m.m.String(), nil
}

func (m *Module) err() error {
	if len(m.errs) == 0 {
		return nil
	}
	var b strings.Builder
	for i, e := range m.errs {
		if i == 10 {
			fmt.Fprintf(&b, "\n... (and %d more errors)", len(m.errs)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
	}
	return fmt.Errorf("%s", b.String())
}

func (m *Module) newFunc(name string, params ...*ir.Param) *ir.Func {
	f := m.m.NewFunc(name, types.Void, params...)
	f.FuncAttrs = append(f.FuncAttrs, enum.FuncAttrNoUnwind)
	if m.target.Arch == target.X86 {
		f.FuncAttrs = append(f.FuncAttrs,
			attr("prefer-vector-width", fmt.Sprint(8*m.target.VectorBytes)),
			attr("min-legal-vector-width", fmt.Sprint(8*m.target.VectorBytes)),
			attr("no-trapping-math", "true"))
	}
	return f
}

func (m *Module) newKernel(name string, f *ir.Func) *Kernel {
	k := &Kernel{m: m, name: name, f: f, b: f.NewBlock("entry"), args: map[string]argument{}}
	k.width = 16
	if m.target.Arch == target.PTX {
		k.width = 1
	}
	return k
}

func (m *Module) cpuEntry(name string, ops []Operand, body Body) {
	first, last := ir.NewParam("first", types.I64), ir.NewParam("last", types.I64)
	args, scratch := ir.NewParam("args", bytePtr(Generic)), ir.NewParam("scratch", bytePtr(Generic))
	k := m.newKernel(name, m.newFunc(name, first, last, args, scratch))
	defer k.recover()
	k.bind(ops, args)
	k.scratch = gep(k.b, scratch, intLit(types.I64, driverBytes))
	if body.Prep != nil {
		k.phase = prep
		word := Ptr[I64]{k: k, v: scratch}
		When(k, LoadI64(word).Ne(k.Int(prepared)), func() {
			body.Prep(k)
			StoreI64(word, k.Int(prepared))
		})
	}
	k.phase = mainPhase
	For(k, I64{k, first}, I64{k, last}, 1, nil, func(i I64, _ []Vec) []Vec {
		k.item = &i
		body.Main(k)
		return nil
	})
	k.b.NewRet(nil)
}

func (m *Module) cpuLast(name string, ops []Operand, body Body) {
	group := ir.NewParam("group", types.I64)
	args, scratch := ir.NewParam("args", bytePtr(Generic)), ir.NewParam("scratch", bytePtr(Generic))
	k := m.newKernel(name, m.newFunc(name+".last", group, args, scratch))
	defer k.recover()
	k.bind(ops, args)
	k.scratch = gep(k.b, scratch, intLit(types.I64, driverBytes))
	k.phase = lastPhase
	k.item = &I64{k, group}
	body.Last(k)
	k.b.NewRet(nil)
}
