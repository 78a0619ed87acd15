package kernels

import (
	"math"
	"testing"
	"unsafe"

	"quire/ir/types/block"
	"quire/ir/work"
)

func bf16(x float32) uint16 {
	w := math.Float32bits(x)
	return uint16((w + 0x7fff + w>>16&1) >> 16)
}

func TestRoundBF16(t *testing.T) {
	for _, tgt := range everywhere(t) {
		p := work.Round{Dim: 96, To: work.BF16}
		const n = 3
		x, y := random(t, n*p.Dim, 3), alloc[uint16](t, n*int(p.RowBytes())/2)
		open(t, tgt, p).bind(t, 0, p, work.Dims{N: n}, map[string]uintptr{"x": addr(x), "y": addr(y)}).run(2)
		for i, v := range x {
			if got := y[i/p.Dim*int(p.RowBytes())/2+i%p.Dim]; got != bf16(v) {
				t.Fatalf("%s: value %d: %v is %04x, want %04x", tgt.Name, i, v, got, bf16(v))
			}
		}
	}
}

// float16 has no room for some activations: they become its greatest number, not infinite.
func TestRoundF16(t *testing.T) {
	for _, tgt := range gpus(t)[:1] {
		p := work.Round{Dim: 96, To: work.F16}
		const n = 2
		x, y := random(t, n*p.Dim, 3), alloc[uint16](t, n*int(p.RowBytes())/2)
		x[5], x[6], x[7] = 1e6, -65520, 65504
		open(t, tgt, p).bind(t, 0, p, work.Dims{N: n}, map[string]uintptr{"x": addr(x), "y": addr(y)}).run(2)
		for i, v := range x {
			want := block.F32ToF16(min(max(v, -65504), 65504))
			if got := y[i/p.Dim*int(p.RowBytes())/2+i%p.Dim]; got != want {
				t.Fatalf("%s: value %d: %v is %04x, want %04x", tgt.Name, i, v, got, want)
			}
		}
	}
}

// A norm that rounds its result writes what a Round makes of it, in spans too.
func TestNormRounds(t *testing.T) {
	for i, p := range []work.Norm{
		{Dim: 96, RMS: work.RMSNorm{Eps: 1e-5}, Round: &work.Round{Dim: 96, To: work.F16}},
		{Dim: 192, RMS: work.RMSNorm{Eps: 1e-6, Offset: 1}, Gather: true, Round: &work.Round{Dim: 192, To: work.BF16, Span: 64}},
		{Dim: 5120, RMS: work.RMSNorm{Eps: 1e-6}, Add: true, Round: &work.Round{Dim: 5120, To: work.F16, Span: 32}},
		{Dim: 32 * 1100, RMS: work.RMSNorm{Eps: 1e-6}, Round: &work.Round{Dim: 32 * 1100, To: work.F16}},
	} {
		tgt := gpus(t)[i%2]
		const n, m = 3, 2
		plain := p
		plain.Round = nil
		size := int(p.Round.RowBytes()) / 2
		x, g, res := random(t, n*p.Dim, 2), random(t, p.Dim, 1), random(t, n*p.Dim, 1)
		y, codes, want := alloc[float32](t, n*p.Dim), alloc[uint16](t, n*size), alloc[uint16](t, n*size)
		out := alloc[int32](t, m)
		out[0], out[1] = 2, 0
		d := work.Dims{N: n, M: m}
		operands := map[string]uintptr{"x": addr(x), "g": addr(g), "res": addr(res), "out": addr(out), "y": addr(y)}
		l := open(t, tgt, plain, p, *p.Round)
		l.bind(t, 0, plain, d, operands).run(2)
		operands["y"] = addr(codes)
		l.bind(t, 1, p, d, operands).run(2)
		rows := p.Items(d)
		l.bind(t, 2, *p.Round, work.Dims{N: rows}, map[string]uintptr{"x": addr(y), "y": addr(want)}).run(2)
		for j := range int(rows) * size {
			if codes[j] != want[j] {
				t.Fatalf("%s %s: code %d is %04x, want %04x", tgt, p.Key(), j, codes[j], want[j])
			}
		}
	}
	heads := work.Norm{Dim: 64, Per: 2, RMS: work.RMSNorm{Eps: 1e-6}, Round: &work.Round{Dim: 64, To: work.F16}}
	if err := heads.Validate(); err == nil {
		t.Errorf("%s: expected an error: a row is several vectors", heads.Key())
	}
}

