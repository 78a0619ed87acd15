package ir

import (
	"fmt"
	"strings"

	"quire/ir/types"
	"quire/ir/work"
)

// VerifyError is one broken invariant.
type VerifyError struct {
	Func string // "" for a declaration
	Text string // the line of text that is wrong
	Pos  Pos
	Msg  string
}

// Error returns "@func: text: message".
func (e *VerifyError) Error() string {
	where := e.Text
	if e.Func != "" {
		where = "@" + e.Func + ": " + e.Text
	}
	if e.Pos.Line > 0 {
		where = fmt.Sprintf("%s:%d: %s", e.Pos.File, e.Pos.Line, where)
	}
	return where + ": " + e.Msg
}

// VerifyErrors is every broken invariant that one run found.
type VerifyErrors []*VerifyError

// Error joins the errors, one a line.
func (es VerifyErrors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// maxVerifyErrors bounds a report.
const maxVerifyErrors = 50

// Verify checks every invariant of a module and returns VerifyErrors or nil.
//
// Declarations: names are unique and can be printed; ranges are not empty and not negative; pages
// are positive; caches stand on declared tables; derived weights have earlier,
// fitting sources; every symbol is declared.
//
// Every Func: values are defined once and before use; ops stand at their level;
// attributes have the op's type; the printed type is the inferred one; a cache
// version has at most one consumer and its other readers come before it.
//
// Kernel level, besides: a part yields one value of the right type a
// destination; a buffer is written by exactly one part, before it is read, and
// not by two parts of one launch; parts of one launch do not read what another
// part of it writes; a chosen kernel is valid and its operands are bound; bodies read only their own values and earlier ones of the
// Func.
//
// Not checked here: that a launch's kernel computes its body (conformance does),
// and that buffers sharing a slot are not alive together (passes/plan does).
func Verify(m *Module) error {
	v := &verifier{m: m, weights: map[string]*Weight{}, sources: map[string]int{}}
	v.declarations()
	for _, f := range m.Funcs {
		v.fn(f)
	}
	if len(v.errs) > 0 {
		return v.errs
	}
	return nil
}

type verifier struct {
	m       *Module
	f       *Func
	names   map[*Value]string
	weights map[string]*Weight
	sources map[string]int // weights with data of their own that one stands for
	errs    VerifyErrors
}

// Bounds of a module that is believed.
const (
	maxSources = 1 << 12 // weights that one derived weight stands for
	maxLine    = 400     // bytes of a value's line in a report
)

// clipLine shortens a line of text for a report.
func clipLine(s string) string {
	if len(s) > maxLine {
		return s[:maxLine] + "..."
	}
	return s
}

func (c *verifier) add(e *VerifyError) {
	if len(c.errs) < maxVerifyErrors {
		c.errs = append(c.errs, e)
	}
}

func (c *verifier) declErr(pos Pos, text, format string, a ...any) {
	c.add(&VerifyError{Text: text, Pos: pos, Msg: fmt.Sprintf(format, a...)})
}

func (c *verifier) errorf(v *Value, format string, a ...any) {
	text := "launch"
	if v.Op != OpLaunch && v.Op != OpParam {
		text = clipLine(PrintValue(v, c.names))
	} else if v.Op == OpParam {
		text = c.names[v] + ": " + v.Type.String()
	}
	c.add(&VerifyError{Func: c.f.Name, Text: text, Pos: v.Pos, Msg: fmt.Sprintf(format, a...)})
}

func (c *verifier) declarations() {
	seen := map[string]bool{}
	unique := func(pos Pos, kind, name string) {
		if seen[kind+name] {
			c.declErr(pos, kind+name, "declared twice")
		}
		if !validName(name) || strings.Contains(name, "..") {
			c.declErr(pos, clipLine(kind+name), "the name is not a letter or _ and then letters, digits, _, . and - (no two dots), %d bytes at most", maxWord)
		}
		seen[kind+name] = true
	}
	for _, d := range c.m.Dims {
		unique(d.Pos, "dim ", d.Name)
		if strings.ContainsAny(d.Name, ".-") {
			c.declErr(d.Pos, "dim "+d.Name, "the name of a dim has letters, digits and _ only")
		}
		if d.Range.Min < 0 || d.Range.Max < d.Range.Min {
			c.declErr(d.Pos, "dim "+d.Name, "range %d..%d is empty or negative", d.Range.Min, d.Range.Max)
		}
	}
	for _, t := range c.m.Tables {
		unique(t.Pos, "table @", t.Name)
		if t.Page <= 0 || t.Sink < 0 || t.Summary < 0 || t.Recent != nil && *t.Recent < 0 {
			c.declErr(t.Pos, "table @"+t.Name, "page is %d, sink %d, summary %d; expected page > 0 and no negative", t.Page, t.Sink, t.Summary)
		}
		if t.Summary > 0 && t.Page%t.Summary != 0 {
			c.declErr(t.Pos, "table @"+t.Name, "page %d is no multiple of summary %d", t.Page, t.Summary)
		}
		if t.Chunk < 0 || t.Chunk > 0 && t.Recent == nil {
			c.declErr(t.Pos, "table @"+t.Name, "chunk is %d, expected one only beside recent", t.Chunk)
		}
		if t.Summary > 0 && t.Recent != nil {
			c.declErr(t.Pos, "table @"+t.Name, "summaries of pages that drop tokens, expected no recent")
		}
	}
	for _, k := range c.m.Caches {
		unique(k.Pos, "cache @", k.Name)
		if c.m.Table(k.Table) == nil {
			c.declErr(k.Pos, "cache @"+k.Name, "table @%s is not declared", k.Table)
		}
		if k.Heads <= 0 || k.Dim <= 0 {
			c.declErr(k.Pos, "cache @"+k.Name, "[%d, %d], expected positive extents", k.Heads, k.Dim)
		}
		if !k.Pick && !k.Elem.DType.IsFloat() && !work.Quantises(k.Elem.String()) {
			c.declErr(k.Pos, "cache @"+k.Name, "elements %s, expected floats, q8 or q4", k.Elem)
		}
	}
	for _, w := range c.m.Weights {
		unique(w.Pos, "weight @", w.Name)
		c.weight(w)
		if c.weights[w.Name] == nil {
			c.weights[w.Name] = w
		}
	}
	for _, f := range c.m.Funcs {
		unique(f.Pos, "func @", f.Name)
	}
}

func (c *verifier) weight(w *Weight) {
	text := "weight @" + w.Name
	if w.Type.Kind != types.Tensor {
		c.declErr(w.Pos, text, "has type %s, expected a tensor", w.Type)
	}
	for _, d := range w.Type.Shape {
		if n, ok := d.IsConst(); !ok || n <= 0 {
			c.declErr(w.Pos, text, "extent %s, expected a positive constant", d)
		}
	}
	c.sources[w.Name] = 1
	if w.Scaled != nil {
		c.scaled(w, text)
	}
	if len(w.Concat) == 0 {
		return
	}
	rows, sources := types.Const(0), 0
	for _, n := range w.Concat {
		src := c.weights[n]
		if src == nil {
			c.declErr(w.Pos, text, "source @%s is not declared before it", n)
			return
		}
		s := src.Type
		if s.Elem != w.Type.Elem || len(s.Shape) == 0 || len(s.Shape) != len(w.Type.Shape) || !s.Shape[1:].Equal(w.Type.Shape[1:]) {
			c.declErr(w.Pos, text, "source @%s has type %s, which does not fit %s", n, s, w.Type)
			return
		}
		rows, sources = rows.Add(s.Shape[0]), sources+c.sources[n]
		if sources > maxSources {
			c.declErr(w.Pos, text, "stands for more than %d weights", maxSources)
			return
		}
	}
	c.sources[w.Name] = sources
	if rows != w.Type.Shape[0] {
		c.declErr(w.Pos, text, "sources have %s rows, the type says %s", rows, w.Type.Shape[0])
	}
}

// scaled checks a weight scaled by a vector.
func (c *verifier) scaled(w *Weight, text string) {
	s := w.Scaled
	of, by := c.weights[s.Of], c.weights[s.By]
	if of == nil || by == nil || s.Of == w.Name || s.By == w.Name {
		c.declErr(w.Pos, text, "scales @%s by @%s, expected two weights that are declared before it", s.Of, s.By)
		return
	}
	shape := of.Type.Shape
	if !w.Type.Elem.DType.IsFloat() || !w.Type.Shape.Equal(shape) {
		c.declErr(w.Pos, text, "has type %s, expected floats of the shape of @%s, which has type %s", w.Type, s.Of, of.Type)
		return
	}
	if s.Axis < 0 || s.Axis >= len(shape) || len(by.Type.Shape) != 1 || by.Type.Shape[0] != shape[s.Axis] || !by.Type.Elem.DType.IsFloat() {
		c.declErr(w.Pos, text, "axis %d of %s by @%s of type %s, expected a vector of floats along it", s.Axis, of.Type, s.By, by.Type)
	}
}

func (c *verifier) fn(f *Func) {
	c.f, c.names = f, nameValues(f)
	defined := map[*Value]bool{}
	for _, v := range f.Params {
		c.declared(v, v.Type)
		c.define(v, defined)
	}
	written := map[*Value]bool{}
	for _, v := range f.Body {
		if v.Op == OpLaunch {
			c.launch(v, defined, written)
			continue
		}
		c.value(v, defined, f.Level)
		c.define(v, defined)
	}
	for i, r := range f.Results {
		if !defined[r] && r.Op != OpWeight {
			c.add(&VerifyError{Func: f.Name, Text: "return", Pos: f.Pos, Msg: fmt.Sprintf("result %d is not defined", i+1)})
		}
		if r.Op == OpBuffer && !written[r] {
			c.errorf(r, "returned but never written")
		}
	}
	if f.Level == Kernel {
		if c.m.Func(f.Of) == nil {
			c.add(&VerifyError{Func: f.Name, Text: "kernels", Pos: f.Pos, Msg: "specialises @" + f.Of + ", which is not declared"})
		}
	} else {
		c.linear(f)
	}
}

func (c *verifier) define(v *Value, defined map[*Value]bool) {
	if defined[v] {
		c.errorf(v, "defined twice")
	}
	defined[v] = true
}

// declared checks that a type's symbols and cache exist.
func (c *verifier) declared(v *Value, t types.Type) {
	for _, d := range t.Shape {
		for _, s := range d.Symbols() {
			if c.m.Dim(s) == nil {
				c.errorf(v, "symbol %s is not declared", s)
			}
		}
	}
	if t.Kind == types.Cache && c.m.Cache(t.Cache) == nil {
		c.errorf(v, "cache @%s is not declared", t.Cache)
	}
}

func (c *verifier) value(v *Value, defined map[*Value]bool, level Level) {
	info := v.Op.Info()
	if info.Levels&level == 0 {
		c.errorf(v, "%s may not stand here", info.Name)
		return
	}
	c.declared(v, v.Type)
	if v.Op == OpBuffer {
		return
	}
	for i, a := range v.Args {
		if a.Op == OpWeight {
			if c.weights[WeightName(a)] == nil {
				c.errorf(v, "weight @%s is not declared", WeightName(a))
				return
			}
			continue
		}
		if !defined[a] {
			c.errorf(v, "arg %d is used before it is defined", i+1)
			return
		}
	}
	t, err := Infer(c.m, v.Op, v.Attrs, v.Args)
	if err != nil {
		c.errorf(v, "%v", err)
		return
	}
	if !t.Equal(v.Type) {
		c.errorf(v, "has type %s, inferred %s", v.Type, t)
	}
}

// linear checks that a cache version has one consumer, and that its other
// readers come before it.
func (c *verifier) linear(f *Func) {
	consumer := map[*Value]*Value{}
	for _, v := range f.Body {
		for i, a := range v.Args {
			if a.Type.Kind != types.Cache {
				continue
			}
			if prev := consumer[a]; prev != nil {
				c.errorf(v, "reads cache version %s, which %s has already consumed", c.names[a], c.names[prev])
			} else if i == 0 && v.Op.Info().Effect == Updates {
				consumer[a] = v
			}
		}
	}
	for _, r := range f.Results {
		if prev := consumer[r]; prev != nil {
			c.errorf(prev, "consumes cache version %s, which is returned", c.names[r])
		}
	}
}

func (c *verifier) launch(v *Value, defined, written map[*Value]bool) {
	if c.f.Level != Kernel {
		c.errorf(v, "launch may not stand here")
		return
	}
	here := map[*Value]int{}
	for i, p := range v.Launch {
		for _, d := range p.Dst {
			if j, twice := here[d]; twice && j != i {
				c.errorf(v, "parts %d and %d write %s", j+1, i+1, c.names[d])
			}
			here[d] = i
		}
	}
	for i, p := range v.Launch {
		c.part(v, i, p, defined, written, here)
	}
	for d := range here {
		written[d] = true
	}
}

func (c *verifier) part(v *Value, i int, p *Part, defined, written map[*Value]bool, here map[*Value]int) {
	local := map[*Value]bool{}
	for _, b := range p.Body {
		for _, a := range b.Args {
			switch {
			case a.Op == OpBuffer && !written[a]:
				c.errorf(b, "reads %s before any launch has written it", c.names[a])
			case a.Op == OpBuffer || a.Op == OpParam:
				if j, ok := here[a]; ok && j != i {
					c.errorf(b, "reads %s, which part %d of the same launch writes", c.names[a], j+1)
				}
			}
			if defined[a] && !local[a] {
				local[a] = true
			}
		}
		c.value(b, local, Graph)
		c.define(b, local)
	}
	c.kernel(v, p)
	if len(p.Dst) != len(p.Yield) || len(p.Dst) == 0 {
		c.errorf(v, "yields %d values to %d destinations", len(p.Yield), len(p.Dst))
		return
	}
	for k, d := range p.Dst {
		y := p.Yield[k]
		if !d.Type.Equal(y.Type) {
			c.errorf(v, "yields %s to %s: %s", y.Type, c.names[d], d.Type)
		}
		if !local[y] {
			c.errorf(v, "yields a value that its body does not define")
		}
		if d.Op == OpBuffer && written[d] {
			c.errorf(v, "writes %s, which is written already", c.names[d])
		}
		if d.Op != OpBuffer && (d.Op != OpParam || d.Type.Kind != types.Cache) {
			c.errorf(v, "writes %s, which is neither a buffer nor a cache", c.names[d])
		}
	}
}

// kernel checks a chosen kernel: that it can exist, and that its operands are
// bound.
func (c *verifier) kernel(v *Value, p *Part) {
	if p.Kernel == nil {
		return
	}
	if err := p.Kernel.Validate(); err != nil {
		c.errorf(v, "%v", err)
		return
	}
	n := 0
	for _, o := range p.Kernel.Operands() {
		if Bound(o) {
			n++
		}
	}
	if n != len(p.Args) {
		c.errorf(v, "kernel %s has %d operands bound, expected %d", p.Kernel.Family(), len(p.Args), n)
	}
}
