package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"quire/ir/work"
)

// The caps. A file that outgrows its cap wants a second concept's file; a package
// that does wants a second package.
const (
	maxFile     = 600  // lines of a Go file
	maxPackage  = 5000 // lines of a package, tests apart
	maxTestFile = 900
)

var (
	topLevel     = []string{"codegen", "frontends", "ir", "passes", "runtime", "tests", "tools"}
	bannedNames  = []string{"util", "utils", "common", "core", "helper", "helpers", "misc", "base", "shared"}
	unfinished   = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	workplace    = regexp.MustCompile(`/wor` + `k/|\.\./sha` + `red|\bsha` + `red/(data|facts|style|design|peers)`)
	textSuffixes = []string{".go", ".md", ".sh", ".py", ".mod", ".yaml", ".yml", ".txt", ".cpp", ".css", ".js", "Makefile", "run"}
)

// root is the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// lines counts a file.
func lines(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "\n")
}

func TestTopLevelFolders(t *testing.T) {
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "bin" && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("top-level folder %s, expected %v", e.Name(), topLevel)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, p := range list(t) {
		sum := 0
		for _, f := range p.GoFiles {
			n := lines(t, filepath.Join(p.Dir, f))
			if sum += n; n > maxFile {
				t.Errorf("%s/%s has %d lines, expected at most %d", p.ImportPath, f, n, maxFile)
			}
		}
		for _, f := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
			if n := lines(t, filepath.Join(p.Dir, f)); n > maxTestFile {
				t.Errorf("%s/%s has %d lines, expected at most %d", p.ImportPath, f, n, maxTestFile)
			}
		}
		most := maxPackage
		if p.ImportPath == "quire/codegen/kernels" {
			most = most * 12 / 5 // a family has a body for a CPU and one for a GPU, products one more for warpgroups
		}
		if sum > most {
			t.Errorf("%s has %d lines, expected at most %d", p.ImportPath, sum, most)
		}
		if len(p.CgoFiles) > 0 {
			t.Errorf("%s uses cgo: %v", p.ImportPath, p.CgoFiles)
		}
	}
}

// A package is named for what it holds, and says so: its role and its border.
func TestPackagesSayWhatTheyAre(t *testing.T) {
	for _, p := range list(t) {
		for _, part := range strings.Split(p.ImportPath, "/") {
			if slices.Contains(bannedNames, part) {
				t.Errorf("%s: %q says nothing of what is in it", p.ImportPath, part)
			}
		}
		doc := packageDoc(t, p)
		opening := "Package " + p.Name + " "
		if p.Name == "main" {
			opening = "Command "
			if strings.HasPrefix(doc, "Package main") {
				opening = "Package main"
			}
		}
		if !strings.HasPrefix(doc, opening) {
			t.Errorf("%s: the package comment is %.60q, expected it to begin with %q", p.ImportPath, doc, opening)
		}
		if p.Name != "main" && !strings.HasPrefix(p.ImportPath, "quire/tests/") && !strings.Contains(doc, "Border") {
			t.Errorf("%s: the package comment states no border law (\"Border law: ...\")", p.ImportPath)
		}
	}
}

func packageDoc(t *testing.T, p *pkg) string {
	t.Helper()
	doc := ""
	for _, f := range p.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if file.Doc != nil {
			if doc != "" {
				t.Errorf("%s has two package comments, the second in %s", p.ImportPath, f)
			}
			doc = file.Doc.Text()
		}
	}
	return doc
}

// Exported names are documented; a run of declarations without a blank line shares
// the first one's comment.
func TestExportedNamesAreDocumented(t *testing.T) {
	for _, p := range list(t) {
		if p.Name == "main" {
			continue
		}
		for _, f := range p.GoFiles {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, f), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			last, covered := -1, false // where the declaration above ends, and whether a comment covers it
			for _, d := range file.Decls {
				names := undocumented(d)
				covered = len(names) == 0 || covered && fset.Position(d.Pos()).Line == last+1
				last = fset.Position(d.End()).Line
				for _, name := range names {
					if !covered {
						t.Errorf("%s/%s: %s has no comment", p.ImportPath, f, name)
					}
				}
			}
		}
	}
}

// undocumented lists the exported functions, types, constants and variables of a
// declaration that no comment covers; one comment in a group covers the group.
// Methods are not asked: runs of them (a.Add, a.Sub) share one.
func undocumented(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Recv == nil && d.Name.IsExported() {
			return []string{d.Name.Name}
		}
	case *ast.GenDecl:
		var out []string
		covered := d.Doc != nil
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					out = append(out, s.Name.Name)
				}
			case *ast.ValueSpec:
				covered = covered || s.Doc != nil || s.Comment != nil
				for _, n := range s.Names {
					if n.IsExported() && !covered {
						out = append(out, n.Name)
					}
				}
			}
		}
		return out
	}
	return nil
}

// Nothing is left unfinished, and nothing names the place where it was written.
func TestText(t *testing.T) {
	dir := root(t)
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := e.Name()
		if e.IsDir() {
			if name == "bin" || name == "testdata" || name == ".git" || name == "__pycache__" {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.ContainsFunc(textSuffixes, func(s string) bool { return strings.HasSuffix(name, s) }) {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		for i, line := range strings.Split(string(b), "\n") {
			if unfinished.MatchString(line) {
				t.Errorf("%s:%d: %s", rel, i+1, strings.TrimSpace(line))
			}
			if workplace.MatchString(line) {
				t.Errorf("%s:%d names a place outside the repository: %s", rel, i+1, strings.TrimSpace(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Every kernel family that ir/work describes has a body in codegen/kernels: some
// file there mentions its parameter struct.
func TestEveryFamilyHasABody(t *testing.T) {
	var text strings.Builder
	files, err := filepath.Glob(filepath.Join(root(t), "codegen/kernels/*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	for _, f := range work.Families() {
		name := strings.TrimPrefix(strings.TrimPrefix(typeName(f), "*"), "work.")
		if !regexp.MustCompile(`\bwork\.` + name + `\b`).MatchString(text.String()) {
			t.Errorf("kernel family %s: no file of codegen/kernels mentions work.%s", f.Family(), name)
		}
	}
}

func typeName(v any) string { return fmt.Sprintf("%T", v) }
