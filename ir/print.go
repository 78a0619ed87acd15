package ir

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"quire/ir/types"
	"quire/ir/work"
)

// Print returns the canonical text of a module.
func Print(m *Module) string {
	p := &printer{}
	p.module(m)
	return p.b.String()
}

// PrintFunc returns the text of one function alone.
func PrintFunc(f *Func) string {
	p := &printer{}
	p.fn(f)
	return p.b.String()
}

// Names returns the text name ("%q", "%17", "@wq") of every Value of f, as Print
// shows them.
func Names(f *Func) map[*Value]string { return nameValues(f) }

// PrintValue returns the line that defines v, with the given names.
func PrintValue(v *Value, names map[*Value]string) string {
	p := &printer{names: names}
	p.value(v)
	return p.b.String()
}

type printer struct {
	b     strings.Builder
	names map[*Value]string
}

func (p *printer) f(format string, a ...any) { fmt.Fprintf(&p.b, format, a...) }

func (p *printer) module(m *Module) {
	if m.Name != "" {
		p.f("module %s\n", strconv.Quote(m.Name))
	}
	if len(m.Props) > 0 {
		p.f("props %s\n", strings.Join(m.Props, ", "))
	}
	for _, d := range m.Dims {
		p.f("dim %s %s %d..%d\n", d.Name, d.When, d.Range.Min, d.Range.Max)
	}
	for _, t := range m.Tables {
		p.f("table @%s %s\n", t.Name, encodeFields(reflect.ValueOf(tableText{t.Page, t.Summary, t.Sink, t.Recent, t.Chunk})))
	}
	for _, c := range m.Caches {
		if c.Pick {
			p.f("cache @%s: pick[%d, %d] on @%s%s\n", c.Name, c.Heads, c.Dim, c.Table, layoutText(c.Layout))
			continue
		}
		p.f("cache @%s: kv<%s>[%d, %d] on @%s%s\n", c.Name, c.Elem, c.Heads, c.Dim, c.Table, layoutText(c.Layout))
	}
	for _, w := range m.Weights {
		p.f("weight @%s: %s", w.Name, w.Type)
		if len(w.Concat) > 0 {
			p.f(" = concat @%s", strings.Join(w.Concat, ", @"))
		}
		if s := w.Scaled; s != nil {
			p.f(" = scale @%s, @%s", s.Of, s.By)
			if a := encodeFields(reflect.ValueOf(scalingText{s.Axis, s.Over, s.Offset})); a != "" {
				p.f(" %s", a)
			}
		}
		p.f("%s\n", layoutText(w.Layout))
	}
	for _, f := range m.Funcs {
		p.fn(f)
	}
}

// scalingText is the attribute form of a Scaling.
type scalingText struct {
	Axis   int     `ir:"axis"`
	Over   bool    `ir:"over"`
	Offset float64 `ir:"offset"`
}

// tableText is the attribute form of a Table.
type tableText struct {
	Page    int  `ir:"page"`
	Summary int  `ir:"summary"`
	Sink    int  `ir:"sink"`
	Recent  *int `ir:"recent"`
	Chunk   int  `ir:"chunk"`
}

func layoutText(l string) string {
	if l == "" {
		return ""
	}
	return " layout " + l
}

func (p *printer) fn(f *Func) {
	p.names = nameValues(f)
	if f.Level == Kernel {
		p.f("kernels @%s of @%s", f.Name, f.Of)
		for i, g := range f.When {
			p.f("%s%s", pick(i == 0, " when ", ", "), g)
		}
		p.f(" ")
	} else {
		p.f("func @%s", f.Name)
	}
	params := make([]string, len(f.Params))
	for i, v := range f.Params {
		params[i] = p.names[v] + ": " + v.Type.String()
	}
	results := make([]string, len(f.Results))
	rets := make([]string, len(f.Results))
	for i, v := range f.Results {
		results[i] = v.Type.String()
		rets[i] = p.names[v]
	}
	p.f("(%s) -> (%s) {\n", strings.Join(params, ", "), strings.Join(results, ", "))
	scope := ""
	for _, v := range f.Body {
		if v.Scope != scope {
			scope = v.Scope
			p.f("  scope %s\n", pick(scope == "", "-", scope))
		}
		if v.Op == OpLaunch {
			p.launch(v)
			continue
		}
		p.f("  ")
		p.value(v)
		p.f("\n")
	}
	if len(rets) > 0 {
		p.f("  return %s\n", strings.Join(rets, ", "))
	} else {
		p.f("  return\n")
	}
	p.f("}\n")
}

