package program

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quire/ir/types/layout"
	"quire/ir/work"
)

// sample is a small Program that uses every kind of argument.
func sample() *Program {
	recent, temp := 15, 0.5
	embed := work.Embed{Enc: layout.F32, Vocab: 8, Dim: 16, Scale: 1}
	attn := work.Attention{Phase: work.Decode, Heads: 1, KVHeads: 1, Dim: 16, Scale: 0.25, CacheEnc: layout.F32, Page: 16, Split: 16}
	rope := work.RopeTable{RotaryDim: 4, Freq: []float32{1, 0.1}}
	norm := work.Norm{Dim: 16, RMS: work.RMSNorm{Eps: 1e-5}, Gather: true}
	slot := func(i int) Arg { return Arg{Kind: ArgSlot, Index: i} }
	in := func(n string) Arg { return Arg{Kind: ArgInput, Name: n} }
	dim := func(n string) Arg { return Arg{Kind: ArgDim, Name: n} }
	return &Program{
		Model: "sample", Family: "llama", Target: "x86-64-v3", Compiler: "test", Vocab: 8, Context: 64,
		Kernels: []Kernel{{Symbol: "embed", Params: embed}, {Symbol: "attn", Last: "attn.last", Params: attn}, {Symbol: "rope", Params: rope}, {Symbol: "norm", Params: norm}},
		Steps: []Step{{
			Name: "decode", When: []Guard{{Lhs: "N", Rhs: "S"}, {Lhs: "N", Rhs: "4", AtMost: true}},
			Launch: []Launch{
				{Name: "embed", Kernel: 0, Args: []Arg{in("tok"), {Kind: ArgWeight}, slot(0), dim("N")}, Bytes: "64*N"},
				{Name: "rope", Kernel: 2, Args: []Arg{in("pos"), slot(1), dim("N")}},
				{Name: "attn", Kernel: 1, Args: []Arg{slot(0), {Kind: ArgCache}, in("row_slot"), in("slot_start"), in("slot_len"), {Kind: ArgPages}, {Kind: ArgTemp}, slot(1), dim("N"), dim("P"), dim("C")}},
				{Name: "norm", Kernel: 3, Args: []Arg{slot(1), {Kind: ArgWeight, Index: 1}, in("out"), slot(2), dim("M")}, For: []int{0}},
			},
			Results: []Result{{Name: "logits", Slot: 2, Elem: "f32", Rows: "M", Cols: 16}},
		}},
		Slots:  []string{"64*N", "64*N, 32*M", "64*M"},
		Tables: []Table{{Name: "full", Page: 16}, {Name: "window", Page: 16, Sink: 4, Recent: &recent}},
		Caches: []Cache{{Name: "kv0", Elem: "f32", Heads: 1, Dim: 16, PageBytes: 2 * 16 * 16 * 4}},
		Weights: []Weight{
			{Name: "emb", Layout: LayoutLanes, Elem: "f32", Cols: 16, Bytes: 16 * 16 * 4, Segments: []Segment{{Tensor: "emb", Rows: 8, Elem: "f32", Bytes: 8 * 16 * 4}}},
			{Name: "gain", Layout: LayoutPlain, Elem: "f32", Cols: 1, Bytes: 64, Segments: []Segment{{Tensor: "gain", Rows: 16, Elem: "f16", Source: -1, Seed: 1, Std: 1}}},
		},
		Sources:    []Source{{Path: "model.gguf", Bytes: 4096}},
		Options:    map[string]string{"kv": "f32"},
		Tokenizer:  json.RawMessage(`{"Model":"bpe"}`),
		Generation: Generation{Temperature: &temp, EOS: []int32{2}},
		Object:     bytes.Repeat([]byte("machine code "), 1000),
	}
}

func packSample(p *Program) func(i int) ([]byte, error) {
	return func(i int) ([]byte, error) { return bytes.Repeat([]byte{byte(i + 1)}, int(p.Weights[i].Bytes)), nil }
}

