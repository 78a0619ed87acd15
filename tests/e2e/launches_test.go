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
	name  string
	o     pipeline.Options
	steps []stepLaunches
}{
	{"dense", pipeline.Options{}, []stepLaunches{{"decode", 6}, {"batch8", 6}, {"batch16", 9}}},
	{"kv4", pipeline.Options{KV: kvquant.KV4}, []stepLaunches{{"decode", 7}}},
	{"duo", pipeline.Options{Duo: &duo.Defaults}, []stepLaunches{{"decode", 6}}},
	{"quest", pipeline.Options{Quest: &quest.Defaults}, []stepLaunches{{"decode", 7}}},
	{"all", pipeline.Options{Duo: &duo.Defaults, Quest: &quest.Defaults, KV: kvquant.KV4}, []stepLaunches{{"decode", 8}}},
}

// stepLaunches is a specialisation, and how many launches a layer of it has at most.
type stepLaunches struct {
	step string
	most int
}

// exampleLayers are enough for every kind of layer of the examples.
const exampleLayers = 6

// The launches of a layer, the most of any, in a decode step of every example on a GPU, as a
// golden; of more sequences, too, without rewrites.
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
		fmt.Fprintf(&b, "%-18s", "model")
		for _, r := range rewrites {
			for _, of := range r.steps {
				fmt.Fprintf(&b, "%14s", r.name+" "+of.step)
			}
		}
		b.WriteByte('\n')
		for _, name := range names {
			fmt.Fprintf(&b, "%-18s", strings.TrimSuffix(name, ".yaml"))
			for _, r := range rewrites {
				lists := launchesOf(t, name, gpu, r.o)
				for _, of := range r.steps {
					list := lists["step."+of.step]
					if len(list) > of.most {
						t.Errorf("%s %s %s %s: %d launches a layer, expected at most %d:\n%s", gpu, name, r.name, of.step, len(list), of.most, strings.Join(list, "\n"))
					}
					fmt.Fprintf(&b, "%14d", len(list))
				}
			}
			b.WriteByte('\n')
		}
		return b.String()
	})
}

// launchesOf lists the launches of the layer of an example that has most, by step.
func launchesOf(t *testing.T, example string, gpu target.Target, o pipeline.Options) map[string][]string {
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
	out := map[string][]string{}
	for _, f := range m.Module.Funcs {
		layers := map[string][]string{}
		for _, v := range f.Body {
			name, _, ok := strings.Cut(strings.TrimPrefix(v.Scope, "layers."), ".")
			if v.Op != ir.OpLaunch || !ok || !strings.HasPrefix(v.Scope, "layers.") {
				continue
			}
			for _, p := range v.Launch {
				layers[name] = append(layers[name], p.Kernel.Key())
			}
			if len(layers[name]) > len(out[f.Name]) {
				out[f.Name] = layers[name]
			}
		}
	}
	return out
}
