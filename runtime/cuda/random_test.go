package cuda_test

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"quire/ir/types/block"
	"quire/ir/types/layout"
	"quire/ir/types/noise"
	"quire/ir/work"
	"quire/runtime/cuda"
	"quire/runtime/cuda/driver"
	"quire/runtime/cuda/driver/fake"
	"quire/runtime/program"
	"quire/runtime/weights"
)

// random is the toy with its embedding as random f16 in two segments, and with a kernel that
// makes it, which runs on the host: work.Noise by its definition. seen gets the bytes that the
// steps find.
func random(t testing.TB, seen *[]byte) (*program.Program, map[string]fake.Kernel) {
	t.Helper()
	p := toy(t)
	w := &p.Weights[0]
	*w = program.Weight{Name: "emb", Layout: program.LayoutFrag, Elem: "f32", Cols: vocab, Segments: []program.Segment{
		{Tensor: "a", Rows: 16, Elem: "f32", Source: -1, Seed: 5, Std: 0.5},
		{Tensor: "b", Rows: 16, Elem: "f32", Source: -1, Seed: -6, Mean: 1, Std: 0.1},
	}}
	for i := range w.Segments {
		n, err := w.SegmentBytes(i)
		if err != nil {
			t.Fatal(err)
		}
		w.Bytes += n
	}
	p.Kernels = append(p.Kernels, program.Kernel{Symbol: "noise", Params: work.Noise{Enc: layout.F32, Cols: vocab}})
	kernels := maps.Clone(toyKernels)
	kernels["noise"] = fake.Kernel{Params: 4, Run: func(l fake.Launch) {
		rows := int(l.Words[2])
		how := fake.Slice[uint64](l, l.Words[0], work.NoiseHow)
		size, _ := layout.Bytes(program.LayoutFrag, layout.F32, rows, vocab)
		y := fake.Slice[byte](l, l.Words[1], int(size))
		if y == nil || how == nil {
			return
		}
		v, raw := make([]float32, rows*vocab), make([]byte, rows*vocab*4)
		std := math.Float64frombits(how[work.NoiseScale]) / noise.Scale(1)
		noise.Fill(v, int64(how[work.NoiseSeed]), 0, math.Float64frombits(how[work.NoiseMean]), std)
		if err := errors.Join(block.EncodeRows("f32", vocab, v, raw), layout.PackFrag(y, layout.F32, rows, vocab, raw)); err != nil {
			t.Error(err)
		}
		if want := (rows + 15) / 16; int(l.Words[3]) != want || l.Blocks != (want+3)/4 || l.Threads != 128 {
			t.Errorf("%d items in %d blocks of %d threads, expected %d units of a tile, a warp each", l.Words[3], l.Blocks, l.Threads, want)
		}
	}}
	embed := kernels["embed"]
	kernels["embed"] = fake.Kernel{Params: 5, Run: func(l fake.Launch) {
		*seen = bytes.Clone(fake.Slice[byte](l, l.Words[1], int(w.Bytes)))
		embed.Run(l)
	}}
	return p, kernels
}

// A random weight is made by the device where the Program has the kernel, by the host where it
// has not: of the same bytes.
func TestRandomWeights(t *testing.T) {
	var seen []byte
	for _, c := range []struct {
		name string
		edit func(*program.Program)
		made bool
	}{
		{"device", func(*program.Program) {}, true},
		{"without kernel", func(p *program.Program) { p.Kernels = p.Kernels[:len(p.Kernels)-1] }, false},
		{"another encoding", func(p *program.Program) { p.Weights[0].Segments[1].Elem = "q4_0" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, kernels := random(t, &seen)
			c.edit(p)
			d := &fake.Driver{Kernels: kernels}
			o, last := options(d), int64(0)
			o.Threads = 1
			o.Progress = func(done, total int64) { last = total - done }
			m, err := cuda.Load(t.Context(), p, o)
			if err != nil {
				t.Fatal(err)
			}
			if err := chat(t, m); err != nil {
				t.Fatal(err)
			}
			want := make([]byte, p.Weights[0].Bytes)
			src, err := weights.Open(p)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			if err := src.Fill(t.Context(), func(i int) []byte { return [][]byte{want, nil}[i] }, 1, nil); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(seen, want) {
				t.Error("the weight is not what the host makes")
			}
			if made := slices.Contains(d.Log, "kernel noise"); made != c.made {
				t.Errorf("made by the device: %v, want %v", made, c.made)
			}
			if last != 0 {
				t.Errorf("progress ended %d bytes before the end", last)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
			empty(t, d)
		})
	}
}

// Whatever fails while weights are made, the error says so and everything is given back.
func TestRandomWeightsFail(t *testing.T) {
	var seen []byte
	for k := 1; ; k++ {
		p, kernels := random(t, &seen)
		d := &fake.Driver{Kernels: kernels, FailAt: k}
		m, err := cuda.Load(t.Context(), p, options(d))
		if err == nil {
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			break
		}
		var e *driver.Error
		if !errors.As(err, &e) || e.Code != driver.OutOfMemory {
			t.Fatalf("allocation %d: %v", k, err)
		}
		empty(t, d)
	}
	p, kernels := random(t, &seen)
	d := &fake.Driver{Kernels: kernels, FaultAt: 2}
	if _, err := cuda.Load(t.Context(), p, options(d)); err == nil || !strings.Contains(err.Error(), "CUDA_ERROR_ILLEGAL_ADDRESS") {
		t.Errorf("a fault: %v", err)
	}
	p, kernels = random(t, &seen)
	p.Sources[0].Path += ".gone"
	d = &fake.Driver{Kernels: kernels}
	if _, err := cuda.Load(t.Context(), p, options(d)); err == nil || !strings.Contains(err.Error(), "gains.gone") {
		t.Errorf("no source: %v", err)
	}
	empty(t, d)
}
