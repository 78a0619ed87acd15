package block

import (
	"fmt"
	"strconv"
	"strings"
)

// Encoding is one row of the table: how elements become bytes.
type Encoding struct {
	Name  string // lower case, as the IR text spells it: "q4_k", "q4g128"
	Block int    // elements of a block, or of a group; a row is a whole number of them
	Bytes int    // bytes that Block elements take, scales and zeros included
	Bits  int    // bits of one code: 4 for q4_k, 16 for f16
	Group int    // elements per scale and zero of a grouped integer encoding; 0 for block encodings

	decode func(src []byte, dst []float32)
	encode func(src []float32, dst []byte)
}

// table lists the block encodings in reading order: floats, then ggml's quantised formats by bits.
var table = [...]Encoding{
	{Name: "f32", Block: 1, Bytes: 4, Bits: 32, decode: decodeF32, encode: encodeF32},
	{Name: "f16", Block: 1, Bytes: 2, Bits: 16, decode: decodeF16, encode: encodeF16},
	{Name: "bf16", Block: 1, Bytes: 2, Bits: 16, decode: decodeBF16, encode: encodeBF16},
	{Name: "q4_0", Block: 32, Bytes: 18, Bits: 4, decode: decodeQ4x0, encode: encodeQ4x0},     // f16 d; 16 B codes: w = (q-8)*d
	{Name: "q4_1", Block: 32, Bytes: 20, Bits: 4, decode: decodeQ4x1, encode: encodeQ4x1},     // f16 d, m; 16 B codes: w = q*d + m
	{Name: "q5_0", Block: 32, Bytes: 22, Bits: 5, decode: decodeQ5x0, encode: encodeQ5x0},     // f16 d; u32 high bits; 16 B: w = (q-16)*d
	{Name: "q5_1", Block: 32, Bytes: 24, Bits: 5, decode: decodeQ5x1, encode: encodeQ5x1},     // f16 d, m; u32 high bits; 16 B: w = q*d + m
	{Name: "q8_0", Block: 32, Bytes: 34, Bits: 8, decode: decodeQ8x0, encode: encodeQ8x0},     // f16 d; 32 i8: w = q*d
	{Name: "q4_k", Block: 256, Bytes: 144, Bits: 4, decode: decodeQ4K, encode: encodeQ4K},     // f16 d, dmin; 12 B scales; 128 B codes
	{Name: "q5_k", Block: 256, Bytes: 176, Bits: 5, decode: decodeQ5K, encode: encodeQ5K},     // f16 d, dmin; 12 B scales; 32 B high; 128 B low
	{Name: "q6_k", Block: 256, Bytes: 210, Bits: 6, decode: decodeQ6K, encode: encodeQ6K},     // 128 B low; 64 B high; 16 i8 scales; f16 d
	{Name: "iq4_nl", Block: 32, Bytes: 18, Bits: 4, decode: decodeIQ4NL, encode: encodeIQ4NL}, // f16 d; 16 B indices: w = d*grid[q]
}

// Names lists the block encodings in table order. Grouped integers are a family, not a list: see Lookup.
func Names() []string {
	names := make([]string, len(table))
	for i := range table {
		names[i] = table[i].Name
	}
	return names
}

// Lookup finds an encoding by name: a row of the table, or a grouped integer q{3,4,8}gN with N a multiple of 8
// from 8 to 65536.
func Lookup(name string) (Encoding, bool) {
	for i := range table {
		if table[i].Name == name {
			return table[i], true
		}
	}
	return lookupGrouped(name)
}

func lookupGrouped(name string) (Encoding, bool) {
	bits, group, ok := strings.Cut(strings.TrimPrefix(name, "q"), "g")
	if !ok || len(name) == 0 || name[0] != 'q' {
		return Encoding{}, false
	}
	b, err := strconv.Atoi(bits)
	if err != nil || b != 3 && b != 4 && b != 8 {
		return Encoding{}, false
	}
	n, err := strconv.Atoi(group)
	if err != nil || n < 8 || n > 1<<16 || n%8 != 0 {
		return Encoding{}, false
	}
	if name != Grouped(b, n) { // "q04g+32" is not a second spelling
		return Encoding{}, false
	}
	return Encoding{Name: name, Block: n, Bytes: n*b/8 + 3, Bits: b, Group: n}, true
}

