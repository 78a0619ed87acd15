package weights_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"quire/frontends/weights"
)

// reject opens path and demands a typed error that holds every string of want, less than 64 MiB allocated and less
// than a second.
func reject(t *testing.T, path string, want ...string) {
	t.Helper()
	rejectWith(t, path, weights.Options{}, want...)
	rejectWith(t, path, weights.Options{NoMmap: true}, want...)
}

func rejectWith(t *testing.T, path string, o weights.Options, want ...string) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	s, err := weights.OpenWith(path, o)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if err == nil {
		_ = s.Close()
		t.Fatalf("opened, expected an error with %q", want)
	}
	var typed *weights.Error
	if !errors.As(err, &typed) || typed.File == "" {
		t.Errorf("%T %v, expected a *weights.Error that names a file", err, err)
	}
	for _, w := range append(want, filepath.Base(path)) {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q, expected %q in it", err, w)
		}
	}
	if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\x1b\x00") {
		t.Errorf("error of %d bytes %q, expected one short printable line", len(err.Error()), err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
		t.Errorf("%d MiB allocated, expected less than 64", n>>20)
	}
	if took > time.Second {
		t.Errorf("took %v, expected less than a second", took)
	}
}

// raw is a safetensors file with any length prefix.
func raw(n uint64, header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, n)
	return append(append(b, header...), make([]byte, data)...)
}

func safetensors(header string, data int) []byte { return raw(uint64(len(header)), header, data) }

// one is the header of a single tensor named w.
func one(fields string) string { return `{"w":{` + fields + `}}` }

