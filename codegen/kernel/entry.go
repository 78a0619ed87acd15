package kernel

import (
	"fmt"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/metadata"
	"github.com/llir/llvm/ir/types"

	"quire/ir/target"
)

// Grid is what a GPU's driver must know of a body. The zero Grid takes a warp an item, in
// blocks of any size.
type Grid struct {
	Warps    int   // warps of a block, 0 for any number
	Block    bool  // a block takes an item, else a warp does
	Shared   int64 // bytes of the block's dynamic shared memory
	Whole    bool  // there are as many blocks as items: none takes a second one
	Resident int   // blocks that must fit a multiprocessor together, which bounds registers; 0: any
}

// TriggerLate lets the launches that follow start when blocks end, not when they start:
// their early parts then take no room from this module's kernels.
func (m *Module) TriggerLate() *Module {
	m.late = true
	return m
}

// Waits says that launches of the module may overlap the end of what they follow
// (programmatic dependent launch, compute capability 9.0).
func (m *Module) Waits() bool { return m.target.Arch == target.PTX && m.target.SM >= "sm_90" }

// ptxEntry is the GPU's driver: from its first item on, a block (or a warp) takes every
// item that lies the grid's width further. Whatever was launched before has ended, and
// its writes are visible, when Prep runs.
func (m *Module) ptxEntry(name string, ops []Operand, body Body) {
	var params []*ir.Param
	for _, o := range ops {
		if o.Dim {
			params = append(params, ir.NewParam(o.Name, types.I64))
		} else {
			params = append(params, ir.NewParam(o.Name, bytePtr(Global)))
		}
	}
	count := ir.NewParam("items", types.I64)
	f := m.newFunc(name, append(params, count)...)
	f.CallingConv = enum.CallingConvPTXKernel
	m.bounds(f, body.Grid)
	k := m.newKernel(name, f)
	defer k.recover()
	for i, o := range ops {
		k.args[o.Name] = argument{v: params[i], dim: o.Dim, space: Global}
	}
	k.grid, k.items = body.Grid, I64{k, count}
	if body.Last != nil || body.Prep != nil && !body.Grid.Block {
		k.Errorf("%s: Last needs a CPU's driver, and Prep a block an item", name)
		return
	}
	if !m.late {
		k.trigger()
	}
	g := k.GPU()
	first, step := g.Block(), g.Blocks()
	if !body.Grid.Block {
		first, step = first.Mul(g.BlockWarps()).Add(g.Warp()), step.Mul(g.BlockWarps())
	}
	k.stride = step
	k.item = &first
	some := first.Lt(k.items)
	if body.Start == nil && body.Early == nil {
		k.wait()
		When(k, some, func() { k.turns(first, body) })
	} else {
		If(k, some, nil, func() []Vec { k.turns(first, body); return nil }, func() []Vec { k.wait(); return nil })
	}
	k.b.NewRet(nil)
}

// turns is the items of one block or warp, of which there is at least one.
func (k *Kernel) turns(first I64, body Body) {
	run := func(f func(*Kernel), p phase) {
		if f != nil {
			k.phase = p
			f(k)
		}
	}
	run(body.Start, early)
	ready := body.Early == nil
	if ready && body.Start != nil {
		k.wait()
	}
	if ready {
		run(body.Prep, prep)
	}
	turn := func(item, turn I64) {
		k.item, k.turn = &item, turn
		run(body.Early, early)
		if !ready {
			When(k, turn.Eq(k.Int(0)), func() { k.wait(); run(body.Prep, prep) })
		}
		run(body.Main, mainPhase)
	}
	if body.Grid.Whole {
		turn(first, k.Int(0))
		return
	}
	While(k, []I64{first, k.Int(0)}, func(c []I64) (Bool, []I64) {
		turn(c[0], c[1])
		next := c[0].Add(k.stride)
		return next.Lt(k.items), []I64{next, c[1].Plus(1)}
	})
}

// trigger allows the launches that follow to start; wait is for the end of those before.
func (k *Kernel) trigger() {
	if k.m.Waits() {
		k.call("trigger", types.Void)
	}
}

func (k *Kernel) wait() {
	if k.m.Waits() {
		k.call("wait", types.Void)
	}
}

// bounds tells the assembler the size of a block, so that registers fit.
func (m *Module) bounds(f *ir.Func, g Grid) {
	if g.Warps == 0 {
		return
	}
	pairs := []struct {
		name string
		n    int
	}{{"maxntidx", g.Warps * WarpSize}, {"minctasm", g.Resident}}
	for _, p := range pairs {
		if p.n == 0 {
			continue
		}
		t := &metadata.Tuple{MetadataID: -1, Fields: []metadata.Field{f, &metadata.String{Value: p.name}, text(fmt.Sprintf("i32 %d", p.n))}}
		m.m.MetadataDefs = append(m.m.MetadataDefs, t)
		all := m.m.NamedMetadataDefs["nvvm.annotations"]
		if all == nil {
			all = &metadata.NamedDef{Name: "nvvm.annotations"}
			m.m.NamedMetadataDefs["nvvm.annotations"] = all
		}
		all.Nodes = append(all.Nodes, t)
	}
}

// text is a metadata field by its text.
type text string

func (t text) String() string { return string(t) }
