package passes_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/ir"
	"quire/passes"
)

const text = `dim N launch 0..8
func @step(%x: f32[N, 16]) -> (f32[N, 16]) {
  %0: f32[N, 16] = silu %x
  %1: f32[N, 16] = scale %0 {by = 2}
  return %1
}
`

func module(t *testing.T) *ir.Module {
	t.Helper()
	m, err := ir.Parse("t", text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func pass(name string, run func(*passes.Context, *ir.Module) error) passes.Pass {
	return passes.Pass{Name: name, Doc: "A pass of this test.", Run: run}
}

func nothing(*passes.Context, *ir.Module) error { return nil }

func TestValidate(t *testing.T) {
	need := pass("test.need", nothing)
	need.Requires = []passes.Prop{passes.Canonical}
	set := pass("test.set", nothing)
	set.Sets = []passes.Prop{passes.Canonical}
	clear := pass("test.clear", nothing)
	clear.Clears = []passes.Prop{passes.Canonical}
	undocumented := pass("test.silent", nothing)
	undocumented.Doc = " "
	for _, c := range []struct {
		p     passes.Pipeline
		holds []passes.Prop
		want  string
	}{
		{passes.Pipeline{set, need}, nil, ""},
		{passes.Pipeline{need}, []passes.Prop{passes.Canonical}, ""},
		{passes.Pipeline{need, set}, nil, "test.need: requires canonical"},
		{passes.Pipeline{set, clear, need}, nil, "test.need: requires canonical"},
		{passes.Pipeline{pass("Bad Name", nothing)}, nil, "not package.verb-noun"},
		{passes.Pipeline{undocumented}, nil, "undocumented"},
	} {
		err := c.p.Validate(c.holds...)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func TestObserversNest(t *testing.T) {
	var log []string
	watch := func(name string) passes.Observer {
		return passes.Observer{
			Before: func(*passes.Event) error { log = append(log, "before "+name); return nil },
			After:  func(*passes.Event) error { log = append(log, "after "+name); return nil },
		}
	}
	p := passes.Pipeline{pass("test.a", func(c *passes.Context, m *ir.Module) error { c.Count("rule"); return nil })}
	r, err := p.Run(module(t), watch("outer"), watch("inner"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(log, ", "); got != "before outer, before inner, after inner, after outer" {
		t.Error(got)
	}
	if r[0].Counts["rule"] != 1 || r[0].OpsBefore != 2 || r[0].OpsAfter != 2 {
		t.Errorf("record %+v", r[0])
	}
}

// Verify stops a pass that breaks the module, and names the pass.
func TestVerifyCatches(t *testing.T) {
	p := passes.Pipeline{pass("test.break", func(_ *passes.Context, m *ir.Module) error {
		m.Funcs[0].Body = m.Funcs[0].Body[1:]
		return nil
	})}
	_, err := p.Run(module(t), passes.Verify())
	var ve ir.VerifyErrors
	if !errors.As(err, &ve) || !strings.Contains(err.Error(), "after test.break") {
		t.Fatalf("error %v", err)
	}
}

func TestDump(t *testing.T) {
	dir := t.TempDir()
	p := passes.Pipeline{pass("test.same", nothing), pass("test.rename", func(_ *passes.Context, m *ir.Module) error {
		m.Name = "renamed"
		return nil
	})}
	if _, err := p.Run(module(t), passes.Dump(dir, true)); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(f))
	}
	if got := strings.Join(names, " "); got != "00-start.ir 02-test.rename.ir" {
		t.Errorf("files %s", got)
	}
	b, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	if m, err := ir.Parse("d", string(b)); err != nil || m.Name != "renamed" {
		t.Errorf("the dump reads back as %v, %v", m, err)
	}
}

// A panic names the pass and leaves a file that opt can run and a golden can adopt.
func TestReproducer(t *testing.T) {
	dir := t.TempDir()
	p := passes.Pipeline{pass("test.crash", func(_ *passes.Context, m *ir.Module) error {
		m.Funcs = nil
		panic("oops")
	})}
	_, err := p.Run(module(t), passes.Reproducer(dir))
	var pe *passes.PanicError
	if !errors.As(err, &pe) || pe.Pass != "test.crash" {
		t.Fatalf("error %v", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "crash-test.crash.ir"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "quire opt --passes test.crash") || !strings.Contains(string(b), "panic: oops") {
		t.Errorf("reproducer:\n%s", b)
	}
	m, err := ir.Parse("r", string(b))
	if err != nil || ir.Print(m) != text {
		t.Errorf("the reproducer holds %v, %v", m, err)
	}
}

func TestPrintingObservers(t *testing.T) {
	var out strings.Builder
	p := passes.Pipeline{pass("test.note", func(c *passes.Context, m *ir.Module) error {
		f := m.Funcs[0]
		c.Missed("fuse", f, f.Body[0], "user %s is scale", "%1")
		m.Name = "n"
		c.Count("touch")
		return nil
	})}
	if _, err := p.Run(module(t), passes.Timing(&out), passes.Stats(&out), passes.Missed(&out), passes.Steps(&out)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"== touch\n+ module \"n\"", "missed test.note: fuse @step: %0: f32[N, 16] = silu %x: user %1 is scale", "touch", " ms      2 ->      2 ops"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

// Shuffle keeps dependencies: arguments before readers, cache readers before the
// consumer.
func TestShuffleIsLegal(t *testing.T) {
	const cached = `dim N launch 0..8
dim S launch 1..4
table @full {page = 64}
cache @kv: kv<f32>[1, 16] on @full
func @step(%q: f32[N, 1, 16], %k: f32[N, 1, 16], %seq: rows[N, S], %kv: @kv) -> (f32[N, 1, 16], f32[N, 1, 16], @kv) {
  %0: f32[N, 1, 16] = attention %q, %kv, %seq {scale = 1}
  %1: f32[N, 1, 16] = silu %k
  %2: @kv = kv.append %kv, %1, %1, %seq
  %3: f32[N, 1, 16] = attention %q, %2, %seq {scale = 1}
  return %0, %3, %2
}
`
	orders := map[string]bool{}
	for seed := range uint64(20) {
		m, err := ir.Parse("t", cached)
		if err != nil {
			t.Fatal(err)
		}
		p := passes.Pipeline{pass("test.look", func(_ *passes.Context, m *ir.Module) error { return ir.Verify(m) })}
		if _, err := p.Run(m, passes.Shuffle(seed)); err != nil {
			t.Fatal(err)
		}
		orders[ir.Print(m)] = true
	}
	if len(orders) < 2 {
		t.Errorf("%d orders in 20 draws", len(orders))
	}
}
