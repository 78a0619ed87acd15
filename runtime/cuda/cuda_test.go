package cuda_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"quire/runtime/cuda"
	"quire/runtime/cuda/driver"
	"quire/runtime/cuda/driver/fake"
	"quire/runtime/device"
	"quire/runtime/program"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(d *fake.Driver) cuda.Options {
	return cuda.Options{Library: d, Pages: []int{poolPages}, Threads: 2}
}

// empty fails the test unless the driver was given everything back.
func empty(t testing.TB, d *fake.Driver) {
	t.Helper()
	if dev, host, objects, contexts := d.Ledger(); dev != 0 || host != 0 || objects != 0 || contexts != 0 {
		t.Errorf("after Close the driver holds %d bytes, %d pinned, %d objects, %d contexts", dev, host, objects, contexts)
	}
}

func open(t testing.TB, d *fake.Driver, o cuda.Options) *cuda.Model {
	t.Helper()
	m, err := cuda.Load(t.Context(), toy(t), o)
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
		empty(t, d)
	})
	return m
}

// chat runs prompts of three sequences, then decode steps of all and of one, with sizes
// that grow: rows, slots, widths of tables.
func chat(t testing.TB, m *cuda.Model) error {
	t.Helper()
	p := &pool{}
	seqs := []*sequence{{}, {}, {}}
	prompt := func(n int) []int32 {
		out := make([]int32, n)
		for i := range out {
			out[i] = int32((7*i + n) % vocab)
		}
		return out
	}
	if err := p.step(t, m, seqs[:1], [][]int32{prompt(5)}); err != nil {
		return err
	}
	if err := p.step(t, m, seqs, [][]int32{{1}, prompt(130), prompt(64)}); err != nil {
		return err
	}
	for range 70 {
		if err := p.step(t, m, seqs, [][]int32{{toyNext(seqs[0].tokens)}, {3}, {9}}); err != nil {
			return err
		}
	}
	if err := p.step(t, m, seqs[1:2], [][]int32{prompt(1100)}); err != nil { // more than 16 pages
		return err
	}
	for range 3 {
		if err := p.step(t, m, seqs[:2], [][]int32{{5}, {6}}); err != nil {
			return err
		}
	}
	return nil
}

func TestSteps(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*cuda.Options)
	}{
		{"graphs", func(*cuda.Options) {}},
		{"launches", func(o *cuda.Options) { o.NoGraphs = true }},
		{"profile", func(o *cuda.Options) { o.Profile = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &fake.Driver{Kernels: toyKernels}
			o := options(d)
			c.edit(&o)
			m := open(t, d, o)
			if err := chat(t, m); err != nil {
				t.Fatal(err)
			}
			prof := m.Profile()
			if o.Profile != (len(prof) == 12) {
				t.Errorf("%d launches in the profile", len(prof))
			}
			if o.Profile && (prof[0].Step != "decode" || prof[0].Calls != 73 || prof[0].Bytes != 132*(3*70+2*3) || prof[0].Seconds <= 0) {
				t.Errorf("profile %+v", prof[0])
			}
		})
	}
}

