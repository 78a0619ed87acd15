package conformance

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/codegen/llc"
	"quire/frontends/decoder"
	"quire/ir"
	"quire/ir/interp"
	machine "quire/ir/target"
	"quire/ir/types/layout"
	"quire/passes/duo"
	"quire/passes/quest"
	"quire/runtime/cuda"
	"quire/runtime/cuda/driver"
)

// The models of TestGPU run on a GPU, from a test binary that needs no compiler:
//
//	go test -c -o conformance.test ./tests/conformance
//	./conformance.test -test.run TestGPU -bundle DIR                  compiles them, and fills DIR with PTX
//	./conformance.test -test.run TestGPU -bundle DIR -device bundle   fails where DIR lacks a kernel
//	./conformance.test -test.run TestGPU -bundle DIR -device cuda     runs that PTX beside the oracle
//	go test ./tests/conformance -run TestGPU -device simt             the same on simulated blocks, minutes of it
//
// Without flags they are lowered and no more. tests/gpucheck does all three.
var (
	on     = flag.String("device", "", "cuda: run the models of TestGPU on a GPU; simt: on simulated blocks; bundle: make their programs from a bundle alone")
	bundle = flag.String("bundle", "", "folder of PTX, filled without -device and read with it")
	shards = flag.Int("shards", 1, "processes that share the models of TestGPU")
	shard  = flag.Int("shard", 0, "this process")
)

// gpuTools are LLVM's tools, or where a bundle is read what they left there.
func gpuTools(ctx context.Context) (llc.Tools, error) {
	release := filepath.Join(*bundle, "RELEASE")
	if *on != "" {
		text, err := os.ReadFile(release)
		return llc.Tools{Release: string(text), Cache: llc.Cache{Dir: *bundle}}, err
	}
	tools, err := llc.Find(ctx)
	if err != nil {
		return tools, err
	}
	tools.Cache = llc.Cache{Dir: *bundle}
	if err := os.MkdirAll(*bundle, 0o755); err != nil {
		return tools, err
	}
	return tools, os.WriteFile(release, []byte(tools.Release), 0o644)
}

// library is the driver of TestGPU's device, nil without one.
func library(t *testing.T) driver.Library {
	t.Helper()
	if *on != "cuda" {
		return nil
	}
	lib, err := driver.Open()
	if err != nil {
		t.Skip("no GPU: ", err)
	}
	return lib
}

// gpuModel is a variant for some targets.
type gpuModel struct {
	variant
	targets []string
	wide    bool // steps of up to 64 sequences too
}

// tiny is the spec of a family's model of sizes that tensor cores take.
func tiny(family string, more ...string) string {
	return spec(family, append([]string{"hidden: 64", "heads: 4", "kv_heads: 2", "head_dim: 32", "ffn: 128"}, more...)...)
}

// gpuModels are every family and every encoding, dense, and every subset of the rewrites: all of one family, and all at
// once of each. A subset that a GPU has no kernels for is told apart by the pipeline's refusal.
func gpuModels() []gpuModel {
	const f16, bf16 = 5e-3, 2e-2
	both, one := []string{"sm_80", "sm_90a"}, []string{"sm_90a"}
	var out []gpuModel
	add := func(targets []string, wide bool, v variant) { out = append(out, gpuModel{v, targets, wide}) }
	for _, v := range append(gpuVariants(), rewrittenGPU()...) {
		v.name = "variant " + v.name
		add(both, false, v)
	}
	for _, f := range decoder.Families() {
		lines := []string{"kv: f16", "quantisation: q4_0"}
		if f == "mistral" || strings.HasPrefix(f, "gemma") {
			lines = append(lines, "window: 70")
		}
		add(both, true, variant{"family " + f, tiny(f, lines...), 0, f16, nil, nil})
		lines[0], lines[1] = "kv: "+everyRewrite.kv, "awq: {bits: 4, group: 32}"
		add(one, false, rewritten("family "+f+" "+everyRewrite.String(), tiny(f, lines...), everyRewrite))
	}
	for _, e := range layout.Encs() {
		l, ok := map[bool]string{true: "hidden: 256\nffn: 256", false: "hidden: 128\nffn: 384"}[strings.HasSuffix(string(e), "_k") || strings.HasSuffix(string(e), "128")], e != layout.BF16
		kv, bound := "f16", f16
		if !ok {
			kv, bound = "bf16", bf16
		}
		add(one, false, variant{"encoding " + string(e), spec("llama", l, "heads: 4", "kv_heads: 1", "head_dim: 64", "kv: "+kv, "quantisation: "+string(e)), 0, bound, nil, nil})
	}
	for _, s := range subsets() {
		lines := []string{"kv: f16", "quantisation: f16"}
		if s.kv != "" {
			lines[0] = "kv: " + s.kv
		}
		if s.awq {
			lines[1] = "awq: {bits: 4, group: 64}"
		}
		add(one, false, rewritten("rewrites "+s.String(), tiny("llama", lines...), s))
	}
	return out
}

