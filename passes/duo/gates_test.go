package duo

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The tables in testdata are the published gates of the DuoAttention authors
// (github.com/mit-han-lab/duo-attention, MIT licence, Copyright (c) 2024 MIT HAN Lab).
const (
	llama2  = "Llama-2-7B-32K-Instruct.tsv"
	llama3  = "Llama-3-8B-Instruct-Gradient-1048k.tsv"
	llama31 = "Meta-Llama-3.1-8B-Instruct.tsv"
)

func published(t *testing.T, name string) (Gates, string) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	g, err := ParseGates(name, string(b))
	if err != nil {
		t.Fatal(err)
	}
	return g, string(b)
}

// Published tables are written as they were read, byte for byte.
func TestPublishedTables(t *testing.T) {
	for name, size := range map[string][2]int{llama2: {32, 32}, llama3: {32, 8}, llama31: {32, 8}} {
		g, text := published(t, name)
		if len(g) != size[0] || len(g[0]) != size[1] || g.Heads() != size[0]*size[1] {
			t.Errorf("%s: %d layers of %d heads", name, len(g), len(g[0]))
		}
		if g.String() != text {
			t.Errorf("%s: written differently", name)
		}
	}
}

// Case 25, and the published counts: gates above the threshold, and equal to it.
func TestCase25PublishedCounts(t *testing.T) {
	for _, c := range []struct {
		name             string
		sparsity, thr    float64
		above, at, heads int
		least, most      int   // retrieval heads of a layer
		full             []int // layers of retrieval heads only
	}{
		{llama2, 0.75, 0.94140625, 253, 5, 256, 2, 16, nil}, // 17 with all ties, see below
		{llama2, 0.5, 0, 0, 0, 512, 4, 28, nil},
		{llama3, 0.5, 0.9609375, 127, 3, 128, 1, 8, []int{30}},
		{llama3, 0.75, 1, 0, 82, 64, 0, 8, nil},
		{llama31, 0.5, 0, 0, 0, 128, 1, 8, []int{13, 30}},
		{llama31, 0.75, 0.99609375, 57, 9, 64, 0, 8, nil},
	} {
		g, _ := published(t, c.name)
		m, err := g.BySparsity(c.sparsity)
		if err != nil {
			t.Fatal(err)
		}
		if m.Retrieval() != c.heads || m.Streaming() != g.Heads()-c.heads {
			t.Errorf("%s at %v: %d retrieval heads, expected %d", c.name, c.sparsity, m.Retrieval(), c.heads)
		}
		above, at := 0, 0
		least, most := math.MaxInt, 0
		for l, row := range g {
			for h, x := range row {
				switch {
				case x > c.thr:
					above++
				case x == c.thr:
					at++
				}
				if c.thr > 0 && x > c.thr && !m[l][h] || c.thr > 0 && x < c.thr && m[l][h] {
					t.Errorf("%s at %v: layer %d, head %d with gate %v is %v", c.name, c.sparsity, l, h, x, m[l][h])
				}
			}
			n := len(m.list(l, true))
			least, most = min(least, n), max(most, n)
			if slices.Contains(c.full, l) != (n == len(row)) && c.full != nil {
				t.Errorf("%s at %v: layer %d has %d retrieval heads", c.name, c.sparsity, l, n)
			}
		}
		if c.thr > 0 && (above != c.above || at != c.at) {
			t.Errorf("%s: %d above %v and %d at it, expected %d and %d", c.name, above, c.thr, at, c.above, c.at)
		}
		if c.sparsity == 0.5 || c.name == llama2 {
			if least != c.least || most != c.most {
				t.Errorf("%s at %v: %d to %d retrieval heads a layer, expected %d to %d", c.name, c.sparsity, least, most, c.least, c.most)
			}
		}
	}
}

// Case 25: the published counts of a layer include all ties of the threshold.
func TestCase25AllTies(t *testing.T) {
	g, _ := published(t, llama2)
	m, err := g.ByThreshold(0.94140625)
	if err != nil || m.Retrieval() != 258 {
		t.Fatalf("%d retrieval heads, %v, expected 258", m.Retrieval(), err)
	}
	least, most := math.MaxInt, 0
	for l := range m {
		least, most = min(least, len(m.list(l, true))), max(most, len(m.list(l, true)))
	}
	if least != 2 || most != 17 {
		t.Errorf("%d to %d a layer, expected 2 to 17", least, most)
	}
}

// Case 25: of equal gates the lower layer and head win, and no noise is drawn.
func TestTiesGoToTheLower(t *testing.T) {
	g := Gates{{0.5, 1, 0.5}, {1, 0.5, 1}}
	for _, c := range []struct {
		sparsity float64
		want     string
	}{{0, "[[true true true] [true true true]]"}, {0.34, "[[true true false] [true false true]]"}, {0.5, "[[false true false] [true false true]]"},
		{0.67, "[[false true false] [true false false]]"}, {1, "[[false false false] [false false false]]"}} {
		m, err := g.BySparsity(c.sparsity)
		if got := fmt.Sprint([][]bool(m)); err != nil || got != c.want {
			t.Errorf("sparsity %v: %s, %v, expected %s", c.sparsity, got, err, c.want)
		}
	}
}

