package codegen

import (
	"context"
	"fmt"

	"quire/codegen/kernels"
	"quire/codegen/llc"
	"quire/ir"
	"quire/ir/target"
	"quire/ir/types/layout"
	"quire/ir/work"
	"quire/runtime/program"
)

// Options of Build.
type Options struct {
	Target target.Target
	Tools  llc.Tools
	Ptxas  *llc.Ptxas // nil: a GPU's driver assembles the Program
	// Segments says where the rows of a weight (one that is not derived) come
	// from.
	Segments func(weight string) (program.Segment, error)
	// Sources are the files that segments index.
	Sources []program.Source
	// Emit, if set, receives the text of each kernel: name and LLVM IR.
	Emit func(name, text string) error
	// NoCode leaves the machine code out: for plans.
	NoCode bool
}

// Build compiles every Kernel-level Func of a planned module. The caller adds what
// the module does not know: names, tokenizer, generation defaults.
func Build(ctx context.Context, m *ir.Module, o Options) (*program.Program, error) {
	b := &builder{m: m, o: o, p: &program.Program{Target: o.Target.Name, Sources: o.Sources},
		kernel: map[string]int{}, weight: map[string]int{}}
	for _, f := range o.Target.Features {
		b.p.Features = append(b.p.Features, string(f))
	}
	b.memory()
	for _, f := range m.Funcs {
		if f.Level != ir.Kernel {
			continue
		}
		if err := b.step(f); err != nil {
			return nil, fmt.Errorf("codegen: @%s: %w", f.Name, err)
		}
	}
	if o.Target.Arch == target.PTX {
		b.services()
	}
	if len(b.p.Steps) == 0 {
		return nil, fmt.Errorf("codegen: module %q has no specialisation, expected one at Kernel level", m.Name)
	}
	if o.NoCode {
		return b.p, nil
	}
	if err := b.object(ctx); err != nil {
		return nil, err
	}
	return b.p, nil
}

// services adds the kernels of no step that the runtime of a GPU uses: to measure what it can
// read, to choose tokens, and to make random weights.
func (b *builder) services() {
	b.kernelIndex(work.Sweep{})
	if b.p.Vocab > 0 {
		b.kernelIndex(work.Sample{Vocab: b.p.Vocab, Tops: true})
		b.kernelIndex(work.Sample{Vocab: b.p.Vocab})
	}
	for _, w := range b.p.Weights {
		for _, s := range w.Segments {
			if w.Layout != program.LayoutFrag || s.Source >= 0 {
				continue
			}
			if p, ok := work.NoiseOf(layout.Enc(w.Elem), layout.Enc(s.Elem), w.Cols); ok {
				b.kernelIndex(p)
			}
		}
	}
}

type builder struct {
	m      *ir.Module
	o      Options
	p      *program.Program
	kernel map[string]int // by Params.Key
	weight map[string]int // by name
}

// kernelIndex returns the number of a kernel, equal parameters sharing one.
func (b *builder) kernelIndex(k work.Params) int {
	key := k.Key()
	if i, ok := b.kernel[key]; ok {
		return i
	}
	i := len(b.p.Kernels)
	b.kernel[key] = i
	entry := program.Kernel{Symbol: fmt.Sprintf("k%02d_%s", i, k.Family()), Params: k}
	if b.o.Target.Arch != target.PTX && k.Group(work.Dims{N: 1, M: 1, S: 1, P: 1, C: 1}) > 0 { // an entry for a GPU runs its Last itself
		entry.Last = entry.Symbol + ".last"
	}
	b.p.Kernels = append(b.p.Kernels, entry)
	return i
}

// object builds, compiles and links all kernels, for a CPU with the driver.
func (b *builder) object(ctx context.Context) error {
	var names, texts []string
	for _, k := range b.p.Kernels {
		text, err := kernels.Text(b.o.Target, k.Symbol, k.Params)
		if err != nil {
			return fmt.Errorf("codegen: kernel %s (%s): %w", k.Symbol, k.Params.Key(), err)
		}
		names, texts = append(names, k.Symbol), append(texts, text)
	}
	if b.o.Target.Arch == target.X86 {
		driver, err := kernels.DriverText(b.o.Target)
		if err != nil {
			return fmt.Errorf("codegen: driver: %w", err)
		}
		names, texts = append(names, "quire_run"), append(texts, driver)
	}
	if b.o.Emit != nil {
		for i := range names {
			if err := b.o.Emit(names[i], texts[i]); err != nil {
				return err
			}
		}
	}
	if b.o.Target.Arch == target.PTX {
		return b.ptx(ctx, names, texts)
	}
	var err error
	b.p.Object, err = b.o.Tools.Shared(ctx, b.o.Target, names, texts)
	return err
}

// ptx makes one module of all kernels, assembled where there is an assembler.
func (b *builder) ptx(ctx context.Context, names, texts []string) error {
	text, err := b.o.Tools.Module(ctx, b.o.Target, names, texts)
	if err != nil {
		return err
	}
	b.p.Object = []byte(text)
	if b.o.Ptxas == nil {
		return nil
	}
	b.p.Cubin, err = b.o.Ptxas.Cubin(ctx, b.o.Tools.Cache, b.o.Target, text)
	return err
}
