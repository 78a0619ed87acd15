package kernels

import (
	"bytes"
	"math"
	"testing"

	"quire/ir/types/layout"
	"quire/ir/types/noise"
	"quire/ir/work"
	"quire/runtime/program"
	"quire/runtime/weights"
)

// hostNoise is a random weight as a loader on a host packs it.
func hostNoise(t testing.TB, enc, from layout.Enc, rows, cols int, seed int64, mean, std float64) []byte {
	t.Helper()
	n, err := layout.Bytes(program.LayoutFrag, enc, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	w := program.Weight{Name: "w", Layout: program.LayoutFrag, Elem: string(enc), Cols: cols, Bytes: n,
		Segments: []program.Segment{{Tensor: "w", Rows: rows, Elem: string(from), Source: -1, Seed: seed, Mean: mean, Std: std}}}
	s, err := weights.Open(&program.Program{Weights: []program.Weight{w}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out := make([]byte, n)
	if err := s.Fill(t.Context(), func(int) []byte { return out }, 1, nil); err != nil {
		t.Fatal(err)
	}
	return out
}

// Every encoding that a kernel makes, in units of every size, with padding rows, from every
// encoding of floats: all bytes are those that a host packs.
func TestNoise(t *testing.T) {
	made := 0
	for i, enc := range layout.Encs() {
		for j, cols := range []int{256, 192, 96, 48} {
			for _, from := range []layout.Enc{enc, layout.F32, layout.F16, layout.BF16} {
				p, ok := work.NoiseOf(enc, from, cols)
				if !ok || from != enc && j > 0 || from == layout.F32 && enc == layout.F32 && j == 0 && p.From != "" {
					continue
				}
				made++
				checkNoise(t, (i+j)%2, p, from)
			}
		}
	}
	if made < 60 {
		t.Errorf("%d kernels, expected 60 at least", made)
	}
}

func checkNoise(t *testing.T, tgt int, p work.Noise, from layout.Enc) {
	t.Helper()
	const rows = 37
	seed := int64(-3 << 60)
	mean, std := 0.0, 1/math.Sqrt(float64(p.Cols))
	if p.From == layout.F16 {
		mean, std = 1, 0.05
	}
	want := hostNoise(t, p.Enc, from, rows, p.Cols, seed, mean, std)
	how, y := alloc[uint64](t, work.NoiseHow), alloc[byte](t, len(want))
	how[work.NoiseSeed] = uint64(seed)
	how[work.NoiseMean], how[work.NoiseScale] = math.Float64bits(mean), math.Float64bits(noise.Scale(std))
	g := gpus(t)[tgt]
	open(t, g, p).bind(t, 0, p, work.Dims{N: rows}, map[string]uintptr{"how": addr(how), "y": addr(y)}).run(1)
	if !bytes.Equal(y, want) {
		at := 0
		for y[at] == want[at] {
			at++
		}
		f, _ := layout.FragOf(p.Enc, p.Cols)
		t.Errorf("%s on %s: byte %d (%d of a unit of %d, codes up to %d) is %#x, want %#x", p.Key(), g.Name, at, at%f.UnitBytes(), f.UnitBytes(), f.CodeBytes(), y[at], want[at])
	}
}
