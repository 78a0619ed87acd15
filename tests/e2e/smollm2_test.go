package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"slices"
	"testing"

	"quire/ir"
	"quire/runtime"
	"quire/runtime/token"
)

// reply is one prompt of testdata/smollm2/greedy.json.
type reply struct {
	Name      string    `json:"name"`
	Text      string    `json:"text"`
	Special   bool      `json:"parse_special"`
	PromptIDs []int32   `json:"prompt_ids"`
	Greedy    []int32   `json:"tokens"`
	Margins   []float64 `json:"margin"`
}

func replies(t testing.TB) []reply {
	t.Helper()
	text, err := os.ReadFile("testdata/smollm2/greedy.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Prompts []reply `json:"prompts"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Prompts
}

// generate returns n greedy tokens, end tokens taken like others.
func generate(t testing.TB, s *runtime.Session, prompt []int32, n int) []int32 {
	t.Helper()
	var out []int32
	for piece, err := range s.Generate(context.Background(), runtime.GenerateOptions{Prompt: prompt, MaxTokens: n, IgnoreEnd: true}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, piece.Token)
	}
	return out
}

// greedy checks that a prompt continues as expected.
func greedy(t testing.TB, open func(context.Context) (*runtime.Session, error), prompt, want []int32) {
	t.Helper()
	s, err := open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	if got := generate(t, s, prompt, len(want)); !slices.Equal(got, want) {
		t.Errorf("greedy ids %v, expected %v", got, want)
	}
}

// An exact float32 run continues every prompt with transformers' ids: the smallest
// margin of the 768 steps is 30 times the error of float32.
func TestSmolLM2Greedy(t *testing.T) {
	prog := open(t, smollm2(t), how{threads: 2})
	for _, r := range replies(t) {
		t.Run(r.Name, func(t *testing.T) {
			if len(r.Greedy) != 128 || len(r.Margins) != 128 {
				t.Fatalf("%d ids and %d margins, expected 128", len(r.Greedy), len(r.Margins))
			}
			s := session(t, prog)
			got := generate(t, s, r.PromptIDs, len(r.Greedy))
			for i, id := range r.Greedy {
				if got[i] != id {
					t.Fatalf("token %d is %d, expected %d (margin %g)", i, got[i], id, r.Margins[i])
				}
			}
		})
	}
}

// The tokenizer that the Program carries makes the prompts' ids.
func TestSmolLM2Prompts(t *testing.T) {
	prog := open(t, smollm2(t), how{})
	for _, r := range replies(t) {
		tok, err := prog.Tokenizer()
		if err != nil {
			t.Fatal(err)
		}
		ids, err := tok.Encode(r.Text, token.EncodeOptions{Special: r.Special})
		if err != nil || !slices.Equal(ids, r.PromptIDs) {
			t.Errorf("%s: ids %v (%v), expected %v", r.Name, ids, err, r.PromptIDs)
		}
	}
}

func encode(p *runtime.Program, text string) ([]int32, error) {
	tok, err := p.Tokenizer()
	if err != nil {
		return nil, err
	}
	return tok.Encode(text, token.EncodeOptions{})
}

func jargon(t testing.TB) string {
	t.Helper()
	z, err := os.ReadFile("testdata/smollm2/jargon.txt.gz")
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(z))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// perplexity scores a text in windows, each a fresh session whose first token is
// not scored.
func perplexity(t testing.TB, prog *runtime.Program, ids []int32, window int) (windows []float64, scored int) {
	t.Helper()
	for at := 0; at < len(ids); at += window {
		part := ids[at:min(at+window, len(ids))]
		s := session(t, prog)
		scores, err := s.Score(context.Background(), part, runtime.ScoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var nll float64
		for _, x := range scores[:len(scores)-1] {
			nll += x.NLL()
			scored++
		}
		windows = append(windows, nll)
		s.Close(context.Background())
	}
	return windows, scored
}

// Perplexity is transformers' within 0.01 %, and so is each window's NLL.
func TestSmolLM2Perplexity(t *testing.T) {
	text, err := os.ReadFile("testdata/smollm2/perplexity.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Tokens  int     `json:"tokens"`
		Scored  int     `json:"scored"`
		NLL     float64 `json:"nll"`
		PPL     float64 `json:"ppl"`
		Windows []struct {
			NLL float64 `json:"nll"`
		} `json:"windows"`
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	prog := open(t, smollm2(t), how{threads: 2})
	ids, err := encode(prog, jargon(t))
	if err != nil {
		t.Fatal(err)
	}
	windows, scored := perplexity(t, prog, ids, 1024)
	if len(ids) != want.Tokens || scored != want.Scored || len(windows) != len(want.Windows) {
		t.Fatalf("%d tokens, %d scored in %d windows, expected %d, %d, %d", len(ids), scored, len(windows), want.Tokens, want.Scored, len(want.Windows))
	}
	var sum float64
	for i, nll := range windows {
		sum += nll
		if w := want.Windows[i].NLL; math.Abs(nll-w) > 1e-4*w {
			t.Errorf("window %d: NLL %.6f, expected %.6f", i, nll, w)
		}
	}
	ppl := math.Exp(sum / float64(scored))
	t.Logf("perplexity %.6f, transformers' %.6f", ppl, want.PPL)
	if math.Abs(ppl-want.PPL) > 1e-4*want.PPL {
		t.Errorf("perplexity %.6f, expected %.6f within 0.01 %%", ppl, want.PPL)
	}
}

// Compiling twice gives the same bytes; running at any thread count, alone or beside
// others, gives the same tokens.
func TestSmolLM2Deterministic(t *testing.T) {
	path := smollm2(t)
	a, b := compile(t, path, how{}), compile(t, path, how{})
	if !bytes.Equal(a.Object, b.Object) {
		t.Error("two compilations give different machine code")
	}
	ja, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if jb, err := json.Marshal(b); err != nil || !bytes.Equal(ja, jb) {
		t.Errorf("two compilations give different programs (%v)", err)
	}
	r := replies(t)[0]
	for _, threads := range []int{1, 2, 3} {
		s := session(t, load(t, a, how{threads: threads, chunk: 7 * threads}))
		if got := generate(t, s, r.PromptIDs, 32); !slices.Equal(got, r.Greedy[:32]) {
			t.Errorf("%d threads: %v, expected %v", threads, got, r.Greedy[:32])
		}
	}
}

// What rounding costs is measured and bounded: cache and products, each by itself.
func TestSmolLM2Rounded(t *testing.T) {
	path := smollm2(t)
	exact := open(t, path, how{threads: 2})
	ids, err := encode(exact, jargon(t))
	if err != nil {
		t.Fatal(err)
	}
	ids = ids[:1024]
	base, _ := perplexity(t, exact, ids, 512)
	for _, c := range []struct {
		name  string
		h     how
		bound float64 // of the NLL, relative
	}{
		{"f16 cache", how{kv: "f16", threads: 2}, 1e-4},
		{"dot i8", how{dot: ir.DotI8, threads: 2}, 1e-2},
		{"dot bf16", how{dot: ir.DotBF16, threads: 2}, 1e-2},
	} {
		got, _ := perplexity(t, open(t, path, c.h), ids, 512)
		for i := range got {
			d := math.Abs(got[i]-base[i]) / base[i]
			t.Logf("%s, window %d: NLL %.5f, exact %.5f (%.2g)", c.name, i, got[i], base[i], d)
			if !(d <= c.bound) {
				t.Errorf("%s: window %d is %.2g from exact, expected at most %g", c.name, i, d, c.bound)
			}
		}
	}
}
