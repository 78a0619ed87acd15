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

// assembler makes cubins, or skips.
func assembler(t *testing.T) func(tgt target.Target, name string, p work.Params) llc.Usage {
	t.Helper()
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
	return func(tgt target.Target, name string, p work.Params) llc.Usage {
		text, err := Text(tgt, name, p)
		if err != nil {
			t.Fatalf("%s: %v", p.Key(), err)
		}
		ptx, err := tools.PTX(context.Background(), tgt, name, text)
		if err != nil {
			t.Fatalf("%s: %v", p.Key(), err)
		}
		if !strings.Contains(ptx, "mma.sync.aligned.m16n8k16") {
			t.Errorf("%s %s: no mma", tgt, p.Key())
		}
		_, use, err := ptxas.Assemble(context.Background(), tgt, ptx)
		if err != nil {
			t.Fatalf("%s %s: %v", tgt, p.Key(), err)
		}
		g := work.GridOf(p)
		if u := use[0]; u.Stack+u.SpillLoads+u.SpillStores != 0 || u.Registers*32*g.Warps*g.Resident > 65536 {
			t.Errorf("%s %s: ptxas reports %+v, want neither stack nor spills, and %d blocks of %d warps to fit", tgt, p.Key(), u, g.Resident, g.Warps)
		}
		return use[0]
	}
}

// Products for few rows assemble without stack or spills, and the blocks that should share
// a multiprocessor fit its registers.
func TestGEMVAssembles(t *testing.T) {
	assemble := assembler(t)
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
			for _, columns := range []int{1, 8} {
				for k, p := range llama8B(columns, enc, dot) {
					if p.Validate() != nil || k == "head" && enc != layout.Q4G128 {
						continue // too many rows of x for shared memory; much like the others
					}
					u, g := assemble(tgt, k, p), p.Grid()
					t.Logf("%s %s %s, %d rows: %d registers, %d bytes shared, %d warps, %d resident", name, enc, k, columns, u.Registers, g.Shared, g.Warps, g.Resident)
				}
			}
		}
	}
}

// Products for many rows do too.
func TestGEMMAssembles(t *testing.T) {
	assemble := assembler(t)
	for _, name := range []string{"sm_80", "sm_90a"} {
		tgt, err := target.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, enc := range []layout.Enc{layout.Q4G128, layout.Q6_K, layout.BF16} {
			dot := work.F16
			if enc == layout.BF16 {
				dot = work.BF16
			}
			for k, v := range llama8B(1, enc, dot) {
				if k == "o" || k == "head" {
					continue
				}
				l := v.Linear
				l.Tokens, l.Norm = work.Many, nil
				for _, shape := range [][2]int{{4, 128}, {2, 64}} {
					p := work.GEMM{Linear: l, RowWarps: shape[0], Block: shape[1]}
					if err := p.Validate(); err != nil {
						t.Fatal(err)
					}
					u, g := assemble(tgt, k, p), p.Grid()
					t.Logf("%s %s %s %v: %d registers, %d bytes shared, %d warps, %d resident", name, enc, k, shape, u.Registers, g.Shared, g.Warps, g.Resident)
				}
			}
		}
	}
}
