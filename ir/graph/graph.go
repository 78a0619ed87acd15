package graph

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/flow"
	"gonum.org/v1/gonum/graph/iterator"
	"gonum.org/v1/gonum/graph/topo"

	"quire/ir"
)

// Graph is the view; it implements graph.Directed.
type Graph struct {
	f     *ir.Func
	nodes []graph.Node // entry first, then in the order of the text
	byID  map[int64]Node
	place map[int64]int // index in nodes
	next  map[int64][]graph.Node
	prev  map[int64][]graph.Node
}

// Node is a Value, or the entry, which comes before everything and has none.
type Node struct{ *ir.Value }

// entryID is the ID of the entry; Values count from 0.
const entryID = -1

// ID returns the Value's ID, or -1.
func (n Node) ID() int64 {
	if n.Value == nil {
		return entryID
	}
	return int64(n.Value.ID)
}

// edge goes from u to v.
type edge struct{ u, v graph.Node }

func (e edge) From() graph.Node         { return e.u }
func (e edge) To() graph.Node           { return e.v }
func (e edge) ReversedEdge() graph.Edge { return e }

// New returns the view of f.
func New(f *ir.Func) *Graph {
	g := &Graph{f: f, byID: map[int64]Node{}, place: map[int64]int{}, next: map[int64][]graph.Node{}, prev: map[int64][]graph.Node{}}
	g.add(nil)
	for _, v := range f.Params {
		g.add(v)
		g.connect(nil, v)
	}
	f.Walk(func(v *ir.Value) { g.weights(v.Args) })
	for _, v := range f.Body {
		for _, p := range v.Launch {
			g.weights(p.Args)
		}
	}
	g.weights(f.Results)
	for _, v := range f.Body {
		g.add(v)
	}
	if f.Level == ir.Kernel {
		g.launches()
	} else {
		g.values()
	}
	return g
}

func (g *Graph) weights(args []*ir.Value) {
	for _, a := range args {
		if _, known := g.byID[int64(a.ID)]; a.Op == ir.OpWeight && !known {
			g.add(a)
			g.connect(nil, a)
		}
	}
}

func (g *Graph) add(v *ir.Value) {
	n := Node{v}
	g.place[n.ID()] = len(g.nodes)
	g.nodes = append(g.nodes, n)
	g.byID[n.ID()] = n
}

// connect adds the edge once.
func (g *Graph) connect(u, v *ir.Value) {
	a, b := Node{u}, Node{v}
	if a.ID() == b.ID() || g.HasEdgeFromTo(a.ID(), b.ID()) {
		return
	}
	g.next[a.ID()] = append(g.next[a.ID()], b)
	g.prev[b.ID()] = append(g.prev[b.ID()], a)
}

// values connects a Graph-level body: arguments, and readers of a cache version
// with its consumer.
func (g *Graph) values() {
	consumer := map[*ir.Value]*ir.Value{}
	for _, v := range g.f.Body {
		if v.Op.Info().Effect == ir.Updates {
			consumer[v.Args[0]] = v
		}
	}
	for _, v := range g.f.Body {
		for _, a := range v.Args {
			g.connect(a, v)
			if c := consumer[a]; c != nil {
				g.connect(v, c)
			}
		}
		if len(v.Args) == 0 {
			g.connect(nil, v)
		}
	}
}

// launches connects a Kernel-level body by the places that launches touch, in
// list order: read after write, write after read, write after write.
func (g *Graph) launches() {
	writer := map[any]*ir.Value{}
	readers := map[any][]*ir.Value{}
	for _, v := range g.f.Body {
		if v.Op != ir.OpLaunch {
			g.connect(nil, v)
			continue
		}
		for a := range reads(v) {
			g.connect(a, v)
			if w := writer[location(a)]; w != nil {
				g.connect(w, v)
			}
		}
		for d := range writes(v) {
			g.connect(d, v)
			if w := writer[location(d)]; w != nil {
				g.connect(w, v)
			}
			for _, r := range readers[location(d)] {
				g.connect(r, v)
			}
		}
		for d := range writes(v) {
			writer[location(d)], readers[location(d)] = v, nil
		}
		for a := range reads(v) {
			readers[location(a)] = append(readers[location(a)], v)
		}
		if len(g.prev[int64(v.ID)]) == 0 {
			g.connect(nil, v)
		}
	}
}

// reads is what the bodies of a launch read from outside, with repeats.
func reads(v *ir.Value) iter.Seq[*ir.Value] {
	return func(yield func(*ir.Value) bool) {
		for _, p := range v.Launch {
			for _, b := range p.Body {
				for _, a := range b.Args {
					if outside(a) && !yield(a) {
						return
					}
				}
			}
		}
	}
}

func writes(v *ir.Value) iter.Seq[*ir.Value] {
	return func(yield func(*ir.Value) bool) {
		for _, p := range v.Launch {
			for _, d := range p.Dst {
				if !yield(d) {
					return
				}
			}
		}
	}
}

