package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"quire/frontends"
	"quire/frontends/spec"
	"quire/ir"
	"quire/ir/target"
	"quire/passes"
	"quire/passes/duo"
	"quire/passes/kvquant"
	"quire/passes/pipeline"
	"quire/passes/quest"
)

// rewrites are the columns of the table of launches.
var rewrites = []struct {
	name string
	most int // launches of a layer
	o    pipeline.Options
}{
	{"dense", 6, pipeline.Options{}},
	{"kv4", 7, pipeline.Options{KV: kvquant.KV4}},
	{"duo", 6, pipeline.Options{Duo: &duo.Defaults}},
	{"quest", 7, pipeline.Options{Quest: &quest.Defaults}},
	{"all", 8, pipeline.Options{Duo: &duo.Defaults, Quest: &quest.Defaults, KV: kvquant.KV4}},
}

// exampleLayers are enough for every kind of layer of the examples.
const exampleLayers = 6

// The launches of a layer, the most of any, in a decode step of every example on a GPU, as a
// golden; and why a fusion that was tried did not come about.
func TestLaunchesOfExamples(t *testing.T) {
	datadriven.RunTest(t, "testdata/launches.txt", func(t *testing.T, d *datadriven.TestData) string {
		gpu, err := target.Parse(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		names, err := fs.Glob(spec.Examples(), "*.yaml")
		if err != nil || len(names) == 0 {
			t.Fatal(err, names)
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%-22s", "model")
		for _, r := range rewrites {
			fmt.Fprintf(&b, "%7s", r.name)
		}
		b.WriteByte('\n')
		for _, name := range names {
			fmt.Fprintf(&b, "%-22s", strings.TrimSuffix(name, ".yaml"))
			for _, r := range rewrites {
				n, list := launchesOf(t, name, gpu, r.o)
				if n > r.most {
					t.Errorf("%s %s %s: %d launches a layer, expected at most %d:\n%s", gpu, name, r.name, n, r.most, strings.Join(list, "\n"))
				}
				fmt.Fprintf(&b, "%7d", n)
			}
			b.WriteByte('\n')
		}
		return b.String()
	})
}

// launchesOf counts the launches of the layer of an example that has most in a step of one
// new token, and lists them.
func launchesOf(t *testing.T, example string, gpu target.Target, o pipeline.Options) (int, []string) {
	t.Helper()
	text, err := fs.ReadFile(spec.Examples(), example)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), example)
	text = regexp.MustCompile(`(?m)^layers: .*$`).ReplaceAll(text, fmt.Appendf(nil, "layers: %d", exampleLayers))
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	var load frontends.Options
	load.KV = "f16"
	m, err := frontends.Load(path, load)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	o.Target = gpu
	if _, err := pipeline.Standard(o).Run(m.Module, passes.Verify()); err != nil {
		t.Fatalf("%s %s: %v", gpu, example, err)
	}
	layers := map[string][]string{}
	most := ""
	for _, v := range m.Module.Func("step.decode").Body {
		name, _, ok := strings.Cut(strings.TrimPrefix(v.Scope, "layers."), ".")
		if v.Op != ir.OpLaunch || !ok || !strings.HasPrefix(v.Scope, "layers.") {
			continue
		}
		for _, p := range v.Launch {
			layers[name] = append(layers[name], p.Kernel.Key())
		}
		if len(layers[name]) > len(layers[most]) {
			most = name
		}
	}
	return len(layers[most]), layers[most]
}
