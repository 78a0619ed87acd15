package kernels

import (
	"fmt"

	"quire/codegen/kernel"
	"quire/ir/target"
	"quire/ir/work"
)

// body is the code of a parameter struct for a target.
func body(p work.Params, t target.Target) (kernel.Body, error) {
	none := fmt.Errorf("kernels: family %q: no kernel for %s", p.Family(), t)
	if t.Arch == target.PTX {
		if b, ok := bodyGPU(p); ok {
			return b, nil
		}
		return kernel.Body{}, none
	}
	switch p := p.(type) {
	case work.Norm:
		if p.Round != nil || p.Join != nil {
			return kernel.Body{}, fmt.Errorf("kernels: a norm that rounds or takes a branch for %s, expected a GPU", t)
		}
		return kernel.Body{Main: func(k *kernel.Kernel) { norm(k, p) }}, nil
	case work.Map:
		return kernel.Body{Main: func(k *kernel.Kernel) { elementwise(k, p) }}, nil
	case work.Gather:
		return kernel.Body{Main: func(k *kernel.Kernel) { gather(k, p) }}, nil
	case work.TakeHeads:
		return kernel.Body{Main: func(k *kernel.Kernel) { takeHeads(k, p) }}, nil
	case work.MergeHeads:
		return kernel.Body{Main: func(k *kernel.Kernel) { mergeHeads(k, p) }}, nil
	case work.Slice:
		return kernel.Body{Main: func(k *kernel.Kernel) { slice(k, p) }}, nil
	case work.RopeTable:
		return kernel.Body{Main: func(k *kernel.Kernel) { ropeTable(k, p) }}, nil
	case work.Linear:
		if p.Tokens == work.One {
			return linearOneBody(p), nil
		}
		if onTiles(p, t) && !onPairs(p, t) {
			return summarised(p, linearTilesBody(p, t)), nil
		}
		return summarised(p, linearManyBody(p, t)), nil
	case work.Embed:
		return kernel.Body{Main: func(k *kernel.Kernel) { embed(k, p) }}, nil
	case work.Reduce:
		return kernel.Body{Main: func(k *kernel.Kernel) { reduce(k, p) }}, nil
	case work.Round:
		if p.Span != 0 {
			return kernel.Body{}, fmt.Errorf("kernels: rows rounded in spans for %s, expected a GPU", t)
		}
		return kernel.Body{Main: func(k *kernel.Kernel) { round(k, p) }}, nil
	case work.Attention:
		if p.Phase == work.Decode {
			return attentionDecode(p), nil
		}
		return attentionPrefill(p), nil
	case work.HeadGroups:
		return headGroups(p), nil
	case work.PageSelect:
		return pageSelect(p), nil
	case work.KVStore:
		return kvStoreBody(p), nil
	case work.Rope:
		return kernel.Body{Main: func(k *kernel.Kernel) { rope(k, p) }}, nil
	}
	return kernel.Body{}, none
}

// Text is the LLVM IR of one kernel: the functions name and, for a family with a Last
// phase, name.last.
func Text(t target.Target, name string, p work.Params) (string, error) {
	m := kernel.NewModule(t)
	if err := Define(m, name, p); err != nil {
		return "", err
	}
	return m.Text()
}

// Define adds one kernel to a module, whose Text or IR tells what is wrong inside it.
func Define(m *kernel.Module, name string, p work.Params) error {
	if err := p.Validate(); err != nil {
		return err
	}
	b, err := body(p, m.Target())
	if err != nil {
		return err
	}
	var ops []kernel.Operand
	for _, o := range p.Operands() {
		ops = append(ops, kernel.Operand{Name: o.Name, Dim: o.Kind == work.Dim})
	}
	if m.Target().Arch == target.PTX {
		b.Grid = gridOf(p, m.Target())
	}
	m.Define(name, ops, b)
	return nil
}

// gridOf is what the driver knows of a kernel's grid. Where each item has a block, registers need not fit more than
// shared memory does.
func gridOf(p work.Params, t target.Target) kernel.Grid {
	g := work.GridOf(p)
	room := max(g.Room, g.Resident)
	if g.Whole && g.Shared > 0 {
		room = min(room, max(1, t.SharedBytes/int(g.Shared)))
	}
	return kernel.Grid{Warps: g.Warps, Block: g.PerBlock == 1, Whole: g.Whole, Shared: g.Shared, Resident: room}
}

// DriverText is the LLVM IR of quire_run, the CPU's step loop.
func DriverText(t target.Target) (string, error) {
	if t.Arch != target.X86 {
		return "", fmt.Errorf("kernels: a driver for %s, expected a CPU", t)
	}
	m := kernel.NewModule(t)
	m.Driver()
	return m.Text()
}
