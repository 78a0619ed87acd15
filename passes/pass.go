package passes

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"quire/ir"
)

// Prop is a fact that holds of a Module. Passes require, set and clear props;
// the Module's text shows those that hold.
type Prop = string

// The properties, in the order in which the pipeline establishes them.
const (
	Canonical       Prop = "canonical"        // one spelling, nothing dead
	DequantFused    Prop = "dequant-fused"    // no matmul of a dequant
	SiblingsMerged  Prop = "siblings-merged"  // one matmul for linears of one input
	HeadsSplit      Prop = "heads-split"      // retrieval and streaming heads have caches of their own
	PagesSelected   Prop = "pages-selected"   // attention reads the pages that were picked
	CachesQuantised Prop = "caches-quantised" // keys and values are kept as codes
	Specialised     Prop = "specialised"      // @step has Kernel-level versions; nothing approximates from here on
	Fused           Prop = "fused"            // launches are clustered
	Selected        Prop = "selected"         // every part has a kernel
	Planned         Prop = "planned"          // every buffer has a slot
)

// Numerics says how a pass changes results.
type Numerics uint8

// Exact: the same bits. Reassociates: equal up to the order of sums.
// Approximates: different numbers, and the Doc says when it is exact.
const (
	Exact Numerics = iota
	Reassociates
	Approximates
)

// String returns the class in words.
func (n Numerics) String() string {
	return [...]string{"exact", "reassociates", "approximates"}[n]
}

// Pass is a rewrite as data.
type Pass struct {
	Name     string // "package.verb-noun"
	Doc      string // a title line; then invariants, an IR before and after, the citation
	Requires []Prop
	Sets     []Prop
	Clears   []Prop
	Numerics Numerics
	Run      func(*Context, *ir.Module) error
}

// Context is what a running pass may talk to.
type Context struct {
	counts map[string]int
	missed []Miss
	step   func(rule string, m *ir.Module)
	m      *ir.Module
}

// Miss says why a rule did not fire on a value.
type Miss struct {
	Rule  string
	Func  string
	Value string // the value's line
	Why   string
}

// String returns "rule @func: line: why".
func (m Miss) String() string { return fmt.Sprintf("%s @%s: %s: %s", m.Rule, m.Func, m.Value, m.Why) }

// NewContext returns a context for running one pass by hand.
func NewContext(m *ir.Module) *Context { return &Context{counts: map[string]int{}, m: m} }

// Count records that a rule fired.
func (c *Context) Count(rule string) {
	c.counts[rule]++
	if c.step != nil {
		c.step(rule, c.m)
	}
}

// Counts returns how often each rule fired.
func (c *Context) Counts() map[string]int { return maps.Clone(c.counts) }

// Missed records why a rule did not fire on v.
func (c *Context) Missed(rule string, f *ir.Func, v *ir.Value, format string, a ...any) {
	names := ir.Names(f)
	line := names[v]
	if v.Op != ir.OpLaunch {
		line = ir.PrintValue(v, names)
	}
	c.missed = append(c.missed, Miss{rule, f.Name, line, fmt.Sprintf(format, a...)})
}

// Misses returns the recorded misses in order.
func (c *Context) Misses() []Miss { return slices.Clone(c.missed) }

// OnFuncs lifts a rewrite of one Func to the Funcs of one level.
func OnFuncs(level ir.Level, run func(*Context, *ir.Module, *ir.Func) error) func(*Context, *ir.Module) error {
	return func(c *Context, m *ir.Module) error {
		for _, f := range m.Funcs {
			if f.Level != level {
				continue
			}
			if err := run(c, m, f); err != nil {
				return fmt.Errorf("@%s: %w", f.Name, err)
			}
		}
		return nil
	}
}

var passName = regexp.MustCompile(`^[a-z0-9]+\.[a-z0-9]+(-[a-z0-9]+)*$`)

// Pipeline is an ordered list of passes.
type Pipeline []Pass

// Validate proves that names are well formed, that every pass is documented, and
// that what each requires has been set by an earlier pass (or holds at the
// start) and not been cleared since.
func (p Pipeline) Validate(holds ...Prop) error {
	have := map[Prop]bool{}
	for _, h := range holds {
		have[h] = true
	}
	for _, pass := range p {
		if !passName.MatchString(pass.Name) {
			return fmt.Errorf("pass %q: the name is not package.verb-noun", pass.Name)
		}
		if strings.TrimSpace(pass.Doc) == "" || pass.Run == nil {
			return fmt.Errorf("pass %s: undocumented, or nothing to run", pass.Name)
		}
		for _, r := range pass.Requires {
			if !have[r] {
				return fmt.Errorf("pass %s: requires %s, which no earlier pass has set", pass.Name, r)
			}
		}
		for _, c := range pass.Clears {
			delete(have, c)
		}
		for _, s := range pass.Sets {
			have[s] = true
		}
	}
	return nil
}
