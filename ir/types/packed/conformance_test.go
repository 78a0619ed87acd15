package packed_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"quire/ir/types/block"
	"quire/ir/types/packed"
)

// sample is the weight of "AWQ facts" 6.2: K = 128, N = 64, q[k][n] = (7k + 13n + floor(kn/5)) mod 16, groups of 64,
// z[G][n] = (5G + 3n + 2) mod 16; or the codes of 3 bits, (3k + 5n + floor(kn/7)) mod 8.
func sample(bits int) []byte {
	const k, n, g = 128, 64, 64
	e, _ := block.Lookup(block.Grouped(bits, g))
	size, _ := e.RowBytes(k)
	rows := make([]byte, n*size)
	scales, zeros, _ := e.Parts(k)
	for r := range n {
		row := rows[int64(r)*size:][:size]
		for c := range k {
			q := 7*c + 13*r + c*r/5
			if bits == 3 {
				q = 3*c + 5*r + c*r/7
			}
			bit := c * bits
			v := uint16(q&(1<<bits-1)) << (bit % 8)
			row[bit/8] |= byte(v)
			if v > 255 {
				row[bit/8+1] |= byte(v >> 8)
			}
		}
		for i := range k / g {
			binary.LittleEndian.PutUint16(row[scales+2*i:], block.F32ToF16(float32(r+1)/16+float32(i)))
			row[zeros+i] = byte(5*i+3*r+2) & (1<<bits - 1)
		}
	}
	return rows
}

func matrix(t *testing.T, f packed.Format, bits int, symmetric bool) *packed.Matrix {
	t.Helper()
	m := &packed.Matrix{Format: f, Rows: 64, Cols: 128, Bits: bits, Group: 64}
	if err := m.Shapes(symmetric); err != nil {
		t.Fatal(err)
	}
	return m
}

func firstWords(b []byte, n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%08x", binary.LittleEndian.Uint32(b[4*i:])))
	}
	return strings.Join(out, " ")
}

// Case 6.2: the sample itself, one code a byte, by rows and by columns.
func TestSample(t *testing.T) {
	const k, n = 128, 64
	rows := sample(4)
	size := len(rows) / n
	byRows, byCols := make([]byte, n*k), make([]byte, k*n)
	for r := range n {
		for c := range k {
			q := rows[r*size+c/2] >> (c % 2 * 4) & 15
			byRows[r*k+c], byCols[c*n+r] = q, q
		}
	}
	if a, b := crc32.ChecksumIEEE(byCols), crc32.ChecksumIEEE(byRows); a != 0x3d1a392c || b != 0x4c75be23 {
		t.Errorf("crc32 %08x of [K][N] and %08x of [N][K], expected 3d1a392c and 4c75be23", a, b)
	}
}

