package golden

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"quire/ir"
	"quire/ir/interp"
	"quire/passes"
	"quire/passes/pipeline"
)

// runCase is one run directive.
type runCase struct {
	t        *testing.T
	d        *datadriven.TestData
	pipeline passes.Pipeline
	numerics passes.Numerics
}

// outcome is what one run of the pipeline gave.
type outcome struct {
	m      *ir.Module
	counts map[string]int
	misses []passes.Miss
	steps  string
	err    error
}

// run prints the module after the passes, and proves what the package doc says.
func run(t *testing.T, d *datadriven.TestData) string {
	r := &runCase{t: t, d: d}
	for _, name := range r.list("pass") {
		r.pipeline = append(r.pipeline, r.named(name)...)
	}
	for _, p := range r.pipeline {
		r.numerics = max(r.numerics, p.Numerics)
	}
	before := valid(t, d)
	out := r.once(0)
	if out.err != nil {
		return "error: " + out.err.Error() + "\n"
	}
	r.rules(out)
	r.repeatable(out)
	r.idempotent(out)
	r.eitherOrder(out)
	r.shuffled(before, out)
	r.meaning(before, out.m)
	return r.misses(out) + r.shown(before, out)
}

// list returns the values of an argument: a,b or (a, b).
func (r *runCase) list(key string) []string {
	var out []string
	arg, ok := r.d.Arg(key)
	if !ok {
		return nil
	}
	for _, v := range arg.Vals {
		out = append(out, strings.Split(v, ",")...)
	}
	return out
}

// once runs the pipeline on a fresh copy of the input, shuffled if seed > 0.
func (r *runCase) once(seed uint64) outcome {
	m := valid(r.t, r.d)
	var steps strings.Builder
	obs := []passes.Observer{passes.Verify(), passes.Steps(&steps)}
	if seed > 0 {
		obs = []passes.Observer{passes.Shuffle(seed), passes.Verify()}
	}
	history, err := r.pipeline.Run(m, obs...)
	o := outcome{m: m, counts: map[string]int{}, steps: steps.String(), err: err}
	for _, h := range history {
		for rule, n := range h.Counts {
			o.counts[rule] += n
		}
		o.misses = append(o.misses, h.Misses...)
	}
	return o
}

func (r *runCase) rules(o outcome) {
	fired := slices.Sorted(maps.Keys(o.counts))
	for _, rule := range r.list("expect") {
		if o.counts[rule] == 0 {
			r.t.Errorf("%s: rule %s did not fire; fired: %v; missed: %v", r.d.Pos, rule, fired, o.misses)
		}
	}
	for _, rule := range r.list("expect-not") {
		if o.counts[rule] != 0 {
			r.t.Errorf("%s: rule %s fired %d times", r.d.Pos, rule, o.counts[rule])
		}
	}
}

func (r *runCase) repeatable(o outcome) {
	if again := r.once(0); again.err != nil || ir.Print(again.m) != ir.Print(o.m) {
		r.t.Errorf("%s: a second run from the same text gives other bytes (error %v):\n%s", r.d.Pos, again.err, ir.Print(again.m))
	}
}

// eitherOrder holds the passes in reverse against the first run.
func (r *runCase) eitherOrder(o outcome) {
	if !r.d.HasArg("either-order") {
		return
	}
	first := slices.Clone(r.pipeline)
	slices.Reverse(r.pipeline)
	if s := r.once(0); s.err != nil || ir.Print(s.m) != ir.Print(o.m) {
		r.t.Errorf("%s: the passes in reverse give another module (error %v):\n%s", r.d.Pos, s.err, ir.Print(s.m))
	}
	r.pipeline = first
}

// idempotent runs the last pass on its own result.
func (r *runCase) idempotent(o outcome) {
	if r.d.HasArg("not-idempotent") {
		return
	}
	last := r.pipeline[len(r.pipeline)-1]
	for _, p := range last.Requires {
		if !o.m.Has(p) {
			return // it cleared what it needs itself
		}
	}
	m, text := o.m.Clone(), ir.Print(o.m)
	ctx := passes.NewContext(m)
	if err := last.Run(ctx, m); err != nil {
		r.t.Errorf("%s: %s on its own result: %v", r.d.Pos, last.Name, err)
	} else if got := ir.Print(m); got != text {
		r.t.Errorf("%s: %s on its own result changes it again (%s):\n%s", r.d.Pos, last.Name, passes.FormatCounts(ctx.Counts()), got)
	}
}

// shuffled holds runs from other orders of the same values against the first.
func (r *runCase) shuffled(before *ir.Module, o outcome) {
	for seed := uint64(1); seed <= 3; seed++ {
		s := r.once(seed)
		if s.err != nil {
			r.t.Errorf("%s: shuffled (seed %d): %v", r.d.Pos, seed, s.err)
			continue
		}
		if !maps.Equal(s.counts, o.counts) || passes.CountOps(s.m) != passes.CountOps(o.m) {
			r.t.Errorf("%s: shuffled (seed %d): %s and %d ops, in order %s and %d", r.d.Pos, seed,
				passes.FormatCounts(s.counts), passes.CountOps(s.m), passes.FormatCounts(o.counts), passes.CountOps(o.m))
		}
		r.meaning(before, s.m)
	}
}

