package kernels

import (
	"encoding/binary"
	"math"
	"testing"

	"quire/ir/types/block"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// Every encoding's row equals ggml's dequantisation, bit for bit.
func TestEmbed(t *testing.T) {
	for _, tgt := range targets(t) {
		var ps []work.Params
		for i, e := range layout.Encs() {
			f, _ := layout.Of(e)
			ps = append(ps, work.Embed{Enc: e, Vocab: 37, Dim: 3 * max(f.Block, 7), Scale: []float32{0, 1, 24}[i%3]})
		}
		l := open(t, tgt, ps...)
		for i := range ps {
			p := ps[i].(work.Embed)
			packed, w := weight(t, p.Enc, []int{p.Vocab}, p.Dim)
			const n = 5
			tok := alloc[int32](t, n)
			copy(tok, []int32{36, 0, 17, 15, 16})
			y := poison(alloc[float32](t, (n+1)*p.Dim))
			l.bind(t, i, p, work.Dims{N: n}, map[string]uintptr{"tok": addr(tok), "w": addr(packed), "y": addr(y)}).run(2)
			for j := range n * p.Dim {
				want := w[int(tok[j/p.Dim])*p.Dim+j%p.Dim]
				if p.Scale != 0 {
					want *= p.Scale
				}
				if y[j] != want {
					t.Fatalf("%s %s: row %d value %d is %v, want %v", tgt.Name, p.Key(), j/p.Dim, j%p.Dim, y[j], want)
				}
			}
			for _, v := range y[n*p.Dim:] {
				if v == v {
					t.Fatalf("%s: wrote beyond its rows", p.Key())
				}
			}
		}
	}
}

// On a GPU, of weights in fragments: f32 is rounded to f16 there.
func TestEmbedFragments(t *testing.T) {
	for i, e := range layout.Encs() {
		f, _ := layout.Of(e)
		p := work.Embed{Enc: e, Vocab: 37, Dim: 3 * max(f.Block, 16<<(i%4)), Scale: []float32{0, 1, 24}[i%3]}
		c := newFewRows(t, p, work.Linear{Enc: e, Rows: []int{p.Vocab}, Cols: p.Dim}, 5)
		tok := []int32{36, 0, 17, 15, 8}
		c.bytes["tok"], c.bytes["y"] = bytesOf(tok), make([]byte, 4*len(tok)*p.Dim)
		c.simulate(t, gpus(t)[i%2], 1)
		for j := range len(tok) * p.Dim {
			want := float32(c.w[tok[j/p.Dim]][j%p.Dim])
			if e == layout.F32 {
				want = block.F16ToF32(block.F32ToF16(want))
			}
			if p.Scale != 0 {
				want *= p.Scale
			}
			if got := math.Float32frombits(binary.LittleEndian.Uint32(c.bytes["y"][4*j:])); got != want {
				t.Fatalf("%s: row %d value %d is %v, want %v", p.Key(), j/p.Dim, j%p.Dim, got, want)
			}
		}
	}
}

// BenchmarkEmbed is one row of SmolLM2's table: ns a token.
func BenchmarkEmbed(b *testing.B) {
	for _, tgt := range targets(b) {
		for _, e := range []layout.Enc{layout.Q4_1, layout.Q8_0, layout.Q6_K, layout.F16} {
			b.Run(tgt.Name+"/"+string(e), func(b *testing.B) {
				p := work.Embed{Enc: e, Vocab: 1024, Dim: 768}
				l := open(b, tgt, p)
				f, _ := layout.Of(e)
				const n = 256
				tok, w, y := alloc[int32](b, n), alloc[byte](b, f.Size(p.Vocab, p.Dim)), alloc[float32](b, n*p.Dim)
				for i := range tok {
					tok[i] = int32(i * 37 % p.Vocab)
				}
				la := l.bind(b, 0, p, work.Dims{N: n}, map[string]uintptr{"tok": addr(tok), "w": addr(w), "y": addr(y)})
				for b.Loop() {
					la.run(n)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/token")
			})
		}
	}
}