// Case 6.2: whole buffers, by their CRC32 and first words; and they read back as the rows that they came from.
func TestBuffers(t *testing.T) {
	for _, c := range []struct {
		format packed.Format
		bits   int
		role   packed.Role
		crc    uint32
		words  string
	}{
		{packed.AWQGemm, 4, packed.Codes, 0x890d2058, "b17de4a0 39f56c28 b17de4a0"},
		{packed.AWQGemm, 4, packed.Zeros, 0x42f10b34, "71b54e82 f93dc60a"},
		{packed.GPTQv2, 4, packed.Codes, 0xfbb6255a, "1a3c5e70 f8192b4d d6f7081a"},
		{packed.GPTQ, 4, packed.Codes, 0xfbb6255a, "1a3c5e70 f8192b4d d6f7081a"},
		{packed.GPTQv2, 4, packed.Zeros, 0x83ee2728, "741eb852"},
		{packed.AWQGemv, 4, packed.Codes, 0x02a1f89b, "1a3c5e70 92b4d6f8"},
		{packed.CompressedTensors, 4, packed.Codes, 0x02a1f89b, "1a3c5e70 92b4d6f8"},
		{packed.AWQGemv, 4, packed.Zeros, 0xc24c7bcb, "00000072 00000000 000000a5"},
		{packed.CompressedTensors, 4, packed.Zeros, 0x7c0932cc, "741eb852 c9630da7"},
		{packed.AWQGemvFast, 4, packed.Codes, 0xfa5d35a2, "f7f78080 d5d56e6e b3b34c4c"},
		{packed.Marlin, 4, packed.Codes, 0x05ccb667, "50f7c880 23ba6810 f78d08b0"},
		{packed.Marlin, 4, packed.Zeros, 0x2884879d, "aaaa2222 dddd5555 00008888"},
		{packed.CompressedTensors, 3, packed.Codes, 0x0ec83156, "98abc398"},
		{packed.GPTQv2, 3, packed.Codes, 0xaee666b4, "98abc398"},
	} {
		t.Run(fmt.Sprintf("%s %d %s", c.format, c.bits, c.role), func(t *testing.T) {
			rows := sample(c.bits)
			parts, err := matrix(t, c.format, c.bits, false).Encode(rows)
			if err != nil {
				t.Fatal(err)
			}
			if back := decode(t, matrix(t, c.format, c.bits, false), parts); string(back) != string(rows) {
				t.Error("rows differ after a round trip")
			}
			b := parts[c.role]
			n := (len(c.words) + 1) / 9
			if got := firstWords(b, n); got != c.words {
				t.Errorf("first words %s, expected %s", got, c.words)
			}
			if got := crc32.ChecksumIEEE(b); got != c.crc {
				t.Errorf("crc32 %08x, expected %08x", got, c.crc)
			}
		})
	}
}

// Case 6.2, GPTQ's zeros of format 1: the buffer whose fields were decremented one by one differs from what one
// subtraction a word gives in the fields above a zero of 0 alone (case 6.1.4), and only the latter is read back.
func TestZerosLessOne(t *testing.T) {
	rows := sample(4)
	m := matrix(t, packed.GPTQ, 4, false)
	parts, err := m.Encode(rows)
	if err != nil {
		t.Fatal(err)
	}
	v2, err := matrix(t, packed.GPTQv2, 4, false).Encode(rows)
	if err != nil {
		t.Fatal(err)
	}
	fields := make([]byte, len(v2[packed.Zeros]))
	for i, b := range v2[packed.Zeros] {
		fields[i] = (b-1)&15 | ((b>>4)-1)&15<<4
	}
	if got := crc32.ChecksumIEEE(fields); got != 0xa0f8efe1 || firstWords(fields, 1) != "630da741" {
		t.Errorf("fields less one: %s, crc32 %08x, expected 630da741, a0f8efe1", firstWords(fields, 1), got)
	}
	for i := range len(fields) / 4 {
		a, b, z := word(fields, i), word(parts[packed.Zeros], i), word(v2[packed.Zeros], i)
		if b != z-0x11111111 {
			t.Fatalf("word %d is %08x, expected %08x less one a field", i, b, z)
		}
		if a != b && !strings.ContainsRune(fmt.Sprintf("%08x", z)[1:], '0') {
			t.Errorf("word %d: %08x and %08x differ without a zero of 0", i, a, b)
		}
	}
	back := decode(t, m, parts)
	if string(back) != string(rows) {
		t.Error("rows differ after a round trip")
	}
}

// Case 6.1.4 itself: zeros 0 5 8 8 8 8 8 8 stored as 0x7777773f are read as they were.
func TestBorrow(t *testing.T) {
	m := &packed.Matrix{Format: packed.GPTQ, Rows: 32, Cols: 32, Bits: 4, Group: 32}
	if err := m.Shapes(false); err != nil {
		t.Fatal(err)
	}
	src := arrays(m)
	for i, w := range []uint32{0x7777773f, 0x77777777, 0x77777777, 0x77777777} {
		binary.LittleEndian.PutUint32(src[packed.Zeros][4*i:], w)
	}
	rows := decode(t, m, src)
	e := m.Encoding()
	_, zeros, size := e.Parts(32)
	var got []byte
	for n := range 10 {
		got = append(got, rows[n*size+zeros])
	}
	if fmt.Sprint(got) != "[0 5 8 8 8 8 8 8 8 8]" {
		t.Errorf("zeros %v, expected 0 5 8 8 8 8 8 8 8 8", got)
	}
}

