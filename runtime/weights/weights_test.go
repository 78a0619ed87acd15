package weights_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quire/ir/types/block"
	"quire/ir/types/layout"
	"quire/ir/types/noise"
	"quire/runtime/program"
	"quire/runtime/weights"
)

// file is a weight file being made.
type file struct {
	data []byte
	r    *rand.Rand
}

// add appends rows x cols random values in an encoding, after some other bytes.
func (f *file) add(t *testing.T, tensor, elem string, rows, cols int) (program.Segment, []byte) {
	t.Helper()
	v := make([]float32, rows*cols)
	for i := range v {
		v[i] = float32(f.r.NormFloat64())
	}
	e, ok := block.Lookup(elem)
	if !ok {
		t.Fatalf("no encoding %s", elem)
	}
	row, err := e.RowBytes(int64(cols))
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, row*int64(rows))
	if err := block.EncodeRows(elem, cols, v, raw); err != nil {
		t.Fatal(err)
	}
	f.data = append(f.data, make([]byte, f.r.IntN(100))...)
	s := program.Segment{Tensor: tensor, Rows: rows, Elem: elem, Offset: int64(len(f.data)), Bytes: int64(len(raw))}
	f.data = append(f.data, raw...)
	return s, raw
}

func (f *file) save(t *testing.T, ws ...program.Weight) *program.Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "w.bin")
	if err := os.WriteFile(path, f.data, 0o644); err != nil {
		t.Fatal(err)
	}
	return &program.Program{Weights: ws, Sources: []program.Source{{Path: path, Bytes: int64(len(f.data))}}}
}

