package cpu_test

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"quire/codegen/kernels"
	"quire/codegen/llc"
	"quire/ir/target"
	"quire/ir/types/block"
	"quire/ir/types/layout"
	"quire/ir/work"
	"quire/runtime/cpu"
	"quire/runtime/device"
	"quire/runtime/program"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var tools = sync.OnceValues(func() (llc.Tools, error) { return llc.Find(context.Background()) })

// Sizes of the test Program: angles of positions, twice them, through a weight.
const (
	rot  = 32 // values of a row
	rows = 40 // of the weight, no whole number of tiles
)

// build makes a Program of two steps. Both compute y = 2 * (cos, sin)(pos); "one" (a
// single row) goes on to logits = W y, "many" gathers the rows of out.
func build(t testing.TB, source string) *program.Program { return buildTimes(t, source, 2) }

// buildTimes is build with another factor.
func buildTimes(t testing.TB, source string, factor float32) *program.Program {
	t.Helper()
	ts, err := tools()
	if err != nil {
		t.Skip(err)
	}
	host, err := target.Host()
	if err != nil {
		t.Skip(err)
	}
	freq := make([]float32, rot/2)
	for i := range freq {
		freq[i] = float32(math.Pow(100, -float64(i)/float64(len(freq))))
	}
	p := &program.Program{
		Model: "angles", Target: host.Name, Vocab: rot, Context: 1 << 20,
		Slots:  []string{"128*N, 128*M", "128*N", "160*M"},
		Tables: []program.Table{{Name: "full", Page: 64}},
		Caches: []program.Cache{{Name: "kv0", Elem: "f32", Heads: 1, Dim: 16, PageBytes: work.PageBytes(1, 16, 64, layout.F32)}},
		Weights: []program.Weight{{Name: "w", Layout: program.LayoutLanes, Elem: "f32", Cols: rot, Bytes: 48 * rot * 4, Segments: []program.Segment{
			{Tensor: "a", Rows: rows - 8, Elem: "f32", Bytes: (rows - 8) * rot * 4},
			{Tensor: "b", Rows: 8, Elem: "f32", Offset: (rows - 8) * rot * 4, Bytes: 8 * rot * 4}}}},
		Sources: []program.Source{{Path: source, Bytes: rows * rot * 4}},
	}
	for _, f := range host.Features {
		p.Features = append(p.Features, string(f))
	}
	for i, k := range []work.Params{
		work.RopeTable{RotaryDim: rot, Freq: freq},
		work.Map{Dim: rot, Expr: []work.MapStep{{Op: work.MapIn}, {Op: work.MapScale, Value: factor}}},
		work.Gather{Dim: rot},
		work.Linear{Enc: layout.F32, Rows: []int{rows - 8, 8}, Cols: rot, Tokens: work.One, Dot: work.F32, Epilogue: work.Store},
	} {
		p.Kernels = append(p.Kernels, program.Kernel{Symbol: "k" + string(rune('0'+i)), Params: k})
	}
	slot := func(i int) program.Arg { return program.Arg{Kind: program.ArgSlot, Index: i} }
	in := func(n string) program.Arg { return program.Arg{Kind: program.ArgInput, Name: n} }
	dim := func(n string) program.Arg { return program.Arg{Kind: program.ArgDim, Name: n} }
	angles := program.Launch{Name: "angles", Kernel: 0, Args: []program.Arg{in("pos"), slot(0), dim("N")}, Bytes: "132*N"}
	double := program.Launch{Name: "double", Kernel: 1, Args: []program.Arg{slot(0), slot(1), dim("N")}, Flops: "32*N"}
	p.Steps = []program.Step{
		{Name: "one", When: []program.Guard{{Lhs: "N", Rhs: "1"}, {Lhs: "M", Rhs: "1"}},
			Launch: []program.Launch{angles, double,
				{Name: "head", Kernel: 3, Args: []program.Arg{slot(1), {Kind: program.ArgWeight}, slot(2), dim("M")}, Rows: "M", For: []int{0}}},
			Results: []program.Result{{Name: "logits", Slot: 2, Elem: "f32", Rows: "M", Cols: rows}}},
		{Name: "many",
			Launch: []program.Launch{angles, double,
				{Name: "rows", Kernel: 2, Args: []program.Arg{slot(1), in("out"), slot(0), dim("M")}}},
			Results: []program.Result{{Name: "logits", Slot: 0, Elem: "f32", Rows: "M", Cols: rot}}},
	}
	var names, texts []string
	for _, k := range p.Kernels {
		text, err := kernels.Text(host, k.Symbol, k.Params)
		if err != nil {
			t.Fatal(err)
		}
		names, texts = append(names, k.Symbol), append(texts, text)
	}
	driver, err := kernels.DriverText(host)
	if err != nil {
		t.Fatal(err)
	}
	if p.Object, err = ts.Shared(t.Context(), host, append(names, "quire_run"), append(texts, driver)); err != nil {
		t.Fatal(err)
	}
	return p
}

