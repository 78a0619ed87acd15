package ir

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"quire/ir/types"
)

// Parse reads a module. The error is a *SyntaxError with file, line and column;
// types are taken as written: Verify infers them again and compares.
func Parse(file, text string) (m *Module, err error) {
	p := &parser{lexer: lexer{file: file, src: text, line: 1}, m: &Module{}, weights: map[string]*Weight{}}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*SyntaxError)
			if !ok {
				panic(r)
			}
			e.Line = lineAt(text, e.Pos.Line)
			m, err = nil, e
		}
	}()
	p.module()
	return p.m, nil
}

// lineAt returns the n-th line of a text, from 1.
func lineAt(text string, n int) string {
	for ; n > 1; n-- {
		_, text, _ = strings.Cut(text, "\n")
	}
	line, _, _ := strings.Cut(text, "\n")
	return line
}

type parser struct {
	lexer
	m       *Module
	f       *Func
	values  map[string]*Value
	weights map[string]*Weight // the first of each name
}

func (p *parser) module() {
	for {
		if p.atEnd() {
			return
		}
		pos := p.pos()
		switch word := p.word("a declaration"); word {
		case "module":
			name, err := strconv.Unquote(p.quoted())
			if err != nil {
				p.fail(pos, "bad module name")
			}
			p.m.Name = name
		case "props":
			p.m.Props = p.list(func() string { return p.word("a property") })
			slices.Sort(p.m.Props)
		case "dim":
			p.dim(pos)
		case "table":
			p.table(pos)
		case "cache":
			p.cache(pos)
		case "weight":
			p.weight(pos)
		case "func":
			p.fn(pos, Graph)
		case "kernels":
			p.fn(pos, Kernel)
		default:
			p.fail(pos, "saw %q, expected module, props, dim, table, cache, weight, func or kernels", clip(word))
		}
	}
}

func (p *parser) list(item func() string) []string {
	out := []string{item()}
	for p.accept(",") {
		out = append(out, item())
	}
	return out
}

func (p *parser) integer() int64 {
	pos := p.pos()
	s := p.number()
	n, err := strconv.ParseInt(s, 10, 48)
	if err != nil {
		p.fail(pos, "saw %q, expected an integer", clip(s))
	}
	return n
}

// capped bounds the declarations that are found by walking their list.
func (p *parser) capped(what string, n int) {
	if n >= maxDecls {
		p.failHere("more than %d %s", maxDecls, what)
	}
}

func (p *parser) dim(at Pos) {
	d := &DimDecl{Name: p.word("a symbol"), Pos: at}
	pos := p.pos()
	when := p.word("load, launch or device")
	i := slices.Index(whenNames[:], when)
	if i < 0 {
		p.fail(pos, "saw %q, expected load, launch or device", clip(when))
	}
	d.When = When(i)
	d.Range.Min = p.integer()
	p.expect("..")
	d.Range.Max = p.integer()
	p.capped("dims", len(p.m.Dims))
	p.m.Dims = append(p.m.Dims, d)
}

func (p *parser) table(at Pos) {
	t := &Table{Name: p.global(), Pos: at}
	var a tableText
	p.attributes(reflect.ValueOf(&a))
	t.Page, t.Summary, t.Sink, t.Recent, t.Chunk = a.Page, a.Summary, a.Sink, a.Recent, a.Chunk
	p.capped("tables", len(p.m.Tables))
	p.m.Tables = append(p.m.Tables, t)
}

func (p *parser) cache(at Pos) {
	c := &CacheDecl{Name: p.global(), Pos: at}
	p.expect(":")
	if c.Pick = p.acceptWord("pick"); !c.Pick {
		p.expect("kv")
		p.expect("<")
		c.Elem = parseElem(p.word("an element type"))
		p.expect(">")
	}
	p.expect("[")
	c.Heads = int(p.integer())
	p.expect(",")
	c.Dim = int(p.integer())
	p.expect("]")
	p.expect("on")
	c.Table = p.global()
	c.Layout = p.layout()
	p.capped("caches", len(p.m.Caches))
	p.m.Caches = append(p.m.Caches, c)
}

func (p *parser) weight(at Pos) {
	w := &Weight{Name: p.global(), Pos: at}
	p.expect(":")
	w.Type = p.typ()
	if p.accept("=") {
		if p.acceptWord("scale") {
			w.Scaled = p.scaling()
		} else {
			p.expect("concat")
			w.Concat = p.list(p.global)
		}
	}
	w.Layout = p.layout()
	p.m.Weights = append(p.m.Weights, w)
	if p.weights[w.Name] == nil {
		p.weights[w.Name] = w
	}
}

