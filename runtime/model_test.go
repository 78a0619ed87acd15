package runtime_test

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"quire/codegen"
	"quire/codegen/llc"
	"quire/frontends"
	"quire/ir/target"
	"quire/passes/pipeline"
	"quire/runtime"
	"quire/runtime/program"
	"quire/runtime/sample"
)

const (
	vocab = 331
	spec  = `family: gemma3
layers: 6
vocab: 331
context: 700
norm_eps: 1e-5
hidden: 64
heads: 4
kv_heads: 2
head_dim: 32
ffn: 96
window: 100
quantisation: q4_1
`
)

var tools = sync.OnceValues(func() (llc.Tools, error) { return llc.Find(context.Background()) })

// compile makes a small model with random weights, two page tables and a window.
func compile(t testing.TB) *program.Program {
	t.Helper()
	ts, err := tools()
	if err != nil {
		t.Skip(err)
	}
	host, err := target.Host()
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(path, []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := frontends.Load(path, frontends.Options{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := pipeline.Standard(pipeline.Options{}).Run(m.Module); err != nil {
		t.Fatal(err)
	}
	src, err := m.Sources()
	if err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Build(t.Context(), m.Module, codegen.Options{Target: host, Tools: ts, Segments: m.Segment, Sources: src})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Describe(p); err != nil {
		t.Fatal(err)
	}
	return p
}

func bind(t testing.TB, p *program.Program, c runtime.Config) *runtime.Program {
	t.Helper()
	rt, err := runtime.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	out, err := rt.LoadProgram(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func text(seed, n int) []int32 {
	r := rand.New(rand.NewPCG(uint64(seed), 9))
	out := make([]int32, n)
	for i := range out {
		out[i] = r.Int32N(vocab)
	}
	return out
}

// reply is a prompt's logits, then those of each of n greedy tokens.
func reply(t testing.TB, p *runtime.Program, prompt []int32, n int) (tokens []int32, rows [][]float32) {
	s, err := p.NewSession(t.Context())
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	defer s.Close(t.Context())
	logits, err := s.Prefill(t.Context(), prompt)
	for err == nil {
		rows = append(rows, slices.Clone(logits))
		if len(tokens) == n {
			return tokens, rows
		}
		var top sample.Candidate
		if top, err = sample.Greatest(logits); err == nil {
			tokens = append(tokens, top.ID)
			logits, err = s.Decode(t.Context(), top.ID)
		}
	}
	t.Error(err)
	return nil, nil
}

func distance(a, b []float32) float64 {
	var d, n float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		d, n = d+(x-y)*(x-y), n+x*x
	}
	return math.Sqrt(d / n)
}

// On compiled kernels: a session's tokens do not depend on the sessions beside it, on the
// chunks of its prompt or on the number of threads.
func TestTokensDoNotDependOnCompany(t *testing.T) {
	p := compile(t)
	alone := bind(t, p, runtime.NewConfig().WithThreads(1).WithContext(600))
	const n = 12
	var prompts, tokens [][]int32
	var rows [][][]float32
	for i := range 7 {
		prompts = append(prompts, text(i, 1+i*i*8))
		tok, row := reply(t, alone, prompts[i], n)
		tokens, rows = append(tokens, tok), append(rows, row)
	}
	for _, c := range []runtime.Config{
		runtime.NewConfig().WithThreads(2),
		runtime.NewConfig().WithThreads(3).WithChunk(33),
		runtime.NewConfig().WithThreads(2).WithMaxSessions(3).WithChunk(100),
	} {
		prog := bind(t, p, c)
		var wg sync.WaitGroup
		for i := range prompts {
			wg.Go(func() {
				tok, row := reply(t, prog, prompts[i], n)
				if !slices.Equal(tok, tokens[i]) {
					t.Errorf("prompt %d: tokens %v, alone %v", i, tok, tokens[i])
					return
				}
				for k := range row {
					if d := distance(rows[i][k], row[k]); !(d < 1e-5) {
						t.Errorf("prompt %d, row %d: logits differ by %.2g from those alone", i, k, d)
					}
				}
			})
		}
		wg.Wait()
	}
}

// In steps of more than a few rows a prompt's logits are the same bits alone and in company.
func TestBitsDoNotDependOnCompany(t *testing.T) {
	p := bind(t, compile(t), runtime.NewConfig().WithThreads(2).WithChunk(4096))
	var alone [][]float32
	for i := range 6 {
		_, rows := reply(t, p, text(i, 16+37*i), 0)
		alone = append(alone, rows[0])
	}
	var wg sync.WaitGroup
	for i := range alone {
		wg.Go(func() {
			if _, rows := reply(t, p, text(i, 16+37*i), 0); len(rows) == 0 || !slices.Equal(rows[0], alone[i]) {
				t.Errorf("prompt %d: other bits than alone", i)
			}
		})
	}
	wg.Wait()
}

// The same steps give the same bits at any number of threads.
func TestBitsDoNotDependOnThreads(t *testing.T) {
	p := compile(t)
	var want [][]float32
	for _, threads := range []int{1, 2, 4} {
		_, rows := reply(t, bind(t, p, runtime.NewConfig().WithThreads(threads)), text(1, 300), 20)
		if want == nil {
			want = rows
		}
		for k := range rows {
			if !slices.Equal(rows[k], want[k]) {
				t.Fatalf("%d threads, row %d: logits differ by %.2g", threads, k, distance(want[k], rows[k]))
			}
		}
	}
}

// Long after a window has dropped pages, fed at once or token by token, forked or not.
func TestLongContext(t *testing.T) {
	p := bind(t, compile(t), runtime.NewConfig().WithThreads(2).WithChunk(64))
	in := text(2, 600)
	_, rows := reply(t, p, in, 0)
	s, err := p.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var logits []float32
	for i, tok := range in {
		if i == 450 { // the parent goes elsewhere
			f, err := s.Fork(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Prefill(t.Context(), text(3, 90)); err != nil {
				t.Fatal(err)
			}
			s = f
		}
		if logits, err = s.Decode(t.Context(), tok); err != nil {
			t.Fatal(err)
		}
	}
	if d := distance(rows[0], logits); !(d < 1e-5) {
		t.Errorf("token by token the logits differ by %.2g", d)
	}
	st, err := p.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// 10 pages of the child and 9 of the parent, 7 of them shared; the window's fewer.
	if full, window := st.Tables[0].Peak, st.Tables[1].Peak; max(full, window) != 12 || min(full, window) > 8 {
		t.Errorf("the tables held up to %d and %d pages, want 12 and at most 8", full, window)
	}
}

// Generate, Score and a Program from a file say the same as Prefill and Decode.
func TestGenerateScoreAndFile(t *testing.T) {
	data := compile(t)
	p := bind(t, data, runtime.NewConfig().WithThreads(2))
	in := text(4, 70)
	want, rows := reply(t, p, in, 10)
	path := filepath.Join(t.TempDir(), "m.quire")
	if err := program.Write(path, data, nil); err != nil {
		t.Fatal(err)
	}
	rt, err := runtime.Open(t.Context(), runtime.NewConfig().WithThreads(2))
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close(t.Context())
	file, err := rt.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, prog := range []*runtime.Program{p, file} {
		s, err := prog.NewSession(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []int32
		for piece, err := range s.Generate(t.Context(), runtime.GenerateOptions{Prompt: in, MaxTokens: 10, IgnoreEnd: true}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, piece.Token)
		}
		if !slices.Equal(got, want) {
			t.Errorf("generated %v, want %v", got, want)
		}
	}
	s, err := p.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	scores, err := s.Score(t.Context(), append(slices.Clone(in), want...), runtime.ScoreOptions{Top: 1})
	if err != nil {
		t.Fatal(err)
	}
	for k, row := range rows {
		x := scores[len(in)-1+k]
		if math.Abs(x.LogSumExp-sample.LogSumExp(row)) > 1e-4 {
			t.Errorf("row %d: log sum exp %v, want %v", k, x.LogSumExp, sample.LogSumExp(row))
		}
		if k < len(want) && (x.Top[0].ID != want[k] || math.Abs(x.NLL()-(x.LogSumExp-float64(row[want[k]]))) > 1e-3) {
			t.Errorf("row %d: %+v, want token %d", k, x, want[k])
		}
	}
}
