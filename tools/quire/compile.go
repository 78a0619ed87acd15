package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"quire/codegen/llc"
	"quire/passes"
	"quire/runtime/program"
	"quire/tools/model"
)

type compileCmd struct {
	Model string `arg:"" placeholder:"MODEL" help:"The model."`
	modelFlags
	Out      string `short:"o" type:"path" placeholder:"FILE.quire" help:"Write the program here too; it runs without LLVM and without the model's files."`
	Target   string `default:"native" placeholder:"x86-64-v3|native|sm_80|sm_90a" help:"The machine to compile for."`
	DumpIR   string `name:"dump-ir" type:"path" placeholder:"DIR" help:"Write the IR after each pass, numbered."`
	Emit     string `type:"path" placeholder:"DIR" help:"Write each kernel's .ll and .s."`
	From     string `type:"path" placeholder:"FILE.ir" help:"Go on from a file of --dump-ir."`
	Timing   bool   `help:"Print what each pass took."`
	PlanOnly bool   `name:"plan-only" help:"Print the plan and its memory; make no machine code."`
}

func (compileCmd) Help() string {
	return "Examples:\n\n    quire compile smollm2 -o smollm2.quire\n    quire compile smollm2 --dump-ir ir --timing\n" +
		"    quire compile smollm2 --from ir/05-siblings.merge.ir\n    quire compile llama-3-8b.yaml --plan-only --ctx 8192"
}

type passResult struct {
	Name      string         `json:"name"`
	Seconds   float64        `json:"seconds"`
	OpsBefore int            `json:"ops_before"`
	OpsAfter  int            `json:"ops_after"`
	Counts    map[string]int `json:"counts"`
}

type compileResult struct {
	Target       string       `json:"target"`
	Kernels      int          `json:"kernels"`
	ProgramBytes int64        `json:"program_bytes"`
	PeakBytes    int64        `json:"peak_bytes"`
	Passes       []passResult `json:"passes"`
	Seconds      float64      `json:"seconds"`
	Cached       bool         `json:"cached"`
	Path         string       `json:"path,omitempty"`
	Memory       model.Memory `json:"memory"`
	Context      int          `json:"context"`
}

// planRows is the longest step that the plan counts with: prompts are fed in pieces of this many tokens.
const planRows = 512

// Run compiles, into the cache as a rule; what looks inside the compiler compiles anew.
func (c *compileCmd) Run(ctx context.Context, e *environment) error {
	if err := e.check(); err != nil {
		return err
	}
	o, err := c.options(&e.Global)
	if err != nil {
		return err
	}
	t, err := parseTarget(c.Target)
	if err != nil {
		return err
	}
	if err := c.aim(&o, t); err != nil {
		return err
	}
	if ref, err := e.resolve(c.Model); err != nil {
		return err
	} else if ref.Kind == model.Compiled {
		return fmt.Errorf("%s: a compiled program, expected a model that can be compiled", ref.Path)
	}
	o.Frontend.Context, o.PlanOnly, o.From, o.Progress = e.Ctx, c.PlanOnly, c.From, e.progress
	if c.DumpIR != "" {
		o.Observers = append(o.Observers, passes.Dump(c.DumpIR, false))
	}
	var r *compileResult
	if c.PlanOnly || c.DumpIR != "" || c.Emit != "" || c.From != "" {
		r, err = c.anew(ctx, e, o)
	} else {
		r, err = c.cached(ctx, e, o)
	}
	if err != nil {
		return err
	}
	e.finishBars()
	if e.JSON {
		return e.json(r)
	}
	return c.print(e, r)
}

func (c *compileCmd) cached(ctx context.Context, e *environment, o model.Options) (*compileResult, error) {
	f, built, err := model.Open(ctx, c.Model, o)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	e.notes(built.Report.Notes)
	path := built.Path
	if c.Out != "" {
		if err := built.Copy(c.Out); err != nil {
			return nil, err
		}
		path = c.Out
	}
	r, err := describe(f.Program, &built.Report, o)
	if err != nil {
		return nil, err
	}
	r.Path, r.Cached = path, built.Cached
	return r, r.size(path)
}

