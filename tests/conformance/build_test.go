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
	ctx, gpu := context.Background(), o.Target.Arch == target.PTX
	path := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := frontends.Load(path, frontends.Options{Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	o.KV = codes[m.Options.KV]
	if _, err := pipeline.Standard(o).Run(m.Module, passes.Verify()); err != nil {
		t.Fatal(err)
	}
	var tools llc.Tools
	if !gpu {
		if tools, err = llc.Find(ctx); err != nil {
			t.Fatal(err)
		}
	}
	p, err := codegen.Build(ctx, m.Module, codegen.Options{Target: o.Target, Tools: tools, Segments: m.Segment, NoCode: gpu})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Describe(p); err != nil {
		t.Fatal(err)
	}
	if gpu {
		p.Object = []byte("simulated")
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	return m, p
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