// fill packs all weights of p.
func fill(t *testing.T, p *program.Program, threads int) ([][]byte, error) {
	t.Helper()
	s, err := weights.Open(p)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	out := make([][]byte, len(p.Weights))
	for i, w := range p.Weights {
		out[i] = bytes.Repeat([]byte{0xa5}, int(w.Bytes)) // all of it must be written
	}
	last, total := int64(0), int64(0)
	var report func(int64, int64)
	if threads == 1 {
		report = func(d, n int64) {
			if d < last {
				t.Errorf("progress went back from %d to %d", last, d)
			}
			last, total = d, n
		}
	}
	err = s.Fill(t.Context(), func(i int) []byte { return out[i] }, threads, report)
	if err == nil && last != total {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	return out, err
}

// Cut into pieces for many threads or one, a weight is what its layout's packer makes of
// each segment.
func TestLayouts(t *testing.T) {
	packers := map[string]func([]byte, layout.Enc, int, int, []byte) error{program.LayoutLanes: layout.Pack, program.LayoutFrag: layout.PackFrag}
	for _, e := range layout.Encs() {
		form, err := layout.Of(e)
		if err != nil {
			t.Fatal(err)
		}
		for name, pack := range packers {
			f := &file{r: rand.New(rand.NewPCG(1, 2))}
			cols := 2 * form.Block * max(1, 512/form.Block)
			w := program.Weight{Name: "w", Layout: name, Elem: string(e), Cols: cols}
			var want []byte
			for _, rows := range []int{600, 16, 3} {
				seg, raw := f.add(t, "t", string(e), rows, cols)
				w.Segments = append(w.Segments, seg)
				n, err := layout.Bytes(name, e, rows, cols)
				if err != nil {
					t.Fatal(err)
				}
				dst := make([]byte, n)
				if err := pack(dst, e, rows, cols, raw); err != nil {
					t.Fatal(err)
				}
				want = append(want, dst...)
			}
			w.Bytes = int64(len(want))
			p := f.save(t, w)
			for _, threads := range []int{1, 5} {
				got, err := fill(t, p, threads)
				if err != nil || !bytes.Equal(got[0], want) {
					t.Errorf("%s %s on %d threads: differs from its packer (%v)", name, e, threads, err)
				}
			}
		}
	}
}

// Vectors are decoded and joined without padding; segments of another encoding than their
// weight's are changed to it.
func TestPlainAndMixed(t *testing.T) {
	f := &file{r: rand.New(rand.NewPCG(3, 4))}
	a, rawA := f.add(t, "a", "f16", 7, 1)
	b, rawB := f.add(t, "b", "bf16", 12, 1)
	c, rawC := f.add(t, "c", "q8_0", 5, 64)
	d, rawD := f.add(t, "d", "f16", 20, 64)
	vec := program.Weight{Name: "bias", Layout: program.LayoutPlain, Elem: "f32", Cols: 1, Bytes: 4 * 19, Segments: []program.Segment{a, b}}
	form, _ := layout.Of(layout.F32)
	mixed := program.Weight{Name: "mixed", Layout: program.LayoutLanes, Elem: "f32", Cols: 64, Bytes: int64(form.Size(5, 64) + form.Size(20, 64)), Segments: []program.Segment{c, d}}
	got, err := fill(t, f.save(t, vec, mixed), 2)
	if err != nil {
		t.Fatal(err)
	}
	decode := func(elem string, cols int, raw []byte, n int) []float32 {
		v := make([]float32, n)
		if err := block.DecodeRows(elem, cols, raw, v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	var want []byte
	for _, x := range append(decode("f16", 1, rawA, 7), decode("bf16", 1, rawB, 12)...) {
		want = binary.LittleEndian.AppendUint32(want, math.Float32bits(x))
	}
	if !bytes.Equal(got[0], want) {
		t.Errorf("bias: %x, want %x", got[0], want)
	}
	want = want[:0]
	for _, s := range []struct {
		v    []float32
		rows int
	}{{decode("q8_0", 64, rawC, 320), 5}, {decode("f16", 64, rawD, 1280), 20}} {
		var raw []byte
		for _, x := range s.v {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		dst := make([]byte, form.Size(s.rows, 64))
		if err := layout.Pack(dst, layout.F32, s.rows, 64, raw); err != nil {
			t.Fatal(err)
		}
		want = append(want, dst...)
	}
	if !bytes.Equal(got[1], want) {
		t.Error("mixed: differs from decoded and packed")
	}
}

// Random rows are the stream's, whatever the pieces.
func TestRandom(t *testing.T) {
	const rows, cols = 1500, 256
	form, _ := layout.Of(layout.F32)
	w := program.Weight{Name: "r", Layout: program.LayoutLanes, Elem: "f32", Cols: cols, Bytes: int64(form.Size(rows, cols)),
		Segments: []program.Segment{{Tensor: "r", Rows: rows, Elem: "f32", Source: -1, Seed: 11, Std: 0.02, Mean: 1}}}
	v := make([]float32, rows*cols)
	noise.Fill(v, 11, 0, 1, 0.02)
	var raw []byte
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	want := make([]byte, w.Bytes)
	if err := layout.Pack(want, layout.F32, rows, cols, raw); err != nil {
		t.Fatal(err)
	}
	got, err := fill(t, &program.Program{Weights: []program.Weight{w}}, 3)
	if err != nil || !slices.Equal(got[0], want) {
		t.Errorf("differs from the stream (%v)", err)
	}
}

func TestErrors(t *testing.T) {
	f := &file{r: rand.New(rand.NewPCG(5, 6))}
	seg, _ := f.add(t, "blk.0.up", "f32", 16, 32)
	form, _ := layout.Of(layout.F32)
	w := program.Weight{Name: "up", Layout: program.LayoutLanes, Elem: "f32", Cols: 32, Bytes: int64(form.Size(16, 32)), Segments: []program.Segment{seg}}
	p := f.save(t, w)
	path := p.Sources[0].Path
	s, err := weights.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dst := make([]byte, w.Bytes)
	if err := os.Truncate(path, 100); err != nil { // by another process, after Open
		t.Fatal(err)
	}
	err = s.Fill(t.Context(), func(int) []byte { return dst }, 1, nil)
	if err == nil || !strings.Contains(err.Error(), "weights: up, tensor blk.0.up: "+path) {
		t.Errorf("a file that shrank: %v", err)
	}
	if _, err := weights.Open(p); err == nil || !strings.Contains(err.Error(), "has 100 bytes, the program was compiled from") {
		t.Errorf("a file of another size: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Fill(ctx, func(int) []byte { return dst }, 1, nil); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	if err := s.Fill(t.Context(), func(int) []byte { return dst[1:] }, 1, nil); err == nil || !strings.Contains(err.Error(), "weights: up: memory of") {
		t.Errorf("too little memory: %v", err)
	}
}