// One graph serves every decode step of a shape, however long the sequences get.
func TestGraphCache(t *testing.T) {
	d := &fake.Driver{Kernels: toyKernels}
	m := open(t, d, options(d))
	p, seqs := &pool{}, []*sequence{{}, {}}
	for range 200 {
		if err := p.step(t, m, seqs, [][]int32{{1}, {2}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.Counts[driver.GraphInstantiate]; n != 1 {
		t.Errorf("%d graphs for 200 steps of a shape, want 1", n)
	}
	if n := d.Counts[driver.GraphLaunch]; n != 200 {
		t.Errorf("%d launches of it, want 200", n)
	}
	if n := d.Counts[driver.LaunchKernelEx]; n != 6 {
		t.Errorf("%d launches of kernels, want the 6 of the capture", n)
	}
	if err := p.step(t, m, seqs[:1], [][]int32{{1}}); err != nil {
		t.Fatal(err)
	}
	if n := d.Counts[driver.GraphInstantiate]; n != 2 {
		t.Errorf("%d graphs for two shapes, want 2", n)
	}
}

// Where memory moved, graphs are made to point there, or made anew where the driver does not
// do that; step memory comes from a pool where the device has them.
func TestMovedMemory(t *testing.T) {
	for _, c := range []struct {
		name             string
		noEdits, noPools bool
		graphs           int
	}{{"updated", false, false, 1}, {"made anew", true, false, 2}, {"no pools", false, true, 1}} {
		t.Run(c.name, func(t *testing.T) {
			d := &fake.Driver{Kernels: toyKernels, NoEdits: c.noEdits, NoPools: c.noPools}
			m := open(t, d, options(d))
			p, seqs := &pool{}, []*sequence{{}, {}}
			for i, feed := range [][]int32{{1}, {2}, make([]int32, 3000), {3}, {4}, {5}} {
				s := seqs[:1]
				if i == 2 { // of another sequence: the shape stays
					s = seqs[1:]
				}
				if err := p.step(t, m, s, [][]int32{feed}); err != nil {
					t.Fatal(err)
				}
			}
			if n := d.Counts[driver.GraphInstantiate]; n != c.graphs {
				t.Errorf("%d graphs of one shape, want %d", n, c.graphs)
			}
			if n := d.Counts[driver.GraphExecUpdate]; n != 1 {
				t.Errorf("%d updates of a graph for memory that moved once, want 1", n)
			}
			if taken, given := d.Counts[driver.MemAllocFromPoolAsync], d.Counts[driver.MemFreeAsync]; c.noPools != (taken == 0) || c.noPools != (given == 0) {
				t.Errorf("%d blocks of a pool, %d given back before Close", taken, given)
			}
		})
	}
}

// An argmax nobody wants is left out.
func TestUnwantedResult(t *testing.T) {
	d := &fake.Driver{Kernels: toyKernels}
	m := open(t, d, options(d))
	p := &pool{}
	b := p.batch([]*sequence{{}}, [][]int32{{4}})
	b.Want = device.Logits
	out, err := m.Step(b)
	if err != nil || out.ArgMax != nil || out.Logits[toyNext([]int32{4})] != 1 {
		t.Errorf("output %+v, error %v", out, err)
	}
	if slices.Contains(d.Log, "kernel argmax") {
		t.Error("the kernel of an unwanted result ran")
	}
	b.Want |= device.Taps
	if _, err := m.Step(b); err == nil || !strings.Contains(err.Error(), "taps") {
		t.Errorf("taps give error %v, want a refusal", err)
	}
}

func TestCopyPage(t *testing.T) {
	d := &fake.Driver{Kernels: toyKernels}
	m := open(t, d, options(d))
	p, s := &pool{}, &sequence{}
	if err := p.step(t, m, []*sequence{s}, [][]int32{{1, 2, 3}}); err != nil {
		t.Fatal(err)
	}
	m.CopyPage(0, s.pages[0], 7)
	s.pages[0] = 7
	if err := p.step(t, m, []*sequence{s}, [][]int32{{4}}); err != nil {
		t.Fatal(err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*program.Program, *fake.Driver)
		says string
	}{
		{"target", func(p *program.Program, _ *fake.Driver) { p.Target = "x86-64-v3" }, "the program is for x86-64-v3"},
		{"old device", func(_ *program.Program, d *fake.Driver) { d.SM = 75 }, "the program is for sm_80, Fake GPU is sm_75"},
		{"another device's own", func(p *program.Program, d *fake.Driver) { p.Target, d.SM = "sm_90a", 100 }, "the program is for sm_90a, Fake GPU is sm_100"},
		{"code", func(_ *program.Program, d *fake.Driver) { d.Refuse = "toy" }, "ptxas: line 1: unexpected toy"},
		{"symbol", func(p *program.Program, _ *fake.Driver) { p.Kernels[2].Symbol = "absent" }, "cuModuleGetFunction: CUDA_ERROR_NOT_FOUND (absent)"},
		{"memory", func(_ *program.Program, d *fake.Driver) { d.Memory = 1 << 20 }, "cache kv0: 512 pages: cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY"},
		{"source", func(p *program.Program, _ *fake.Driver) { p.Sources[0].Path += ".gone" }, "gains.gone"},
		{"validate", func(p *program.Program, _ *fake.Driver) { p.Vocab = 0 }, "vocabulary of 0"},
	} {
		p, d := toy(t), &fake.Driver{Kernels: toyKernels}
		c.edit(p, d)
		_, err := cuda.Load(t.Context(), p, options(d))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want it to say %q", c.name, err, c.says)
		}
		empty(t, d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cuda.Load(ctx, toy(t), options(&fake.Driver{Kernels: toyKernels})); err == nil {
		t.Error("a cancelled load succeeded")
	}
}

// A run is what single steps are; after yield said no, what was begun still comes.
func TestRun(t *testing.T) {
	d := &fake.Driver{Kernels: toyKernels}
	m := open(t, d, options(d))
	p, s := &pool{}, &sequence{}
	if err := p.step(t, m, []*sequence{s}, [][]int32{{1, 2, 3}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ steps, stop, least, most int }{{1, 9, 1, 1}, {100, 200, 100, 100}, {60, 7, 7, 10}} {
		b := p.batch([]*sequence{s}, [][]int32{{toyNext(s.tokens)}})
		for len(s.pages)*page < len(s.tokens)+c.steps {
			p.next++
			s.pages = append(s.pages, poolPages-p.next)
		}
		b.Pages[0] = device.Pages{Width: len(s.pages), Entries: s.pages}
		n := 0
		err := m.Run(b, c.steps, func(token int32) bool {
			if want := toyNext(s.tokens); token != want {
				t.Fatalf("step %d of a run: token %d, want %d", n, token, want)
			}
			s.tokens = append(s.tokens, token)
			n++
			return n < c.stop
		})
		if err != nil || n < c.least || n > c.most {
			t.Errorf("a run of %d, stopped after %d: %d tokens, error %v", c.steps, c.stop, n, err)
		}
		s.tokens = s.tokens[:len(s.tokens)-1] // the last one was not fed
	}
	if n := d.Counts[driver.GraphInstantiate]; n > 2 {
		t.Errorf("%d graphs, want one of runs and perhaps one of steps", n)
	}
	b := p.batch([]*sequence{s}, [][]int32{{1}})
	if err := m.Run(b, 1000, func(int32) bool { return true }); err == nil || !strings.Contains(err.Error(), "table 0: no page for token") {
		t.Errorf("a run beyond its pages: %v", err)
	}
}

// A run shows -1 for a token whose logit is not finite, by the toy's measure any but 1; it goes on
// with token 0.
func TestRunNotFinite(t *testing.T) {
	kernels := maps.Clone(toyKernels)
	kernels["argmax"] = fake.Kernel{Params: 4, Run: func(l fake.Launch) { fake.Slice[int32](l, l.Words[1], 1)[0] = 3 }}
	d := &fake.Driver{Kernels: kernels}
	m := open(t, d, options(d))
	p, s := &pool{}, &sequence{}
	b := p.batch([]*sequence{s}, [][]int32{{1}})
	n := 0
	err := m.Run(b, 40, func(token int32) bool {
		want := int32(-1)
		if toyNext(s.tokens) == 3 {
			want = 3
		}
		if token != want {
			t.Errorf("step %d: token %d, want %d", n, token, want)
		}
		s.tokens = append(s.tokens, max(token, 0))
		n++
		return true
	})
	if err != nil || n != 40 {
		t.Errorf("%d steps, error %v", n, err)
	}
}
