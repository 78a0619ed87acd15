package kernels

import (
	"context"
	"os"
	"strings"
	"testing"

	"quire/codegen/llc"
	"quire/ir/target"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// llama8B are the launches of a decode step of Llama-3-8B, int4 in groups of 128.
func llama8B(columns int, enc layout.Enc, dot work.Dot) map[string]work.GEMV {
	rms := &work.RMSNorm{Eps: 1e-5}
	heads := &work.Heads{Heads: 32, KVHeads: 8, Dim: 128, RotaryDim: 128, Style: work.Half, CacheEnc: layout.F16, Page: 64}
	of := func(l work.Linear) work.GEMV {
		l.Enc, l.Dot, l.Tokens = enc, dot, work.One
		return work.GEMV{Linear: l, Columns: columns}
	}
	return map[string]work.GEMV{
		"qkv":  of(work.Linear{Rows: []int{4096, 1024, 1024}, Cols: 4096, Norm: rms, Epilogue: work.QKV, QKV: heads}),
		"o":    of(work.Linear{Rows: []int{4096}, Cols: 4096, Epilogue: work.Add}),
		"glu":  of(work.Linear{Rows: []int{14336, 14336}, Cols: 4096, Norm: rms, Epilogue: work.GLU, Act: work.SiLU}),
		"down": of(work.Linear{Rows: []int{4096}, Cols: 14336, Epilogue: work.Add}),
		"head": of(work.Linear{Rows: []int{128256}, Cols: 4096, Norm: rms, Epilogue: work.Store}),
	}
}

// Products for few rows assemble without stack or spills, and two blocks fit a
// multiprocessor's registers.
func TestGEMVAssembles(t *testing.T) {
	tools, err := findTools()
	if err != nil {
		t.Skip(err)
	}
	ptxas, err := llc.FindPtxas()
	if err != nil {
		if os.Getenv("QUIRE_REQUIRE_DATA") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for _, name := range []string{"sm_80", "sm_90a"} {
		tgt, err := target.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, enc := range []layout.Enc{layout.Q4G128, layout.Q4_0, layout.Q8_0, layout.Q5_1, layout.Q4_K, layout.Q6_K, layout.BF16} {
			dot := work.F16
			if enc == layout.BF16 {
				dot = work.BF16
			}
			for k, p := range llama8B(1, enc, dot) {
				text, err := Text(tgt, k, p)
				if err != nil {
					t.Errorf("%s %s: %v", k, enc, err)
					continue
				}
				ptx, err := tools.PTX(context.Background(), tgt, k, text)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(ptx, "mma.sync.aligned.m16n8k16") {
					t.Errorf("%s %s %s: no mma", name, k, enc)
				}
				_, use, err := ptxas.Assemble(context.Background(), tgt, ptx)
				if err != nil {
					t.Errorf("%s %s: %v", name, k, err)
					continue
				}
				g := p.Grid()
				if u := use[0]; u.Stack+u.SpillLoads+u.SpillStores != 0 || u.Registers*32*g.Warps*g.Resident > 65536 {
					t.Errorf("%s %s %s: ptxas reports %+v, want neither stack nor spills, and %d blocks of %d warps to fit", name, k, enc, u, g.Resident, g.Warps)
				} else {
					t.Logf("%s %s %s: %d registers, %d bytes shared, %d warps, %d resident", name, enc, k, u.Registers, g.Shared, g.Warps, g.Resident)
				}
			}
		}
	}
}