var everyRewrite = subset{awq: true, duo: true, quest: true, kv: "int4"}

// rewritten is a model with what a subset asks for, at sizes that leave out much of the long script's texts.
func rewritten(name, text string, s subset) variant {
	v := variant{name: name, spec: text, bound: map[string]float64{"": 5e-3, "f16": 5e-3, "int8": 2e-2, "int4": 2e-1}[s.kv]}
	if s.duo {
		v.duo = &duo.Options{Mask: duo.Mask{{true, false}, {false, true}}, Sink: 4, Recent: 100}
	}
	if s.quest {
		v.quest = &quest.Options{Budget: 128, Page: 16, PhysicalPage: 64, Per: ir.PerGroup, Reselect: 1}
	}
	return v
}

// refusal says that a GPU has no kernel for what a model asks for: an error that says so, of the pass that lowers it.
func refusal(err error) bool {
	return err != nil && strings.Contains(err.Error(), "GPU") && strings.Contains(err.Error(), "lower.")
}

// notRun ends a test that lowered models, and for a bundle compiled them, where nothing ran them.
func notRun(t *testing.T) {
	if *on == "" || *on == "bundle" {
		t.Skip("no GPU: models were lowered, and none was run")
	}
}

// On a GPU, whole models against the oracle.
func TestGPU(t *testing.T) {
	library(t)
	for i, m := range gpuModels() {
		if i%*shards != *shard {
			continue
		}
		for _, name := range m.targets {
			tgt, err := machine.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(m.name+"/"+name, func(t *testing.T) {
				s := loadGPU(t, m.variant, tgt)
				if s == nil {
					return
				}
				s.script(uint64(i))
				s.restart()
				s.long(uint64(i))
				if m.wide {
					s.restart()
					s.crowd(uint64(i))
				}
				if s.ties != nil {
					t.Log(s.ties)
				}
			})
		}
	}
	notRun(t)
}

// loadGPU binds a model to a GPU; without one it is lowered, with a bundle compiled too, and there is no subject.
func loadGPU(t *testing.T, v variant, tgt machine.Target) *subject {
	t.Helper()
	m, p, err := compile(t, v.spec, v.options(tgt), *bundle == "")
	if refusal(err) && *on == "" {
		t.Log(err)
		return nil
	}
	if refusal(err) {
		t.Skip("refused: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := newSubject(t, v, m, p, 64, 200)
	if v.quest != nil {
		s.ties = newTies(m)
	}
	switch *on {
	case "cuda":
	case "simt":
		s.device = newSimulated(t, p, tgt, s.sizes())
		return s
	default:
		return nil
	}
	dev, err := cuda.Load(context.Background(), p, cuda.Options{Library: library(t), Threads: 2, Pages: s.sizes()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	s.device = dev
	return s
}

// crowd is steps of single rows of up to 64 sequences, some of which had prompts.
func (s *subject) crowd(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	for slot := 0; slot < 64; slot += 7 {
		s.run(slot+1, interp.Turn{Slot: slot, Tokens: s.tokens(rng, 1+slot*13%90), Logits: 1})
	}
	for _, n := range []int{3, 8, 9, 15, 16, 17, 31, 32, 33, 50, 63, 64, 64, 2} {
		var turns []interp.Turn
		for slot := range n {
			turns = append(turns, interp.Turn{Slot: slot, Tokens: s.tokens(rng, 1), Logits: 1})
		}
		s.run(n, turns...)
	}
}
