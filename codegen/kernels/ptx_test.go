package kernels

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"quire/ir/target"
)

var notLocal = regexp.MustCompile(`\.local|__local_depot|st\.local|ld\.local`)

// Kernels become the instructions meant, without memory of their own. TestPtxas says what
// the assembler makes of them.
func TestKernelsOnGPUs(t *testing.T) {
	parallel(t)
	tools, err := findTools()
	if err != nil {
		t.Skip(err)
	}
	for _, name := range []string{"sm_80", "sm_90a"} {
		tgt, err := target.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range kernelsOf(name) {
			text, err := Text(tgt, c.name, c.p)
			if err != nil {
				t.Fatal(err)
			}
			ptx, err := tools.PTX(context.Background(), tgt, c.name, text)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range append(c.want, ".visible .entry "+c.name+"(", ".target "+name) {
				if !strings.Contains(ptx, w) {
					t.Errorf("%s %s: PTX lacks %q", name, c.name, w)
				}
			}
			if m := notLocal.FindString(ptx); m != "" {
				t.Errorf("%s %s: PTX has %q", name, c.name, m)
			}
		}
	}
}