// Cases 6.1.1 and 6.1.2: single words.
func TestWords(t *testing.T) {
	for _, c := range []struct {
		codes      [8]byte
		gemm, line uint32
	}{
		{[8]byte{0, 1, 2, 3, 4, 5, 6, 7}, 0x75316420, 0x76543210},
		{[8]byte{3, 14, 1, 5, 9, 2, 6, 5}, 0x525e6913, 0x562951e3},
		{[8]byte{15, 14, 13, 12, 11, 10, 9, 8}, 0x8ace9bdf, 0x89abcdef},
		{[8]byte{8, 8, 8, 8, 8, 8, 8, 8}, 0x88888888, 0x88888888},
	} {
		// The codes stand across eight rows (gemm) or along one (gemv, compressed-tensors).
		across := func(n, _ int) byte { return c.codes[n%8] }
		along := func(_, k int) byte { return c.codes[k%8] }
		for f, want := range map[packed.Format]uint32{packed.AWQGemm: c.gemm, packed.AWQGemv: c.line, packed.CompressedTensors: c.line, packed.GPTQv2: c.line} {
			m := &packed.Matrix{Format: f, Rows: 32, Cols: 32, Bits: 4, Group: 32}
			if err := m.Shapes(false); err != nil {
				t.Fatal(err)
			}
			code := along
			if f == packed.AWQGemm {
				code = across
			}
			parts, err := m.Encode(rowsOf(m, code, func(n, g int) (float32, byte) { return 1, c.codes[n%8] }))
			if err != nil {
				t.Fatal(err)
			}
			if got := word(parts[packed.Codes], 0); got != want {
				t.Errorf("%s: codes %v are %08x, expected %08x", f, c.codes, got, want)
			}
			if f == packed.AWQGemm && word(parts[packed.Zeros], 0) != c.gemm {
				t.Errorf("%s: zeros %v are %08x, expected %08x", f, c.codes, word(parts[packed.Zeros], 0), c.gemm)
			}
		}
	}
	m := &packed.Matrix{Format: packed.GPTQ, Rows: 32, Cols: 32, Bits: 4, Group: 32}
	if err := m.Shapes(true); err != nil {
		t.Fatal(err)
	}
	parts, err := m.Encode(rowsOf(m, func(n, k int) byte { return 8 }, func(n, g int) (float32, byte) { return 1, 8 }))
	if err != nil || int32(word(parts[packed.Zeros], 0)) != 2004318071 {
		t.Errorf("GPTQ's symmetric zeros are %08x (%v), expected 77777777", word(parts[packed.Zeros], 0), err)
	}
	m = &packed.Matrix{Format: packed.AWQGemm, Rows: 32, Cols: 32, Bits: 4, Group: 32}
	if err := m.Shapes(false); err != nil {
		t.Fatal(err)
	}
	parts, err = m.Encode(rowsOf(m, func(n, k int) byte { return 8 }, func(n, g int) (float32, byte) { return 1, 8 }))
	if err != nil || int32(word(parts[packed.Zeros], 0)) != -2004318072 {
		t.Errorf("AWQ's symmetric zeros are %08x (%v), expected 88888888", word(parts[packed.Zeros], 0), err)
	}
}

// Case 6.1.5: the padded width of zeros in AutoAWQ's gemv, in words.
func TestPaddedWidth(t *testing.T) {
	for k, want := range map[int]string{
		4096: "4/8/16", 11008: "11/22/44", 14336: "14/28/56", 13824: "14/28/56", 18944: "19/38/76", 29568: "29/58/116", 3584: "4/8/16",
	} {
		var got []string
		for _, g := range []int{128, 64, 32} {
			m := &packed.Matrix{Format: packed.AWQGemv, Rows: 4, Cols: k, Bits: 4, Group: g}
			if err := m.Shapes(false); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(m.Parts[packed.Zeros].Shape[1]))
		}
		if s := strings.Join(got, "/"); s != want {
			t.Errorf("K = %d: %s, expected %s", k, s, want)
		}
	}
}