func write(t *testing.T, p *Program, packed func(int) ([]byte, error)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.quire")
	if err := Write(path, p, packed); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRoundTrip(t *testing.T) {
	p := sample()
	for _, packed := range []bool{false, true, true, false} {
		if p.Cubin == nil && packed {
			p.Cubin = bytes.Repeat([]byte("cubin"), 999)
		}
		var pack func(int) ([]byte, error)
		if packed {
			pack = packSample(p)
		}
		f, err := Open(write(t, p, pack))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, f.Program, cmp.Comparer(func(a, b work.Params) bool { return a.Key() == b.Key() })); d != "" {
			t.Errorf("packed %v: the Program changed (-want +got):\n%s", packed, d)
		}
		for i := range p.Weights {
			got := f.Weight(i)
			if !packed {
				if got != nil {
					t.Errorf("weight %d: %d bytes in a file without weights", i, len(got))
				}
				continue
			}
			if want, _ := pack(i); !bytes.Equal(got, want) {
				t.Errorf("weight %d differs", i)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWriteIsDeterministicAndAtomic(t *testing.T) {
	p := sample()
	a, b := write(t, p, packSample(p)), write(t, p, packSample(p))
	x, _ := os.ReadFile(a)
	y, _ := os.ReadFile(b)
	if !bytes.Equal(x, y) {
		t.Error("two files of one Program differ")
	}
	err := Write(a, p, func(i int) ([]byte, error) { return nil, fmt.Errorf("disk full") })
	if err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("error %v, want the packer's", err)
	}
	z, _ := os.ReadFile(a)
	if !bytes.Equal(x, z) {
		t.Error("a failed Write changed the file")
	}
	if names, _ := os.ReadDir(filepath.Dir(a)); len(names) != 1 {
		t.Errorf("a failed Write left %v", names)
	}
}

// seal makes the prefix and header digest of a changed file right again, as an attacker would.
func seal(b []byte) []byte {
	n := binary.LittleEndian.Uint64(b[16:])
	binary.LittleEndian.PutUint64(b[24:], uint64(len(b)))
	copy(b[32:], headSum(b, b[prefix:prefix+n]))
	return b
}

// replaceHeader swaps the JSON; the sections stay where they are if there is room.
func replaceHeader(b []byte, edit func(text string) string) []byte {
	n := binary.LittleEndian.Uint64(b[16:])
	text := edit(string(b[prefix : prefix+n]))
	out := append(append([]byte{}, b[:prefix]...), text...)
	if first := align(int64(prefix+n), pageSize); int64(len(out)) <= first {
		out = append(append(out, make([]byte, first-int64(len(out)))...), b[first:]...)
	}
	binary.LittleEndian.PutUint64(out[16:], uint64(len(text)))
	return seal(out)
}

// The B cases of a hostile or damaged bundle. Each is refused by name, quickly, and
// without allocating what the file only claims.
func TestBadFiles(t *testing.T) {
	p := sample()
	good, err := os.ReadFile(write(t, p, packSample(p)))
	if err != nil {
		t.Fatal(err)
	}
	sub := func(from, to string) func([]byte) []byte {
		return func(b []byte) []byte {
			return replaceHeader(b, func(s string) string {
				if !strings.Contains(s, from) {
					t.Fatalf("the header has no %s: %s", from, s)
				}
				return strings.Replace(s, from, to, 1)
			})
		}
	}
	for _, c := range []struct {
		name string
		edit func([]byte) []byte
		is   error
		says string
	}{
		{"B1 empty", func(b []byte) []byte { return nil }, ErrNotProgram, "0 bytes"},
		{"B1 magic", func(b []byte) []byte { b[0] ^= 1; return b }, ErrNotProgram, "does not begin"},
		{"B1 version", func(b []byte) []byte { b[8] = 99; return b }, ErrVersion, "version 99, expected 1"},
		{"B1 zero word", func(b []byte) []byte { b[12] = 1; return b }, ErrCorrupt, "byte 12"},
		{"B2 header bit", func(b []byte) []byte { b[prefix+9] ^= 1; return b }, ErrCorrupt, "header's digest"},
		{"B2 object bit", func(b []byte) []byte { b[bytes.Index(b, []byte("machine code"))] ^= 1; return b }, ErrCorrupt, "section object has digest"},
		{"B2 weight bit", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, ErrCorrupt, "section weights has digest"},
		{"B2 between sections", func(b []byte) []byte { b[bytes.Index(b, []byte("machine code"))-1] = 1; return b }, ErrCorrupt, "not zero"},
		{"B4 cut", func(b []byte) []byte { return b[:len(b)-1] }, ErrCorrupt, "the header says"},
		{"B4 cut and sealed", func(b []byte) []byte { return seal(b[:len(b)-64]) }, ErrCorrupt, "section"},
		{"B4 half of the header", func(b []byte) []byte { return b[:prefix+10] }, ErrCorrupt, "the header says"},
		{"B4 longer", func(b []byte) []byte { return seal(append(b, 0)) }, ErrCorrupt, "1 bytes after the last section"},
		{"header of 2^64-1", func(b []byte) []byte { binary.LittleEndian.PutUint64(b[16:], 1<<64-1); return b }, ErrCorrupt, "header of 18446744073709551615 bytes"},
		{"header of the file", func(b []byte) []byte { binary.LittleEndian.PutUint64(b[16:], uint64(len(b))); return b }, ErrCorrupt, "header of"},
		{"not an object", func(b []byte) []byte { return replaceHeader(b, func(string) string { return "[1]" }) }, ErrCorrupt, "header:"},
		{"null", func(b []byte) []byte { return replaceHeader(b, func(string) string { return "null" }) }, ErrCorrupt, "without a program"},
		{"deep", func(b []byte) []byte {
			return replaceHeader(b, func(string) string { return strings.Repeat("[", 200000) })
		}, ErrCorrupt, "header:"},
		{"many objects", func(b []byte) []byte {
			return replaceHeader(b, func(string) string {
				return `{"Program":{"Kernels":[` + strings.Repeat("{},", maxObjects) + `{}]}}`
			})
		}, ErrCorrupt, "objects, expected at most"},
		{"unknown field", sub(`"Vocab":8`, `"Vocob":8`), ErrCorrupt, `unknown field "Vocob"`},
		{"family", sub(`"Family":"embed"`, `"Family":"embod"`), ErrCorrupt, `family "embod" is not known`},
		{"kernel field", sub(`"Vocab":8,"Dim":16`, `"Vocab":8,"Dom":16`), ErrCorrupt, `unknown field "Dom"`},
		{"kernel params", sub(`"Vocab":8,"Dim":16`, `"Vocab":8,"Dim":-1`), ErrCorrupt, "dim is -1"},
		{"vocabulary", sub(`"Vocab":8`, `"Vocab":0`), ErrCorrupt, "vocabulary of 0"},
		{"vocabulary 2^40", sub(`"Vocab":8`, `"Vocab":1099511627776`), ErrCorrupt, "vocabulary of 1099511627776"},
		{"kernel index", sub(`"Kernel":0`, `"Kernel":9`), ErrCorrupt, "kernel 9, expected one of 4"},
		{"slot dim", sub(`"64*M"`, `"64*Q"`), ErrCorrupt, "symbol Q"},
		{"slot ceil", sub(`"64*M"`, `"`+strings.Repeat("ceil(", 40)+`"`), ErrCorrupt, "ceil nested"},
		{"guard dim", sub(`"Lhs":"N"`, `"Lhs":"C"`), ErrCorrupt, "guard"},
		{"table page", sub(`"Page":16`, `"Page":0`), ErrCorrupt, ""},
		{"weight bytes", sub(`"Bytes":1024`, `"Bytes":512`), ErrCorrupt, "the segments take 1024"},
		{"segment offset", sub(`"Source":0,"Offset":0`, `"Source":0,"Offset":4000`), ErrCorrupt, "of source 0, which has 4096"},
		{"segment offset 2^63-1", sub(`"Source":0,"Offset":0`, `"Source":0,"Offset":9223372036854775807`), ErrCorrupt, "of source 0"},
		{"segment rows", sub(`"Rows":8`, `"Rows":1125899906842624`), ErrCorrupt, "rows of 16"},
		{"section offset", sub(`"Offset":4096`, `"Offset":8192`), ErrCorrupt, "section \"object\""},
		{"packed offset", sub(`"Packed":[0,`, `"Packed":[8,`), ErrCorrupt, "weight 0 of 1024 bytes at 8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bad.quire")
			if err := os.WriteFile(path, c.edit(bytes.Clone(good)), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %v that says %q", err, c.is, c.says)
			}
		})
	}
}

// Every launch argument must be what its kernel takes.
func TestValidateArgs(t *testing.T) {
	for _, c := range []struct {
		edit func(*Program)
		says string
	}{
		{func(p *Program) { p.Steps[0].Launch[0].Args[1] = Arg{Kind: ArgSlot} }, `launch 0 "embed": arg 1 (w): a slot, the kernel takes a weight`},
		{func(p *Program) { p.Steps[0].Launch[0].Args[1].Index = 2 }, "weight 2, expected one of 2"},
		{func(p *Program) { p.Steps[0].Launch[0].Args[3].Name = "M" }, `dim "M", expected N`},
		{func(p *Program) { p.Steps[0].Launch[0].Args[0].Name = "tik" }, `input "tik"`},
		{func(p *Program) { a := &p.Steps[0].Launch[0].Args; *a = (*a)[:3] }, "3 args, embed takes 4"},
		{func(p *Program) { p.Steps[0].Launch[2].Args[6] = Arg{Kind: ArgSlot} }, "a slot for an operand of mode temp"},
		{func(p *Program) { p.Steps[0].Launch[3].For = []int{1} }, "serves result 1"},
		{func(p *Program) { p.Steps[0].Results[0].Slot = 3 }, "slot 3, expected one of 3"},
		{func(p *Program) { p.Caches[0].Table = 2 }, "table 2, expected one of 2"},
		{func(p *Program) { p.Weights[0].Layout = "tiles" }, `layout "tiles"`},
		{func(p *Program) { p.Steps = nil }, "0 steps"},
		{func(p *Program) { p.Kernels[0].Params = work.Embed{Enc: layout.F32, Vocab: 32, Dim: 16} }, "lanes f32 of 1024 bytes in rows of 16, the kernel reads lanes f32 of 2048 in rows of 16"},
		{func(p *Program) { p.Kernels[0].Params = work.Embed{Enc: layout.F16, Vocab: 8, Dim: 16} }, "the kernel reads lanes f16"},
		{func(p *Program) { p.Steps[0].Launch[0].Rows = "S" }, `rows "S", expected N or M`},
		{func(p *Program) { p.Steps[0].Launch[0].Rows = "M" }, `dim "N", expected M`},
	} {
		p := sample()
		c.edit(p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("error %v, want it to say %q", err, c.says)
		}
	}
}

func FuzzHeader(f *testing.F) {
	p := sample()
	dir := f.TempDir()
	path := filepath.Join(dir, "m.quire")
	if err := Write(path, p, packSample(p)); err != nil {
		f.Fatal(err)
	}
	good, _ := os.ReadFile(path)
	n := binary.LittleEndian.Uint64(good[16:])
	f.Add(good[prefix : prefix+n])
	f.Add([]byte(`{"Program":{}}`))
	f.Add([]byte(`{"Program":{"Slots":["ceil(N/0)"]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b := make([]byte, prefix, prefix+len(text))
		copy(b, magic)
		b[8] = version
		binary.LittleEndian.PutUint64(b[16:], uint64(len(text)))
		b = seal(append(b, text...))
		p, err := parseHeader(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("a Program that was read cannot be written: %v", err)
		}
		if err := strict(again, new(Program)); err != nil {
			t.Fatalf("a Program that was written cannot be read: %v", err)
		}
	})
}
