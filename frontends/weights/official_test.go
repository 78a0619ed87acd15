package weights_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"quire/frontends/weights"
)

// officialKV and officialTensors are what testdata/make.py gives to the package gguf.
var officialKV = []weights.KV{
	{"general.architecture", "llama"},
	{"t.u8", uint8(250)}, {"t.i8", int8(-5)}, {"t.u16", uint16(65000)}, {"t.i16", int16(-300)},
	{"t.u32", uint32(4000000000)}, {"t.i32", int32(-70000)}, {"t.u64", uint64(1 << 63)}, {"t.i64", int64(-1 << 40)},
	{"t.f32", float32(0.1)}, {"t.f64", 0.1}, {"t.bool", true}, {"t.string", "naïve \u2581 \x00 end"},
	{"t.ints", []int32{1, -2, 3}}, {"t.floats", []float32{0.5, -1.5}}, {"t.bools", []bool{true, false, true}},
	{"t.strings", []string{"<s>", "", "日本"}},
	{"general.alignment", uint32(64)},
}

var officialTensors = []weights.TensorData{
	{"a.weight", "f32", []int64{2, 3}, f32s(0, 1, 2, 3, 4, 5)},
	{"b.weight", "f16", []int64{10}, f16s},
	{"q.weight", "q4_0", []int64{2, 64}, count(72)},
	{"deep", "i32", []int64{1, 2, 3, 4}, i32s(24)},
}

var f16s = binaryOf([]uint16{0, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700, 0x4800, 0x4880}) // 0 to 9

func binaryOf(v any) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if err != nil {
		panic(err)
	}
	return b
}

func f32s(v ...float32) []byte { return binaryOf(v) }

func i32s(n int) []byte {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(i)
	}
	return binaryOf(v)
}

func count(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func TestReadOfficialGGUF(t *testing.T) {
	s := open(t, "testdata/official.gguf")
	if len(s.Keys) != len(officialKV) || len(s.KV) != len(officialKV) {
		t.Errorf("%d keys, expected %d", len(s.Keys), len(officialKV))
	}
	for i, kv := range officialKV {
		if got := s.KV[kv.Key]; s.Keys[i] != kv.Key || !reflect.DeepEqual(got, kv.Value) {
			t.Errorf("key %d %s = %#v, expected %s = %#v", i, s.Keys[i], got, kv.Key, kv.Value)
		}
	}
	wantTensors(t, s, officialTensors)
	for _, x := range s.Tensors {
		if x.Offset%64 != 0 {
			t.Errorf("%v at %d, expected a multiple of 64", x, x.Offset)
		}
	}
}

func TestWriteOfficialGGUF(t *testing.T) {
	want, err := os.ReadFile("testdata/official.gguf")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := weights.WriteGGUF(&got, officialKV, officialTensors); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes differ from the %d that the package gguf writes", got.Len(), len(want))
	}
}

var officialSafetensors = []weights.TensorData{ // in the package's order: widest dtype first
	{"g", "i64", []int64{2}, binaryOf([]int64{0, 1})},
	{"a", "f32", []int64{2, 3}, f32s(0, 1, 2, 3, 4, 5)},
	{"d", "f32", []int64{0, 5}, nil},
	{"c", "i32", []int64{4, 1}, i32s(4)},
	{"b", "f16", []int64{3}, f16s[:6]},
	{"e é\"\\", "u8", []int64{3}, count(3)},
	{"f", "bool", []int64{2}, []byte{1, 0}},
}

func TestReadOfficialSafetensors(t *testing.T) {
	s := open(t, "testdata/official.safetensors")
	wantTensors(t, s, officialSafetensors)
	if s.Format != weights.Safetensors || len(s.Keys) != 1 || s.KV["format"] != "pt" {
		t.Errorf("%s with %v, expected safetensors with format = pt", s.Format, s.KV)
	}
}

func TestWriteOfficialSafetensors(t *testing.T) {
	want, err := os.ReadFile("testdata/official.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := weights.WriteSafetensors(&got, map[string]string{"format": "pt"}, officialSafetensors); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%q\ndiffers from what the package safetensors writes:\n%q", got.Bytes(), want)
	}
}

// TestWriteRefuses: what no reader could take is not written.
func TestWriteRefuses(t *testing.T) {
	one := func(enc string, shape []int64, n int) []weights.TensorData {
		return []weights.TensorData{{"t", enc, shape, make([]byte, n)}}
	}
	for _, c := range []struct {
		name       string
		gguf, safe bool // accepted by
		kv         []weights.KV
		t          []weights.TensorData
	}{
		{"empty", true, true, nil, nil},
		{"f8", false, true, nil, one("f8_e4m3", []int64{4}, 4)},
		{"q3_k", true, false, nil, one("q3_k", []int64{1, 256}, 110)},
		{"five dimensions", false, true, nil, one("f32", []int64{1, 1, 1, 1, 1}, 4)},
		{"nine dimensions", false, false, nil, one("f32", []int64{1, 1, 1, 1, 1, 1, 1, 1, 1}, 4)},
		{"no dimensions", false, false, nil, one("f32", nil, 4)},
		{"short", false, false, nil, one("f32", []int64{2}, 7)},
		{"part of a block", false, false, nil, one("q4_0", []int64{2, 16}, 18)},
		{"negative", false, false, nil, one("f32", []int64{-1, -1}, 4)},
		{"grouped", false, false, nil, one("q4g8", []int64{8}, 7)},
		{"int", false, true, []weights.KV{{"k", 1}}, nil},
		{"nested", false, true, []weights.KV{{"k", [][]int32{{1}}}}, nil},
		{"alignment", false, true, []weights.KV{{"general.alignment", uint32(48)}}, nil},
	} {
		if err := weights.WriteGGUF(&bytes.Buffer{}, c.kv, c.t); (err == nil) != c.gguf {
			t.Errorf("%s: WriteGGUF: %v", c.name, err)
		}
		if err := weights.WriteSafetensors(&bytes.Buffer{}, nil, c.t); (err == nil) != c.safe {
			t.Errorf("%s: WriteSafetensors: %v", c.name, err)
		}
	}
}