func pick(cond bool, a, b string) string {
	if cond {
		return a
	}
	return b
}

// String returns "N = 1" or "N <= 8".
func (g Guard) String() string {
	return fmt.Sprintf("%s %s %s", g.Lhs, pick(g.AtMost, "<=", "="), g.Rhs)
}

func (p *printer) value(v *Value) {
	if v.Op == OpBuffer {
		p.f("buffer %s: %s", p.names[v], v.Type)
	} else {
		p.f("%s: %s = %s", p.names[v], v.Type, v.Op)
		for i, a := range v.Args {
			p.f("%s%s", pick(i == 0, " ", ", "), p.names[a])
		}
	}
	if v.Attrs != nil {
		if s := encodeFields(reflect.ValueOf(v.Attrs)); s != "" {
			p.f(" %s", s)
		}
	}
}

func (p *printer) launch(v *Value) {
	if len(v.Launch) == 1 {
		p.part("  ", "launch", v.Launch[0])
		return
	}
	p.f("  launch {\n")
	for _, part := range v.Launch {
		p.part("    ", "part", part)
	}
	p.f("  }\n")
}

func (p *printer) part(indent, word string, part *Part) {
	p.f("%s%s", indent, word)
	if part.Kernel != nil {
		p.f(" %s", KernelText(part.Kernel))
		for i, a := range part.Args {
			p.f("%s%s", pick(i == 0, " on ", ", "), p.names[a])
		}
	}
	dst := make([]string, len(part.Dst))
	for i, d := range part.Dst {
		dst[i] = p.names[d]
	}
	p.f(" -> %s {\n", strings.Join(dst, ", "))
	for _, b := range part.Body {
		p.f("%s  ", indent)
		p.value(b)
		p.f("\n")
	}
	ys := make([]string, len(part.Yield))
	for i, y := range part.Yield {
		ys[i] = p.names[y]
	}
	p.f("%s  yield %s\n%s}\n", indent, strings.Join(ys, ", "), indent)
}

// KernelText returns "family {params}" of a chosen kernel.
func KernelText(k work.Params) string {
	s := encodeFields(reflect.ValueOf(k))
	return k.Family() + pick(s == "", "", " ") + s
}

// nameValues gives each value its text name: its own Name where that is a valid
// word and the first of its kind, else a dense number.
func nameValues(f *Func) map[*Value]string {
	names := map[*Value]string{}
	taken := map[string]bool{}
	n := 0
	give := func(v *Value) {
		if _, done := names[v]; done {
			return
		}
		switch {
		case v.Op == OpWeight:
			names[v] = "@" + WeightName(v)
		case validName(v.Name) && !taken[v.Name]:
			taken[v.Name] = true
			names[v] = "%" + v.Name
		case v.Type.Kind != types.Void:
			names[v] = "%" + strconv.Itoa(n)
			n++
		}
	}
	for _, v := range f.Params {
		give(v)
	}
	f.Walk(func(v *Value) {
		for _, a := range v.Args {
			if a.Op == OpWeight {
				give(a)
			}
		}
		give(v)
		for _, p := range v.Launch {
			for _, a := range p.Args {
				if a.Op == OpWeight {
					give(a)
				}
			}
		}
	})
	for _, v := range f.Results {
		give(v)
	}
	return names
}

// validName reports whether s may follow % in text as a name.
func validName(s string) bool {
	if s == "" || len(s) > maxWord || !isWordByte(s[0], true) {
		return false
	}
	for i := range len(s) {
		if !isWordByte(s[i], false) {
			return false
		}
	}
	return true
}