// weightFile writes row-major values.
func weightFile(t testing.TB) (string, []float32) {
	t.Helper()
	w := make([]float32, rows*rot)
	for i := range w {
		w[i] = float32(i%13) - 6
	}
	raw := make([]byte, 4*len(w))
	if err := block.EncodeRows("f32", rot, w, raw); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "w.bin")
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return path, w
}

// batch is a step of slots that bring the given rows each, after `before` tokens.
func batch(before int, slots ...[]int32) *device.Batch {
	b := &device.Batch{Want: device.Logits, Pages: []device.Pages{{Width: (before + 1000) / 64}}}
	for s, pos := range slots {
		b.SlotStart = append(b.SlotStart, int32(len(b.Tok)))
		b.SlotNew = append(b.SlotNew, int32(len(pos)))
		b.SlotLen = append(b.SlotLen, int32(before))
		for range b.Pages[0].Width {
			b.Pages[0].Entries = append(b.Pages[0].Entries, -1)
		}
		for _, p := range pos {
			b.Tok, b.Pos, b.RowSlot = append(b.Tok, 1), append(b.Pos, p), append(b.RowSlot, int32(s))
		}
		b.Out = append(b.Out, int32(len(b.Tok)-1))
	}
	return b
}

// want is a row of the "many" step.
func want(p *program.Program, pos int32) []float32 {
	var out []float32
	for _, f := range p.Kernels[0].Params.(work.RopeTable).Freq {
		a := float64(float32(pos) * f)
		out = append(out, float32(2*math.Cos(a)), float32(2*math.Sin(a)))
	}
	return out
}

func near(a, b []float32, tol float64) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Abs(float64(x-y)) <= tol })
}

func open(t testing.TB, p *program.Program, o cpu.Options) *cpu.Model {
	t.Helper()
	o.Pages = []int{100}
	m, err := cpu.Load(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if got := m.Memory(); got != (device.Memory{}) {
			t.Errorf("after Close the ledger is %+v", got)
		}
	})
	return m
}

func TestSteps(t *testing.T) {
	path, w := weightFile(t)
	p := build(t, path)
	for _, threads := range []int{1, 2, 5} {
		m := open(t, p, cpu.Options{Threads: threads, Profile: true})
		for round := range 50 { // sizes change: memory grows and moves between steps
			pos := []int32{int32(round), 7, 9, int32(3 * round)}
			b := batch(round, pos[:1+round%3], pos[3:])
			out, err := m.Step(b)
			if err != nil {
				t.Fatal(err)
			}
			for i, row := range b.Out {
				if got := out.Logits[i*rot:][:rot]; !near(got, want(p, b.Pos[row]), 2e-6) {
					t.Fatalf("%d threads, round %d, row %d: %v, want %v", threads, round, i, got, want(p, b.Pos[row]))
				}
			}
			one := batch(2*round, pos[:1])
			if out, err = m.Step(one); err != nil {
				t.Fatal(err)
			}
			y, exact := want(p, pos[0]), make([]float32, rows)
			for r := range exact {
				for k, v := range y {
					exact[r] += v * w[r*rot+k]
				}
			}
			if !near(out.Logits, exact, 1e-3) {
				t.Fatalf("%d threads, round %d: %v, want %v", threads, round, out.Logits, exact)
			}
		}
		prof := m.Profile()
		if len(prof) != 6 || prof[0].Calls != 50 || prof[0].Step != "one" || prof[0].Bytes != 50*132 || prof[0].Seconds <= 0 {
			t.Errorf("profile %+v", prof)
		}
		if again := m.Profile(); len(again) != 0 {
			t.Errorf("a second report has %d launches", len(again))
		}
	}
}

