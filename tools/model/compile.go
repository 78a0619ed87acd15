package model

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"quire/codegen"
	"quire/codegen/llc"
	"quire/frontends"
	"quire/frontends/spec"
	"quire/ir"
	"quire/ir/target"
	"quire/passes"
	"quire/passes/pipeline"
	"quire/runtime/program"
)

// Options say how a model becomes a Program. The zero value compiles exactly, for the machine that runs us.
type Options struct {
	Frontend frontends.Options
	Dot      ir.Dot        // how products are formed; the zero value keeps float32
	Target   target.Target // the zero Target is the host
	CacheDir string        // "": DefaultCacheDir

	Observers []passes.Observer // of the pipeline; a cached Program runs no pass
	Emit      func(name, text string) error
	From      string // a dump of --dump-ir: the pipeline goes on after the pass that it names
	PlanOnly  bool   // no machine code
	taps      bool   // queries and keys are results
	// Progress, if set, is told how far a stage is, from several goroutines: "compile" in passes, "pack" in bytes.
	Progress func(stage string, done, total int64)
}

// Report is the history of a compilation.
type Report struct {
	Passes  []passes.Record
	Seconds float64
	Random  bool     // the weights are random ones
	Seed    int64    // of random weights
	Notes   []string // what was chosen where the options leave it open, a sentence each
}

// host fills what the zero value leaves open.
func (o Options) complete() (Options, error) {
	var err error
	if o.Target.Name == "" {
		if o.Target, err = target.Host(); err != nil {
			return o, err
		}
	}
	if o.Target.Arch == target.PTX && o.Frontend.KV == "" {
		o.Frontend.KV = "f16" // what a GPU's attention reads
	}
	if o.CacheDir == "" {
		o.CacheDir, err = DefaultCacheDir()
	}
	return o, err
}

// Source opens a model that has weights or a spec.
func Source(ref Ref, o frontends.Options) (*frontends.Model, error) {
	if ref.Kind == Compiled {
		return nil, fmt.Errorf("%s: a compiled program, expected a model that can be compiled", ref.Path)
	}
	return frontends.Load(ref.Path, o)
}

// Compile loads ref, runs the pipeline and builds. The Program's weights stay in the model's files.
func Compile(ctx context.Context, ref Ref, o Options) (*program.Program, *Report, error) {
	start := time.Now()
	o, err := o.complete()
	if err != nil {
		return nil, nil, err
	}
	m, err := Source(ref, o.Frontend)
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	module, records, err := o.pipeline(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	p, err := o.build(ctx, m, module)
	if err != nil {
		return nil, nil, err
	}
	if o.Progress != nil {
		o.Progress("compile", int64(len(records))+1, int64(len(records))+1)
	}
	return p, &Report{Passes: records, Seconds: time.Since(start).Seconds(), Random: m.Source == nil, Seed: m.Seed, Notes: append(m.Notes, unselected(records)...)}, nil
}

// Passes is the pipeline for a model's options: those of its spec, and of the command line.
func (o Options) Passes(f spec.Options) (passes.Pipeline, error) {
	duo, err := duoOptions(f.Duo)
	if err != nil {
		return nil, err
	}
	return pipeline.Standard(pipeline.Options{Target: o.Target, Dot: o.Dot, Duo: duo, Quest: questOptions(f.Quest), KV: kvBits(f.KV), HeadTaps: o.taps}), nil
}

// pipeline runs the passes on the model's module, or the rest of them on a dump.
func (o Options) pipeline(ctx context.Context, m *frontends.Model) (*ir.Module, []passes.Record, error) {
	list, err := o.Passes(m.Options)
	if err != nil {
		return nil, nil, err
	}
	module := m.Module
	if o.From != "" {
		var err error
		if module, list, err = Resume(o.From, list); err != nil {
			return nil, nil, err
		}
	}
	observers := append([]passes.Observer{passes.Reproducer(filepath.Join(o.CacheDir, "crashes")), o.watch(ctx, len(list))}, o.Observers...)
	records, err := list.Run(module, observers...)
	return module, records, err
}

// watch ends the pipeline when ctx does, and reports progress.
func (o Options) watch(ctx context.Context, total int) passes.Observer {
	return passes.Observer{
		Before: func(*passes.Event) error { return ctx.Err() },
		After: func(e *passes.Event) error {
			if o.Progress != nil {
				o.Progress("compile", int64(e.Index+1), int64(total)+1) // and the build
			}
			return ctx.Err()
		},
	}
}

// shown is what a Program says of the options that it was compiled with; nil for the default ones.
func (o Options) shown() (map[string]string, error) {
	out := map[string]string{}
	if a := o.Frontend.AWQ; a != nil {
		out["awq"] = fmt.Sprintf("bits=%d", a.Bits)
		if a.Group > 0 {
			out["awq"] += fmt.Sprintf(",group=%d", a.Group)
		}
	}
	if o.Frontend.KV != "" {
		out["kv"] = o.Frontend.KV
	}
	if d := o.Frontend.Duo; d != nil {
		out["duo"] = fmt.Sprintf("%s,sparsity=%g,sink=%d,recent=%d", filepath.Base(d.Heads), d.Sparsity, d.Sink, d.Recent)
		if d.Threshold != nil {
			out["duo"] = fmt.Sprintf("%s,threshold=%g,sink=%d,recent=%d", filepath.Base(d.Heads), *d.Threshold, d.Sink, d.Recent)
		}
	}
	if d := o.Frontend.Duo; d != nil && d.Prefill == "chunked" {
		out["duo"] += fmt.Sprintf(",prefill=chunked,chunk=%d", d.Chunk)
	}
	if q := o.Frontend.Quest; q != nil {
		out["quest"] = fmt.Sprintf("budget=%d,page=%d,physical-page=%d,dense-layers=%d,per=%s,reselect=%d", q.Budget, q.Page, q.PhysicalPage, q.DenseLayers, q.Per, q.Reselect)
	}
	if o.Dot != ir.DotF32 {
		text, err := o.Dot.MarshalText()
		if err != nil {
			return nil, err
		}
		out["dot"] = string(text)
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

func (o Options) build(ctx context.Context, m *frontends.Model, module *ir.Module) (*program.Program, error) {
	sources, err := m.Sources()
	if err != nil {
		return nil, err
	}
	c := codegen.Options{Target: o.Target, Segments: m.Segment, Sources: sources, Emit: o.Emit, NoCode: o.PlanOnly}
	if !o.PlanOnly {
		if c.Tools, err = llc.Find(ctx); err != nil {
			return nil, err
		}
		c.Tools.Cache.Dir = filepath.Join(o.CacheDir, "llc")
		if a, err := llc.FindPtxas(); err == nil && o.Target.Arch == target.PTX {
			c.Ptxas = &a
		}
	}
	p, err := codegen.Build(ctx, module, c)
	if err != nil {
		return nil, err
	}
	if err := m.Describe(p); err != nil {
		return nil, err
	}
	p.Compiler = "quire " + Version()
	if c.Tools.Release != "" {
		p.Compiler += ", LLVM " + c.Tools.Release
	}
	if p.Options, err = o.shown(); err != nil {
		return nil, err
	}
	if o.PlanOnly {
		return p, nil
	}
	return p, p.Validate()
}
