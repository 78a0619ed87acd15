package packed_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"quire/ir/types/block"
	"quire/ir/types/packed"
)

// Any weight, in any layout, at any group, comes back bit for bit; and so do any of its rows by their windows alone.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &packed.Matrix{Format: rapid.SampledFrom(packed.Formats()).Draw(t, "format"), Bits: 4}
		m.Rows = 64 * rapid.IntRange(1, 3).Draw(t, "rows/64")
		m.Group = rapid.SampledFrom([]int{32, 64, 128, 256}).Draw(t, "group")
		m.Cols = m.Group * rapid.IntRange(1, 3).Draw(t, "groups")
		if m.Format == packed.GPTQ || m.Format == packed.GPTQv2 || m.Format == packed.CompressedTensors {
			m.Bits = rapid.SampledFrom([]int{3, 4}).Draw(t, "bits")
		}
		if m.Format == packed.CompressedTensors {
			m.Rows -= rapid.IntRange(0, 63).Draw(t, "fewer rows")
		}
		if (m.Format == packed.AWQGemv || m.Format == packed.AWQGemvFast) && m.Group == 256 || m.Cols%64 != 0 {
			m.Group, m.Cols = 128, 256
		}
		symmetric := rapid.Bool().Draw(t, "symmetric")
		must(t, m.Shapes(symmetric))
		if m.Format == packed.AWQGemvFast {
			m.Parts[packed.Zeros].Elem = rapid.SampledFrom([]string{"f16", "bf16"}).Draw(t, "elem")
		}
		seed := rapid.Uint32().Draw(t, "seed")
		next := func() uint32 { seed = seed*1664525 + 1013904223; return seed >> 8 }
		rows := rowsOf(m, func(int, int) byte { return byte(next()) & (1<<m.Bits - 1) }, func(n, g int) (float32, byte) {
			h := uint32(n*131+g*17) * 2654435761 // the same for all parts of a group
			z := byte(1) << (m.Bits - 1)
			if !m.Symmetric() {
				z = byte(h>>20) & (1<<m.Bits - 1)
			}
			return block.F16ToF32(uint16(h>>8)%0x6800 + 1), z // 15 scales are finite
		})
		parts, err := m.Encode(rows)
		must(t, err)
		_, _, size := m.Encoding().Parts(m.Cols)
		got := make([]byte, len(rows))
		must(t, m.Decode(got, 0, m.Rows, parts))
		if !slices.Equal(got, rows) {
			t.Fatal("rows differ after a round trip")
		}
		first := rapid.IntRange(0, m.Rows-1).Draw(t, "first")
		from, count := m.Around(first, rapid.IntRange(1, m.Rows-first).Draw(t, "count"))
		var windows [packed.Roles][]byte
		for r := range packed.Roles {
			if parts[r] != nil {
				windows[r] = m.Window(r, from, count).Cut(parts[r])
			}
		}
		some := make([]byte, count*size)
		must(t, m.Decode(some, from, count, windows))
		if !slices.Equal(some, rows[from*size:][:count*size]) {
			t.Fatalf("rows %d to %d differ when read alone", from, from+count-1)
		}
	})
}

// Whatever the layout, the same weight has the same values: bfloat16 and float32 scales included.
func TestScaleTypes(t *testing.T) {
	for _, elem := range []string{"f16", "bf16", "f32"} {
		m := &packed.Matrix{Format: packed.CompressedTensors, Rows: 5, Cols: 64, Bits: 4, Group: 32}
		if err := m.Shapes(true); err != nil {
			t.Fatal(err)
		}
		m.Parts[packed.Scales].Elem = elem
		rows := rowsOf(m, func(n, k int) byte { return byte(n+k) & 15 }, func(n, g int) (float32, byte) { return 0.0390625 * float32(n+1), 8 })
		parts, err := m.Encode(rows)
		if err != nil {
			t.Fatal(err)
		}
		if got := decode(t, m, parts); !slices.Equal(got, rows) {
			t.Errorf("%s: rows differ after a round trip", elem)
		}
	}
}

