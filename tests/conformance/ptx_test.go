package conformance

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"quire/codegen/kernels"
	"quire/codegen/llc"
	modelspec "quire/frontends/spec"
	"quire/ir/target"
	"quire/ir/work"
	"quire/passes/pipeline"
)

// everyExample, with -assemble, are all examples and not only the smallest one: some 400 kernels on three machines,
// which takes minutes (`make ptx`). codegen/kernels holds a table of registers of one kernel of each kind.
var everyExample = flag.Bool("assemble", false, "assemble every kernel of every example spec")

// strangerSpills is what a machine that text was not made for may spill, in bytes.
const strangerSpills = 64

// Every kernel of every example, in the caches that a GPU has, becomes PTX that ptxas assembles for the target, and
// sm_80's for sm_120 too, without a stack or a spilled register.
func TestExampleKernels(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tools, err := llc.Find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ptxas, err := llc.FindPtxas()
	if err != nil && (*everyExample || os.Getenv("QUIRE_REQUIRE_DATA") == "1") {
		t.Fatal(err)
	}
	if err != nil {
		t.Log("PTX is made but not assembled: ", err)
	}
	assembles := err == nil
	names, err := fs.Glob(modelspec.Examples(), "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, name := range names {
		if !*everyExample && name != "smollm2-135m.yaml" {
			continue
		}
		for _, m := range []struct{ target, machines string }{{"sm_90a", "sm_90a"}, {"sm_80", "sm_80 sm_120"}} {
			t.Run(name+"/"+m.target, func(t *testing.T) {
				tgt, err := target.Parse(m.target)
				if err != nil {
					t.Fatal(err)
				}
				var symbols, texts []string
				of := map[string]string{} // keys by symbol
				for _, k := range exampleKernels(t, name, tgt) {
					at := m.target + " " + k.Key()
					if seen[at] {
						continue
					}
					seen[at] = true
					symbol := fmt.Sprintf("k%03d_%s", len(symbols), k.Family())
					text, err := kernels.Text(tgt, symbol, k)
					if err != nil {
						t.Fatal(err)
					}
					symbols, texts, of[symbol] = append(symbols, symbol), append(texts, text), k.Key()
				}
				if !assembles || len(texts) == 0 {
					return
				}
				ptx, err := tools.Module(ctx, tgt, symbols, texts)
				if err != nil {
					t.Fatal(err)
				}
				for sm := range strings.FieldsSeq(m.machines) {
					_, uses, err := ptxas.AssembleFor(ctx, sm, ptx)
					if err != nil {
						t.Fatal(err)
					}
					if len(uses) != len(texts) {
						t.Errorf("%s: %d kernels of %d", sm, len(uses), len(texts))
					}
					for _, u := range uses {
						if spilled := max(u.Stack, u.SpillLoads, u.SpillStores); spilled > 0 && sm == m.target || spilled > strangerSpills {
							t.Errorf("%s: %s: %d registers, %d bytes of stack, %d and %d of spills", sm, of[u.Kernel], u.Registers, u.Stack, u.SpillStores, u.SpillLoads)
						}
						if u.Waits != "" {
							t.Errorf("%s: %s: %s", sm, of[u.Kernel], u.Waits)
						}
					}
				}
			})
		}
	}
}

// exampleKernels are the kernels of an example's program.
func exampleKernels(t *testing.T, name string, tgt target.Target) []work.Params {
	t.Helper()
	text, err := fs.ReadFile(modelspec.Examples(), name)
	if err != nil {
		t.Fatal(err)
	}
	_, p, err := compile(t, string(text)+"\nkv: f16\n", pipeline.Options{Target: tgt}, true)
	if err != nil {
		t.Fatal(err)
	}
	var out []work.Params
	for _, k := range p.Kernels {
		out = append(out, k.Params)
	}
	return out
}
