package block_test

import (
	"bytes"
	"encoding/hex"
	"math"
	"os"
	"strings"
	"testing"

	"quire/ir/types/block"
)

// quantised are the encodings with vectors made by testdata/golden.py out of ggml's own C.
var quantised = []string{"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k", "iq4_nl"}

// exact are those whose Encode is ggml's reference quantiser to the bit.
var exact = []string{"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl"}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) == 0 {
		t.Fatalf("testdata/%s is empty", name)
	}
	return b
}

func floats(t *testing.T, b []byte) []float32 {
	t.Helper()
	f := make([]float32, len(b)/4)
	if err := block.Decode("f32", b, f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDecodeEqualsGgml(t *testing.T) {
	for _, enc := range quantised {
		t.Run(enc, func(t *testing.T) {
			src, want := read(t, enc+".in.bin"), floats(t, read(t, enc+".out.f32"))
			got := make([]float32, len(want))
			if err := block.Decode(enc, src, got); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("element %d: %g (%08x), ggml says %g (%08x)", i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
				}
			}
		})
	}
}

func TestEncodeEqualsGgml(t *testing.T) {
	for _, enc := range exact {
		t.Run(enc, func(t *testing.T) {
			x, want := floats(t, read(t, enc+".x.f32")), read(t, enc+".q.bin")
			got := make([]byte, len(want))
			if err := block.Encode(enc, x, got); err != nil {
				t.Fatal(err)
			}
			e, _ := block.Lookup(enc)
			for i := 0; i < len(got); i += e.Bytes {
				g, w := got[i:i+e.Bytes], want[i:i+e.Bytes]
				if enc == "iq4_nl" && w[0] == 0 && w[1] == 0 { // ggml leaves the codes of a zero block as they were
					g, w = g[:2], w[:2]
				}
				if !bytes.Equal(g, w) {
					t.Errorf("block %d: % x, ggml says % x", i/e.Bytes, g, w)
				}
			}
		})
	}
}

// TestEncodeRoundTrip bounds the error of every quantiser by the step of its grid: no value may be further from
// its dequantised self than the block's range over its codes (twice that where the scales are themselves quantised).
func TestEncodeRoundTrip(t *testing.T) {
	steps := map[string]float32{"q4_0": 8, "q4_1": 15, "q5_0": 16, "q5_1": 31, "q8_0": 127, "q4_k": 12, "q5_k": 24, "q6_k": 30, "iq4_nl": 8}
	for _, enc := range quantised {
		t.Run(enc, func(t *testing.T) {
			x := floats(t, read(t, enc+".x.f32"))
			e, _ := block.Lookup(enc)
			slack := 1e-6
			if enc == "q6_k" { // its f16 scale is 1/4096 of the range: the second block's is subnormal, off by 2^-25
				slack = 32 * 127 * 0x1p-25
			}
			q, y := make([]byte, len(x)/e.Block*e.Bytes), make([]float32, len(x))
			if err := block.Encode(enc, x, q); err != nil {
				t.Fatal(err)
			}
			if err := block.Decode(enc, q, y); err != nil {
				t.Fatal(err)
			}
			for b := 0; b < len(x); b += e.Block {
				var lo, hi float32
				for _, v := range x[b : b+e.Block] {
					lo, hi = min(lo, v), max(hi, v)
				}
				bound := max(hi-lo, 2*hi, -2*lo)/steps[enc] + float32(slack)
				for i := b; i < b+e.Block; i++ {
					if d := y[i] - x[i]; !(d <= bound && -d <= bound) {
						t.Fatalf("block %d element %d: %g came back as %g, expected within %g", b/e.Block, i-b, x[i], y[i], bound)
					}
				}
			}
		})
	}
}

// Case 6.1.7 of "AWQ facts": the bytes of one block of Q4_0, and the packed 6-bit scales and minima of Q4_K.
func TestKnownBlocks(t *testing.T) {
	x := make([]float32, 32)
	for i := range x {
		x[i] = float32(i-16) / 4
	}
	got := make([]byte, 18)
	if err := block.Encode("q4_0", x, got); err != nil {
		t.Fatal(err)
	}
	if want := "00388091 91a2a2b3b3c4c4d5d5e6e6f7f7f8"; hex.EncodeToString(got) != strings.ReplaceAll(want, " ", "") {
		t.Errorf("q4_0: %x, expected %s", got, want)
	}
	packed, err := hex.DecodeString("8182c3c485c6c7c8152ddbef")
	if err != nil {
		t.Fatal(err)
	}
	sc, mn := [8]byte{1, 2, 3, 4, 37, 45, 59, 63}, [8]byte{5, 6, 7, 8, 33, 50, 61, 62}
	for j := range sc {
		if s, m := block.ScaleMin(j, packed); s != sc[j] || m != mn[j] {
			t.Errorf("q4_k: sub-block %d has scale %d and minimum %d, expected %d and %d", j, s, m, sc[j], mn[j])
		}
	}
	written := make([]byte, 12)
	if block.PutScaleMins(written, sc, mn); !bytes.Equal(written, packed) {
		t.Errorf("q4_k: scales and minima are written %x, expected %x", written, packed)
	}
}
