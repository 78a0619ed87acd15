package kernel

import (
	"slices"
	"testing"

	"quire/ir/target"
)

// Every row that a GPU can meet says what it does, but for LLVM's own operations (fma,
// sqrt), which quire/codegen/simt knows as it knows add.
func TestEveryGPURowHasAMeaning(t *testing.T) {
	generic := []string{"fma", "sqrt", "fabs", "nearbyint", "masked.load", "masked.store"}
	for name, row := range rows {
		if row.arch != target.X86 && row.means == nil && !slices.Contains(generic, name) {
			t.Errorf("intrinsic %s: no meaning", name)
		}
		if row.doc == "" {
			t.Errorf("intrinsic %s: no doc", name)
		}
	}
}