// Grouped spells the name of a grouped integer encoding: Grouped(4, 128) is "q4g128".
func Grouped(bits, group int) string { return fmt.Sprintf("q%dg%d", bits, group) }

// RowBytes is the number of bytes of a row of k elements. It is an error when k is negative, is not a whole number
// of blocks or overflows.
func (e Encoding) RowBytes(k int64) (int64, error) {
	if k < 0 || k%int64(e.Block) != 0 {
		return 0, fmt.Errorf("%s: row of %d elements, expected a multiple of %d", e.Name, k, e.Block)
	}
	blocks := k / int64(e.Block)
	if blocks > (1<<63-1)/int64(e.Bytes) {
		return 0, fmt.Errorf("%s: row of %d elements, expected fewer than 2^63 bytes", e.Name, k)
	}
	return blocks * int64(e.Bytes), nil
}

// Parts gives the byte offsets of scales and zeros in a row of k elements of a grouped integer encoding (codes begin
// at 0), and the row's size. k must be a whole number of groups.
func (e Encoding) Parts(k int) (scales, zeros, size int) {
	groups := k / e.Group
	scales = k * e.Bits / 8
	zeros = scales + 2*groups
	return scales, zeros, zeros + groups
}

// Decode dequantises src into dst. For a block encoding they may span any number of rows; for a grouped integer they
// are exactly one row. The sizes must agree; nothing is written when they do not.
func Decode(enc string, src []byte, dst []float32) error {
	e, err := sized(enc, len(dst), len(src))
	if err != nil {
		return err
	}
	if e.Group > 0 {
		decodeGrouped(e, src, dst)
		return nil
	}
	e.decode(src, dst)
	return nil
}

// Encode quantises src into dst, round to nearest; sizes as for Decode. A quantised encoding takes finite values
// only: a NaN or an infinity would spoil its whole block.
func Encode(enc string, src []float32, dst []byte) error {
	e, err := sized(enc, len(src), len(dst))
	if err != nil {
		return err
	}
	if e.Block > 1 {
		for i, v := range src {
			if v-v != 0 {
				return fmt.Errorf("%s: element %d is %v, expected a finite value", enc, i, v)
			}
		}
	}
	if e.Group > 0 {
		encodeGrouped(e, src, dst)
		return nil
	}
	e.encode(src, dst)
	return nil
}

// DecodeRows dequantises whole rows of k elements each: a tensor [len(dst)/k, k].
func DecodeRows(enc string, k int, src []byte, dst []float32) error {
	return rows(enc, k, len(dst), len(src), func(a, b, c, d int) error { return Decode(enc, src[c:d], dst[a:b]) })
}

// EncodeRows quantises whole rows of k elements each: a tensor [len(src)/k, k].
func EncodeRows(enc string, k int, src []float32, dst []byte) error {
	return rows(enc, k, len(src), len(dst), func(a, b, c, d int) error { return Encode(enc, src[a:b], dst[c:d]) })
}

// rows calls f once a row with the bounds of its elements and of its bytes.
func rows(enc string, k, elems, bytes int, f func(a, b, c, d int) error) error {
	e, ok := Lookup(enc)
	if !ok {
		return unknown(enc)
	}
	size, err := e.RowBytes(int64(k))
	if err != nil {
		return err
	}
	if k == 0 || elems%k != 0 {
		return fmt.Errorf("%s: %d elements, expected a multiple of the row's %d", enc, elems, k)
	}
	n := elems / k
	if int64(bytes) != int64(n)*size {
		return fmt.Errorf("%s: %d bytes, expected %d rows of %d", enc, bytes, n, size)
	}
	for r := range n {
		if err := f(r*k, (r+1)*k, r*int(size), (r+1)*int(size)); err != nil {
			return fmt.Errorf("row %d: %w", r, err)
		}
	}
	return nil
}

// sized looks enc up and checks that the sizes of both sides agree.
func sized(enc string, elems, bytes int) (Encoding, error) {
	e, ok := Lookup(enc)
	if !ok {
		return e, unknown(enc)
	}
	want, err := e.RowBytes(int64(elems))
	if err != nil {
		return e, err
	}
	if int64(bytes) != want {
		return e, fmt.Errorf("%s: %d bytes for %d elements, expected %d", enc, bytes, elems, want)
	}
	return e, nil
}

func unknown(enc string) error {
	return fmt.Errorf("encoding %q, expected one of %s or q{3,4,8}gN", enc, strings.Join(Names(), " "))
}
