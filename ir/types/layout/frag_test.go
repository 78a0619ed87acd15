package layout

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"quire/ir/types/block"
)

// fragAt reads one value, straight from the type's comment.
func fragAt(f Frag, packed []byte, cols, r, k int) float32 {
	tile := packed[r/Lanes*(cols/f.Unit)*f.UnitBytes():]
	unit := tile[k/f.Unit*f.UnitBytes():]
	r, k = r%Lanes, k%f.Unit
	chunk, c := k/f.Chunk, k%f.Chunk
	in := c % f.Span
	q, j, e := in/(f.Span/4), c/f.Span*(f.Span/16)+in%(f.Span/4)/4, c%4
	lane, i, h := 4*(r%8)+q, r/8+2*(e/2), e%2
	products := f.Chunk / 16
	u32 := func(n int) uint32 { return binary.LittleEndian.Uint32(unit[n:]) }
	half := func(n int) float32 { return block.F16ToF32(binary.LittleEndian.Uint16(unit[n:])) }
	chunks := f.Unit / f.Chunk
	var code uint32
	end := 0
	switch f.Stored {
	case 16:
		w := binary.LittleEndian.Uint16(unit[chunk*f.Chunk*32+16*(32*j+lane)+2*(2*i+h):])
		if f.Enc == BF16 {
			return math.Float32frombits(uint32(w) << 16)
		}
		return block.F16ToF32(w)
	case 8:
		per := min(products, 2)
		code = uint32(unit[chunk*f.Chunk*16+8*((j/2*32+lane)*per+j%2)+2*i+h])
		end = f.Unit * 16
	case 3:
		pair := (products + 1) / 2
		code = u32(chunk*128*pair+4*(lane*pair+j/2)) >> (16*h + 8*(j%2) + 2*i) & 3
		end = 128 * pair * chunks
		code |= u32(end+128*chunk+4*lane) >> (16*h + 4*j + i) & 1 << 2
		end += 128 * chunks
	default:
		code = bits.RotateLeft32(u32(chunk*f.Chunk*8+4*(lane*products+j)), -2) >> (16*h + 4*i) & 15
		end = f.Unit * 8
		if f.Stored == 5 {
			code |= u32(end+128*chunk+4*lane) >> (16*h + 4*j + i) & 1 << 4
			end += 128 * chunks
		}
		if f.Stored == 6 {
			code |= u32(end+256*chunk+4*(2*lane+j/2)) >> (16*h + 8*(j%2) + 2*i) & 3 << 4
			end += 256 * chunks
		}
	}
	place := 2*(r%8) + r/8
	x := float32(int(code) - f.Offset)
	switch {
	case f.Min == Scales8:
		return half(end+256+2*place) * float32(int8(unit[end+16*place+k/16])) * x
	case f.Min == KScales:
		sc, mn := block.ScaleMin(k/32, unit[end+16*place+4:][:12])
		d, m := half(end+16*place), half(end+16*place+2)
		return float32(float32(d*float32(sc))*x) - m*float32(mn)
	}
	at := end + 2*f.Halfs*(place*(f.Unit/f.Block)+k/f.Block)
	switch f.Min {
	case Added:
		return float32(half(at)*x) + half(at+2)
	case Zero:
		return (x - half(at+2)) * half(at)
	}
	return half(at) * x
}

// Every encoding, of columns that make units of every size, with padding rows: the packed
// bytes mean what the file's bytes mean.
func TestFragMeansTheSame(t *testing.T) {
	for _, e := range Encs() {
		f, _ := Of(e)
		sizes := map[int]bool{}
		for _, cols := range []int{768, 192, 96, 48} {
			if f.Block == 1 || cols%f.Block == 0 {
				g, err := FragOf(e, cols)
				if err != nil {
					t.Fatal(err)
				}
				sizes[g.Unit] = true
				checkFrag(t, g, cols)
			}
		}
		if f.Block == 32 && len(sizes) != 3 {
			t.Errorf("%s: units %v, want three sizes", e, sizes)
		}
	}
}

func checkFrag(t *testing.T, f Frag, cols int) {
	t.Helper()
	const rows = 37
	e := string(f.Enc)
	b, _ := block.Lookup(e)
	w := make([]float32, rows*cols)
	for i := range w {
		w[i] = float32(rand.NormFloat64())
	}
	n, _ := b.RowBytes(int64(cols))
	raw := make([]byte, rows*int(n))
	if err := block.EncodeRows(e, cols, w, raw); err != nil {
		t.Fatal(err)
	}
	if err := block.DecodeRows(e, cols, raw, w); err != nil {
		t.Fatal(err)
	}
	packed := make([]byte, f.Size(rows, cols))
	for i := range packed {
		packed[i] = 0xff
	}
	if err := PackFrag(packed, f.Enc, rows, cols, raw); err != nil {
		t.Fatal(err)
	}
	if f.UnitBytes()%16 != 0 {
		t.Errorf("%s: units of %d bytes, want a multiple of 16", e, f.UnitBytes())
	}
	for r := range rows {
		for k := range cols {
			want := w[r*cols+k]
			if f.Enc == F32 {
				want = block.F16ToF32(block.F32ToF16(want))
			}
			if got := fragAt(f, packed, cols, r, k); got != want {
				t.Fatalf("%s of %d columns [%d,%d] is %v, want %v", e, cols, r, k, got, want)
			}
		}
	}
	if got := fragAt(f, packed, cols, rows, 0); got != 0 {
		t.Errorf("%s: padding row holds %v, want 0", e, got)
	}
}

func TestFragErrors(t *testing.T) {
	for _, c := range []struct {
		e    Enc
		cols int
	}{{"q9", 128}, {Q4G128, 192}, {Q4_K, 128}, {F16, 24}, {Q4_0, 48}, {Q4_0, 0}} {
		if f, err := FragOf(c.e, c.cols); err == nil {
			t.Errorf("%s of %d columns: %+v, want an error", c.e, c.cols, f)
		}
	}
	if PackFrag(make([]byte, 10), Q4_0, 16, 128, make([]byte, 16*72)) == nil {
		t.Error("short dst: no error")
	}
}

func BenchmarkPackFrag(b *testing.B) {
	for _, e := range []Enc{Q4G128, Q4_0, Q6_K, F16} {
		b.Run(string(e), func(b *testing.B) {
			const rows, cols = 1024, 1536
			enc, _ := block.Lookup(string(e))
			n, _ := enc.RowBytes(cols)
			size, _ := Bytes("frag", e, rows, cols)
			src, dst := make([]byte, rows*n), make([]byte, size)
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				if err := PackFrag(dst, e, rows, cols, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