// meaning evaluates every function of after beside what it stands for in before.
func (r *runCase) meaning(before, after *ir.Module) {
	o := interp.CompareOptions{}
	switch r.numerics {
	case passes.Reassociates:
		o.Wide, o.Tolerance = true, 1e-9
	case passes.Approximates:
		if !r.d.HasArg("exact") && !r.d.HasArg("bound") {
			r.t.Errorf("%s: an approximating pass needs exact or bound=", r.d.Pos)
		}
		o.Tolerance, o.Caches = 1e-5, true
		if arg, ok := r.d.Arg("bound"); ok {
			bound, err := strconv.ParseFloat(arg.SingleVal(r.t), 64)
			if err != nil {
				r.d.Fatalf(r.t, "bound: %v", err)
			}
			o.Tolerance = bound
		}
	}
	o.Results = r.d.HasArg("caches")
	for _, f := range before.Funcs {
		if after.Func(f.Name) == nil {
			r.t.Errorf("%s: @%s is gone", r.d.Pos, f.Name)
		}
	}
	for _, g := range after.Funcs {
		f := before.Func(g.Name)
		if g.Level == ir.Kernel {
			f = before.Func(g.Of)
		}
		if f == nil {
			r.t.Errorf("%s: @%s stands for nothing that was there before", r.d.Pos, g.Name)
			continue
		}
		if r.d.HasArg("more-results") && len(g.Results) > len(f.Results) {
			after = after.Clone()
			g = after.Func(g.Name)
			g.Results = g.Results[:len(f.Results)]
		}
		for o.Seed = 1; o.Seed <= 3; o.Seed++ {
			if err := interp.Compare(before, f, after, g, o); err != nil {
				r.t.Errorf("%s: the oracle sees @%s and @%s differ (seed %d): %v", r.d.Pos, f.Name, g.Name, o.Seed, err)
				break
			}
		}
	}
}

func (r *runCase) misses(o outcome) string {
	not := r.list("expect-not")
	var b strings.Builder
	for _, m := range o.misses {
		if slices.Contains(not, m.Rule) {
			fmt.Fprintf(&b, "missed %s\n", m)
		}
	}
	return b.String()
}

// shown is the part of the result that the directive asks for.
func (r *runCase) shown(before *ir.Module, o outcome) string {
	a, b := ir.Print(before), ir.Print(o.m)
	show := r.list("show")
	switch {
	case len(show) == 1 && show[0] == "none":
		return ""
	case len(show) == 1 && show[0] == "steps":
		return o.steps
	case a == b:
		return unchanged
	case len(show) == 1 && show[0] == "diff":
		return diff(a, b)
	case len(show) > 0:
		var out strings.Builder
		for _, name := range show {
			f := o.m.Func(strings.TrimPrefix(name, "@"))
			if f == nil {
				r.d.Fatalf(r.t, "show: no function %s", name)
			}
			out.WriteString(ir.PrintFunc(f))
		}
		return out.String()
	}
	return b
}

// diff lists the lines that went and came, in the order of a longest common
// subsequence.
func diff(a, b string) string {
	x, y := strings.Split(strings.TrimSpace(a), "\n"), strings.Split(strings.TrimSpace(b), "\n")
	common := make([][]int, len(x)+1)
	for i := range common {
		common[i] = make([]int, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out strings.Builder
	i, j := 0, 0
	for i < len(x) || j < len(y) {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			i, j = i+1, j+1
		case j == len(y) || i < len(x) && common[i+1][j] >= common[i][j+1]:
			out.WriteString("- " + strings.TrimSpace(x[i]) + "\n")
			i++
		default:
			out.WriteString("+ " + strings.TrimSpace(y[j]) + "\n")
			j++
		}
	}
	return out.String()
}

// Every pass has a golden that says what it does, and one whose name begins with
// not- that says what it leaves alone or refuses.
func TestEveryPassIsClaimed(t *testing.T) {
	does, spares := map[string]bool{}, map[string]bool{}
	files(t, func(path, text string) {
		into := does
		if strings.HasPrefix(filepath.Base(path), "not-") {
			into = spares
		}
		for _, line := range strings.Split(text, "\n") {
			cmd, args, err := datadriven.ParseLine(line)
			if err != nil || cmd != "run" {
				continue
			}
			r := &runCase{t: t, d: &datadriven.TestData{Cmd: cmd, CmdArgs: args}}
			for _, name := range r.list("pass") {
				into[name] = true
			}
		}
	})
	for _, p := range pipeline.All() {
		if !does[p.Name] || !spares[p.Name] {
			t.Errorf("%s: a golden says what it does: %v; a not- golden what it does not: %v", p.Name, does[p.Name], spares[p.Name])
		}
	}
}
