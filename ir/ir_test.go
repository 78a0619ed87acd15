package ir

import (
	"strings"
	"testing"

	"quire/ir/types"
	"quire/ir/work"
)

// layer builds one decoder layer with embedding and head.
func layer(t testing.TB) *Module {
	t.Helper()
	b := NewBuilder("tiny")
	n := b.Dim("N", Launch, 0, 64)
	s := b.Dim("S", Launch, 1, 8)
	mm := b.Dim("M", Launch, 0, 64)
	b.Dim("C", Device, 0, 4096)
	b.Table(Table{Name: "full", Page: 64})
	b.Cache(CacheDecl{Name: "kv0", Elem: types.Plain(types.F32), Heads: 2, Dim: 16, Table: "full"})
	f32 := types.Plain(types.F32)
	emb := b.Weight("emb", f32, 96, 64)
	g := b.Weight("g", f32, 64)
	f := b.Func("step")
	i32 := types.Plain(types.I32)
	tok := f.Param("tok", types.TensorOf(i32, n))
	pos := f.Param("pos", types.TensorOf(i32, n))
	seq := f.Param("seq", types.RowsOf(n, s))
	out := f.Param("out", types.TensorOf(i32, mm))
	kv := f.Param("kv", types.CacheOf("kv0"))
	x := f.Embed(tok, f.Weight(emb), types.InvalidDType)
	cs := f.RopeTable(pos, RopeTableAttrs{Dim: 16, Base: 10000})
	f.Scope("layers.0.attn")
	h := f.RMSNorm(x, g, 1e-5, 0)
	q := f.Linear(h, b.Weight("wq", types.Quantised("q4_1"), 64, 64), types.InvalidDType)
	k := f.Linear(h, b.Weight("wk", types.Quantised("q4_1"), 32, 64), types.InvalidDType)
	v := f.Linear(h, b.Weight("wv", types.Quantised("q4_1"), 32, 64), types.InvalidDType)
	qr := f.Rope(f.Unflatten(q, 16), cs, RopeAdjacent)
	kr := f.Rope(f.Unflatten(k, 16), cs, RopeAdjacent)
	kv1 := f.Append(kv, kr, f.Unflatten(v, 16), seq)
	recent := 7
	a := f.Attention(qr, kv1, seq, AttentionAttrs{Scale: 0.25, Recent: &recent})
	x = f.Add(x, f.Flatten(a))
	f.Scope("")
	y := f.RMSNorm(f.Gather(x, out), g, 1e-5, 0)
	logits := f.Named("logits", f.Linear(y, emb, types.InvalidDType))
	f.Return(logits, kv1)
	m, err := b.Module()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRoundTrip(t *testing.T) {
	text := Print(layer(t))
	m, err := Parse("t", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if err := Verify(m); err != nil {
		t.Fatal(err)
	}
	if again := Print(m); again != text {
		t.Fatalf("printed again:\n%s\nfirst:\n%s", again, text)
	}
	for _, want := range []string{"scope layers.0.attn", "recent = 7", "rope %", "style = adjacent", "%logits: f32[M, 96] = matmul"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestBuilderAccumulates(t *testing.T) {
	b := NewBuilder("bad")
	n := b.Dim("N", Launch, 0, 8)
	f := b.Func("f")
	x := f.Param("x", types.Of32(n, types.Const(8)))
	y := f.Linear(x, b.Weight("w", types.Plain(types.F32), 4, 9), types.InvalidDType)
	f.Return(f.Add(y, y), f.Slice(x, 4, 9))
	_, err := b.Module()
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "ir_test.go:") || !strings.Contains(lines[0], "K is 8 in arg 1 and 9 in arg 2") {
		t.Fatalf("errors:\n%v", err)
	}
}

func TestOpTable(t *testing.T) {
	for _, op := range Ops() {
		i := op.Info()
		if i.Name == "" || i.Doc == "" {
			t.Errorf("op %d: name %q, doc %q", op, i.Name, i.Doc)
		}
		if (i.infer == nil) != (i.Effect == Opaque) {
			t.Errorf("%s: opaque ops and only they have no infer", i.Name)
		}
		if got, ok := OpByName(i.Name); !ok || got != op {
			t.Errorf("%s: OpByName gives %v", i.Name, got)
		}
	}
}

const kernelText = `dim N launch 0..64
dim M launch 0..64
dim S launch 1..8
weight @g: f32[64]
weight @w: q4_1[32, 64] layout lanes
func @step(%x: f32[N, 64]) -> (f32[N, 32]) {
  %0: f32[N, 64] = rmsnorm %x, @g {eps = 1e-05}
  %1: f32[N, 32] = matmul %0, @w
  return %1
}
kernels @step.decode of @step when N = 1, M <= 4 (%x: f32[N, 64]) -> (f32[N, 32]) {
  buffer %y: f32[N, 32] {slot = 0}
  launch linear {enc = q4_1, rows = [32], cols = 64, tokens = one, dot = f32, norm = {eps = 1e-05}, epilogue = store} on %x, @g, @w, %y -> %y {
    %0: f32[N, 64] = rmsnorm %x, @g {eps = 1e-05}
    %1: f32[N, 32] = matmul %0, @w
    yield %1
  }
  return %y
}
`

func TestKernelText(t *testing.T) {
	m, err := Parse("k", kernelText)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(m); err != nil {
		t.Fatal(err)
	}
	if got := Print(m); got != kernelText {
		t.Fatalf("got\n%s", got)
	}
	k := m.Funcs[1].Body[1].Launch[0].Kernel.(work.Linear)
	if k.Norm == nil || k.Norm.Eps != 1e-5 || k.Rows[0] != 32 || k.Enc != "q4_1" {
		t.Fatalf("kernel %+v", k)
	}
}