// Case 6.1.6: the dense stream of 3 bits, and what straddles words.
func TestThreeBits(t *testing.T) {
	only := func(i int) func(n, k int) byte {
		return func(n, k int) byte {
			if k == i {
				return 7
			}
			return 0
		}
	}
	for _, c := range []struct {
		code func(n, k int) byte
		want string
	}{
		{func(n, k int) byte { return byte(k % 8) }, "88fac688 c688fac6 fac688fa"},
		{only(10), "c0000000 00000001 00000000"},
		{only(21), "00000000 80000000 00000003"},
	} {
		m := &packed.Matrix{Format: packed.CompressedTensors, Rows: 1, Cols: 32, Bits: 3, Group: 32}
		if err := m.Shapes(true); err != nil {
			t.Fatal(err)
		}
		parts, err := m.Encode(rowsOf(m, c.code, func(n, g int) (float32, byte) { return 1, 4 }))
		if err != nil {
			t.Fatal(err)
		}
		if got := firstWords(parts[packed.Codes], 3); got != c.want {
			t.Errorf("%s, expected %s", got, c.want)
		}
	}
	// compressed-tensors' signed codes: -8..-1 and 0..7 are 0..7 and 8..15 plus 8.
	m := &packed.Matrix{Format: packed.CompressedTensors, Rows: 1, Cols: 16, Bits: 4, Group: 16}
	if err := m.Shapes(true); err != nil {
		t.Fatal(err)
	}
	parts, err := m.Encode(rowsOf(m, func(n, k int) byte { return byte(k) }, func(n, g int) (float32, byte) { return 1, 8 }))
	if err != nil || firstWords(parts[packed.Codes], 2) != "76543210 fedcba98" {
		t.Errorf("%s (%v), expected 76543210 fedcba98", firstWords(parts[packed.Codes], 2), err)
	}
	var x [16]float32
	if err := block.Decode(m.Encoding().Name, decode(t, m, parts), x[:]); err != nil || x[0] != -8 || x[7] != -1 || x[8] != 0 || x[15] != 7 {
		t.Errorf("values %v (%v), expected -8 to 7", x, err)
	}
}

func word(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }

// rowsOf makes rows of m's encoding from functions of row and column, and of row and group of the encoding.
func rowsOf(m *packed.Matrix, code func(n, k int) byte, group func(n, g int) (float32, byte)) []byte {
	e := m.Encoding()
	scales, zeros, size := e.Parts(m.Cols)
	rows := make([]byte, m.Rows*size)
	for n := range m.Rows {
		row := rows[n*size:][:size]
		for k := range m.Cols {
			bit := k * m.Bits
			v := uint16(code(n, k)) << (bit % 8)
			row[bit/8] |= byte(v)
			if v > 255 {
				row[bit/8+1] |= byte(v >> 8)
			}
		}
		for g := range m.Cols / e.Group {
			s, z := group(n, g*e.Group/m.Group)
			binary.LittleEndian.PutUint16(row[scales+2*g:], block.F32ToF16(s))
			row[zeros+g] = z
		}
	}
	return rows
}

// arrays are zeroed arrays of m's types.
func arrays(m *packed.Matrix) (out [packed.Roles][]byte) {
	for r, a := range m.Parts {
		if a.Elem != "" {
			out[r] = make([]byte, a.Shape[0]*a.Shape[1]*a.Bytes())
		}
	}
	return out
}

// decode reads all rows at once.
func decode(t testing.TB, m *packed.Matrix, parts [packed.Roles][]byte) []byte {
	t.Helper()
	_, _, size := m.Encoding().Parts(m.Cols)
	dst := make([]byte, m.Rows*size)
	if err := m.Decode(dst, 0, m.Rows, parts); err != nil {
		t.Fatal(err)
	}
	return dst
}
