package kernels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"quire/codegen/llc"
	"quire/ir/target"
	"quire/ir/work"
)

// ptxasRelease is the assembler that tests/fetch/ptxas.sh gets: another counts registers
// in its own way, but must not spill either.
const ptxasRelease = "13.5.37"

// machines are what is assembled: the text of a target, for itself or for what is newer.
var machines = []struct{ target, sm string }{{"sm_80", "sm_80"}, {"sm_80", "sm_120"}, {"sm_90a", "sm_90a"}}

// strangerSpills bounds what a machine that text was not made for may spill, in bytes.
const strangerSpills = 64

// What ptxas says of every kernel, as a golden: more registers than before, or memory
// where there was none, is seen in its diff. A stack frame or a spill is an error; on a
// machine that is not the target a few bytes are not, and stand behind the registers.
func TestPtxas(t *testing.T) {
	parallel(t)
	ctx := context.Background()
	tools, err := findTools()
	if err != nil {
		t.Skip(err)
	}
	ptxas, err := llc.FindPtxas()
	if err != nil {
		if os.Getenv("QUIRE_REQUIRE_DATA") == "1" {
			t.Fatal(err)
		}
		t.Skip("PTX is not assembled:", err)
	}
	release, err := ptxas.Release(ctx)
	if err != nil {
		t.Fatal(err)
	}
	uses := map[string][]string{} // by kernel, the registers on each machine
	for _, m := range machines {
		list := assemble(t, tools, ptxas, m.target, m.sm)
		for _, k := range gpuKernels {
			kernel := k.name
			u, ok := list[kernel]
			if !ok {
				uses[kernel] = append(uses[kernel], fmt.Sprintf("%10s", "-"))
				continue
			}
			if spilled := u.Stack + u.SpillLoads + u.SpillStores; spilled > 0 && m.sm == m.target || spilled > strangerSpills {
				t.Errorf("%s for %s: %d bytes of stack, %d and %d of spills, expected none", kernel, m.sm, u.Stack, u.SpillStores, u.SpillLoads)
			}
			if u.Waits != "" {
				t.Errorf("%s for %s: %s", kernel, m.sm, u.Waits)
			}
			regs := fmt.Sprint(u.Registers)
			if u.SpillStores > 0 {
				regs += fmt.Sprintf("+%d", u.SpillStores)
			}
			uses[kernel] = append(uses[kernel], fmt.Sprintf("%10s", regs))
		}
	}
	if release != ptxasRelease {
		t.Logf("ptxas %s: the golden is of %s", release, ptxasRelease)
		return
	}
	datadriven.RunTest(t, "testdata/ptxas.txt", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd != "registers" {
			return "no command " + d.Cmd
		}
		return table(uses)
	})
}

// table is a line for each kernel: the grid's warps and dynamic shared memory, and the
// registers of a thread on each machine.
func table(uses map[string][]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-24s %5s %7s", "kernel", "warps", "shared")
	for _, m := range machines {
		fmt.Fprintf(&b, "%10s", m.sm)
	}
	b.WriteByte('\n')
	for _, k := range gpuKernels {
		g := work.GridOf(k.p)
		fmt.Fprintf(&b, "%-24s %5d %7d%s\n", k.name, g.Warps, g.Shared, strings.Join(uses[k.name], ""))
	}
	return b.String()
}

// assemble makes one module of all kernels.
func assemble(t *testing.T, tools llc.Tools, ptxas llc.Ptxas, targetName, sm string) map[string]llc.Usage {
	t.Helper()
	tgt, err := target.Parse(targetName)
	if err != nil {
		t.Fatal(err)
	}
	var names, texts []string
	kernels := kernelsOf(targetName)
	for _, k := range kernels {
		text, err := Text(tgt, k.name, k.p)
		if err != nil {
			t.Fatal(err)
		}
		names, texts = append(names, k.name), append(texts, text)
	}
	ptx, err := tools.Module(context.Background(), tgt, names, texts)
	if err != nil {
		t.Fatal(err)
	}
	cubin, list, err := ptxas.AssembleFor(context.Background(), sm, ptx)
	if err = errors.Join(err, missing(cubin, list, len(kernels))); err != nil {
		t.Fatalf("%s for %s: %v", targetName, sm, err)
	}
	out := map[string]llc.Usage{}
	for _, u := range list {
		out[u.Kernel] = u
	}
	return out
}

func missing(cubin []byte, list []llc.Usage, kernels int) error {
	if len(cubin) == 0 || len(list) != kernels {
		return fmt.Errorf("%d bytes of %d kernels, expected %d", len(cubin), len(list), kernels)
	}
	return nil
}
