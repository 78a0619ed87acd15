package model_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"quire/codegen/llc"
	"quire/frontends"
	"quire/ir"
	"quire/ir/interp"
	"quire/passes/duo"
	"quire/tools/model"
)

// Gates of a compiled model are those of the queries and keys that the oracle makes, whose
// head groups, biases, norms and windows they have.
func TestMeasuredGates(t *testing.T) {
	if _, err := llc.Find(context.Background()); err != nil {
		t.Skip(err)
	}
	const sizes = "layers: 2\nvocab: 83\ncontext: 64\nnorm_eps: 1e-5\nhidden: 64\nheads: 4\nkv_heads: 2\nhead_dim: 16\nffn: 96\n"
	for _, family := range []string{"llama", "qwen2", "qwen3", "gemma2\nwindow: 20"} {
		path := filepath.Join(t.TempDir(), "m.yaml")
		if err := os.WriteFile(path, []byte("family: "+family+"\n"+sizes), 0o644); err != nil {
			t.Fatal(err)
		}
		ids := make([]int32, 40)
		for i := range ids {
			ids[i] = int32(i * i % 83)
		}
		const sink, recent, window = 2, 5, 24
		o := model.Options{CacheDir: t.TempDir(), Frontend: frontends.Options{Seed: 3}}
		got, err := model.MeasureGates(context.Background(), model.Ref{Path: path, Kind: model.Spec}, o,
			model.GateOptions{Sink: sink, Recent: recent, Window: window, Threads: 2}, ids)
		if err != nil {
			t.Fatal(family, err)
		}
		want := oracleGates(t, path, ids, sink, recent, window)
		for l := range want {
			for h := range want[l] {
				if d := math.Abs(got[l][h] - want[l][h]); !(d < 1e-5) || want[l][h] <= 0 {
					t.Errorf("%.6s: layer %d, head %d: %v, the oracle's %v", family, l, h, got[l][h], want[l][h])
				}
			}
		}
	}
}

func oracleGates(t *testing.T, path string, ids []int32, sink, recent, window int) duo.Gates {
	m, err := frontends.Load(path, frontends.Options{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	step, gates, n := m.Module.Func("step"), duo.Gates{}, float64(len(ids))
	var att []*ir.Value
	for _, v := range step.Body {
		if v.Op == ir.OpAttention {
			att = append(att, v)
			step.Results = append(step.Results, v.Args[0], v.Args[1].Args[1])
		}
	}
	for _, v := range att {
		gates = append(gates, make([]float64, m.Module.Cache(v.Args[1].Type.Cache).Heads))
	}
	for ; len(ids) > 0; ids = ids[min(window, len(ids)):] {
		bind, in := interp.StepOf(interp.NewState(), 1, interp.Turn{Slot: 0, Tokens: ids[:min(window, len(ids))]})
		results, err := interp.New(m.Module, m.Float32, interp.Options{}).Run(step, bind, in, interp.NewState())
		if err != nil {
			t.Fatal(err)
		}
		results = results[len(results)-2*len(att):]
		for l, v := range att {
			mass, err := interp.MassOutside(results[2*l], results[2*l+1], v.Attrs.(ir.AttentionAttrs), sink, recent)
			if err != nil {
				t.Fatal(err)
			}
			for h, x := range mass {
				gates[l][h*len(gates[l])/len(mass)] += x / n / float64(len(mass)/len(gates[l]))
			}
		}
	}
	return gates
}
