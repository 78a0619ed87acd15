package simt

import (
	"fmt"
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/value"

	"quire/codegen/kernel"
)

// Module is a compiled module: its kernels by name.
type Module struct {
	kernels map[string]*function
	globals []global
}

// global is memory that the module brings along.
type global struct {
	name   string
	bytes  []byte
	shared bool
	offset int // of shared memory: static first
}

// function is a kernel as code over numbered registers.
type function struct {
	name   string
	params []scalar
	regs   int
	consts []kernel.Reg // parameters first, then constants
	blocks []block
	lines  []string
	outs   int // the most results of one call
	static int // bytes of shared memory
}

type block struct {
	ops  []op
	kind termKind
	cond int32
	to   [2]edge // taken if the condition is true, false
}

type termKind uint8

const (
	jump termKind = iota
	branch
	ret
	unreachable
)

// edge is a way into a block: it sets the block's phis at once.
type edge struct {
	to    int32
	moves []move
	apart bool // no move reads what another writes
}

type move struct{ d, s int32 }

// Compile turns a module's kernels into code. Build the module with Trace for errors that
// know lines.
func Compile(m *kernel.Module) (*Module, error) {
	mod, err := m.IR()
	if err != nil {
		return nil, err
	}
	out := &Module{kernels: map[string]*function{}}
	static := 0
	at := map[value.Value]uint64{}
	for i, g := range mod.Globals {
		x, err := newGlobal(g, &static)
		if err != nil {
			return nil, err
		}
		out.globals = append(out.globals, x)
		at[g] = globalAddress(i) + globalAlign
		if x.shared {
			at[g] = uint64(x.offset)
		}
	}
	for _, g := range mod.Globals { // dynamic shared memory follows the static
		if isShared(g) && g.Init == nil && sizeOfGlobal(g) == 0 {
			at[g] = uint64(static)
		}
	}
	for _, f := range mod.Funcs {
		if len(f.Blocks) == 0 {
			continue
		}
		if f.CallingConv != enum.CallingConvPTXKernel {
			return nil, &Error{Kind: Unknown, Kernel: f.Name(), Lane: -1, Detail: "a function that is no entry"}
		}
		c := &compiler{f: &function{name: f.Name(), static: static}, regs: map[value.Value][]int32{}, consts: map[uint64]int32{}, globals: at}
		if err := c.function(f); err != nil {
			return nil, err
		}
		out.kernels[f.Name()] = c.f
	}
	return out, nil
}

func isShared(g *ir.Global) bool { return g.Typ != nil && g.Typ.AddrSpace == 3 || g.AddrSpace == 3 }

func sizeOfGlobal(g *ir.Global) int {
	parts, err := flatten(g.ContentType)
	if err != nil {
		return 0
	}
	n := 0
	for _, p := range parts {
		n += p.size()
	}
	return n
}

func newGlobal(g *ir.Global, static *int) (global, error) {
	x := global{name: g.Name(), shared: isShared(g)}
	size := sizeOfGlobal(g)
	if x.shared {
		align := max(16, int(g.Align))
		x.offset = (*static + align - 1) / align * align
		if size > 0 {
			*static = x.offset + size
		}
		return x, nil
	}
	if g.Init == nil {
		return x, fmt.Errorf("simt: global %s has no value", x.name)
	}
	parts, err := flatten(g.ContentType)
	if err != nil {
		return x, fmt.Errorf("simt: global %s: %w", x.name, err)
	}
	words, err := constantBits(g.Init)
	if err != nil {
		return x, fmt.Errorf("simt: global %s: %w", x.name, err)
	}
	for i, p := range parts {
		for b := range p.size() {
			x.bytes = append(x.bytes, byte(words[i]>>(8*b)))
		}
	}
	return x, nil
}

// compiler is the state of compiling one function.
type compiler struct {
	f       *function
	regs    map[value.Value][]int32
	consts  map[uint64]int32
	globals map[value.Value]uint64
	number  map[*ir.Block]int32
	b       *block
	line    int32
	err     error
}

func (c *compiler) fail(format string, args ...any) {
	if c.err == nil {
		c.err = &Error{Kind: Unknown, Kernel: c.f.name, Lane: -1, Line: c.f.lines[c.line], Detail: fmt.Sprintf(format, args...)}
	}
}

