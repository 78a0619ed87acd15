package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// law is one sentence about imports. A pattern is a path, or a path and "/..." for
// all below it too; std is the standard library.
type law struct {
	says string
	of   []string // the packages that it binds
	not  []string // except these

	may   []string // all that they may import directly, or
	never []string // what they may not import, however indirectly
}

var laws = []law{
	{says: "ir/types and what lies below it are leaves",
		of: []string{"quire/ir/types/..."}, may: []string{"std", "quire/ir/types/..."}},
	{says: "ir/work describes kernels as data: it imports ir/types only",
		of: []string{"quire/ir/work"}, may: []string{"std", "quire/ir/types/..."}},
	{says: "ir/target is facts about machines",
		of: []string{"quire/ir/target"}, may: []string{"std", "golang.org/x/sys/..."}},
	{says: "ir imports ir/types, ir/work and the standard library",
		of: []string{"quire/ir"}, may: []string{"std", "quire/ir/types", "quire/ir/work"}},
	{says: "ir/graph is ir seen through gonum",
		of: []string{"quire/ir/graph"}, may: []string{"std", "quire/ir", "quire/ir/types", "gonum.org/v1/gonum/graph/..."}},
	{says: "ir/dot is ir drawn with emicklei/dot",
		of: []string{"quire/ir/dot"}, may: []string{"std", "quire/ir", "quire/ir/types", "github.com/emicklei/dot"}},
	{says: "ir/interp is ir evaluated in plain Go",
		of: []string{"quire/ir/interp"}, may: []string{"std", "quire/ir", "quire/ir/types/..."}},
	{says: "passes says what a pass is, and knows none",
		of: []string{"quire/passes"}, may: []string{"std", "quire/ir", "quire/ir/types"}},
	{says: "passes import ir, target facts, other passes and nothing else",
		of: []string{"quire/passes/..."}, may: []string{"std", "quire/ir", "quire/ir/types/...", "quire/ir/work", "quire/ir/target", "quire/passes/..."}},
	{says: "passes and codegen never import each other",
		of: []string{"quire/passes/..."}, never: []string{"quire/codegen/..."}},
	{says: "codegen and passes never import each other",
		of: []string{"quire/codegen/..."}, never: []string{"quire/passes/..."}},
	{says: "codegen imports no frontend, and of the runtime the program file only",
		of: []string{"quire/codegen/..."}, never: []string{"quire/frontends/...", "quire/runtime", "quire/runtime/cpu", "quire/runtime/kv", "quire/runtime/token/...", "quire/runtime/sample"}},
	{says: "kernels are written in codegen/kernel, over descriptions and target facts",
		of: []string{"quire/codegen/kernels/..."}, may: []string{"std", "quire/codegen/kernel", "quire/codegen/kernels/...", "quire/ir/target", "quire/ir/types/...", "quire/ir/work"}},
	{says: "the kernel language knows no model op",
		of: []string{"quire/codegen/kernel", "quire/codegen/simt"}, never: []string{"quire/ir", "quire/passes/...", "quire/frontends/..."}},
	{says: "frontends import no pass and no code generator",
		of: []string{"quire/frontends/..."}, never: []string{"quire/passes/...", "quire/codegen/..."}},
	{says: "the runtime links no compiler: ir/types and ir/work are all it shares",
		of: []string{"quire/runtime/..."}, never: []string{"quire/ir", "quire/ir/graph", "quire/ir/dot", "quire/ir/interp", "quire/ir/target", "quire/passes/...", "quire/codegen/...", "quire/frontends/..."}},
	{says: "the program file is a leaf of the runtime",
		of: []string{"quire/runtime/program"}, never: []string{"quire/runtime", "quire/runtime/cpu", "quire/runtime/kv", "quire/runtime/token/...", "quire/runtime/sample"}},
	{says: "nothing imports tests or tools",
		of: []string{"quire/..."}, not: []string{"quire/tools/...", "quire/tests/..."}, never: []string{"quire/tests/...", "quire/tools/..."}},
	{says: "the oracle and the drawings serve tools and tests only",
		of: []string{"quire/..."}, not: []string{"quire/tools/...", "quire/tests/...", "quire/ir/interp", "quire/ir/dot", "quire/ir/graph"}, never: []string{"quire/ir/interp", "quire/ir/dot", "quire/ir/graph"}},
	{says: "no cgo",
		of: []string{"quire/..."}, never: []string{"C"}},
	{says: "llir enters at codegen/kernel",
		of: []string{"quire/..."}, not: []string{"quire/codegen/...", "quire/tools/...", "quire/tests/..."}, never: []string{"github.com/llir/..."}},
	{says: "command lines and progress bars are for tools",
		of: []string{"quire/..."}, not: []string{"quire/tools/..."}, never: []string{"github.com/alecthomas/kong", "github.com/vbauerster/..."}},
	{says: "test libraries are for tests",
		of: []string{"quire/..."}, never: []string{"github.com/cockroachdb/datadriven", "pgregory.net/rapid", "go.uber.org/goleak", "github.com/rogpeppe/...", "github.com/google/go-cmp/...", "testing"}},
}