// A launch that only serves a result nobody wants is left out.
func TestUnwantedResult(t *testing.T) {
	path, _ := weightFile(t)
	m := open(t, build(t, path), cpu.Options{Threads: 2, Profile: true})
	b := batch(0, []int32{1})
	b.Want = device.ArgMax
	out, err := m.Step(b)
	if err != nil || out.Logits != nil || out.ArgMax != nil {
		t.Errorf("results %v, error %v, want none", out, err)
	}
	if prof := m.Profile(); len(prof) != 2 {
		t.Errorf("profile %+v, want two launches", prof)
	}
}

func TestPackedInFile(t *testing.T) {
	path, _ := weightFile(t)
	p := build(t, path)
	m := open(t, p, cpu.Options{Threads: 2})
	file := filepath.Join(t.TempDir(), "m.quire")
	if err := program.Write(file, p, func(i int) ([]byte, error) { return m.Weight(i), nil }); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f, err := program.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m2 := open(t, f.Program, cpu.Options{Threads: 1, Packed: f.Weight, Map: true})
	m3 := open(t, f.Program, cpu.Options{Threads: 3, Packed: f.Weight})
	if mem := m3.Memory(); mem.Mapped != 0 || mem.Weights == 0 || !slices.Equal(m3.Weight(0), f.Weight(0)) {
		t.Errorf("private weights: ledger %+v", mem)
	}
	b := batch(0, []int32{11})
	x, err := m.Step(b)
	if err != nil {
		t.Fatal(err)
	}
	y, err := m2.Step(b)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(x.Logits, y.Logits) {
		t.Errorf("logits %v from the file, %v from the source", y.Logits, x.Logits)
	}
	if mem := m2.Memory(); mem.Weights != 0 || mem.Mapped != p.Weights[0].Bytes {
		t.Errorf("ledger %+v", mem)
	}
}

func TestPages(t *testing.T) {
	path, _ := weightFile(t)
	m := open(t, build(t, path), cpu.Options{})
	m.CopyPage(0, 3, 99) // within bounds; content is the kernels' own
	m.Discard(0, []int32{3, 99})
	if got, want := m.Memory().Caches, int64(100*2*16*64*4); got != want {
		t.Errorf("caches of %d bytes, want %d", got, want)
	}
}