func (c *compileCmd) anew(ctx context.Context, e *environment, o model.Options) (*compileResult, error) {
	ref, err := e.resolve(c.Model)
	if err != nil {
		return nil, err
	}
	var kernels []kernelText
	if c.Emit != "" {
		o.Emit = func(name, text string) error {
			kernels = append(kernels, kernelText{name, text})
			return nil
		}
	}
	p, report, err := model.Compile(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	e.notes(report.Notes)
	if c.Emit != "" {
		if err := emit(ctx, c.Emit, o, kernels); err != nil {
			return nil, err
		}
	}
	r, err := describe(p, report, o)
	if err != nil || c.Out == "" || c.PlanOnly {
		return r, err
	}
	if err := model.Write(ctx, c.Out, p, !report.Random, o.Progress); err != nil {
		return nil, err
	}
	r.Path = c.Out
	return r, r.size(c.Out)
}

func (r *compileResult) size(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	r.ProgramBytes = st.Size()
	return nil
}

// describe counts what a Program is and needs.
func describe(p *program.Program, report *model.Report, o model.Options) (*compileResult, error) {
	context := p.Context
	if o.Frontend.Context > 0 {
		context = min(context, o.Frontend.Context)
	}
	m, err := model.Plan(p, context, planRows)
	if err != nil {
		return nil, err
	}
	r := &compileResult{Target: p.Target, Kernels: len(p.Kernels), ProgramBytes: int64(len(p.Object)) + m.Weights, PeakBytes: m.Total(),
		Passes: []passResult{}, Seconds: report.Seconds, Memory: m, Context: context}
	for _, rec := range report.Passes {
		counts := rec.Counts
		if counts == nil {
			counts = map[string]int{}
		}
		r.Passes = append(r.Passes, passResult{rec.Name, rec.Seconds, rec.OpsBefore, rec.OpsAfter, counts})
	}
	return r, nil
}

func (c *compileCmd) print(e *environment, r *compileResult) error {
	var b bytes.Buffer
	if c.Timing {
		for _, p := range r.Passes {
			fmt.Fprintf(&b, "%-28s %9.3f ms %6d -> %6d ops  %s\n", p.Name, p.Seconds*1e3, p.OpsBefore, p.OpsAfter, passes.FormatCounts(p.Counts))
		}
	}
	how := fmt.Sprintf("in %.2f s", r.Seconds)
	if r.Cached {
		how = "from the cache"
	}
	fmt.Fprintf(&b, "target   %s\nkernels  %d, %s\n", r.Target, r.Kernels, how)
	fmt.Fprintf(&b, "memory   %s at %d tokens: weights %s, caches %s, steps %s\n", bytesText(r.PeakBytes), r.Context,
		bytesText(r.Memory.Weights), bytesText(r.Memory.Caches), bytesText(r.Memory.Steps))
	if r.Path != "" {
		fmt.Fprintf(&b, "program  %s, %s\n", r.Path, bytesText(r.ProgramBytes))
	}
	return e.printf("%s", b.String())
}

// kernelText is one kernel in LLVM's language.
type kernelText struct{ name, text string }

// emit writes every kernel twice, as it goes to LLVM and as it comes out.
func emit(ctx context.Context, dir string, o model.Options, kernels []kernelText) error {
	tools, err := llc.Find(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, k := range kernels {
		if err := os.WriteFile(filepath.Join(dir, k.name+".ll"), []byte(k.text), 0o644); err != nil {
			return err
		}
		asm, err := tools.Assembly(ctx, o.Target, k.name, k.text)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, k.name+".s"), asm, 0o644); err != nil {
			return err
		}
	}
	return nil
}
