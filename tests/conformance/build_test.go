package conformance

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"quire/codegen"
	"quire/codegen/llc"
	"quire/frontends"
	"quire/ir/target"
	"quire/passes"
	"quire/passes/pipeline"
	"quire/runtime"
	"quire/runtime/program"
)

// build compiles a spec with random weights for the target of the options, without machine code for a
// GPU: what simulates its kernels needs none.
func build(t *testing.T, text string, o pipeline.Options) (*frontends.Model, *program.Program) {
	t.Helper()
	m, p, err := compile(t, text, o, o.Target.Arch == target.PTX)
	if err != nil {
		t.Fatal(err)
	}
	return m, p
}

// compile is build with an error of its own; machine code for a GPU is the bundle's.
func compile(t *testing.T, text string, o pipeline.Options, noCode bool) (*frontends.Model, *program.Program, error) {
	t.Helper()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return nil, nil, err
	}
	m, err := frontends.Load(path, frontends.Options{Seed: 7})
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { m.Close() })
	o.KV = codes[m.Options.KV]
	if _, err := pipeline.Standard(o).Run(m.Module, passes.Verify()); err != nil {
		return nil, nil, err
	}
	c := codegen.Options{Target: o.Target, Segments: m.Segment, NoCode: noCode}
	if !noCode {
		find := llc.Find
		if o.Target.Arch == target.PTX {
			find = gpuTools
		}
		if c.Tools, err = find(ctx); err != nil {
			return nil, nil, err
		}
	}
	p, err := codegen.Build(ctx, m.Module, c)
	if err != nil {
		return nil, nil, err
	}
	if err := m.Describe(p); err != nil {
		return nil, nil, err
	}
	if noCode {
		p.Object = []byte("simulated")
	}
	return m, p, p.Validate()
}

// open compiles a spec for this processor and binds it; a step takes at most rows tokens of
// prompts (0: as many as usual), unless the model is cut elsewhere.
func open(t *testing.T, text string, o pipeline.Options, rows int) (*runtime.Program, *frontends.Model) {
	t.Helper()
	ctx := context.Background()
	var err error
	if o.Target, err = target.Host(); err != nil {
		t.Fatal(err)
	}
	m, p := build(t, text, o)
	rt, err := runtime.Open(ctx, runtime.NewConfig().WithThreads(2).WithChunk(rows))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close(ctx) })
	prog, err := rt.LoadProgram(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	return prog, m
}
