package main

import (
	"context"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"quire/codegen/llc"
	"quire/passes/duo"
	"quire/runtime"
	"quire/tools/model"
)

// small is a model of three layers, and tokens to feed it.
func small(t *testing.T) (*bench, []int32) {
	t.Helper()
	if _, err := llc.Find(t.Context()); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	b := &bench{model: filepath.Join(dir, "m.yaml"), dir: dir, cache: dir, threads: 2, out: io.Discard, log: io.Discard,
		duo: "sparsity=0.5,sink=4,recent=8", quest: "budget=32,page=16,physical-page=16,dense-layers=1", gates: filepath.Join(dir, "gates.tsv")}
	text := "family: llama\nlayers: 3\nvocab: 83\ncontext: 128\nnorm_eps: 1e-5\nhidden: 64\nheads: 4\nkv_heads: 2\nhead_dim: 16\nffn: 96\n"
	if err := os.WriteFile(b.model, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	gates := duo.Gates{{1, 0}, {0, 1}, {0.5, 0}}
	if err := os.WriteFile(b.gates, []byte(gates.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	b.ref = model.Ref{Kind: model.Spec, Path: b.model}
	ids := make([]int32, 128)
	for i := range ids {
		ids[i] = int32((i*i + 3*i) % 83)
	}
	return b, ids
}

// What is measured of a subset: the perplexity of `quire score --stepwise`, no error and no
// loss of mass of the plain model and of the exact case, both of others.
func TestMeasured(t *testing.T) {
	b, ids := small(t)
	at := []int{64, 128}
	plain := ""
	for _, c := range []struct {
		s     subset
		duo   string
		exact bool
	}{
		{subset{kv: "f32"}, b.duo, true},
		{subset{kv: "f32", duo: true, quest: true}, b.duo, false},
		{subset{kv: "f32", duo: true}, "sparsity=0.5,sink=4,recent=124", true},
		{subset{kv: "int8", quest: true}, b.duo, false},
	} {
		b.duo = c.duo
		rows, of, err := b.measure(t.Context(), c.s, ids, at, plain)
		if err != nil {
			t.Fatal(err)
		}
		if plain == "" {
			plain = of
		}
		for i, r := range rows {
			if want := stepwise(t, b, c.s, ids[:at[i]]); math.Abs(r.Perplexity-want) > 1e-4*want {
				t.Errorf("%v, %d tokens: perplexity %v, stepwise %v", c.s, at[i], r.Perplexity, want)
			}
			if exact := r.Error < 1e-5 && r.Mass > 1-1e-9 && r.LeastMass > 1-1e-9; exact != c.exact {
				t.Errorf("%v, %d tokens: %+v, exact %v", c.s, at[i], r, c.exact)
			}
			if r.LeastMass > r.Mass || r.Error > r.WorstError || r.LeastMass <= 0 {
				t.Errorf("%v, %d tokens: %+v", c.s, at[i], r)
			}
		}
	}
}

func stepwise(t *testing.T, b *bench, s subset, ids []int32) float64 {
	t.Helper()
	ctx := context.Background()
	heads, pages := "", ""
	if s.duo {
		heads = b.duo
	}
	if s.quest {
		pages = b.quest
	}
	o, err := b.options(s.kv, heads, pages)
	if err != nil {
		t.Fatal(err)
	}
	rt, err := runtime.Open(ctx, runtime.NewConfig().WithDevice(runtime.CPU).WithThreads(2))
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close(ctx)
	prog, _, err := model.Load(ctx, rt, b.model, o)
	if err != nil {
		t.Fatal(err)
	}
	sess, err := prog.NewSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer sess.Close(ctx)
	scores, err := sess.Score(ctx, ids, runtime.ScoreOptions{Stepwise: true})
	if err != nil {
		t.Fatal(err)
	}
	nll := 0.0
	for _, x := range scores[:len(scores)-1] {
		nll += x.NLL()
	}
	return math.Exp(nll / float64(len(scores)-1))
}

// A measurement is made once, until what it is of changes.
func TestRemembered(t *testing.T) {
	b, made := &bench{dir: t.TempDir()}, 0
	get := func(of string) {
		t.Helper()
		got, err := remember(b, "x", of, func() (int, error) { made++; return made, nil })
		if err != nil || got != made {
			t.Errorf("%d, %v; made %d times", got, err, made)
		}
	}
	for i, of := range []string{"a", "a", "b", "b"} {
		if get(of); made != i/2+1 {
			t.Errorf("%q: made %d times", of, made)
		}
	}
	b.forget("x")
	if get("b"); made != 3 {
		t.Errorf("forgotten: made %d times", made)
	}
}

// Sampled rows lie in the latter half of their context, the last one at its end.
func TestSampled(t *testing.T) {
	at := contexts(2048)
	n := make([]int, len(at))
	for row, c := range sampled(at) {
		if n[c]++; row < at[c]/2 || row >= at[c] {
			t.Errorf("row %d of context %d", row, at[c])
		}
	}
	for c := range at {
		if n[c] != samples {
			t.Errorf("context %d: %d rows, expected %d", at[c], n[c], samples)
		}
	}
}
