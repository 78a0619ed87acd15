package layout

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/x448/float16"

	"quire/ir/types/block"
)

// at reads one value of a packed weight, straight from the package comment.
func at(f Format, packed []byte, cols, r, k int) float32 {
	tile := packed[r/Lanes*(cols/f.Block)*f.ColumnBytes():]
	lane, col, i := r%Lanes, tile[k/f.Block*f.ColumnBytes():], k%f.Block
	u32 := func(n int) uint32 { return binary.LittleEndian.Uint32(col[n:]) }
	half := func(n int) float32 { return float16.Frombits(binary.LittleEndian.Uint16(col[32*n+2*lane:])).Float32() }
	switch f.Enc {
	case F32:
		return math.Float32frombits(u32(4 * lane))
	case F16:
		return half(0)
	case BF16:
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(col[2*lane:])) << 16)
	}
	plane := 32*f.Halfs + 16*f.Bytes
	var q uint32
	switch f.Bits {
	case 8:
		q = u32(plane+64*(i/4)+4*lane) >> (8 * (i % 4)) & 255
	case 3:
		j := i % 16
		q = u32(plane+64*(i/16)+4*lane) >> (8*(j%4) + 2*(j/4)) & 3
		plane += 4 * f.Block
		j = i % 32
		q |= u32(plane+64*(i/32)+4*lane) >> (8*(j%4) + j/4) & 1 << 2
	default:
		j := i % 8
		q = u32(plane+64*(i/8)+4*lane) >> (8*(j%4) + 4*(j/4)) & 15
	}
	plane += 8 * f.Block
	switch f.Bits {
	case 5:
		j := i % 32
		q |= u32(plane+64*(i/32)+4*lane) >> (8*(j%4) + j/4) & 1 << 4
	case 6:
		j := i % 16
		q |= u32(plane+64*(i/16)+4*lane) >> (8*(j%4) + 2*(j/4)) & 3 << 4
	}
	scale := func(n int) byte { return col[32*f.Halfs+64*(n/4)+4*lane+n%4] }
	d, c := half(0), float32(int(q)-f.Offset)
	switch f.Min {
	case Added:
		return float32(d*c) + half(1)
	case Zero:
		return (c - half(1)) * d
	case Table:
		return d * float32(IQ4Values[q])
	case Scales8:
		return d * float32(int8(scale(i/16))) * c
	case KScales:
		var b [12]byte
		for n := range b {
			b[n] = scale(n)
		}
		sc, mn := block.ScaleMin(i/32, b[:])
		return float32(float32(d*float32(sc))*c) - half(1)*float32(mn)
	}
	return d * c
}

// Every encoding, with padding rows: the packed bytes mean what the file's bytes mean.
func TestPackMeansTheSame(t *testing.T) {
	for _, e := range Encs() {
		f, _ := Of(e)
		b, ok := block.Lookup(string(e))
		if !ok {
			t.Fatalf("%s is not in the block table", e)
		}
		const rows = 37
		cols := 3 * max(f.Block, 5)
		w := make([]float32, rows*cols)
		for i := range w {
			w[i] = float32(rand.NormFloat64())
		}
		n, _ := b.RowBytes(int64(cols))
		raw := make([]byte, rows*int(n))
		if err := block.EncodeRows(string(e), cols, w, raw); err != nil {
			t.Fatal(err)
		}
		if err := block.DecodeRows(string(e), cols, raw, w); err != nil {
			t.Fatal(err)
		}
		packed := make([]byte, f.Size(rows, cols))
		for i := range packed {
			packed[i] = 0xff
		}
		if err := Pack(packed, e, rows, cols, raw); err != nil {
			t.Fatal(err)
		}
		for r := range rows {
			for k := range cols {
				if got := at(f, packed, cols, r, k); got != w[r*cols+k] {
					t.Fatalf("%s[%d,%d] is %v, want %v", e, r, k, got, w[r*cols+k])
				}
			}
		}
		if got := at(f, packed, cols, rows, 0); e != Q6_K && f.Offset == 0 && got != 0 {
			t.Errorf("%s: padding row holds %v, want 0", e, got)
		}
	}
}

func TestPackErrors(t *testing.T) {
	for _, c := range []struct {
		e          Enc
		rows, cols int
		dst, src   int
	}{{"q9", 1, 32, 0, 0}, {Q4_0, 1, 33, 0, 0}, {Q4_0, 1, 32, 1, 18}, {Q4_0, 1, 32, 288, 17}, {F32, 0, 1, 0, 0}} {
		if Pack(make([]byte, c.dst), c.e, c.rows, c.cols, make([]byte, c.src)) == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}

func BenchmarkPack(b *testing.B) {
	for _, e := range []Enc{Q4_1, Q8_0, Q4_K} {
		b.Run(string(e), func(b *testing.B) {
			const rows, cols = 1024, 1536
			f, _ := Of(e)
			enc, _ := block.Lookup(string(e))
			n, _ := enc.RowBytes(cols)
			src, dst := make([]byte, rows*n), make([]byte, f.Size(rows, cols))
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				if err := Pack(dst, e, rows, cols, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
