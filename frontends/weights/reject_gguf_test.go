package weights_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"quire/frontends/weights"
)

// gguf builds a GGUF file from parts: integers little-endian at their width, strings with their length, []byte as is.
func gguf(parts ...any) []byte {
	b := []byte("GGUF")
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = binary.LittleEndian.AppendUint64(b, uint64(len(p)))
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		default:
			b = append(b, binaryOf(p)...)
		}
	}
	return b
}

// v3 is a version 3 file with numbers of tensors and keys, and room after its parts.
func v3(tensors, keys uint64, parts ...any) []byte {
	return append(gguf(append([]any{uint32(3), tensors, keys}, parts...)...), make([]byte, 4096)...)
}

// GGUF value types as a file states them.
const (
	u8, u32, str, arr = uint32(0), uint32(4), uint32(8), uint32(9)
)

func TestRejectGGUF(t *testing.T) {
	w := func(dims uint32, rest ...any) []byte { // one tensor named w
		return v3(1, 0, append([]any{"w", dims}, rest...)...)
	}
	const f32, q40 = uint32(0), uint32(2)
	tensor, key := `tensor "w"`, `key "k"`
	for _, c := range []struct {
		name string
		file []byte
		want []string
	}{
		{"magic alone", []byte("GGUF"), []string{"4 bytes at 4"}},
		{"version 1", gguf(uint32(1), uint32(0), uint32(0)), []string{"GGUF version 1, expected 2 or 3"}},
		{"version 4", v3(0, 0)[:4:4], []string{"4 bytes at 4"}},
		{"version 2^31", gguf(uint32(0x7fff0003), make([]byte, 64)), []string{"GGUF version 2147418115"}},
		{"big-endian", gguf([]byte{0, 0, 0, 3}, make([]byte, 64)), []string{"big-endian"}},
		{"G1 tensors 2^60", v3(1<<60, 0), []string{"1152921504606846976 tensors, expected at most"}},
		{"G1 keys 2^60", v3(0, 1<<60), []string{"1152921504606846976 keys, expected at most"}},
		{"G1 keys 2^64-1", v3(0, math.MaxUint64), []string{"keys, expected at most"}},
		{"G1 more keys than given", v3(0, 200, "k", u8, uint8(1)), []string{"key 1 has no name"}},
		{"G2 string 2^63", v3(0, 1, "k", str, uint64(1<<63)), []string{key, "string of 9223372036854775808 bytes"}},
		{"G2 string beyond the file", v3(0, 1, "k", str, uint64(5000)), []string{key, "5000 bytes at 45, expected at most the 4096 left"}},
		{"G2 key of 2^63", v3(0, 1, uint64(1<<63)), []string{"string of 9223372036854775808 bytes"}},
		{"G3 array 2^61", v3(0, 1, "k", arr, u32, uint64(1<<61)), []string{key, "2305843009213693952 array elements"}},
		{"G3 array of bytes 2^61", v3(0, 1, "k", arr, u8, uint64(1<<61)), []string{key, "array elements"}},
		{"G3 strings 2^61", v3(0, 1, "k", arr, str, uint64(1<<61)), []string{key, "2305843009213693952 array strings"}},
		{"G3 array beyond the file", v3(0, 1, "k", arr, u32, uint64(1025)), []string{key, "1025 array elements, expected at most 1024"}},
		{"G3 a string of the array 2^63", v3(0, 1, "k", arr, str, uint64(2), "a", uint64(1<<63)), []string{key, "string of 9223372036854775808"}},
		{"G4 nested", v3(0, 1, "k", arr, arr, uint64(1), u32, uint64(1), uint32(7)), []string{key, "array of arrays"}},
		{"G4 array of type 13", v3(0, 1, "k", arr, uint32(13), uint64(1)), []string{key, "array of value type 13"}},
		{"value type 13", v3(0, 1, "k", uint32(13)), []string{key, "value type 13"}},
		{"key twice", v3(0, 2, "k", u8, uint8(1), "k", u8, uint8(1)), []string{key, "twice"}},
		{"G5 alignment 0", v3(0, 1, "general.alignment", u32, uint32(0)), []string{`key "general.alignment"`, "0 (uint32), expected a uint32 power of two"}},
		{"G5 alignment 48", v3(0, 1, "general.alignment", u32, uint32(48)), []string{`key "general.alignment"`, "48"}},
		{"G5 alignment 2^31", v3(0, 1, "general.alignment", u32, uint32(1<<31)), []string{`key "general.alignment"`}},
		{"G5 alignment as text", v3(0, 1, "general.alignment", str, "32"), []string{`key "general.alignment"`, "(string)"}},
		{"G6 offset 2^63", w(1, uint64(1), f32, uint64(1<<63)), []string{tensor, "offset 9223372036854775808"}},
		{"G6 offset beyond the file", w(1, uint64(1), f32, uint64(4096)), []string{tensor, "4 bytes at offset 4096, expected within"}},
		{"G6 offset near 2^63", w(1, uint64(1), f32, uint64(1<<63-32)), []string{tensor, "expected within"}},
		{"G6 offset unaligned", w(1, uint64(1), f32, uint64(4)), []string{tensor, "offset 4, expected a multiple of the alignment 32"}},
		{"G6 data beyond the file", w(1, uint64(4096), f32, uint64(0)), []string{tensor, "16384 bytes at offset 0"}},
		{"G6 dims overflow", w(2, uint64(1<<32), uint64(1<<32), f32, uint64(0)), []string{tensor, "2^63 elements"}},
		{"G6 dims wrap to 1", w(3, uint64(1<<32+1), uint64(1<<32), uint64(1<<32), f32, uint64(0)), []string{tensor, "2^63 elements"}},
		{"G6 bytes overflow", w(1, uint64(1<<62), f32, uint64(0)), []string{tensor, "2^63 bytes"}},
		{"G6 dim 2^63", w(1, uint64(1<<63), f32, uint64(0)), []string{tensor, "dimensions of 0 or more"}},
		{"G6 type 9999", w(1, uint64(1), uint32(9999), uint64(0)), []string{tensor, "ggml type 9999"}},
		{"G6 removed type", w(1, uint64(32), uint32(4), uint64(0)), []string{tensor, "ggml type 4"}},
		{"no dimensions", w(0, f32, uint64(0)), []string{tensor, "0 dimensions, expected 1 to 4"}},
		{"five dimensions", w(5, f32, uint64(0)), []string{tensor, "5 dimensions"}},
		{"2^32-1 dimensions", w(math.MaxUint32, f32, uint64(0)), []string{tensor, "4294967295 dimensions"}},
		{"part of a block", w(2, uint64(16), uint64(2), q40, uint64(0)), []string{tensor, "rows of 16 elements, expected a multiple of q4_0's block of 32"}},
		{"tensor without a name", v3(1, 0, "", uint32(1), uint64(1), f32, uint64(0)), []string{"tensor 0 has no name"}},
		{"tensor twice", v3(2, 0, "w", uint32(1), uint64(1), f32, uint64(0), "w", uint32(1), uint64(1), f32, uint64(32)), []string{tensor, "listed twice"}},
		{"overlap", v3(2, 0, "v", uint32(1), uint64(16), f32, uint64(0), "w", uint32(1), uint64(1), f32, uint64(32)), []string{tensor, `inside tensor "v"`}},
		{"list cut short", gguf(uint32(3), uint64(1), uint64(0), "w"), []string{"1 tensors, expected at most 0"}},
		{"entry cut short", gguf(uint32(3), uint64(1), uint64(0), "wwwwwwww", uint32(2), uint64(1), uint32(0)), []string{"8 bytes at"}},
	} {
		t.Run(c.name, func(t *testing.T) { reject(t, write(t, "m.gguf", c.file), c.want...) })
	}
}