func TestRejectSafetensors(t *testing.T) {
	const f32 = `"dtype":"F32","shape":[1],"data_offsets":[0,4]`
	tensor := `tensor "w"`
	for _, c := range []struct {
		name string
		file []byte
		want []string
	}{
		{"S1 length beyond the file", raw(100, one(f32), 4), []string{"header of 100 bytes", "at most the"}},
		{"S2 length 2^64-1", raw(1<<64-1, one(f32), 4), []string{"header of 18446744073709551615 bytes"}},
		{"S2 length 2^63", raw(1<<63, one(f32), 4), []string{"header of 9223372036854775808 bytes"}},
		{"S1 no length", []byte("1234567"), []string{"7 bytes, expected the 8"}},
		{"S4 array", safetensors(`[1]`, 0), []string{`header: byte 0: "[", expected '{'`}},
		{"S4 empty header", raw(0, "", 0), []string{"header: byte 0: the end"}},
		{"S4 leading space", safetensors(" "+one(f32), 4), []string{`byte 0: " ", expected '{'`}},
		{"S4 not JSON", safetensors(`{"w":}`, 0), []string{tensor, "byte 5"}},
		{"S4 cut short", safetensors(`{"w":{"dtype":"F32"`, 0), []string{tensor, "the end"}},
		{"S4 text after", safetensors(one(f32)+"x", 4), []string{`"x", expected the end`}},
		{"S4 tensor is a number", safetensors(`{"w":3}`, 0), []string{tensor, `"3", expected '{'`}},
		{"S4 unterminated string", safetensors(`{"w`, 0), []string{"byte 3: the end"}},
		{"S4 metadata not strings", safetensors(`{"__metadata__":{"a":1}}`, 0), []string{`"1", expected '"'`}},
		{"S4 field missing", safetensors(one(`"dtype":"F32","shape":[1]`), 4), []string{tensor, "2 fields"}},
		{"S4 field unknown", safetensors(one(f32+`,"x":1`), 4), []string{tensor, `field "x"`}},
		{"S4 one offset", safetensors(one(`"dtype":"F32","shape":[1],"data_offsets":[0]`), 4), []string{tensor, "1 numbers"}},
		{"S5 end before begin", safetensors(one(`"dtype":"F32","shape":[1],"data_offsets":[4,0]`), 4), []string{tensor, "from 4 to 0"}},
		{"S6 end beyond data", safetensors(one(`"dtype":"F32","shape":[2],"data_offsets":[0,8]`), 4), []string{tensor, "data to 8, expected at most the file's 4"}},
		{"S6 end 2^64", safetensors(one(`"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551616]`), 4), []string{tensor, "18446744073709551616"}},
		{"S7 overlap", safetensors(`{"v":{`+f32+`},"w":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}`, 6), []string{tensor, "overlap"}},
		{"S7 same extent", safetensors(`{"v":{`+f32+`},"w":{`+f32+`}}`, 4), []string{tensor, "overlap"}},
		{"S8 hole", safetensors(`{"v":{`+f32+`},"w":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`, 12), []string{tensor, "4 bytes belong to none"}},
		{"S8 trailing bytes", safetensors(one(f32), 5), []string{"5 bytes of data, expected the 4"}},
		{"S8 trailing bytes, no tensors", safetensors(`{}`, 5), []string{"5 bytes of data, expected the 0"}},
		{"S9 product overflows", safetensors(one(`"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]`), 4), []string{tensor, "2^63"}},
		{"S9 bytes overflow", safetensors(one(`"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,8]`), 8), []string{tensor, "2^63 bytes"}},
		{"S10 product wraps", safetensors(one(`"dtype":"F32","shape":[4294967297,4294967296,1,1073741825],"data_offsets":[0,4]`), 4), []string{tensor, "2^63"}},
		{"S11 no dimensions", safetensors(one(`"dtype":"F32","shape":[],"data_offsets":[0,4]`), 4), []string{tensor, "no dimensions"}},
		{"S11 nine dimensions", safetensors(one(`"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]`), 4), []string{tensor, "more than 8"}},
		{"S12 negative", safetensors(one(`"dtype":"F32","shape":[-1],"data_offsets":[0,4]`), 4), []string{tensor, "-1, expected an integer"}},
		{"S12 float", safetensors(one(`"dtype":"F32","shape":[1.0],"data_offsets":[0,4]`), 4), []string{tensor, "1.0, expected an integer"}},
		{"S12 1e400", safetensors(one(`"dtype":"F32","shape":[1e400],"data_offsets":[0,4]`), 4), []string{tensor, "1e400, expected an integer"}},
		{"S12 leading zero", safetensors(one(`"dtype":"F32","shape":[01],"data_offsets":[0,4]`), 4), []string{tensor, "01, expected an integer"}},
		{"S12 string", safetensors(one(`"dtype":"F32","shape":["1"],"data_offsets":[0,4]`), 4), []string{tensor, "expected an integer"}},
		{"S13 tensor twice", safetensors(`{"w":{`+f32+`},"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), []string{`key "w" twice`}},
		{"S13 tensor twice by an escape", safetensors(`{"w":{`+f32+`},"\u0077":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), []string{`key "w" twice`}},
		{"S13 field twice", safetensors(one(`"dtype":"F32",`+f32), 4), []string{tensor, `key "dtype" twice`}},
		{"S14 nested", safetensors(strings.Repeat("[", 200_000), 0), []string{"byte 0"}},
		{"S14 nested in a tensor", safetensors(`{"w":{"shape":`+strings.Repeat("[", 200_000), 0), []string{tensor, "expected an integer"}},
		{"S14 nested objects", safetensors(strings.Repeat(`{"w":`, 200_000), 0), []string{tensor}},
		{"S15 dtype", safetensors(one(`"dtype":"F17","shape":[1],"data_offsets":[0,4]`), 4), []string{tensor, `dtype "F17", expected one of [BF16`}},
		{"S16 size", safetensors(one(`"dtype":"F32","shape":[2],"data_offsets":[0,4]`), 4), []string{tensor, "4 bytes, expected 8 of F32[2]"}},
		{"name with escapes", safetensors(`{"\u001b[31mred`+strings.Repeat("n", 300)+`":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), []string{`tensor "\x1b[31mrednnn`}},
		{"name too long", safetensors(`{"`+strings.Repeat("n", 1<<17)+`":{`+f32+`}}`, 4), []string{"string longer than"}},
	} {
		t.Run(c.name, func(t *testing.T) { reject(t, write(t, "m.safetensors", c.file), c.want...) })
	}
}

// TestRejectLongHeader: S3, a header beyond the limit in a file that is as long as it says, and one below it that is
// one endless string.
func TestRejectLongHeader(t *testing.T) {
	path := write(t, "m.safetensors", raw(100_000_001, `{"`, 0))
	if err := os.Truncate(path, 200<<20); err != nil { // sparse
		t.Fatal(err)
	}
	rejectWith(t, path, weights.Options{}, "header of 100000001 bytes, expected at most 67108864")
	rejectWith(t, path, weights.Options{MaxHeader: 128 << 20}, "control byte 0x00")

	path = write(t, "n.safetensors", raw(60<<20, `{"`+strings.Repeat("x", 60<<20-2), 0))
	rejectWith(t, path, weights.Options{}, "string longer than 65536 bytes")
}

// TestUnalignedTensor: S17, a tensor at an odd offset opens, says so, and its bytes are right.
func TestUnalignedTensor(t *testing.T) {
	h := `{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}`
	h += strings.Repeat(" ", (8-len(h)%8)%8)
	s := open(t, write(t, "m.safetensors", append(raw(uint64(len(h)), h, 0), 7, 0, 0, 0x80, 0x3f)))
	if w := s.Tensor("w"); w.Aligned() || w.Offset%4 != 1 || string(w.Data()) != "\x00\x00\x80\x3f" {
		t.Errorf("%v at %d, aligned %v, % x", w, w.Offset, w.Aligned(), w.Data())
	}
	if b := s.Tensor("b"); !b.Aligned() {
		t.Errorf("%v at %d is a byte, expected aligned", b, b.Offset)
	}
}

// TestOpenSafetensorsKinds: what must open, beside what must not: zero-size tensors, all dtypes, no tensors at all.
func TestOpenSafetensorsKinds(t *testing.T) {
	s := open(t, write(t, "m.safetensors", safetensors(
		`{"z":{"dtype":"F32","shape":[0,4],"data_offsets":[0,0]},"q":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]},`+
			`"p":{"dtype":"F8_E5M2","shape":[2],"data_offsets":[2,4]},"d":{"dtype":"F64","shape":[1,1,1,1,1,1,1,1],"data_offsets":[4,12]}} `, 12)))
	for name, want := range map[string]string{"z": `"z": f32[0 4]`, "q": `"q": f8_e4m3[2]`, "p": `"p": f8_e5m2[2]`, "d": `"d": f64[1 1 1 1 1 1 1 1]`} {
		if got := s.Tensor(name); got == nil || got.String() != want {
			t.Errorf("%v, expected %s", got, want)
		}
	}
	if n := s.Tensor("z"); len(n.Data()) != 0 || n.Elems() != 0 {
		t.Errorf("z has %d bytes, %d elements", len(n.Data()), n.Elems())
	}
	if s.Tensor("absent") != nil {
		t.Error("a tensor that is not there")
	}
	if e := open(t, write(t, "e.safetensors", safetensors(`{}`, 0))); len(e.Tensors) != 0 {
		t.Errorf("%d tensors", len(e.Tensors))
	}
}

func TestRejectOtherFiles(t *testing.T) {
	reject(t, write(t, "empty.gguf", nil), "0 bytes, expected a model")
	reject(t, write(t, "empty.safetensors", nil), "0 bytes")
	reject(t, write(t, "m.bin", []byte("PK\x03\x04zip")), `begins with "PK\x03\x04", expected a GGUF file`)
	reject(t, write(t, "m.txt", []byte("x")), `begins with "x"`)
	reject(t, filepath.Join(t.TempDir(), "absent"), "no such model")
	reject(t, "/dev/null", "expected a regular file")
}