// Cases A1 and A3: arrays that disagree with sizes and group, and scales that are no numbers, are errors that name the
// array at fault.
func TestReject(t *testing.T) {
	ok := func() *packed.Matrix { return matrix(t, packed.AWQGemm, 4, false) }
	for _, c := range []struct {
		name string
		edit func(m *packed.Matrix)
		part packed.Role
		want string
	}{
		{"unknown layout", func(m *packed.Matrix) { m.Format = "exllama" }, -1, `layout "exllama", expected one of [awq-gemm`},
		{"3 bits", func(m *packed.Matrix) { m.Bits = 3 }, -1, "3 bits in awq-gemm, expected one of [4]"},
		{"group 0", func(m *packed.Matrix) { m.Group = 0 }, -1, "groups of 0 columns, expected a multiple of 8 that divides 128"},
		{"group does not divide", func(m *packed.Matrix) { m.Group = 48 }, -1, "groups of 48 columns"},
		{"group too small", func(m *packed.Matrix) { m.Group = 4 }, -1, "groups of 4 columns"},
		{"group of the others", func(m *packed.Matrix) { m.Group = 32 }, packed.Scales, "shape [2 64], expected [4 64]"},
		{"rows", func(m *packed.Matrix) { m.Rows = 63 }, -1, "63 rows in awq-gemm, expected a multiple of 8"},
		{"codes", func(m *packed.Matrix) { m.Parts[packed.Codes].Shape = []int64{64, 16} }, packed.Codes, "shape [64 16], expected [128 8]"},
		{"zeros", func(m *packed.Matrix) { m.Parts[packed.Zeros].Shape = []int64{2, 64} }, packed.Zeros, "shape [2 64], expected [2 8]"},
		{"element", func(m *packed.Matrix) { m.Parts[packed.Codes].Elem = "i64" }, packed.Codes, `elements "i64", expected one of [i32]`},
		{"float zeros", func(m *packed.Matrix) { m.Parts[packed.Zeros].Elem = "f16" }, packed.Zeros, `elements "f16", expected one of [i32]`},
	} {
		m := ok()
		c.edit(m)
		err := m.Check()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
		var e *packed.Error
		if got := errors.As(err, &e); got != (c.part >= 0) || got && e.Part != c.part {
			t.Errorf("%s: error about %v, expected one about %d", c.name, e, c.part)
		}
	}
	m := ok()
	for _, c := range []struct {
		elem string
		bits uint32
		want string
	}{
		{"f16", 0x7e00, "scales: row 0, group 0: NaN, expected a finite number"},
		{"f16", 0x7c00, "+Inf, expected a finite number"},
		{"bf16", 0x7fc0, "NaN, expected a finite number"},
		{"bf16", 0x3301, "expected a number that float16 holds exactly"},
		{"bf16", 0x4800, "131072 of bf16, expected a number that float16 holds exactly"},
		{"f32", 0x3f800001, "expected a number that float16 holds exactly"},
	} {
		m.Parts[packed.Scales].Elem = c.elem
		src := arrays(m)
		if c.elem == "f32" {
			binary.LittleEndian.PutUint32(src[packed.Scales], c.bits)
		} else {
			binary.LittleEndian.PutUint16(src[packed.Scales], uint16(c.bits))
		}
		_, _, size := m.Encoding().Parts(m.Cols)
		err := m.Decode(make([]byte, 64*size), 0, 64, src)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %x: %v, expected %q", c.elem, c.bits, err, c.want)
		}
	}
}

// A scaled zero that is no integer number of scales (gemv_fast) is an error: nothing is rounded.
func TestScaledZero(t *testing.T) {
	m := matrix(t, packed.AWQGemvFast, 4, false)
	src := arrays(m)
	binary.LittleEndian.PutUint16(src[packed.Scales], block.F32ToF16(0.1))
	binary.LittleEndian.PutUint16(src[packed.Zeros], block.F32ToF16(-0.25))
	_, _, size := m.Encoding().Parts(m.Cols)
	err := m.Decode(make([]byte, 64*size), 0, 64, src)
	if err == nil || !strings.Contains(err.Error(), "zeros: row 0, group 0: -0.25 with a scale of") {
		t.Errorf("%v, expected an error about the zero of row 0", err)
	}
}

// What a symmetric layout or a format's width does not hold is not written.
func TestEncodeReject(t *testing.T) {
	m := matrix(t, packed.Marlin, 4, true)
	rows := rowsOf(m, func(int, int) byte { return 0 }, func(n, g int) (float32, byte) { return 1, 8 - byte(n/63) })
	if _, err := m.Encode(rows); err == nil || !strings.Contains(err.Error(), "zeros: row 63, group 0: 7 in a symmetric weight, expected 8") {
		t.Errorf("%v, expected an error about row 63", err)
	}
	if _, err := m.Encode(rows[1:]); err == nil {
		t.Error("no error about missing bytes")
	}
	m = &packed.Matrix{Format: packed.CompressedTensors, Rows: 1, Cols: 256, Bits: 4, Group: 256}
	if err := m.Shapes(true); err != nil {
		t.Fatal(err)
	}
	rows = rowsOf(m, func(int, int) byte { return 0 }, func(n, g int) (float32, byte) { return 1, 8 })
	scales, _, _ := m.Encoding().Parts(256)
	rows[scales+3] ^= 1
	if _, err := m.Encode(rows); err == nil || !strings.Contains(err.Error(), "row 0: scales differ inside group 0 of 256 columns") {
		t.Errorf("%v, expected an error about differing scales", err)
	}
}

// No bytes of arrays, however strange, do more than give rows or an error.
func FuzzDecode(f *testing.F) {
	for i := range packed.Formats() {
		f.Add(uint8(i), uint8(4), []byte("some bytes that fill all arrays in turn"))
	}
	f.Fuzz(func(t *testing.T, format, bits uint8, fill []byte) {
		all := packed.Formats()
		m := &packed.Matrix{Format: all[int(format)%len(all)], Rows: 64, Cols: 64, Bits: int(bits), Group: 32}
		if m.Shapes(format&64 != 0) != nil || len(fill) == 0 {
			return
		}
		src := arrays(m)
		for r := range src {
			for i := range src[r] {
				src[r][i] = fill[i%len(fill)]
			}
		}
		_, _, size := m.Encoding().Parts(m.Cols)
		rows := make([]byte, 64*size)
		if m.Decode(rows, 0, 64, src) != nil {
			return
		}
		back, err := m.Encode(rows)
		if err != nil {
			t.Fatal(err)
		}
		again := make([]byte, len(rows))
		if err := m.Decode(again, 0, 64, back); err != nil || !slices.Equal(rows, again) {
			t.Fatalf("%v: rows differ after writing and reading", err)
		}
	})
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, f := range packed.Formats() {
		b.Run(string(f), func(b *testing.B) {
			m := &packed.Matrix{Format: f, Rows: 512, Cols: 4096, Bits: 4, Group: 128}
			if err := m.Shapes(false); err != nil {
				b.Fatal(err)
			}
			src := arrays(m)
			_, _, size := m.Encoding().Parts(m.Cols)
			dst := make([]byte, m.Rows*size)
			b.SetBytes(int64(len(dst)))
			for b.Loop() {
				if err := m.Decode(dst, 0, m.Rows, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
