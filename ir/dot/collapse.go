package dot

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// layer is one instance of a repeated scope: its outermost component that ends in
// a number, with the nodes inside.
type layer struct {
	name  string // layers.3
	base  string // layers
	n     int
	nodes []*node
	like  *layer // the shown layer that it equals, nil when it is shown itself
}

// collapse hides each layer that is like an earlier one. A run of hidden layers
// becomes one box; edges to and from them go to the box.
func (p *picture) collapse() {
	layers := p.layers()
	first := map[string]*layer{}
	for _, l := range layers {
		key := l.key()
		if first[key] == nil {
			first[key] = l
		} else {
			l.like = first[key]
		}
	}
	into := map[string]string{} // hidden node -> box
	var boxes []*node
	for i := 0; i < len(layers); {
		j := i
		for j < len(layers) && layers[j].like != nil && layers[j].base == layers[i].base {
			j++
		}
		if j > i {
			box := boxOf(layers[i:j])
			boxes = append(boxes, box)
			for _, l := range layers[i:j] {
				for _, n := range l.nodes {
					into[n.id] = box.id
				}
			}
		}
		i = max(j, i+1)
	}
	if len(boxes) == 0 {
		return
	}
	p.hideParams(into)
	p.replace(into, boxes)
}

// layers finds the instances of numbered scopes, in the order of the text.
func (p *picture) layers() []*layer {
	var out []*layer
	byName := map[string]*layer{}
	for _, n := range p.nodes {
		if len(n.scope) == 0 {
			continue
		}
		name := n.scope[0]
		base, number, ok := cutNumber(name)
		if !ok {
			continue
		}
		l := byName[name]
		if l == nil {
			l = &layer{name: name, base: base, n: number}
			byName[name] = l
			out = append(out, l)
		}
		l.nodes = append(l.nodes, n)
	}
	return out
}

func cutNumber(s string) (base string, n int, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.Atoi(s[i+1:])
	return s[:i], n, err == nil
}

// key is equal for layers that differ in names only.
func (l *layer) key() string {
	var b strings.Builder
	b.WriteString(l.base)
	for _, n := range l.nodes {
		fmt.Fprintf(&b, "\n%s|%s|%s", n.kind, strings.Join(n.scope[1:], "."), n.alike)
	}
	return b.String()
}

// boxOf is the node that stands for a run of hidden layers.
func boxOf(run []*layer) *node {
	last := run[len(run)-1]
	box := &node{id: fmt.Sprintf("%s-%d", run[0].name, last.n), kind: repeat, title: fmt.Sprintf("%s to %d", run[0].name, last.n)}
	if len(run) == 1 {
		box.id, box.title = run[0].name, run[0].name
	}
	count := map[string]int{}
	var order []string
	for _, l := range run {
		if count[l.like.name]++; count[l.like.name] == 1 {
			order = append(order, l.like.name)
		}
	}
	for _, name := range order {
		box.text = append(box.text, fmt.Sprintf("%d like %s", count[name], name))
	}
	box.typ = strings.Join(box.text, ", ")
	return box
}

// hideParams folds in the parameters that only hidden nodes of one box touch: the
// caches of hidden layers.
func (p *picture) hideParams(into map[string]string) {
	touch := map[string][]string{}
	for _, e := range p.edges {
		touch[e.from] = append(touch[e.from], into[e.to])
	}
	for _, n := range p.nodes {
		boxes := slices.Compact(touch[n.id])
		if n.kind == param && len(boxes) == 1 && boxes[0] != "" {
			into[n.id] = boxes[0]
		}
	}
}

// replace puts each box where its first hidden node stood and reroutes edges,
// one a pair of nodes where a box takes part.
func (p *picture) replace(into map[string]string, boxes []*node) {
	byID := map[string]*node{}
	for _, b := range boxes {
		byID[b.id] = b
	}
	var nodes []*node
	for _, n := range p.nodes {
		box, hidden := into[n.id]
		switch {
		case !hidden:
			nodes = append(nodes, n)
		case n.kind != param && p.byID[box] == nil:
			nodes = append(nodes, byID[box])
			p.byID[box] = byID[box]
		}
		if hidden {
			delete(p.byID, n.id)
		}
	}
	p.nodes = nodes
	type pair struct{ from, to string }
	seen := map[pair]bool{}
	var edges []edge
	for _, e := range p.edges {
		from, fromHidden := into[e.from]
		to, toHidden := into[e.to]
		if fromHidden || toHidden {
			if !fromHidden {
				from = e.from
			}
			if !toHidden {
				to = e.to
			}
			if from == to || seen[pair{from, to}] {
				continue
			}
			seen[pair{from, to}] = true
			e = edge{from: from, to: to, arg: e.arg}
		}
		edges = append(edges, e)
	}
	p.edges = edges
}
