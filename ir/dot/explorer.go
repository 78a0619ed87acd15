package dot

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// The graph collection of Model Explorer, as its graph_builder.py and
// common/utils.ts define it: namespaces separated by / are what folds.
type (
	collection struct {
		Label  string          `json:"label"`
		Graphs []explorerGraph `json:"graphs"`
	}
	explorerGraph struct {
		ID    string         `json:"id"`
		Nodes []explorerNode `json:"nodes"`
	}
	explorerNode struct {
		ID        string           `json:"id"`
		Label     string           `json:"label"`
		Namespace string           `json:"namespace"`
		Attrs     []explorerAttr   `json:"attrs,omitempty"`
		Incoming  []explorerEdge   `json:"incomingEdges,omitempty"`
		Outputs   []explorerOutput `json:"outputsMetadata,omitempty"`
	}
	explorerAttr struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	explorerEdge struct {
		Source string `json:"sourceNodeId"`
		Output string `json:"sourceNodeOutputId"`
		Input  string `json:"targetNodeInputId"`
	}
	explorerOutput struct {
		ID    string         `json:"id"`
		Attrs []explorerAttr `json:"attrs"`
	}
)

// writeExplorer writes one collection of one graph.
func writeExplorer(p *picture) ([]byte, error) {
	name := p.module
	if name == "" {
		name = "quire"
	}
	g := explorerGraph{ID: p.fn}
	incoming := map[string][]explorerEdge{}
	for _, e := range p.edges {
		incoming[e.to] = append(incoming[e.to], explorerEdge{e.from, "0", strconv.Itoa(e.arg)})
	}
	for _, n := range p.nodes {
		x := explorerNode{ID: n.id, Label: n.title, Namespace: namespace(n.scope), Incoming: incoming[n.id]}
		for _, a := range n.attrs {
			x.Attrs = append(x.Attrs, explorerAttr{a.Name, a.Value})
		}
		for i, t := range n.text {
			key := "ir"
			if len(n.text) > 1 {
				key = fmt.Sprintf("ir.%d", i)
			}
			x.Attrs = append(x.Attrs, explorerAttr{key, t})
		}
		if n.typ != "" {
			x.Outputs = []explorerOutput{{"0", []explorerAttr{{"tensor_shape", n.typ}}}}
		}
		g.Nodes = append(g.Nodes, x)
	}
	b, err := json.MarshalIndent(collection{Label: name, Graphs: []explorerGraph{g}}, "", " ")
	return append(b, '\n'), err
}

// namespace joins a scope; a slash inside a component would fold at another place.
func namespace(scope []string) string {
	parts := make([]string, len(scope))
	for i, s := range scope {
		parts[i] = strings.ReplaceAll(s, "/", "_")
	}
	return strings.Join(parts, "/")
}
