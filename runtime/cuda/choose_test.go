package cuda_test

import (
	"strings"
	"testing"

	"quire/ir/work"
	"quire/runtime/cuda"
	"quire/runtime/cuda/driver/fake"
	"quire/runtime/device"
	"quire/runtime/program"
)

// sampling is the toy with kernels that choose: a draw of u takes the token 8u after the
// greatest; top-k 7 stands for a row that is not finite.
func sampling(t testing.TB) (*program.Program, map[string]fake.Kernel) {
	p := toy(t)
	params := work.Sample{Vocab: vocab}
	tops := params
	tops.Tops = true
	p.Kernels = append(p.Kernels, program.Kernel{Symbol: "sample_tops", Params: tops}, program.Kernel{Symbol: "sample", Params: params})
	kernels := map[string]fake.Kernel{}
	for name, k := range toyKernels {
		kernels[name] = k
	}
	kernels["sample_tops"] = fake.Kernel{Params: 4, Run: func(l fake.Launch) {
		m := int(l.Words[2])
		x := fake.Slice[float32](l, l.Words[0], m*vocab)
		for i := range m {
			state := fake.Slice[int32](l, l.Words[1]+uint64(int64(i)*params.StateRow()), 5)
			for j := range vocab {
				if x[i*vocab+j] == 1 {
					state[4] = int32(j)
				}
			}
		}
	}}
	kernels["sample"] = fake.Kernel{Params: 8, Run: func(l fake.Launch) {
		m := int(l.Words[6])
		how, y := fake.Slice[uint32](l, l.Words[1], m*work.SampleHow), fake.Slice[int32](l, l.Words[5], m)
		turn := int(fake.Slice[int32](l, l.Words[3], 1)[0])
		draws := fake.Slice[int64](l, l.Words[2], (turn+1)*m)[turn*m:]
		for i := range y {
			state := fake.Slice[int32](l, l.Words[4]+uint64(int64(i)*params.StateRow()), 5)
			y[i] = (state[4] + int32(draws[i]>>50)) % vocab
			if how[i*work.SampleHow+work.SampleK] == 7 {
				y[i] = -1
			}
			if state[0] != 0 || int(l.Words[7]) != m {
				y[i] = 1000 // counters begin as zeros, and a row has an item
			}
		}
	}}
	return p, kernels
}

// eighth is the token that the toy chooses by a number.
func eighth(s *sequence, u float64) int32 { return (toyNext(s.tokens) + int32(8*u)) % vocab }

// choices runs steps and a run that choose by numbers.
func choices(t testing.TB, m *cuda.Model) error {
	t.Helper()
	p, seqs := &pool{}, []*sequence{{}, {}, {}}
	us := []float64{0.9, 0, 0.5}
	for turn, n := range []int{5, 1, 1, 20} {
		feed := [][]int32{make([]int32, n), {3}, {9, 2}}
		b := p.batch(seqs, feed)
		b.Want = device.Chosen
		for i := range seqs {
			b.Choices = append(b.Choices, device.Choice{Temperature: float64(i), TopK: 40, Draws: []float64{us[i]}}) // the first is greedy
		}
		out, err := m.Step(b)
		if err != nil {
			return err
		}
		for i, s := range seqs {
			want := eighth(s, us[i])
			if i == 0 {
				want = toyNext(s.tokens)
			}
			if out.Chosen[i] != want || out.Logits != nil || out.ArgMax != nil {
				t.Fatalf("step %d, row %d: output %+v, want token %d alone", turn, i, out, want)
			}
		}
	}
	s := seqs[1]
	const steps = 60
	b := p.batch([]*sequence{s}, [][]int32{{4}})
	for len(s.pages)*page < len(s.tokens)+steps {
		p.next++
		s.pages = append(s.pages, poolPages-p.next)
	}
	b.Pages[0] = device.Pages{Width: len(s.pages), Entries: s.pages}
	c := device.Choice{Temperature: 1}
	for i := range steps {
		c.Draws = append(c.Draws, float64(i)/steps)
	}
	b.Choices = []device.Choice{c}
	n := 0
	return m.Run(b, steps, func(token int32) bool {
		if want := eighth(s, c.Draws[n]); token != want {
			t.Fatalf("step %d of a run: token %d, want %d", n, token, want)
		}
		s.tokens = append(s.tokens, token)
		n++
		return true
	})
}

func TestChoices(t *testing.T) {
	for _, plain := range []bool{false, true} {
		p, kernels := sampling(t)
		d := &fake.Driver{Kernels: kernels}
		o := options(d)
		o.NoGraphs = plain
		m, err := cuda.Load(t.Context(), p, o)
		if err != nil {
			t.Fatal(err)
		}
		if !m.Chooses() {
			t.Error("a program with the kernels does not choose")
		}
		for range 2 {
			if err := choices(t, m); err != nil {
				t.Error(err)
			}
		}
		if err := chat(t, m); err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		empty(t, d)
	}
}

// A row that no token can be chosen from is told from the others, and feeds a token that there is.
func TestNotFinite(t *testing.T) {
	p, kernels := sampling(t)
	d := &fake.Driver{Kernels: kernels}
	m, err := cuda.Load(t.Context(), p, options(d))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pl, s := &pool{}, &sequence{}
	b := pl.batch([]*sequence{s}, [][]int32{{4}})
	b.Choices = []device.Choice{{Temperature: 1, TopK: 7, Draws: []float64{0, 0, 0}}}
	var got []int32
	if err := m.Run(b, 3, func(token int32) bool { got = append(got, token); return true }); err != nil || len(got) != 3 || got[0] != -1 || got[2] != -1 {
		t.Errorf("tokens %v, error %v", got, err)
	}
}

func TestChoicesRefuse(t *testing.T) {
	d := &fake.Driver{Kernels: toyKernels}
	m := open(t, d, options(d))
	p, s := &pool{}, &sequence{}
	b := p.batch([]*sequence{s}, [][]int32{{4}})
	b.Want, b.Choices = device.Chosen, []device.Choice{{}}
	if _, err := m.Step(b); err == nil || !strings.Contains(err.Error(), "kernels of family sample") || m.Chooses() {
		t.Errorf("without the kernels: %v", err)
	}
	for _, c := range []struct {
		choices []device.Choice
		says    string
	}{{nil, "0 choices of 1 results"}, {[]device.Choice{{Temperature: 1}}, "result 0: 0 numbers drawn for 1 steps"}} {
		p, kernels := sampling(t)
		d := &fake.Driver{Kernels: kernels}
		m, err := cuda.Load(t.Context(), p, options(d))
		if err != nil {
			t.Fatal(err)
		}
		b.Choices = c.choices
		if _, err := m.Step(b); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("error %v, want %q", err, c.says)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestChoicesOutOfMemory(t *testing.T) { eachAllocation(t, sampling, 5, choices) }