// Negative values count as 0; a threshold keeps what is equal to it.
func TestThreshold(t *testing.T) {
	g := Gates{{-0.001, 0, 0.5}, {0.25, 1.5, 0.499}}
	for thr, want := range map[float64]int{-1: 6, 0: 6, 0.25: 4, 0.5: 2, 1: 1, 1.25: 0} {
		if m, err := g.ByThreshold(thr); err != nil || m.Retrieval() != want {
			t.Errorf("threshold %v: %d retrieval heads, %v, expected %d", thr, m.Retrieval(), err, want)
		}
	}
	a, err := Gates{{-0.001, 0}, {-0.5, 0}}.BySparsity(0.5)
	if err != nil || fmt.Sprint([][]bool(a)) != "[[true true] [false false]]" {
		t.Errorf("negative gates are no ties of 0: %v, %v", a, err)
	}
	if _, err := g.ByThreshold(math.NaN()); err == nil {
		t.Error("threshold NaN: no error")
	}
	for _, s := range []float64{-0.1, 1.1, math.NaN()} {
		if _, err := g.BySparsity(s); err == nil || !strings.Contains(err.Error(), "expected 0 to 1") {
			t.Errorf("sparsity %v: %v", s, err)
		}
	}
}

// D1: errors name file, line and value.
func TestBadTables(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "g.tsv:1: an empty line, expected the gates of a layer",
		"1\t2\n\n1\t2\n":                   "g.tsv:2: an empty line",
		"1\t2\n1\t2\t3\n":                  "g.tsv:2: 3 heads, expected 2 as in line 1",
		"1\tnan\n":                         `g.tsv:1: gate 2 is "nan", expected a number`,
		"1\t+Inf\n":                        `g.tsv:1: gate 2 is "+Inf", expected a number`,
		"1\t1e999\n":                       `g.tsv:1: gate 2 is "1e999", expected a number`,
		"1 2\n":                            `g.tsv:1: gate 1 is "1 2", expected a number`,
		"1\t\n":                            `g.tsv:1: gate 2 is "", expected a number`,
		"0.5\t" + strings.Repeat("x", 99):  `g.tsv:1: gate 2 is "` + strings.Repeat("x", 40) + `", expected a number`,
		strings.Repeat("1\n", maxLayers+1): "g.tsv:4097: more than 4096 layers",
		strings.Repeat("1\t", maxHeads):    "g.tsv:1: 4097 heads, expected at most 4096",
	} {
		if _, err := ParseGates("g.tsv", text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.20q: %v, expected %s", text, err, want)
		}
	}
	if g, err := ParseGates("g.tsv", "1\t0.5\r\n0\t-1e-3\r\n"); err != nil || g[1][1] != -1e-3 {
		t.Errorf("CRLF: %v, %v", g, err)
	}
}

// What is written reads back as it was; masks are as large as they should be.
func TestGatesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layers, heads := rapid.IntRange(1, 6).Draw(t, "layers"), rapid.IntRange(1, 6).Draw(t, "heads")
		g := make(Gates, layers)
		for l := range g {
			g[l] = rapid.SliceOfN(rapid.Float64Range(-0.01, 1.01), heads, heads).Draw(t, "gates")
		}
		again, err := ParseGates("g", g.String())
		if err != nil || again.String() != g.String() {
			t.Fatalf("%v: %v", err, again)
		}
		s := rapid.Float64Range(0, 1).Draw(t, "sparsity")
		m, err := g.BySparsity(s)
		if err != nil || m.Retrieval() != int(math.Round((1-s)*float64(g.Heads()))) {
			t.Fatalf("sparsity %v of %d: %d retrieval heads", s, g.Heads(), m.Retrieval())
		}
	})
}

func FuzzParseGates(f *testing.F) {
	f.Add("1\t0.5\n0\t-1e-3\n")
	f.Add("1.000000000000000000e+00\tNaN\r\n")
	f.Add("\t\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGates("f", text)
		if err != nil {
			return
		}
		if again, err := ParseGates("f", g.String()); err != nil || again.String() != g.String() {
			t.Fatalf("%q reads as %v, written and read: %v, %v", text, g, again, err)
		}
	})
}

// Case 26: Llama-3-8B in bf16 at sparsity 0.5 holds weights and caches of 1M tokens
// in 76.0 GiB, 137.0 with all heads (figure 9 of the paper); and the other points.
func TestCase26Memory(t *testing.T) {
	g, _ := published(t, llama3)
	half, _ := g.BySparsity(0.5)
	all, _ := g.BySparsity(0)
	gib := func(m Mask, tokens int64) string {
		return fmt.Sprintf("%.1f", (16.06e9+m.CacheBytes(tokens, 128, 256, 128, 2))/(1<<30))
	}
	for tokens, want := range map[int64][2]string{1_000_000: {"76.0", "137.0"}, 500_000: {"45.5", "76.0"}} {
		if a, b := gib(half, tokens), gib(all, tokens); a != want[0] || b != want[1] {
			t.Errorf("%d tokens: %s and %s GiB, expected %s and %s", tokens, a, b, want[0], want[1])
		}
	}
	if few := half.CacheBytes(10, 128, 256, 128, 2); few != all.CacheBytes(10, 128, 256, 128, 2) {
		t.Errorf("10 tokens take %v bytes", few)
	}
}

// Case 27: pairs of a chunked prefill, relative to dense.
func TestCase27Pairs(t *testing.T) {
	for _, c := range []struct {
		tokens, chunk int64
		want          string
	}{{100_000, 10_000, "0.1069"}, {320_000, 32_000, "0.1022"}, {100_000, 100_000, "1.0000"}} {
		o := Options{Sink: 128, Recent: 256, Prefill: Chunked, Chunk: int(c.chunk)}
		dense := float64(c.tokens) * float64(c.tokens+1) / 2
		if got := fmt.Sprintf("%.4f", float64(o.Pairs(c.tokens))/dense); got != c.want {
			t.Errorf("%d tokens by %d: %s of dense, expected %s", c.tokens, c.chunk, got, c.want)
		}
	}
}
