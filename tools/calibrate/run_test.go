package calibrate_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/frontends"
	"quire/frontends/spec"
	"quire/ir/interp"
	"quire/ir/types/packed"
	"quire/tools/calibrate"
)

// A tied Llama of two layers in Q8_0, by llama.cpp's own converter.
const tiny = "../../tests/e2e/reference/gguf/q8_0/model.gguf"

func options(t *testing.T) calibrate.Options {
	t.Helper()
	m, err := frontends.Load(tiny, frontends.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	r := rand.New(rand.NewPCG(1, 9))
	o := calibrate.Options{Group: 32, Window: 24, Windows: 6, Sample: 144, Threads: 2, Clip: true}
	for range 200 {
		o.Tokens = append(o.Tokens, r.Int32N(int32(m.Config.Vocab)))
	}
	return o
}

// files reads a directory, hidden files too.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, e := range list {
		if out[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func run(t *testing.T, o calibrate.Options) (string, *calibrate.Report) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	r, err := calibrate.Run(t.Context(), tiny, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return dir, r
}

// logits are those of the last token of a prompt, by the oracle.
func logits(t *testing.T, path string, ids []int32) []float64 {
	t.Helper()
	return logitsOf(t, path, frontends.Options{}, ids)
}

func logitsOf(t *testing.T, path string, o frontends.Options, ids []int32) []float64 {
	t.Helper()
	m, err := frontends.Load(path, o)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	state := interp.NewState()
	step := m.Module.Func("step")
	bind, in := interp.StepOf(state, 1, interp.Turn{Slot: 0, Tokens: ids, Logits: 1})
	out, err := interp.New(m.Module, m.Float32, interp.Options{}).Run(step, bind, in, state)
	if err != nil {
		t.Fatal(err)
	}
	return interp.Named(step, out)["logits"].Row(0)
}

// Both formats and widths: no site is worse than rounded to nearest, what was written loads again and computes nearly
// what the model did, in the halves of heads that Hugging Face rotates instead of GGUF's neighbours.
func TestRun(t *testing.T) {
	want := logits(t, tiny, options(t).Tokens[:12])
	for _, c := range []struct {
		bits   int
		format packed.Format
		search calibrate.Search
		limit  float64
	}{
		{4, packed.AWQGemm, calibrate.Activation, .35},
		{4, packed.CompressedTensors, calibrate.Duo, .35},
		{3, packed.CompressedTensors, calibrate.Activation, .8},
	} {
		o := options(t)
		o.Bits, o.Format, o.Search = c.bits, c.format, c.search
		dir, r := run(t, o)
		if len(r.Layers) != 2 {
			t.Fatalf("%d layers, expected 2", len(r.Layers))
		}
		scaled := 0
		for _, l := range r.Layers {
			for _, s := range l.Sites {
				if !(s.Loss <= s.Nearest) || s.Loss <= 0 {
					t.Errorf("%s: error %v, rounded to nearest %v", s.Linears, s.Loss, s.Nearest)
				}
				if s.Ratio > 0 {
					scaled++
				}
			}
		}
		if scaled == 0 {
			t.Errorf("%s: no site took a scale", c.format)
		}
		if d := interp.RelL2(logits(t, dir, o.Tokens[:12]), want); !(d < c.limit) || d == 0 {
			t.Errorf("%d bits %s: logits are %v from the model's, expected less than %v and some", c.bits, c.format, d, c.limit)
		}
		if _, err := calibrate.Run(t.Context(), tiny, dir, o); err == nil || !strings.Contains(err.Error(), "a model is there") {
			t.Errorf("a second run into the same directory: %v", err)
		}
	}
}

// Without search or clip what is written is what --awq rounds at load, but for the float16 of norms and embeddings.
func TestNearest(t *testing.T) {
	for _, bits := range []int{4, 3} {
		o := options(t)
		o.Bits, o.Search, o.Clip = bits, calibrate.None, false
		dir, _ := run(t, o)
		var f frontends.Options
		f.AWQ = &spec.AWQ{Bits: bits, Group: 32}
		want := logitsOf(t, tiny, f, o.Tokens[:12])
		if d := interp.RelL2(logits(t, dir, o.Tokens[:12]), want); !(d < 2e-3) {
			t.Errorf("%d bits: logits are %v from those of --awq, expected less than 2e-3", bits, d)
		}
	}
}

// The same seed gives the same bytes, in one file or in shards, at once or by runs that were stopped after a layer.
func TestResume(t *testing.T) {
	o := options(t)
	first, _ := run(t, o)
	want := files(t, first)
	dir := filepath.Join(t.TempDir(), "out")
	ctx, stop := context.WithCancel(t.Context())
	o.Progress = func(stage string, done, _ int64) {
		if stage == "calibrate" && done == 1 {
			stop()
		}
	}
	if _, err := calibrate.Run(ctx, tiny, dir, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("stopped after a layer: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
		t.Fatal("config.json is there before the model")
	}
	o.Progress = nil
	r, err := calibrate.Run(t.Context(), tiny, dir, o)
	if err != nil || r.Resumed != 1 {
		t.Fatalf("went on with %d layers done (%v), expected 1", r.Resumed, err)
	}
	got := files(t, dir)
	for name, data := range want {
		if !bytes.Equal(got[name], data) {
			t.Errorf("%s: other bytes after a stop", name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, expected %d", len(got), len(want))
	}
	o.ShardBytes = 20_000
	shards, _ := run(t, o)
	if _, ok := files(t, shards)["model.safetensors.index.json"]; !ok {
		t.Error("no index of shards")
	}
	ids := o.Tokens[:12]
	if d := interp.RelL2(logits(t, shards, ids), logits(t, first, ids)); d != 0 {
		t.Errorf("in shards logits differ by %v", d)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		edit func(*calibrate.Options)
		want string
	}{
		{func(o *calibrate.Options) { o.Bits, o.Format = 3, packed.AWQGemm }, "3 bits in format awq, expected compressed-tensors"},
		{func(o *calibrate.Options) { o.Group = 48 }, "groups of 48, expected 32, 64 or 128"},
		{func(o *calibrate.Options) { o.Tokens = nil }, "0 tokens of text"},
		{func(o *calibrate.Options) { o.Format = packed.Marlin }, "expected awq or compressed-tensors"},
	} {
		o := options(t)
		c.edit(&o)
		if _, err := calibrate.Run(t.Context(), tiny, t.TempDir(), o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, expected ...%s...", err, c.want)
		}
	}
}
