package pipeline_test

import (
	"strings"
	"testing"

	"quire/ir"
	"quire/ir/target"
	"quire/passes/duo"
	"quire/passes/pipeline"
	"quire/passes/quest"
)

// Every pipeline that Standard can give is in a valid order.
func TestOrder(t *testing.T) {
	for _, d := range []ir.Dot{ir.DotF32, ir.DotBF16, ir.DotI8} {
		for _, o := range []pipeline.Options{{}, {Target: target.Target{Arch: target.PTX}}, {Duo: &duo.Defaults}, {Quest: &quest.Defaults}, {Duo: &duo.Defaults, Quest: &quest.Defaults}} {
			o.Dot = d
			if err := pipeline.Standard(o).Validate(); err != nil {
				t.Errorf("%+v: %v", o, err)
			}
		}
	}
}

// Docs open with a title line and show an IR picture; names are found.
func TestDocs(t *testing.T) {
	for _, p := range pipeline.All() {
		title, rest, _ := strings.Cut(p.Doc, "\n")
		if !strings.HasSuffix(title, ".") && !strings.HasSuffix(rest, ".") || !strings.Contains(rest, "=>") {
			t.Errorf("%s: doc without a title line or a picture:\n%s", p.Name, p.Doc)
		}
		if q, ok := pipeline.ByName(p.Name, target.Target{}); !ok || q.Name != p.Name {
			t.Errorf("%s is not found by name", p.Name)
		}
	}
	if _, ok := pipeline.ByName("no.such-pass", target.Target{}); ok {
		t.Error("a pass that does not exist is found")
	}
}
