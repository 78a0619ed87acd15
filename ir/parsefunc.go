package ir

import (
	"reflect"
	"strconv"

	"quire/ir/types"
)

func (p *parser) fn(at Pos, level Level) {
	f := NewFunc(p.global(), level)
	f.Pos = at
	p.f, p.values = f, map[string]*Value{}
	if level == Kernel {
		p.expect("of")
		f.Of = p.global()
		if p.acceptWord("when") {
			f.When = append(f.When, p.guard())
			for p.accept(",") {
				f.When = append(f.When, p.guard())
			}
		}
	}
	p.expect("(")
	for !p.accept(")") {
		if len(f.Params) > 0 {
			p.expect(",")
		}
		pos := p.pos()
		name := p.local()
		p.expect(":")
		v := f.AddParam("", p.typ())
		v.Pos = pos
		p.define(name, v)
	}
	p.expect("->")
	p.expect("(")
	var results []types.Type
	for !p.accept(")") {
		if len(results) > 0 {
			p.expect(",")
		}
		results = append(results, p.typ())
	}
	p.expect("{")
	p.body()
	p.results(results)
	p.expect("}")
	p.m.Funcs = append(p.m.Funcs, f)
}

func (p *parser) guard() Guard {
	pos := p.pos()
	g := Guard{Lhs: p.dimExpr()}
	switch {
	case p.accept("<="):
		g.AtMost = true
	case p.accept("="):
	default:
		p.fail(pos, "saw %s in a guard, expected = or <=", p.saw())
	}
	g.Rhs = p.dimExpr()
	return g
}

// dimExpr takes a dim up to the next delimiter of a guard.
func (p *parser) dimExpr() types.Dim {
	p.skip()
	pos, start, depth := p.pos(), p.i, 0
loop:
	for p.i < len(p.src) {
		switch c := p.src[p.i]; {
		case c == '(' && p.i > start:
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '(' || c == ')' || c == ',' || c == '=' || c == '<' || c == '\n' || c == ' ' && depth == 0:
			break loop
		}
		p.i++
	}
	d, err := types.ParseDim(p.src[start:p.i])
	if err != nil {
		p.fail(pos, "%v", err)
	}
	return d
}

// define binds a text name; a name of digits only leaves the value unnamed.
func (p *parser) define(name string, v *Value) {
	if _, dup := p.values[name]; dup {
		p.fail(v.Pos, "%%%s is defined twice", clip(name))
	}
	p.values[name] = v
	if _, err := strconv.Atoi(name); err != nil {
		v.Name = name
	}
}

// value takes a reference: %name or @weight.
func (p *parser) value() *Value {
	p.skip()
	pos := p.pos()
	if p.peek() == '@' {
		name := p.global()
		w := p.weights[name]
		if w == nil {
			p.fail(pos, "weight @%s is not declared", clip(name))
		}
		return p.f.Weight(w)
	}
	name := p.local()
	v, ok := p.values[name]
	if !ok {
		p.fail(pos, "%%%s is used before it is defined", clip(name))
	}
	return v
}

// valueList takes references separated by commas, none when the list is absent:
// its first stands on the line that is being read.
func (p *parser) valueList() []*Value {
	line := p.line
	if c := p.peek(); c != '%' && c != '@' || p.line != line {
		return nil
	}
	out := []*Value{p.value()}
	for p.accept(",") {
		out = append(out, p.value())
	}
	return out
}

func (p *parser) body() {
	scope := ""
	for {
		pos := func() Pos { p.skip(); return p.pos() }()
		switch {
		case p.isWord("return"):
			return
		case p.acceptWord("scope"):
			if p.accept("-") {
				scope = ""
			} else {
				scope = p.word("a scope")
			}
		case p.acceptWord("buffer"):
			name := p.local()
			p.expect(":")
			v := p.f.NewValue(OpBuffer, p.typ(), nil)
			v.Attrs = p.opAttrs(OpBuffer)
			p.place(name, v, scope, pos)
		case p.acceptWord("launch"):
			v := p.f.NewValue(OpLaunch, types.Type{Kind: types.Void}, nil)
			v.Scope, v.Pos = scope, pos
			v.Launch = p.launch(scope)
			p.f.Body = append(p.f.Body, v)
		case p.peek() == '%':
			name, v := p.op()
			p.place(name, v, scope, pos)
		default:
			p.fail(pos, "saw %s, expected a value, buffer, launch, scope or return", p.saw())
		}
	}
}

func (p *parser) place(name string, v *Value, scope string, pos Pos) {
	v.Scope, v.Pos = scope, pos
	p.define(name, v)
	p.f.Body = append(p.f.Body, v)
}

// op takes "%name: type = op args {attrs}".
func (p *parser) op() (string, *Value) {
	name := p.local()
	p.expect(":")
	t := p.typ()
	p.expect("=")
	p.skip()
	pos := p.pos()
	word := p.word("an op")
	op, ok := OpByName(word)
	if !ok || op.Info().Levels&Graph == 0 {
		p.fail(pos, "unknown op %q", clip(word))
	}
	args := p.valueList()
	return name, p.f.NewValue(op, t, p.opAttrs(op), args...)
}

// opAttrs takes the typed attributes of an op.
func (p *parser) opAttrs(op Op) Attrs {
	zero := op.Info().Attrs
	if zero == nil {
		return nil
	}
	v := reflect.New(reflect.TypeOf(zero))
	p.attributes(v)
	return v.Elem().Interface().(Attrs)
}

func (p *parser) launch(scope string) []*Part {
	if p.peek() != '{' {
		return []*Part{p.part(scope)}
	}
	p.expect("{")
	var parts []*Part
	for !p.accept("}") {
		p.expect("part")
		parts = append(parts, p.part(scope))
	}
	return parts
}

// part takes "[family {params} [on operands]] -> dst, ... { body yield ... }".
func (p *parser) part(scope string) *Part {
	part := &Part{}
	if !p.is("->") {
		pos := p.pos()
		family := p.word("a kernel family or ->")
		var fields []field
		if p.peek() == '{' {
			fields = p.fields(0)
		}
		k, err := kernelByName(family, fields, pos)
		if err != nil {
			panic(err.(*SyntaxError))
		}
		part.Kernel = k
		if p.acceptWord("on") {
			part.Args = p.valueList()
		}
	}
	p.expect("->")
	part.Dst = p.valueList()
	p.expect("{")
	for {
		p.skip()
		pos := p.pos()
		if p.acceptWord("yield") {
			part.Yield = p.valueList()
			p.expect("}")
			return part
		}
		name, v := p.op()
		v.Scope, v.Pos = scope, pos
		p.define(name, v)
		part.Body = append(part.Body, v)
	}
}

func (p *parser) results(want []types.Type) {
	p.skip()
	pos := p.pos()
	p.expect("return")
	p.f.Results = p.valueList()
	if len(p.f.Results) != len(want) {
		p.fail(pos, "%d results, the signature has %d", len(p.f.Results), len(want))
	}
	for i, r := range p.f.Results {
		if !r.Type.Equal(want[i]) {
			p.fail(pos, "result %d has type %s, the signature says %s", i+1, r.Type, want[i])
		}
	}
}