func TestMetadataReads(t *testing.T) {
	s := open(t, "testdata/official.gguf")
	for key, want := range map[string]int64{"t.u8": 250, "t.i8": -5, "t.u16": 65000, "t.i16": -300, "t.u32": 4e9, "t.i32": -70000, "t.i64": -1 << 40} {
		wantInt(t, s, key, want)
	}
	for _, key := range []string{"t.u64", "t.f32", "t.string", "t.ints", "absent"} {
		if n, ok := s.KV.Int(key); ok {
			t.Errorf("Int(%s) = %d, expected none", key, n)
		}
	}
	if f, ok := s.KV.Float("t.f32"); !ok || f != float64(float32(0.1)) {
		t.Errorf("Float(t.f32) = %v", f)
	}
	if f, ok := s.KV.Float("t.i8"); !ok || f != -5 {
		t.Errorf("Float(t.i8) = %v", f)
	}
	if n, ok := s.KV.Ints("t.ints"); !ok || !slices.Equal(n, []int64{1, -2, 3}) {
		t.Errorf("Ints(t.ints) = %v", n)
	}
	if n, ok := s.KV.Ints("t.u8"); !ok || !slices.Equal(n, []int64{250}) {
		t.Errorf("Ints(t.u8) = %v", n)
	}
	if n, ok := s.KV.Ints("t.bools"); !ok || !slices.Equal(n, []int64{1, 0, 1}) {
		t.Errorf("Ints(t.bools) = %v", n)
	}
	if f, ok := s.KV.Floats("t.floats"); !ok || !slices.Equal(f, []float64{0.5, -1.5}) {
		t.Errorf("Floats(t.floats) = %v", f)
	}
	if b, ok := s.KV.Bool("t.bool"); !ok || !b {
		t.Errorf("Bool(t.bool) = %v", b)
	}
	if v, ok := s.KV.Texts("t.strings"); !ok || v[2] != "日本" {
		t.Errorf("Texts(t.strings) = %v", v)
	}
}

// wantTensors compares names, encodings, shapes and bytes, in order.
func wantTensors(t *testing.T, s *weights.Source, want []weights.TensorData) {
	t.Helper()
	if len(s.Tensors) != len(want) {
		t.Fatalf("%d tensors, expected %d", len(s.Tensors), len(want))
	}
	for i, w := range want {
		g := s.Tensors[i]
		if g.Name != w.Name || g.Enc != w.Enc || !slices.Equal(g.Shape, w.Shape) || !bytes.Equal(g.Data(), w.Data) {
			t.Errorf("tensor %d: %v % x, expected %s %s%v % x", i, g, g.Data(), w.Name, w.Enc, w.Shape, w.Data)
		}
		if s.Tensor(w.Name) != g {
			t.Errorf("Tensor(%q) is another", w.Name)
		}
	}
}

func open(t *testing.T, path string) *weights.Source {
	t.Helper()
	s, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// write puts a file into a fresh directory and returns its path.
func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestGgmlSizes: elements and bytes of a block of every type of ggml, as gguf 0.19.0's GGML_QUANT_SIZES has them
// (but q8_1, which stands in no file, where ggml's C has 36 bytes and that package 40).
func TestGgmlSizes(t *testing.T) {
	for enc, size := range map[string][2]int64{
		"f32": {1, 4}, "f16": {1, 2}, "q4_0": {32, 18}, "q4_1": {32, 20}, "q5_0": {32, 22}, "q5_1": {32, 24}, "q8_0": {32, 34},
		"q8_1": {32, 36}, "q2_k": {256, 84}, "q3_k": {256, 110}, "q4_k": {256, 144}, "q5_k": {256, 176}, "q6_k": {256, 210},
		"q8_k": {256, 292}, "iq2_xxs": {256, 66}, "iq2_xs": {256, 74}, "iq3_xxs": {256, 98}, "iq1_s": {256, 50}, "iq4_nl": {32, 18},
		"iq3_s": {256, 110}, "iq2_s": {256, 82}, "iq4_xs": {256, 136}, "i8": {1, 1}, "i16": {1, 2}, "i32": {1, 4}, "i64": {1, 8},
		"f64": {1, 8}, "iq1_m": {256, 56}, "bf16": {1, 2}, "tq1_0": {256, 54}, "tq2_0": {256, 66}, "mxfp4": {32, 17},
		"nvfp4": {64, 36}, "q1_0": {128, 18}, "q2_0": {64, 18},
	} {
		var b bytes.Buffer
		want := weights.TensorData{Name: "w", Enc: enc, Shape: []int64{3, size[0]}, Data: make([]byte, 3*size[1])}
		if err := weights.WriteGGUF(&b, nil, []weights.TensorData{want}); err != nil {
			t.Errorf("%s: %v", enc, err)
			continue
		}
		wantTensors(t, open(t, write(t, "m.gguf", b.Bytes())), []weights.TensorData{want})
	}
}
