package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"quire/runtime/device"
	"quire/runtime/sample"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func prompt(seed, n int) []int32 {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(1 + r.IntN(fakeVocab-1))
	}
	return out
}

func session(t testing.TB, p *Program) *Session {
	t.Helper()
	s, err := p.NewSession(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// generate is the whole of a reply, end tokens being tokens like others.
func generate(ctx context.Context, s *Session, o GenerateOptions) (out []int32, last Finish, err error) {
	for p, err := range s.Generate(ctx, o) {
		if err != nil {
			return out, last, err
		}
		out, last = append(out, p.Token), p.Finish
	}
	return out, last, nil
}

// At once, in chunks, token by token, and with others beside it: the same tokens.
func TestSameTokensHoweverFed(t *testing.T) {
	in := prompt(1, 37)
	want := reference(in, 30)
	for _, chunk := range []int{1, 3, 16, 512} {
		p, _ := open(t, limits{chunk: chunk})
		got, last, err := generate(t.Context(), session(t, p), GenerateOptions{Prompt: in, MaxTokens: 30, IgnoreEnd: true})
		if err != nil || last != FinishLength || !slices.Equal(got, want) {
			t.Errorf("chunk %d: %v (%s, %v), want %v", chunk, got, last, err, want)
		}
		s := session(t, p)
		var logits []float32
		for _, tok := range in {
			if logits, err = s.Decode(t.Context(), tok); err != nil {
				t.Fatal(err)
			}
		}
		top, err := sample.Greatest(logits)
		if err != nil || top.ID != want[0] {
			t.Errorf("token by token: %v (%v), want %d", top, err, want[0])
		}
		if s.Len() != len(in) || !slices.Equal(s.Tokens(), in) {
			t.Errorf("the session holds %v, want %v", s.Tokens(), in)
		}
	}
}

// A hundred sessions at once: each gets its own tokens, they share steps, and all pages
// come back.
func TestManySessions(t *testing.T) {
	p, f := open(t, limits{chunk: 32, slots: 48})
	f.delay = 200 * time.Microsecond
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			in := prompt(i, 1+i%40)
			s := session(t, p)
			got, _, err := generate(t.Context(), s, GenerateOptions{Prompt: in, MaxTokens: 20, IgnoreEnd: true})
			if want := reference(in, 20); err != nil || !slices.Equal(got, want) {
				t.Errorf("session %d: %v (%v), want %v", i, got, err, want)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := f.largest.Load(); n < 10 || n > 48 {
		t.Errorf("the largest step had %d slots, want 10 to 48", n)
	}
	if n := f.rows.Load(); n > 48+32 {
		t.Errorf("the largest step had %d rows, want at most 80", n)
	}
	st, err := p.Stats(t.Context())
	if err != nil || st.Sessions != 0 || st.CacheBytes != 0 || st.Tables[0].Used != 0 || st.CachePeak == 0 {
		t.Errorf("stats %+v (%v)", st, err)
	}
	if want := int64(100*20 - 100); st.Rows < want {
		t.Errorf("%d rows, want at least %d", st.Rows, want)
	}
	if err := p.Trim(t.Context()); err != nil || len(f.pages[0])+len(f.pages[1]) != 0 {
		t.Errorf("after Trim %d pages are left (%v)", len(f.pages[0]), err)
	}
}

// Clients that call Decode on their own go through the model together.
func TestLoneDecodesGather(t *testing.T) {
	p, f := open(t, limits{})
	f.delay = 300 * time.Microsecond
	const clients, tokens = 4, 50
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			s := session(t, p)
			for j := range tokens {
				if _, err := s.Decode(t.Context(), int32(1+(i+j)%40)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := f.steps.Load(); n > clients*tokens*2/3 {
		t.Errorf("%d steps for %d tokens of %d clients", n, clients*tokens, clients)
	}
}

// A long prompt does not stop others: their tokens come between its chunks.
func TestLongPromptIsFair(t *testing.T) {
	p, f := open(t, limits{chunk: 8})
	var mixed int
	f.hook = func(b *device.Batch) {
		if len(b.SlotStart) > 1 && len(b.Tok) > 4 {
			mixed++
		}
	}
	f.delay = 100 * time.Microsecond
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := session(t, p).Prefill(t.Context(), prompt(1, 800)); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if _, _, err := generate(t.Context(), session(t, p), GenerateOptions{Prompt: prompt(2, 3), MaxTokens: 50, IgnoreEnd: true}); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	if mixed < 30 {
		t.Errorf("%d steps served both, want at least 30", mixed)
	}
}

// A prompt gets a slot although more sessions decode than a step has slots.
func TestPromptIsNotStarved(t *testing.T) {
	p, f := open(t, limits{slots: 3, chunk: 8})
	f.delay = 100 * time.Microsecond
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			_, _, _ = generate(ctx, session(t, p), GenerateOptions{Prompt: prompt(i, 2), IgnoreEnd: true})
		})
	}
	for f.steps.Load() < 10 {
		time.Sleep(time.Millisecond)
	}
	before := f.steps.Load()
	if _, err := session(t, p).Prefill(t.Context(), prompt(9, 80)); err != nil {
		t.Error(err)
	}
	if n := f.steps.Load() - before; n > 20 {
		t.Errorf("80 tokens in chunks of 8 took %d steps, want about 10", n)
	}
	cancel()
	wg.Wait()
}

func TestLimits(t *testing.T) {
	p, _ := open(t, limits{context: 20, pages: []int{8, 100}})
	a, b := session(t, p), session(t, p)
	if _, err := a.Prefill(t.Context(), prompt(1, 21)); !errors.Is(err, ErrContextFull) {
		t.Errorf("error %v, want %v", err, ErrContextFull)
	}
	got, last, err := generate(t.Context(), a, GenerateOptions{Prompt: prompt(1, 15), IgnoreEnd: true})
	if err != nil || last != FinishLength || !slices.Equal(got, reference(prompt(1, 15), 6)) {
		t.Errorf("a full context: %v, %s, %v", got, last, err)
	}
	if _, err := b.Prefill(t.Context(), prompt(2, 20)); !errors.Is(err, ErrOutOfPages) {
		t.Errorf("error %v, want %v", err, ErrOutOfPages)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, _, err = generate(t.Context(), b, GenerateOptions{Prompt: prompt(2, 19-b.Len()), MaxTokens: 1})
	if err != nil || len(got) != 1 {
		t.Errorf("after pages came back: %v, %v", got, err)
	}
}

func TestBadCalls(t *testing.T) {
	p, f := open(t, limits{})
	s := session(t, p)
	for _, c := range []struct {
		err  error
		says string
	}{
		{second(s.Prefill(t.Context(), nil)), "runtime: prefill: no tokens, expected at least 1"},
		{second(s.Decode(t.Context(), fakeVocab)), "runtime: decode: token 50 at 0, expected 0 to 49"},
		{second(s.Prefill(t.Context(), []int32{1, -1})), "runtime: prefill: token -1 at 1, expected 0 to 49"},
		{third(generate(t.Context(), s, GenerateOptions{Prompt: []int32{1}, MaxTokens: -1})), "runtime: generate: -1 tokens at most, expected at least 0"},
		{third(generate(t.Context(), s, GenerateOptions{})), "runtime: generate: no tokens, expected at least 1"},
		{third(generate(t.Context(), s, GenerateOptions{Prompt: []int32{1}, Sample: sample.Options{TopP: 2}})), "runtime: generate: sample: top-p is 2, expected 0 to 1"},
		{third(generate(t.Context(), s, GenerateOptions{Prompt: []int32{1}, Stop: []string{"x"}})), "runtime: generate: stop strings: the program has no tokenizer"},
	} {
		if c.err == nil || c.err.Error() != c.says {
			t.Errorf("error %v, want %q", c.err, c.says)
		}
	}
	if s.Len() != 0 || f.steps.Load() != 0 {
		t.Errorf("refused calls ran %d steps", f.steps.Load())
	}
	if _, err := p.Tokenizer(); !errors.Is(err, ErrNoTokenizer) {
		t.Errorf("error %v, want %v", err, ErrNoTokenizer)
	}
	f.delay = 20 * time.Millisecond
	go s.Decode(t.Context(), 1)
	for f.steps.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := s.Decode(t.Context(), 1); !errors.Is(err, ErrBusy) {
		t.Errorf("error %v, want %v", err, ErrBusy)
	}
	for s.busy.Load() {
		time.Sleep(time.Millisecond)
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

func TestEndToken(t *testing.T) {
	p, _ := open(t, limits{})
	for seed := range 200 {
		in := prompt(seed, 4)
		ref := reference(in, 12)
		end := slices.Index(ref, 0)
		if end < 0 {
			continue
		}
		got, last, err := generate(t.Context(), session(t, p), GenerateOptions{Prompt: in, MaxTokens: 100})
		if err != nil || last != FinishStop || !slices.Equal(got, ref[:end+1]) {
			t.Errorf("%v (%s, %v), want %v", got, last, err, ref[:end+1])
		}
		return
	}
	t.Fatal("no prompt leads to an end token")
}

func TestScore(t *testing.T) {
	p, f := open(t, limits{chunk: 7})
	in := prompt(5, 30)
	all, err := session(t, p).Score(t.Context(), in, ScoreOptions{Top: 3})
	if err != nil {
		t.Fatal(err)
	}
	before := f.steps.Load()
	step, err := session(t, p).Score(t.Context(), in, ScoreOptions{Top: 3, Stepwise: true})
	if err != nil || f.steps.Load()-before != 30 {
		t.Fatalf("stepwise: %d steps, %v", f.steps.Load()-before, err)
	}
	ref := session(t, p)
	for i, x := range all {
		logits, err := ref.Decode(t.Context(), in[i])
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(x.LogSumExp-sample.LogSumExp(logits)) > 1e-5 || !slices.Equal(x.Top, sample.Top(logits, 3)) {
			t.Errorf("token %d: %+v", i, x)
		}
		if i+1 < len(in) && (x.Next != float64(logits[in[i+1]]) || x.NLL() < 0) {
			t.Errorf("token %d: next %v, want %v", i, x.Next, logits[in[i+1]])
		}
		if i+1 == len(in) && !math.IsNaN(x.Next) {
			t.Errorf("the last token has a next logit: %v", x.Next)
		}
		if x.LogSumExp != step[i].LogSumExp || !slices.Equal(x.Top, step[i].Top) {
			t.Errorf("token %d stepwise: %+v, want %+v", i, step[i], x)
		}
	}
}

// A fork goes its own way, a rewound session another.
func TestForkAndRewind(t *testing.T) {
	p, _ := open(t, limits{})
	in := prompt(6, 10)
	s := session(t, p)
	if _, err := s.Prefill(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	f, err := s.Fork(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range []*Session{s, f} {
		add := []int32{int32(7 + i)}
		got, _, err := generate(t.Context(), x, GenerateOptions{Prompt: add, MaxTokens: 8, IgnoreEnd: true})
		if want := reference(append(slices.Clone(in), add...), 8); err != nil || !slices.Equal(got, want) {
			t.Errorf("branch %d: %v (%v), want %v", i, got, err, want)
		}
	}
	text := append(slices.Clone(in[:8]), 3, 4)
	kept, err := s.Rewind(t.Context(), text)
	if err != nil || kept != 8 || s.Len() != 8 {
		t.Fatalf("kept %d of %d (%v), want 8", kept, s.Len(), err)
	}
	got, _, err := generate(t.Context(), s, GenerateOptions{Prompt: text[kept:], MaxTokens: 8, IgnoreEnd: true})
	if want := reference(text, 8); err != nil || !slices.Equal(got, want) {
		t.Errorf("after rewinding: %v (%v), want %v", got, err, want)
	}
	// The window has lost what an old text saw: all is fed again.
	if _, err := s.Prefill(t.Context(), prompt(9, 60)); err != nil {
		t.Fatal(err)
	}
	if kept, err := s.Rewind(t.Context(), s.Tokens()[:30]); err != nil || kept != 0 || s.Len() != 0 {
		t.Errorf("kept %d of %d (%v), want 0", kept, s.Len(), err)
	}
}

// Sampling is reproducible and does not depend on what runs beside it.
func TestSeededSampling(t *testing.T) {
	p, f := open(t, limits{})
	f.delay = 50 * time.Microsecond
	var want []int32
	for round := range 3 {
		var wg sync.WaitGroup
		results := make([][]int32, 1+4*round)
		for i := range results {
			wg.Go(func() {
				o := GenerateOptions{Prompt: prompt(1, 9), MaxTokens: 25, IgnoreEnd: true, Sample: sample.Options{Temperature: 1, TopP: 0.9, Repetition: 1.1, Seed: 5}}
				var err error
				if results[i], _, err = generate(t.Context(), session(t, p), o); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if want == nil {
			want = results[0]
		}
		for _, r := range results {
			if !slices.Equal(r, want) {
				t.Errorf("round %d: %v, want %v", round, r, want)
			}
		}
	}
	if slices.Equal(want, reference(prompt(1, 9), 25)) {
		t.Error("sampled tokens are the greedy ones")
	}
}

func TestConfig(t *testing.T) {
	base := NewConfig()
	_ = base.WithThreads(7).WithChunk(9)
	if base.threads != 0 || base.chunk != 0 {
		t.Errorf("With changed its receiver: %+v", base)
	}
	for _, c := range []struct {
		c    Config
		says string
	}{
		{base.WithThreads(-1), "runtime: config: threads is -1, expected at least 0"},
		{base.WithChunk(-1), "runtime: config: chunk is -1, expected at least 0"},
		{base.WithDevice("tpu"), `runtime: config: no such device: device "tpu", expected "cpu", "cuda", "cuda:N" or "auto"`},
	} {
		if _, err := Open(t.Context(), c.c); err == nil || err.Error() != c.says {
			t.Errorf("error %v, want %q", err, c.says)
		}
	}
	rt, err := Open(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rt.Load(t.Context(), t.TempDir()+"/absent.quire"); err == nil {
		t.Error("an absent file was loaded")
	}
	if err := errors.Join(rt.Close(t.Context()), rt.Close(t.Context())); err != nil {
		t.Error(err)
	}
}

func ExampleSession_Generate() {
	ctx := context.Background()
	rt, err := Open(ctx, NewConfig().WithDevice(CPU).WithThreads(2))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rt.Close(ctx)
	prog, err := rt.Load(ctx, "model.quire")
	if err != nil {
		return // no such file here
	}
	sess, err := prog.NewSession(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for piece, err := range sess.Generate(ctx, GenerateOptions{Prompt: []int32{1, 2, 3}, MaxTokens: 100}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Print(piece.Text)
	}
}