func (p *parser) scaling() *Scaling {
	s := &Scaling{Of: p.global()}
	p.expect(",")
	s.By = p.global()
	var a scalingText
	p.attributes(reflect.ValueOf(&a))
	s.Axis, s.Over, s.Offset = a.Axis, a.Over, a.Offset
	return s
}

func (p *parser) layout() string {
	if !p.acceptWord("layout") {
		return ""
	}
	return p.word("a layout")
}

// global takes @name and returns the name.
func (p *parser) global() string {
	p.expect("@")
	return p.word("a name")
}

// local takes %name and returns the name; digits may lead.
func (p *parser) local() string {
	p.expect("%")
	start := p.i
	for p.i < len(p.src) && isWordByte(p.src[p.i], false) && !strings.HasPrefix(p.src[p.i:], "->") {
		p.i++
	}
	if n := p.i - start; n == 0 || n > maxWord {
		p.failHere("value name of %d bytes, expected 1 to %d", n, maxWord)
	}
	return p.src[start:p.i]
}

func (p *parser) typ() types.Type {
	if p.peek() == '@' {
		return types.CacheOf(p.global())
	}
	word := p.word("a type")
	pos := p.pos()
	shape := p.shape()
	switch word {
	case "rows":
		if len(shape) != 2 {
			p.fail(pos, "rows of %d extents, expected rows[N, S]", len(shape))
		}
		return types.RowsOf(shape[0], shape[1])
	case "pick":
		if len(shape) != 3 {
			p.fail(pos, "pick of %d extents, expected pick[N, H, K]", len(shape))
		}
		return types.PickOf(shape[0], shape[1], shape[2])
	}
	return types.TensorOf(parseElem(word), shape...)
}

// shape takes "[d, d, ...]".
func (p *parser) shape() types.Shape {
	pos := p.pos()
	p.expect("[")
	end := strings.IndexByte(p.src[p.i:], ']')
	if end < 0 || end > 4096 {
		p.fail(pos, "shape without an end")
	}
	text := p.src[p.i : p.i+end]
	p.i += end + 1
	if strings.TrimSpace(text) == "" {
		return nil
	}
	var s types.Shape
	for _, part := range strings.Split(text, ",") {
		d, err := types.ParseDim(strings.TrimSpace(part))
		if err != nil {
			p.fail(pos, "%v", err)
		}
		s = append(s, d)
	}
	if !inRange(s) {
		p.fail(pos, "shape [%s] is out of range: at most 8 extents, none negative, and 2^48 elements", clip(text))
	}
	return s
}

// inRange reports whether the extents, and their product without its symbols,
// are small enough to compute with.
func inRange(s types.Shape) bool {
	size := 1.0
	for _, d := range s {
		if n, ok := d.IsConst(); ok && n < 0 {
			return false
		}
		size *= float64(max(d.MaxCoef(), 1))
	}
	return size < 1<<48 && len(s) <= 8
}

// attributes fills the struct behind v from an optional {...}.
func (p *parser) attributes(v reflect.Value) {
	if p.peek() != '{' {
		return
	}
	if err := decodeFields(p.fields(0), v); err != nil {
		panic(err.(*SyntaxError))
	}
}

func (p *parser) fields(depth int) []field {
	p.expect("{")
	var out []field
	for !p.accept("}") {
		if len(out) > 0 {
			p.expect(",")
		}
		f := field{name: p.word("an attribute name")}
		p.expect("=")
		f.val = p.literal(depth + 1)
		out = append(out, f)
	}
	return out
}

func (p *parser) literal(depth int) literal {
	if depth > maxDepth {
		p.failHere("attributes nested more than %d deep", maxDepth)
	}
	c := p.peek()
	l := literal{kind: 't', pos: p.pos()}
	switch {
	case c == '[':
		l.kind = 'l'
		p.i++
		for !p.accept("]") {
			if len(l.list) > 0 {
				p.expect(",")
			}
			l.list = append(l.list, p.literal(depth+1))
		}
	case c == '{':
		l.kind = 'f'
		l.fields = p.fields(depth)
	case c == '"':
		l.text = p.quoted()
	case isWordByte(c, true):
		l.text = p.word("a value")
	default:
		l.text = p.number()
	}
	return l
}