func (c *compiler) function(f *ir.Func) error {
	c.f.lines = []string{""}
	for _, p := range f.Params {
		parts, err := flatten(p.Type())
		if err != nil || len(parts) != 1 {
			return fmt.Errorf("simt: kernel %s: parameter %s: not one word", c.f.name, p)
		}
		c.regs[p] = []int32{^int32(len(c.f.consts))}
		c.f.params = append(c.f.params, parts[0])
		c.f.consts = append(c.f.consts, kernel.Reg{})
	}
	order := reversePostOrder(f.Blocks[0])
	c.number = map[*ir.Block]int32{}
	for i, b := range order {
		c.number[b] = int32(i)
		for _, inst := range b.Insts { // phis may name what comes later
			if phi, ok := inst.(*ir.InstPhi); ok {
				c.result(phi)
			}
		}
	}
	c.f.blocks = make([]block, len(order))
	for i, b := range order {
		c.b = &c.f.blocks[i]
		for _, inst := range b.Insts {
			if l := kernel.Line(inst); l != "" && l != c.f.lines[c.line] {
				c.f.lines = append(c.f.lines, l)
				c.line = int32(len(c.f.lines) - 1)
			}
			c.instruction(inst)
			if c.err != nil {
				return c.err
			}
		}
	}
	for i, b := range order {
		c.b = &c.f.blocks[i]
		if c.terminator(b); c.err != nil {
			return c.err
		}
	}
	return nil
}

// reversePostOrder puts a loop's blocks before what follows the loop: lanes that left it
// wait for the others.
func reversePostOrder(entry *ir.Block) []*ir.Block {
	var post []*ir.Block
	seen := map[*ir.Block]bool{}
	var visit func(b *ir.Block)
	visit = func(b *ir.Block) {
		seen[b] = true
		succ := b.Term.Succs()
		for i := range succ { // the last first: what is visited last comes first
			if s := succ[len(succ)-1-i]; !seen[s] {
				visit(s)
			}
		}
		post = append(post, b)
	}
	visit(entry)
	for i, j := 0, len(post)-1; i < j; i, j = i+1, j-1 {
		post[i], post[j] = post[j], post[i]
	}
	return post
}

func (c *compiler) terminator(b *ir.Block) {
	switch t := b.Term.(type) {
	case *ir.TermRet:
		c.b.kind = ret
	case *ir.TermUnreachable:
		c.b.kind = unreachable
	case *ir.TermBr:
		c.b.to[0] = c.edge(b, t.Target)
	case *ir.TermCondBr:
		c.b.kind = branch
		c.b.cond = c.one(t.Cond)
		c.b.to = [2]edge{c.edge(b, t.TargetTrue), c.edge(b, t.TargetFalse)}
	default:
		c.fail("terminator %T", t)
	}
}

func (c *compiler) edge(from *ir.Block, target value.Value) edge {
	to := target.(*ir.Block)
	e := edge{to: c.number[to], apart: true}
	written := map[int32]bool{}
	for _, inst := range to.Insts {
		phi, ok := inst.(*ir.InstPhi)
		if !ok {
			continue
		}
		for _, in := range phi.Incs {
			if in.Pred != value.Value(from) {
				continue
			}
			src := c.value(in.X)
			for i, d := range c.regs[phi] {
				if i < len(src) && src[i] != d {
					e.moves = append(e.moves, move{d, src[i]})
				}
			}
			break
		}
	}
	for _, m := range e.moves {
		e.apart = e.apart && !written[m.s]
		written[m.d] = true
	}
	return e
}

// result gives a value registers of its own, next to each other.
func (c *compiler) result(v value.Value) []int32 {
	parts, err := flatten(v.Type())
	if err != nil {
		c.fail("%v", err)
		return nil
	}
	regs := c.fresh(len(parts))
	c.regs[v] = regs
	return regs
}

func (c *compiler) fresh(n int) []int32 {
	regs := make([]int32, n)
	for i := range regs {
		regs[i] = int32(c.f.regs)
		c.f.regs++
	}
	return regs
}

// constant is the register of a word that all lanes share.
func (c *compiler) constant(w uint64) int32 {
	if i, ok := c.consts[w]; ok {
		return i
	}
	var r kernel.Reg
	for l := range r {
		r[l] = w
	}
	i := ^int32(len(c.f.consts))
	c.f.consts = append(c.f.consts, r)
	c.consts[w] = i
	return i
}

// value is where a value's scalars are.
func (c *compiler) value(v value.Value) []int32 {
	if r, ok := c.regs[v]; ok {
		return r
	}
	if a, ok := c.globals[v]; ok {
		return []int32{c.constant(a)}
	}
	if _, ok := v.(ir.Instruction); ok {
		c.fail("a value is used before it is made: %s", v.Ident())
		return []int32{0}
	}
	words, err := constantBits(v)
	if err != nil {
		c.fail("%v", err)
		return []int32{c.constant(0)}
	}
	out := make([]int32, len(words))
	for i, w := range words {
		out[i] = c.constant(w)
	}
	return out
}

func (c *compiler) one(v value.Value) int32 {
	r := c.value(v)
	if len(r) != 1 {
		c.fail("%s: %d scalars, expected one", v, len(r))
		return c.constant(0)
	}
	return r[0]
}

// typeName is the Go type of an instruction: InstAdd.
func typeName(v any) string {
	s := fmt.Sprintf("%T", v)
	return s[strings.LastIndexByte(s, '.')+1:]
}
