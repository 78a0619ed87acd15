package block_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"quire/ir/types/block"

	"github.com/x448/float16"
	"pgregory.net/rapid"
)

func TestF16EveryValue(t *testing.T) {
	for h := range 1 << 16 {
		want := float16.Frombits(uint16(h)).Float32()
		got := block.F16ToF32(uint16(h))
		if math.Float32bits(got) != math.Float32bits(want) && !(want != want && got != got) {
			t.Fatalf("F16ToF32(%04x) = %g, expected %g", h, got, want)
		}
		if want == want && block.F32ToF16(want) != uint16(h) {
			t.Fatalf("F32ToF16(%g) = %04x, expected %04x", want, block.F32ToF16(want), h)
		}
	}
}

func TestF32ToF16Rounds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	check := func(f float32) {
		want, got := float16.Fromfloat32(f).Bits(), block.F32ToF16(f)
		if got != want && f == f {
			t.Fatalf("F32ToF16(%g, %08x) = %04x, expected %04x", f, math.Float32bits(f), got, want)
		}
		if f != f && !(block.F16ToF32(got) != block.F16ToF32(got)) {
			t.Fatalf("F32ToF16(NaN %08x) = %04x, expected a NaN", math.Float32bits(f), got)
		}
	}
	for range 1_000_000 {
		check(math.Float32frombits(r.Uint32()))
	}
	for h := range 0x7c00 { // every tie between neighbours, and a step to each side of it
		mid := (block.F16ToF32(uint16(h)) + block.F16ToF32(uint16(h+1))) / 2
		if h == 0x7bff {
			mid = 65520
		}
		for _, s := range []float32{1, -1} {
			check(s * mid)
			check(s * math.Nextafter32(mid, 0))
			check(s * math.Nextafter32(mid, 1e9))
		}
	}
}

func TestBF16(t *testing.T) {
	for _, c := range []struct {
		in   uint32
		want uint16
	}{
		{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, // ties to even
		{0x7f7fffff, 0x7f80}, {0xff800000, 0xff80}, {0x7f800001, 0x7fc0}, {0x80000001, 0x8000},
	} {
		if got := block.F32ToBF16(math.Float32frombits(c.in)); got != c.want {
			t.Errorf("F32ToBF16(%08x) = %04x, expected %04x", c.in, got, c.want)
		}
	}
	for h := range 1 << 16 {
		f := block.BF16ToF32(uint16(h))
		if f == f && block.F32ToBF16(f) != uint16(h) {
			t.Fatalf("bf16 %04x came back as %04x", h, block.F32ToBF16(f))
		}
	}
}

func TestTable(t *testing.T) {
	sizes := map[string][2]int{ // elements, bytes of a block, from ggml-common.h
		"f32": {1, 4}, "f16": {1, 2}, "bf16": {1, 2}, "q4_0": {32, 18}, "q4_1": {32, 20}, "q5_0": {32, 22}, "q5_1": {32, 24},
		"q8_0": {32, 34}, "q4_k": {256, 144}, "q5_k": {256, 176}, "q6_k": {256, 210}, "iq4_nl": {32, 18},
		"q4g128": {128, 67}, "q3g64": {64, 27}, "q8g32": {32, 35},
	}
	if len(block.Names()) != 12 {
		t.Errorf("%d names, expected 12", len(block.Names()))
	}
	for name, want := range sizes {
		e, ok := block.Lookup(name)
		if !ok || e.Name != name || e.Block != want[0] || e.Bytes != want[1] {
			t.Errorf("Lookup(%q) = %+v, %v, expected %v", name, e, ok, want)
		}
	}
	for _, name := range []string{"", "q", "q4", "Q4_0", "q4g", "q4g0", "q4g7", "q4g12", "q5g32", "q04g32", "q4g032", "q4g+32", "4g32", "q4g131072", "q-4g32", "i32"} {
		if e, ok := block.Lookup(name); ok {
			t.Errorf("Lookup(%q) = %+v, expected none", name, e)
		}
	}
}

func TestSizesAreChecked(t *testing.T) {
	for _, c := range []struct {
		enc        string
		src, elems int
		want       string
	}{
		{"q9", 1, 1, `encoding "q9", expected one of f32`},
		{"q4_0", 18, 31, "q4_0: row of 31 elements, expected a multiple of 32"},
		{"q4_0", 17, 32, "q4_0: 17 bytes for 32 elements, expected 18"},
		{"q4g128", 67, 64, "q4g128: row of 64 elements, expected a multiple of 128"},
		{"f16", 3, 2, "f16: 3 bytes for 2 elements, expected 4"},
	} {
		err := block.Decode(c.enc, make([]byte, c.src), make([]float32, c.elems))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Decode(%s, %d, %d): %v, expected %q", c.enc, c.src, c.elems, err, c.want)
		}
		if err := block.Encode(c.enc, make([]float32, c.elems), make([]byte, c.src)); err == nil {
			t.Errorf("Encode(%s, %d, %d) passed", c.enc, c.elems, c.src)
		}
	}
	if err := block.DecodeRows("q4g32", 64, make([]byte, 19*2*3+1), make([]float32, 192)); err == nil {
		t.Error("DecodeRows took one byte too many")
	}
	if err := block.DecodeRows("q4_0", 0, nil, nil); err == nil {
		t.Error("DecodeRows took rows of no elements")
	}
	x := make([]float32, 32)
	x[7] = float32(math.Inf(1))
	if err := block.Encode("q8_0", x, make([]byte, 34)); err == nil || !strings.Contains(err.Error(), "element 7 is +Inf") {
		t.Errorf("Encode of an infinity: %v", err)
	}
	e, _ := block.Lookup("q4_0")
	if _, err := e.RowBytes(1 << 62); err != nil {
		t.Errorf("RowBytes(2^62): %v", err)
	}
	f, _ := block.Lookup("f32")
	if _, err := f.RowBytes(1 << 62); err == nil {
		t.Error("RowBytes(2^62) of f32 fits in no int64")
	}
}

// TestDecodeTakesAnyBytes: any block is decodable, and never reads or writes past its slices.
func TestDecodeTakesAnyBytes(t *testing.T) {
	names := append(block.Names(), "q4g8", "q3g8", "q8g8", "q4g128", "q3g32")
	rapid.Check(t, func(t *rapid.T) {
		e, _ := block.Lookup(rapid.SampledFrom(names).Draw(t, "enc"))
		n := rapid.IntRange(0, 4).Draw(t, "blocks")
		src := rapid.SliceOfN(rapid.Byte(), n*e.Bytes, n*e.Bytes).Draw(t, "src")
		if err := block.Decode(e.Name, src, make([]float32, n*e.Block)); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, enc := range append(block.Names(), "q4g128", "q3g128") {
		b.Run(enc, func(b *testing.B) {
			e, _ := block.Lookup(enc)
			dst := make([]float32, 1<<20)
			size, _ := e.RowBytes(1 << 20)
			src := make([]byte, size)
			b.SetBytes(int64(len(dst))) // MB/s reads as million weights a second
			for b.Loop() {
				_ = block.Decode(enc, src, dst)
			}
		})
	}
}