// sole says who alone may import a library directly.
var sole = map[string][]string{
	"github.com/llir/...":          {"quire/codegen/kernel", "quire/codegen/simt"},
	"gonum.org/...":                {"quire/ir/graph"},
	"github.com/emicklei/dot":      {"quire/ir/dot"},
	"github.com/goccy/go-yaml/...": {"quire/frontends/spec"},
	"github.com/ardanlabs/jinja":   {"quire/runtime/token/chat"},
	"github.com/ebitengine/...":    {"quire/runtime/..."},
}

// pkg is what go list says.
type pkg struct {
	ImportPath string
	Dir        string
	Name       string
	GoFiles    []string
	TestGoFiles,
	XTestGoFiles []string
	CgoFiles []string
	Imports  []string
	Deps     []string
}

// packages lists the module once.
var packages = sync.OnceValues(func() ([]*pkg, error) {
	cmd := exec.Command("go", "list", "-e", "-json", "quire/...")
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var list []*pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		p := &pkg{}
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
})

func list(t *testing.T) []*pkg {
	t.Helper()
	ps, err := packages()
	if err != nil || len(ps) == 0 {
		t.Fatalf("go list: %d packages, %v", len(ps), err)
	}
	return ps
}

// matches reports whether a path is one of the patterns.
func matches(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		base, all := strings.CutSuffix(p, "/...")
		switch {
		case p == "std":
			first, _, _ := strings.Cut(path, "/")
			return !strings.Contains(first, ".") && first != "quire" && first != "C"
		case all:
			return path == base || strings.HasPrefix(path, base+"/")
		}
		return path == p
	})
}

func TestImportLaws(t *testing.T) {
	for _, l := range laws {
		bound := 0
		for _, p := range list(t) {
			if !matches(l.of, p.ImportPath) || matches(l.not, p.ImportPath) {
				continue
			}
			bound++
			for _, i := range p.Imports {
				if l.may != nil && !matches(l.may, i) {
					t.Errorf("%s: %s imports %s", l.says, p.ImportPath, i)
				}
			}
			for _, i := range p.Deps {
				if matches(l.never, i) && i != p.ImportPath {
					t.Errorf("%s: %s depends on %s", l.says, p.ImportPath, i)
				}
			}
		}
		if bound == 0 {
			t.Errorf("%s: the law binds no package", l.says)
		}
	}
}

func TestLibrariesHaveOneDoor(t *testing.T) {
	for library, doors := range sole {
		used := false
		for _, p := range list(t) {
			for _, i := range p.Imports {
				if !matches([]string{library}, i) {
					continue
				}
				if used = true; !matches(doors, p.ImportPath) {
					t.Errorf("%s is imported by %s, only %v may", library, p.ImportPath, doors)
				}
			}
		}
		if !used {
			t.Errorf("%s is imported by nobody", library)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"quire/ir", "quire/ir/types", false}, {"quire/ir/...", "quire/ir/types", true}, {"quire/ir/...", "quire/ir", true},
		{"quire/ir/...", "quire/irx", false}, {"std", "go/ast", true}, {"std", "fmt", true}, {"std", "quire/ir", false},
		{"std", "golang.org/x/sys", false}, {"std", "C", false},
	} {
		if matches([]string{c.pattern}, c.path) != c.want {
			t.Errorf("%s matches %s: expected %v", c.pattern, c.path, c.want)
		}
	}
}