func outside(a *ir.Value) bool {
	return a.Op == ir.OpBuffer || a.Op == ir.OpParam || a.Op == ir.OpWeight
}

// location is what two launches conflict about: a slot number, or a Value.
func location(v *ir.Value) any {
	if a, ok := v.Attrs.(ir.BufferAttrs); ok && a.Slot != nil {
		return *a.Slot
	}
	return v
}

// Node returns the node with that ID, or nil.
func (g *Graph) Node(id int64) graph.Node {
	if n, ok := g.byID[id]; ok {
		return n
	}
	return nil
}

// Nodes returns all nodes in the order of the text, the entry first.
func (g *Graph) Nodes() graph.Nodes { return iterator.NewOrderedNodes(g.nodes) }

// From returns the nodes that must come after id, directly.
func (g *Graph) From(id int64) graph.Nodes { return ordered(g.next[id]) }

// To returns the nodes that must come before id, directly.
func (g *Graph) To(id int64) graph.Nodes { return ordered(g.prev[id]) }

func ordered(ns []graph.Node) graph.Nodes {
	if len(ns) == 0 {
		return graph.Empty
	}
	return iterator.NewOrderedNodes(ns)
}

// HasEdgeFromTo reports a direct edge.
func (g *Graph) HasEdgeFromTo(uid, vid int64) bool {
	// the shorter list decides
	if len(g.next[uid]) > len(g.prev[vid]) {
		return slices.ContainsFunc(g.prev[vid], func(n graph.Node) bool { return n.ID() == uid })
	}
	return slices.ContainsFunc(g.next[uid], func(n graph.Node) bool { return n.ID() == vid })
}

// HasEdgeBetween reports an edge either way.
func (g *Graph) HasEdgeBetween(x, y int64) bool {
	return g.HasEdgeFromTo(x, y) || g.HasEdgeFromTo(y, x)
}

// Edge returns the edge from u to v, or nil.
func (g *Graph) Edge(uid, vid int64) graph.Edge {
	if !g.HasEdgeFromTo(uid, vid) {
		return nil
	}
	return edge{g.byID[uid], g.byID[vid]}
}

// Order returns all Values in a topological order: of those that may come next,
// the one that stands first in the text. An error lists the cycles.
func (g *Graph) Order() ([]*ir.Value, error) {
	sorted, err := topo.SortStabilized(g, func(ns []graph.Node) {
		slices.SortFunc(ns, func(a, b graph.Node) int { return g.place[a.ID()] - g.place[b.ID()] })
	})
	if err != nil {
		return nil, g.cycles(err)
	}
	var out []*ir.Value
	for _, n := range sorted {
		if v := n.(Node).Value; v != nil {
			out = append(out, v)
		}
	}
	return out, nil
}

// cycles names the Values of a gonum error.
func (g *Graph) cycles(err error) error {
	bad, ok := err.(topo.Unorderable)
	if !ok {
		return err
	}
	names := ir.Names(g.f)
	var parts []string
	for _, c := range bad {
		var in []string
		for _, n := range c {
			in = append(in, names[n.(Node).Value])
		}
		parts = append(parts, strings.Join(in, ", "))
	}
	return fmt.Errorf("@%s: cycle of %s", g.f.Name, strings.Join(parts, "; of "))
}

// Legal returns an error when an order of the body (or of part of it) breaks an
// edge; it names the two Values.
func (g *Graph) Legal(order []*ir.Value) error {
	at := map[int64]int{}
	for i, v := range order {
		at[int64(v.ID)] = i
	}
	names := ir.Names(g.f)
	for i, v := range order {
		for _, n := range g.next[int64(v.ID)] {
			if j, ok := at[n.ID()]; ok && j < i {
				return fmt.Errorf("@%s: %s stands after %s", g.f.Name, label(names, v), label(names, n.(Node).Value))
			}
		}
	}
	return nil
}

func label(names map[*ir.Value]string, v *ir.Value) string {
	if n := names[v]; n != "" {
		return n
	}
	return fmt.Sprintf("%s (value %d)", v.Op, v.ID)
}

// Reaches reports whether there is a path from u to v; every Value reaches itself.
func (g *Graph) Reaches(u, v *ir.Value) bool {
	return topo.PathExistsIn(g, Node{u}, Node{v})
}

// Dominators returns, for each Value, the Value through which every path from the
// entry to it goes last; Values without one are absent.
func (g *Graph) Dominators() map[*ir.Value]*ir.Value {
	tree := flow.Dominators(Node{}, g)
	out := map[*ir.Value]*ir.Value{}
	for _, n := range g.nodes[1:] {
		if d, ok := tree.DominatorOf(n.ID()).(Node); ok && d.Value != nil {
			out[n.(Node).Value] = d.Value
		}
	}
	return out
}
