package kvpage_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
)

// Case 29: a group from -1 to 2 has scale 0.2 and zero -1; 0.33 is code 7, which is 0.4. The
// even channel is the high nibble.
func TestCase29(t *testing.T) {
	x := []float32{-1, 2, 0.33, 0, 0, 0, 0, 0}
	for _, p := range []kvpage.Page{{Machine: kvpage.GPU}, {Machine: kvpage.CPU}} {
		p.Enc, p.KVHeads, p.Dim, p.Tokens = kvpage.Q4, 1, len(x), 16
		page := make([]byte, p.Stride())
		p.Encode(page, kvpage.Key, 0, 0, x)
		code, s := p.Code(page, kvpage.Key, 0, 0, 2)
		scale, zero := s.Floats()
		if code != 7 || math.Abs(float64(scale)-0.2) > 1e-4 || zero != -1 || math.Abs(float64(s.Value(code))-0.4) > 1e-3 {
			t.Errorf("0.33 is code %d of scale %v and zero %v: %v", code, scale, zero, s.Value(code))
		}
		first := page[0] // channels 0 and 1: codes 0 and 15
		if first != 0x0f {
			t.Errorf("machine %d: the first byte is %#02x, expected 0x0f: channel 0 in the high nibble", p.Machine, first)
		}
	}
}

func TestQuantise(t *testing.T) {
	for _, bits := range []int{4, 8} {
		most := float32(int(1)<<bits - 1)
		for _, c := range []struct {
			name string
			x    []float32
		}{
			{"equal", []float32{0.1, 0.1, 0.1}},
			{"zeros", []float32{0, 0}},
			{"one", []float32{-7}},
			{"too close for a scale", []float32{1e-9, 2e-9}},
			{"small", []float32{1e-6, 2e-6, 5e-6}},
			{"far from zero", []float32{1000, 1001, 1002}},
			{"wide", []float32{-3000, 4000, 5, 17}},
		} {
			codes := make([]byte, len(c.x))
			s := kvpage.Quantise(bits, c.x, codes)
			scale, _ := s.Floats()
			lo, hi := c.x[0], c.x[0]
			for _, v := range c.x {
				lo, hi = min(lo, v), max(hi, v)
			}
			// half a step, and what rounding scale and zero to float16 moves (by 3e-8 where they are least)
			bound := (hi-lo)/most/2 + (hi-lo)/2048 + max(-lo, lo)/2048 + (most+1)*3e-8
			for i, v := range c.x {
				if float32(codes[i]) > most {
					t.Errorf("%d bits, %s: code %d", bits, c.name, codes[i])
				}
				if got := s.Value(codes[i]); !(got-v <= bound && v-got <= bound) {
					t.Errorf("%d bits, %s: %v is read back as %v (scale %v), expected at most %v off", bits, c.name, v, got, scale, bound)
				}
			}
		}
	}
}

// Rounding twice is rounding once: what is read back is what is stored again.
func TestRoundIsStable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, e := range []layout.Enc{kvpage.Q8, kvpage.Q4, layout.F16, layout.BF16, layout.F32} {
		x := make([]float32, 64)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		if !kvpage.Round(e, x) {
			t.Fatalf("%s: no encoding of a cache", e)
		}
		again := append([]float32(nil), x...)
		kvpage.Round(e, again)
		for i := range x {
			if d := math.Abs(float64(x[i] - again[i])); d > 2e-3 {
				t.Errorf("%s: %v becomes %v the second time", e, x[i], again[i])
			}
		}
	}
	if kvpage.Round("q4_0", make([]float32, 32)) {
		t.Error("q4_0 is no encoding of a cache")
	}
}

// Every vector of shuffled pages is read back, whatever the memory held: other vectors,
// poisoned slots and padding stay as they were, and no two elements share a place.
func TestShuffledPages(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 3))
	for _, e := range []layout.Enc{layout.F32, layout.F16, layout.BF16, kvpage.Q8, kvpage.Q4} {
		for _, machine := range []kvpage.Machine{kvpage.CPU, kvpage.GPU} {
			for _, dim := range []int{64, 128, 80, 7} {
				p := kvpage.Page{Enc: e, KVHeads: 3, Dim: dim, Tokens: 32, Summary: 16, Machine: machine}
				name := fmt.Sprintf("%s machine %d dim %d", e, machine, dim)
				const pages = 3
				pool := make([]byte, pages*p.Stride())
				for i := range pool {
					pool[i] = 0xff
				}
				physical := rng.Perm(pages)
				page := func(token int) []byte { return pool[int64(physical[token/p.Tokens])*p.Stride():][:p.Stride()] }
				const tokens = 77 // the last page has free slots
				var want [][]float32
				draw := func() []float32 {
					x := make([]float32, dim)
					for i := range x {
						x[i] = float32(rng.NormFloat64())
					}
					return x
				}
				order := rng.Perm(tokens * p.KVHeads * 2)
				want = make([][]float32, len(order))
				each := func(i int) (half kvpage.Half, head, token int) {
					return kvpage.Half(i % 2), i / 2 % p.KVHeads, i / 2 / p.KVHeads
				}
				for _, i := range order {
					half, head, token := each(i)
					x := draw()
					p.Encode(page(token), half, head, token%p.Tokens, x)
					kvpage.Round(e, x)
					want[i] = x
				}
				for i := range order {
					half, head, token := each(i)
					got := make([]float32, dim)
					p.Decode(page(token), half, head, token%p.Tokens, got)
					for c := range got {
						if got[c] != want[i][c] {
							t.Fatalf("%s: token %d, head %d, half %d, channel %d is %v, expected %v", name, token, head, half, c, got[c], want[i][c])
						}
					}
				}
				for n := range p.Tokens / p.Summary { // summaries lie behind all of it
					for h := range p.KVHeads {
						if hi, lo := p.Summarised(page(0), h, n, dim-1); hi == hi || lo == lo {
							t.Fatalf("%s: summary %v..%v, expected nothing written", name, lo, hi)
						}
						p.SetSummary(page(0), h, n, dim-1, 2, -1)
						if hi, lo := p.Summarised(page(0), h, n, dim-1); hi != 2 || lo != -1 {
							t.Fatalf("%s: summary %v..%v, expected -1..2", name, lo, hi)
						}
					}
				}
			}
		}
	}
}

// A page of KV4 of Llama-3-8B: codes, then 4 bytes of scale and zero a vector
// (1 KiB + 64 bytes a token and layer: 1/3.76 of float16).
func TestSizes(t *testing.T) {
	p := kvpage.Page{Enc: kvpage.Q4, KVHeads: 8, Dim: 128, Tokens: 64}
	if got, want := p.Stride(), int64(64*(2*8*128/2+2*8*4)); got != want {
		t.Errorf("a page of KV4 has %d bytes, expected %d", got, want)
	}
	p.Enc = kvpage.Q8
	if got, want := p.Stride(), int64(64*(2*8*128+2*8*4)); got != want {
		t.Errorf("a page of KV8 has %d bytes, expected %d", got, want)
	}
	p.Enc, p.Summary = layout.F16, 16
	if got, want := p.Stride(), int64(64*2*8*128*2+4*2*8*128*2); got != want {
		t.Errorf("a page of float16 with summaries has %d bytes, expected %d", got, want)
	}
}
