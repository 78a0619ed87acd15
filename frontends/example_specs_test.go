package frontends

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"quire/frontends/spec"
	"quire/ir"
)

// Parameters of the example specs as their makers count them, in millions, tied tables once.
var exampleParameters = map[string]float64{
	"smollm2-135m.yaml": 134.5, "llama-3-8b.yaml": 8030.3, "llama-3-8b-bf16.yaml": 8030.3, "llama-3.1-8b.yaml": 8030.3, "llama-3-8b-1048k.yaml": 8030.3, "llama-2-7b.yaml": 6738.4, "mistral-7b.yaml": 7241.7,
	"qwen2.5-0.5b.yaml": 494.0, "qwen3-0.6b.yaml": 596.0, "gemma-2-2b.yaml": 2614.3, "gemma-3-1b.yaml": 999.9, "phi-3-mini.yaml": 3821.1,
}

func TestExampleSpecs(t *testing.T) {
	files, err := fs.Glob(spec.Examples(), "*.yaml")
	if err != nil || len(files) != len(exampleParameters) {
		t.Fatalf("%d examples (%v), expected %d", len(files), err, len(exampleParameters))
	}
	for _, f := range files {
		start := time.Now()
		m, err := Load(filepath.Join("spec/examples", f), Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		took := time.Since(start)
		if took > 300*time.Millisecond {
			t.Errorf("%s: module made in %v, expected less than 0.3 s", f, took)
		}
		var n int64
		for _, b := range m.Bindings {
			n += b.Rows * b.Cols
		}
		if got := fmt.Sprintf("%.1f", float64(n)/1e6); got != fmt.Sprintf("%.1f", exampleParameters[f]) {
			t.Errorf("%s: %s million parameters, expected %.1f", f, got, exampleParameters[f])
		}
		text := ir.Print(m.Module)
		back, err := ir.Parse(f, text)
		if err != nil || ir.Print(back) != text {
			t.Errorf("%s: printed module does not parse back: %v", f, err)
		}
		t.Logf("%s: %v, %d bytes of IR", f, took, len(text))
	}
}
