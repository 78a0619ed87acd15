package dot

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	graphviz "github.com/emicklei/dot"

	"quire/ir"
)

// look is how each kind of node is drawn.
var look = map[kind]struct{ shape, fill string }{
	param:  {"ellipse", "#e8e8e8"},
	weight: {"note", "#fdf3d8"},
	op:     {"box", "#e3eefb"},
	state:  {"cylinder", "#e4f4e4"},
	launch: {"box", "#efe6fa"},
	output: {"ellipse", "#e8e8e8"},
	repeat: {"box3d", "#fbe3e3"},
}

// writeDOT writes Graphviz text: a cluster a scope, ids and tooltips on nodes.
func writeDOT(p *picture) ([]byte, error) {
	g := graphviz.NewGraph(graphviz.Directed)
	g.Attrs("label", strings.TrimSpace(p.module+" @"+p.fn), "labelloc", "t", "fontname", "Helvetica", "rankdir", "TB")
	gv := map[string]graphviz.Node{}
	for _, n := range p.nodes {
		l := look[n.kind]
		gn := cluster(g, n.scope).Node(n.id)
		gn.Attrs("id", n.id, "label", label(n), "shape", l.shape, "style", "filled", "fillcolor", l.fill,
			"fontname", "Helvetica", "fontsize", "10", "tooltip", tooltip(n))
		gv[n.id] = gn
	}
	for i, e := range p.edges {
		ge := g.Edge(gv[e.from], gv[e.to])
		ge.Attrs("id", fmt.Sprintf("edge.%d", i), "fontname", "Helvetica", "fontsize", "8")
		if e.label != "" && e.label != e.from {
			ge.Attr("label", e.label)
		}
		if p.byID[e.from].kind == weight {
			ge.Attr("color", "#b59b4c")
		}
	}
	return []byte(g.String()), nil
}

// cluster returns the nested subgraph of a scope.
func cluster(g *graphviz.Graph, scope []string) *graphviz.Graph {
	for _, s := range scope {
		g = g.Subgraph(s, graphviz.ClusterOption{})
		g.Attrs("style", "rounded", "color", "#9a9a9a", "fontname", "Helvetica", "fontsize", "11")
	}
	return g
}

// label is what a node says: title, name, type, attributes.
func label(n *node) string {
	lines := []string{n.title}
	if n.kind == op || n.kind == state {
		lines = append(lines, n.id)
	}
	if n.typ != "" {
		lines = append(lines, n.typ)
	}
	return strings.Join(append(lines, attributeLines(n.attrs)...), "\n")
}

// labelAttrs bounds what a label says of attributes; the tooltip says all.
const labelAttrs = 6

func attributeLines(attrs []ir.Attribute) []string {
	var out []string
	for i, a := range attrs {
		if i == labelAttrs {
			return append(out, "...")
		}
		out = append(out, clip(a.Name+" = "+a.Value, 40))
	}
	return out
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "..."
	}
	return s
}

func tooltip(n *node) string {
	if len(n.text) == 0 {
		return n.id
	}
	return strings.Join(n.text, "\n")
}

// svgTimeout bounds a layout: Graphviz takes minutes on thousands of nodes.
const svgTimeout = 2 * time.Minute

// writeSVG lays the dot text out by Graphviz.
func writeSVG(p *picture) ([]byte, error) {
	text, err := writeDOT(p)
	if err != nil {
		return nil, err
	}
	path, err := exec.LookPath("dot")
	if err != nil {
		return nil, fmt.Errorf("svg: the program dot of Graphviz is not on PATH; on Debian: apt-get install graphviz (.dot, .html and .json need no program)")
	}
	ctx, cancel := context.WithTimeout(context.Background(), svgTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-Tsvg")
	cmd.Stdin = bytes.NewReader(text)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("svg: %s did not lay out %d nodes in %v; draw one layer, or .html", path, len(p.nodes), svgTimeout)
		}
		return nil, fmt.Errorf("svg: %s: %w: %s", path, err, strings.TrimSpace(errs.String()))
	}
	return out.Bytes(), nil
}
