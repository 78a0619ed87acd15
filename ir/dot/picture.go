package dot

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"quire/ir"
	"quire/ir/types"
)

// kind says how a node is drawn.
type kind string

const (
	param  kind = "param"
	weight kind = "weight"
	op     kind = "op"
	state  kind = "state" // an op that makes a cache version
	launch kind = "launch"
	output kind = "return"
	repeat kind = "repeat"
)

// node is one thing to draw.
type node struct {
	id    string
	kind  kind
	title string // the op, kernel family or weight name
	typ   string
	scope []string // outermost first: layers.3, attn
	attrs []ir.Attribute
	text  []string // its lines of IR
	alike string   // equal for nodes that differ in names only
}

// edge goes from node to node; arg is the reader's argument.
type edge struct {
	from, to string
	arg      int
	label    string
}

// picture is a Func ready to draw, in the order of the text.
type picture struct {
	module, fn string
	nodes      []*node
	byID       map[string]*node
	edges      []edge
}

const returnID = "return"

func newPicture(m *ir.Module, f *ir.Func) *picture {
	b := &builder{m: m, f: f, names: ir.Names(f), p: &picture{module: m.Name, fn: f.Name, byID: map[string]*node{}}, holder: map[*ir.Value]string{}}
	for _, v := range f.Params {
		b.add(&node{id: b.names[v], kind: param, title: b.names[v], typ: b.declared(v.Type), alike: "param " + b.alikeType(v.Type)})
		b.holder[v] = b.names[v]
	}
	launches := 0
	for _, v := range f.Body {
		switch v.Op {
		case ir.OpBuffer:
		case ir.OpLaunch:
			b.launch(v, launches)
			launches++
		default:
			b.value(v)
		}
	}
	b.add(&node{id: returnID, kind: output, title: "return"})
	for i, r := range f.Results {
		b.read(returnID, i, r, r.Name)
	}
	b.p.scopeWeights()
	return b.p
}

type builder struct {
	m      *ir.Module
	f      *ir.Func
	names  map[*ir.Value]string
	p      *picture
	holder map[*ir.Value]string // the node that made what a Value holds now
}

func (b *builder) add(n *node) {
	b.p.nodes = append(b.p.nodes, n)
	b.p.byID[n.id] = n
}

func (b *builder) value(v *ir.Value) {
	k := op
	if v.Type.Kind == types.Cache {
		k = state
	}
	n := &node{id: b.names[v], kind: k, title: v.Op.String(), typ: v.Type.String(), scope: scopePath(v.Scope),
		attrs: ir.Attributes(v.Attrs), text: []string{ir.PrintValue(v, b.names)}}
	n.alike = fmt.Sprint(n.title, " ", b.alikeType(v.Type), n.attrs)
	b.add(n)
	b.holder[v] = n.id
	args := strings.Fields(v.Op.Info().Args)
	for i, a := range v.Args {
		b.read(n.id, i, a, strings.TrimSuffix(args[min(i, len(args)-1)], "..."))
	}
}

// launch adds a node a part; its edges carry the buffers that bodies read.
func (b *builder) launch(v *ir.Value, ordinal int) {
	made := map[*ir.Value]string{}
	for i, part := range v.Launch {
		n := &node{id: fmt.Sprintf("launch.%d", ordinal), kind: launch, title: "launch", scope: scopePath(v.Scope)}
		if len(v.Launch) > 1 {
			n.id += fmt.Sprintf(".%d", i)
		}
		if part.Kernel != nil {
			n.title, n.attrs = part.Kernel.Family(), ir.Attributes(reflect.Indirect(reflect.ValueOf(part.Kernel)).Interface())
		}
		n.alike = fmt.Sprint(n.title, n.attrs)
		var dst []string
		for _, d := range part.Dst {
			dst = append(dst, b.names[d]+": "+d.Type.String())
			n.alike += b.alikeType(d.Type)
			made[d] = n.id
		}
		n.typ = strings.Join(dst, ", ")
		b.add(n)
		b.reads(n, part)
	}
	for d, id := range made {
		b.holder[d] = id
	}
}

func (b *builder) reads(n *node, part *ir.Part) {
	inside, seen := map[*ir.Value]bool{}, map[*ir.Value]bool{}
	for _, v := range part.Body {
		inside[v] = true
		n.text = append(n.text, ir.PrintValue(v, b.names))
		n.alike += fmt.Sprint(v.Op, ir.Attributes(v.Attrs))
		for _, a := range v.Args {
			if !inside[a] && !seen[a] {
				b.read(n.id, len(seen), a, b.names[a])
				seen[a] = true
			}
		}
	}
}

// read adds the edge from what holds a to its reader; a weight becomes a node
// when it is first read.
func (b *builder) read(reader string, arg int, a *ir.Value, label string) {
	if _, known := b.holder[a]; !known && a.Op == ir.OpWeight {
		id := b.names[a]
		n := &node{id: id, kind: weight, title: ir.WeightName(a), typ: a.Type.String(), alike: "weight " + a.Type.String()}
		if w := b.m.Weight(ir.WeightName(a)); w != nil {
			for _, c := range w.Concat {
				n.attrs = append(n.attrs, ir.Attribute{Name: "concat", Value: "@" + c})
			}
			if s := w.Scaled; s != nil {
				n.attrs = append(n.attrs, ir.Attribute{Name: "scaled", Value: "@" + s.Of + ", @" + s.By})
			}
			if w.Layout != "" {
				n.attrs = append(n.attrs, ir.Attribute{Name: "layout", Value: w.Layout})
			}
		}
		b.add(n)
		b.holder[a] = id
	}
	b.p.edges = append(b.p.edges, edge{b.holder[a], reader, arg, label})
}

// declared is a type, of a cache with what it holds.
func (b *builder) declared(t types.Type) string {
	if t.Kind != types.Cache || b.m.Cache(t.Cache) == nil {
		return t.String()
	}
	return t.String() + ": " + b.alikeType(t)
}

// alikeType is a type without the name of a cache.
func (b *builder) alikeType(t types.Type) string {
	d := b.m.Cache(t.Cache)
	if t.Kind != types.Cache || d == nil {
		return t.String()
	}
	if d.Pick {
		return fmt.Sprintf("pick[%d, %d] on @%s", d.Heads, d.Dim, d.Table)
	}
	return fmt.Sprintf("kv<%s>[%d, %d] on @%s", d.Elem, d.Heads, d.Dim, d.Table)
}

// scopePath splits a scope at dots, except before a number: layers.3.attn is
// layers.3, attn.
func scopePath(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ".") {
		if len(out) > 0 && isNumber(part) {
			out[len(out)-1] += "." + part
		} else if part != "" {
			out = append(out, part)
		}
	}
	return out
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// scopeWeights puts each weight into the innermost scope that holds its readers.
func (p *picture) scopeWeights() {
	seen := map[string]bool{}
	for _, e := range p.edges {
		w, r := p.byID[e.from], p.byID[e.to]
		if w.kind != weight {
			continue
		}
		if !seen[w.id] {
			seen[w.id], w.scope = true, slices.Clone(r.scope)
			continue
		}
		n := 0
		for n < len(w.scope) && n < len(r.scope) && w.scope[n] == r.scope[n] {
			n++
		}
		w.scope = w.scope[:n]
	}
}
