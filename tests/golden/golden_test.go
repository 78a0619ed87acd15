package golden

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"quire/ir"
	"quire/ir/interp"
)

// commands is every directive, by name.
var commands = map[string]func(*testing.T, *datadriven.TestData) string{
	"cat":    cat,
	"verify": verify,
	"run":    run,
	"eval":   eval,
}

func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			f, ok := commands[d.Cmd]
			if !ok {
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			return f(t, d)
		})
	})
}

const unchanged = "(unchanged)\n"

// syntax renders a parse error with its caret line.
func syntax(err error) string {
	var e *ir.SyntaxError
	if errors.As(err, &e) {
		return e.Error() + "\n" + e.Caret() + "\n"
	}
	return err.Error() + "\n"
}

// cat prints the canonical text. The text must be a fixed point and verify.
func cat(t *testing.T, d *datadriven.TestData) string {
	m, err := ir.Parse("input", d.Input)
	if err != nil {
		return syntax(err)
	}
	if err := ir.Verify(m); err != nil {
		t.Errorf("%s: %v", d.Pos, err)
	}
	text := ir.Print(m)
	again, err := ir.Parse("printed", text)
	if err != nil {
		t.Fatalf("%s: the printed text does not parse: %v\n%s", d.Pos, err, text)
	}
	if twice := ir.Print(again); twice != text {
		t.Errorf("%s: printed again:\n%s\nfirst:\n%s", d.Pos, twice, text)
	}
	if strings.TrimSpace(text) == d.Input {
		return unchanged
	}
	return text
}

// verify prints the lines of the input that break an invariant.
func verify(t *testing.T, d *datadriven.TestData) string {
	m, err := ir.Parse("input", d.Input)
	if err != nil {
		return syntax(err)
	}
	var errs ir.VerifyErrors
	if err := ir.Verify(m); err == nil {
		return "ok\n"
	} else if !errors.As(err, &errs) {
		t.Fatalf("%s: Verify returned %T", d.Pos, err)
	}
	lines := strings.Split(d.Input, "\n")
	byLine := map[int][]string{}
	for _, e := range errs {
		if e.Pos.Line < 1 || e.Pos.Line > len(lines) {
			t.Fatalf("%s: error without a line: %v", d.Pos, e)
		}
		byLine[e.Pos.Line] = append(byLine[e.Pos.Line], e.Msg)
	}
	var b strings.Builder
	for i, l := range lines {
		for _, msg := range byLine[i+1] {
			fmt.Fprintf(&b, "%s // error: %s\n", strings.TrimSpace(l), msg)
		}
	}
	return b.String()
}

// eval prints the results of the first steps of a seeded case, a row a line.
func eval(t *testing.T, d *datadriven.TestData) string {
	m := valid(t, d)
	seed, name, steps := uint64(1), "step", 1
	d.MaybeScanArgs(t, "seed", &seed)
	d.MaybeScanArgs(t, "func", &name)
	d.MaybeScanArgs(t, "steps", &steps)
	f := m.Func(name)
	if f == nil {
		d.Fatalf(t, "no function @%s", name)
	}
	c, err := interp.RandomCase(m, f, seed)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	mach, state := interp.New(m, c.Weights, interp.Options{}), interp.NewState()
	var b strings.Builder
	for i, s := range c.Steps[:min(steps, len(c.Steps))] {
		out, err := mach.Run(f, s.Bind, s.Inputs, state)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		fmt.Fprintf(&b, "step %d: %s\n", i+1, s.Bind.Key())
		for r, x := range out {
			for row := 0; x != nil && row < x.Rows(); row++ {
				fmt.Fprintf(&b, "  %d[%d]: %.4g\n", r+1, row, x.Row(row))
			}
		}
	}
	return b.String()
}

// valid parses and verifies the input.
func valid(t *testing.T, d *datadriven.TestData) *ir.Module {
	t.Helper()
	m, err := ir.Parse("input", d.Input)
	if err != nil {
		d.Fatalf(t, "%s", syntax(err))
	}
	if err := ir.Verify(m); err != nil {
		d.Fatalf(t, "%v", err)
	}
	return m
}

// maxLines keeps a golden file to one concept.
const maxLines = 120

func TestFilesAreShort(t *testing.T) {
	files(t, func(path, text string) {
		if n := strings.Count(text, "\n"); n > maxLines {
			t.Errorf("%s has %d lines, expected at most %d: give the second concept a file", path, n, maxLines)
		}
		if !strings.HasPrefix(text, "# ") {
			t.Errorf("%s: the first line is no comment that states the claim", path)
		}
	})
}

// Every op that can stand in a graph occurs in some golden.
func TestEveryOpIsMentioned(t *testing.T) {
	seen := map[string]bool{}
	files(t, func(_, text string) {
		for _, w := range strings.Fields(text) {
			seen[w] = true
		}
	})
	for _, op := range ir.Ops() {
		if op.Info().Effect != ir.Opaque && !seen[op.String()] {
			t.Errorf("no golden mentions %s", op)
		}
	}
}

func files(t *testing.T, fn func(path, text string)) {
	t.Helper()
	paths, err := filepath.Glob("testdata/*/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		fn(p, string(b))
	}
}