// TestRejectGGUFCutAnywhere: no prefix of a real file opens with tensors, none panics.
func TestRejectGGUFCutAnywhere(t *testing.T) {
	var b bytes.Buffer
	if err := weights.WriteGGUF(&b, officialKV, officialTensors); err != nil {
		t.Fatal(err)
	}
	end := b.Len() - 32 // deep's 96 bytes end 32 before the padding does
	for n := 1; n < end; n++ {
		path := write(t, "m.gguf", b.Bytes()[:n])
		s, err := weights.Open(path)
		if err == nil {
			_ = s.Close()
			t.Fatalf("the first %d of %d bytes opened", n, end)
		}
	}
	open(t, write(t, "m.gguf", b.Bytes()[:end]))
}

// TestOpenGGUFKinds: version 2, a vocabulary alone, empty arrays, an extension that says nothing.
func TestOpenGGUFKinds(t *testing.T) {
	vocab := gguf(uint32(2), uint64(0), uint64(3), "tokens", arr, str, uint64(2), "a", "b", "none", arr, u32, uint64(0), "no.text", arr, str, uint64(0))
	s := open(t, write(t, "vocab", vocab))
	if v, ok := s.KV.Texts("tokens"); !ok || len(v) != 2 || v[1] != "b" || len(s.Tensors) != 0 {
		t.Errorf("tokens = %v", s.KV["tokens"])
	}
	if v, ok := s.KV["none"].([]uint32); !ok || len(v) != 0 {
		t.Errorf("none = %#v, expected an empty []uint32", s.KV["none"])
	}
	if v, ok := s.KV.Texts("no.text"); !ok || len(v) != 0 {
		t.Errorf("no.text = %#v, expected an empty []string", s.KV["no.text"])
	}
	all := v3(1, 0, "w", uint32(3), uint64(256), uint64(2), uint64(3), uint32(11), uint64(0))
	if w := open(t, write(t, "m.gguf", all)).Tensor("w"); w.String() != `"w": q3_k[3 2 256]` || w.Bytes != 660 {
		t.Errorf("%v of %d bytes, expected q3_k[3 2 256] of 660", w, w.Bytes)
	}
}
