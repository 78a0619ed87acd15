package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/frontends"
	"quire/frontends/spec"
	"quire/ir"
	"quire/ir/target"
	"quire/passes"
	"quire/passes/pipeline"
)

// A dense decode step on a GPU is at most six launches a layer, whatever the layer.
func TestLaunchesOfGPUDecode(t *testing.T) {
	text, err := fs.ReadFile(spec.Examples(), "llama-3-8b.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "llama.yaml")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sm_80", "sm_90a"} {
		gpu, err := target.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		o := frontends.Options{}
		o.KV = "f16"
		m, err := frontends.Load(path, o)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if _, err := pipeline.Standard(pipeline.Options{Target: gpu}).Run(m.Module, passes.Verify()); err != nil {
			t.Fatal(err)
		}
		f := m.Module.Func("step.decode")
		if f == nil {
			t.Fatal("no @step.decode")
		}
		launches := map[string]int{}
		kernels := map[string]bool{}
		for _, v := range f.Body {
			if v.Op != ir.OpLaunch {
				continue
			}
			for _, p := range v.Launch {
				kernels[p.Kernel.Key()] = true
			}
			if layer, _, ok := strings.Cut(strings.TrimPrefix(v.Scope, "layers."), "."); ok && strings.HasPrefix(v.Scope, "layers.") {
				launches[layer]++
			}
		}
		if len(launches) != 32 {
			t.Errorf("%s: launches of %d layers, expected 32", name, len(launches))
		}
		for layer, n := range launches {
			if n > 6 {
				t.Errorf("%s: layer %s has %d launches, expected at most 6", name, layer, n)
			}
		}
		if len(kernels) > 12 {
			t.Errorf("%s: %d distinct kernels, expected at most 12: layers do not share them", name, len(kernels))
		}
	}
}
