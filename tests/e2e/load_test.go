package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"quire/codegen"
	"quire/codegen/llc"
	"quire/frontends"
	"quire/frontends/spec"
	"quire/ir"
	"quire/ir/target"
	"quire/passes/duo"
	"quire/passes/kvquant"
	"quire/passes/pipeline"
	"quire/passes/quest"
	"quire/runtime"
	"quire/runtime/program"
)

// how a model is compiled and run.
type how struct {
	kv      string
	dot     ir.Dot
	threads int
	chunk   int
	context int
	awq     *spec.AWQ
	duo     *duo.Options
	quest   *quest.Options
}

// widths are those of quantised caches.
var widths = map[string]kvquant.Bits{"int8": kvquant.KV8, "int4": kvquant.KV4}

// compile is the compiler's three calls.
func compile(t testing.TB, path string, h how) *program.Program {
	t.Helper()
	ctx := context.Background()
	m, err := frontends.Load(path, frontends.Options{Context: h.context, Options: spec.Options{KV: h.kv, AWQ: h.awq}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := pipeline.Standard(pipeline.Options{Dot: h.dot, Duo: h.duo, Quest: h.quest, KV: widths[h.kv]}).Run(m.Module); err != nil {
		t.Fatal(err)
	}
	host, err := target.Host()
	if err != nil {
		t.Fatal(err)
	}
	tools, err := llc.Find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sources, err := m.Sources()
	if err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Build(ctx, m.Module, codegen.Options{Target: host, Tools: tools, Segments: m.Segment, Sources: sources})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Describe(p); err != nil {
		t.Fatal(err)
	}
	return p
}

// open compiles a model and opens it on the CPU.
func open(t testing.TB, path string, h how) *runtime.Program {
	t.Helper()
	return load(t, compile(t, path, h), h)
}

func load(t testing.TB, p *program.Program, h how) *runtime.Program {
	t.Helper()
	ctx := context.Background()
	c := runtime.NewConfig().WithThreads(max(1, h.threads))
	if h.chunk > 0 {
		c = c.WithChunk(h.chunk)
	}
	rt, err := runtime.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	prog, err := rt.LoadProgram(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	return prog
}

func session(t testing.TB, p *runtime.Program) *runtime.Session {
	t.Helper()
	s, err := p.NewSession(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// cached returns a file of the cache folder, or skips (fails, where data is required).
func cached(t testing.TB, elem ...string) string {
	t.Helper()
	dir := os.Getenv("QUIRE_CACHE_DIR")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(home, ".cache", "quire")
	}
	path := filepath.Join(append([]string{dir}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("QUIRE_REQUIRE_DATA") == "1" {
			t.Fatalf("%v: run tests/fetch/smollm2.sh", err)
		}
		t.Skipf("%v: run tests/fetch/smollm2.sh", err)
	}
	return path
}

func smollm2(t testing.TB) string {
	return cached(t, "models", "smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
}