func TestBadBatches(t *testing.T) {
	path, _ := weightFile(t)
	m := open(t, build(t, path), cpu.Options{})
	for _, c := range []struct {
		name string
		edit func(*device.Batch)
		says string
	}{
		{"token", func(b *device.Batch) { b.Tok[1] = rot }, "row 1: token 32"},
		{"negative token", func(b *device.Batch) { b.Tok[0] = -1 }, "row 0: token -1"},
		{"out", func(b *device.Batch) { b.Out[0] = 3 }, "result 0 is of row 3"},
		{"slot of a row", func(b *device.Batch) { b.RowSlot[2] = 0 }, "row 2: slot 0, expected 1"},
		{"gap", func(b *device.Batch) { b.SlotStart[1] = 1 }, "slot 1"},
		{"too few rows", func(b *device.Batch) { b.SlotNew[1] = 0 }, "2 rows in slots"},
		{"pages", func(b *device.Batch) { b.SlotLen[1] = 1 << 20 }, "table 0, slot 1"},
		{"page", func(b *device.Batch) { b.Pages[0].Entries[0] = 100 }, "page 100 of 100"},
		{"table size", func(b *device.Batch) { b.Pages[0].Width++ }, "expected 2 slots of"},
		{"empty", func(b *device.Batch) { *b = device.Batch{} }, "batch of 0 tokens"},
	} {
		b := batch(0, []int32{1, 2}, []int32{3})
		c.edit(b)
		if _, err := m.Step(b); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want it to say %q", c.name, err, c.says)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	path, _ := weightFile(t)
	good := build(t, path)
	for _, c := range []struct {
		name string
		edit func(*program.Program)
		says string
	}{
		{"B3 feature", func(p *program.Program) { p.Features = []string{"sm_200"} }, `needs "sm_200", which this runtime does not know`},
		{"object", func(p *program.Program) { p.Object = []byte("no ELF") }, "cpu: object"},
		{"PTX", func(p *program.Program) { p.Object = []byte(".version 8.3\n.target sm_90a\n") }, "cpu: object"},
		{"symbol", func(p *program.Program) {
			p.Kernels = slices.Clone(p.Kernels)
			p.Kernels[0].Symbol = "absent"
		}, `no symbol "absent"`},
		{"source", func(p *program.Program) { p.Sources = []program.Source{{Path: path + ".gone", Bytes: rows * rot * 4}} }, "w.bin.gone"},
		{"source size", func(p *program.Program) { p.Sources = []program.Source{{Path: path, Bytes: 1 << 20}} }, "the program was compiled from 1048576"},
		{"digest", func(p *program.Program) {
			p.Sources = []program.Source{{Path: path, Bytes: rows * rot * 4, SHA256: strings.Repeat("0", 64)}}
		}, "has sha256"},
		{"validate", func(p *program.Program) { p.Vocab = 0 }, "vocabulary of 0"},
		{"memory", func(p *program.Program) {
			p.Caches = []program.Cache{{Name: "kv0", Heads: 1, Dim: 16, PageBytes: 1 << 46}, {Name: "kv1", Heads: 1, Dim: 16, PageBytes: 1 << 46}}
		}, "cache kv0: 100 pages: cpu: "},
	} {
		p := *good
		c.edit(&p)
		_, err := cpu.Load(t.Context(), &p, cpu.Options{Pages: []int{100}, Verify: true})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want it to say %q", c.name, err, c.says)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cpu.Load(ctx, good, cpu.Options{Pages: []int{1}}); err == nil {
		t.Error("a cancelled load succeeded")
	}
}

// A step allocates nothing once its sizes have been seen.
func TestStepAllocates(t *testing.T) {
	path, _ := weightFile(t)
	m := open(t, build(t, path), cpu.Options{Threads: 2})
	b := batch(0, []int32{1})
	if _, err := m.Step(b); err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(200, func() {
		b.SlotLen[0]++
		if b.SlotLen[0] > 900 {
			b.SlotLen[0] = 0
		}
		if _, err := m.Step(b); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations a step, want 0", n)
	}
}

func BenchmarkStep(b *testing.B) {
	path, _ := weightFile(b)
	p := build(b, path)
	for _, threads := range []int{1, 2} {
		b.Run("threads="+string(rune('0'+threads)), func(b *testing.B) {
			m := open(b, p, cpu.Options{Threads: threads})
			in := batch(0, []int32{1})
			for b.Loop() {
				if _, err := m.Step(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Random weights are the same at any number of threads, and quantised ones are packed
// as they are coded.
func TestRandomWeights(t *testing.T) {
	path, _ := weightFile(t)
	p := build(t, path)
	head := p.Kernels[3].Params.(work.Linear)
	head.Enc = layout.Q8_0
	p.Kernels[3].Params = head // its code is not run
	p.Weights[0].Elem = "q8_0"
	f, _ := layout.Of("q8_0")
	p.Weights[0].Bytes = int64(f.Size(rows-8, rot) + f.Size(8, rot))
	for i := range p.Weights[0].Segments {
		s := &p.Weights[0].Segments[i]
		s.Elem, s.Source, s.Seed, s.Std = "q8_0", -1, 5, 1
	}
	a := open(t, p, cpu.Options{Threads: 1})
	b := open(t, p, cpu.Options{Threads: 4})
	if !slices.Equal(a.Weight(0), b.Weight(0)) {
		t.Error("random weights differ between thread counts")
	}
	d := binary.LittleEndian.Uint16(a.Weight(0))
	if d == 0 {
		t.Error("the first scale is zero")
	}
}