// A branch's norm joins what came before, and a norm of that is rounded or not: rows that
// threads keep in registers, and longer ones.
func TestNormJoins(t *testing.T) {
	for i, p := range []work.Norm{
		{Dim: 37, RMS: work.RMSNorm{Eps: 1e-5}, Join: &work.RMSNorm{Eps: 1e-6, Offset: 1}},
		{Dim: 3584, RMS: work.RMSNorm{Eps: 1e-6, Offset: 1}, Join: &work.RMSNorm{Eps: 1e-6, Offset: 1}},
		{Dim: 32 * 1100, RMS: work.RMSNorm{Eps: 1e-6}, Join: &work.RMSNorm{Eps: 1e-5}},
		{Dim: 192, RMS: work.RMSNorm{Eps: 1e-6}, Join: &work.RMSNorm{Eps: 1e-5}, Round: &work.Round{Dim: 192, To: work.F16}},
	} {
		tgt := gpus(t)[i%2]
		const n = 3
		x, before := random(t, n*p.Dim, 2), random(t, n*p.Dim, 1)
		g, jg := random(t, p.Dim, 1), random(t, p.Dim, 1)
		after, y := poison(alloc[float32](t, n*p.Dim)), poison(alloc[float32](t, n*p.Dim))
		l := open(t, tgt, p)
		l.bind(t, 0, p, work.Dims{N: n}, map[string]uintptr{"x": addr(x), "g": addr(g), "jg": addr(jg), "before": addr(before), "after": addr(after), "y": addr(y)}).run(2)
		for r := range n {
			at := r * p.Dim
			joined := normRef(x[at:][:p.Dim], jg, float64(p.Join.Eps), float64(p.Join.Offset))
			row := make([]float32, p.Dim)
			for j := range joined {
				joined[j] += float64(before[at+j])
				row[j] = float32(joined[j])
			}
			close32(t, tgt.Name+" joined "+p.Key(), after[at:][:p.Dim], joined, 1e-6)
			got, bound := y[at:][:p.Dim], 1e-6
			if p.Round != nil {
				words := y[r*int(p.Round.RowBytes())/4:]
				got, bound = make([]float32, p.Dim), 1e-3
				for j := range got {
					got[j] = block.F16ToF32(uint16(math.Float32bits(words[j/2]) >> (j % 2 * 16)))
				}
			}
			close32(t, tgt.Name+" "+p.Key(), got, normRef(row, g, float64(p.RMS.Eps), float64(p.RMS.Offset)), bound)
		}
	}
	p := work.Norm{Dim: 64, RMS: work.RMSNorm{Eps: 1e-6}, Gather: true, Join: &work.RMSNorm{Eps: 1e-6}}
	if err := p.Validate(); err == nil {
		t.Errorf("%s: expected an error: rows that are kept are none of those gathered", p.Key())
	}
}

func TestRoundI8(t *testing.T) {
	for _, tgt := range targets(t) {
		p := work.Round{Dim: 96, To: work.I8}
		const n = 3
		size := int(p.RowBytes())
		x, y := random(t, n*p.Dim, 3), alloc[int8](t, n*size)
		clear(x[32:64]) // a block of zeros has scale 0
		open(t, tgt, p).bind(t, 0, p, work.Dims{N: n}, map[string]uintptr{"x": addr(x), "y": addr(y)}).run(2)
		for b := range n * p.Dim / 32 {
			row := y[b/3*size:][:size]
			scales, sums := cast[float32](row[p.Dim:]), cast[int32](row[p.Dim+p.Dim/8:])
			top, sum := 0.0, int32(0)
			for i, v := range x[32*b:][:32] {
				top = max(top, math.Abs(float64(v)))
				c := row[b%3*32+i]
				sum += int32(c)
				if off := math.Abs(float64(c)*float64(scales[b%3]) - float64(v)); off > 0.5001*float64(scales[b%3]) {
					t.Fatalf("%s: block %d value %d: %v is %d * %v", tgt.Name, b, i, v, c, scales[b%3])
				}
			}
			if s := float64(scales[b%3]); math.Abs(s-top/127) > 1e-6*s || sums[b%3] != sum {
				t.Fatalf("%s: block %d: scale %v, sum %d, want %v, %d", tgt.Name, b, s, sums[b%3], top/127, sum)
			}
		}
	}
}

// cast reads bytes as values of another type.
func cast[T any](b []int8) []T {
	var z T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(z)))
}
