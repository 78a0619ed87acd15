package dot

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // page.css, page.js
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
)

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// pageNode is what the script knows of a node.
type pageNode struct {
	ID    string      `json:"id"`
	Title string      `json:"title"`
	Type  string      `json:"type"`
	Scope string      `json:"scope"`
	Attrs [][2]string `json:"attrs"`
	Args  []string    `json:"args"`
	Text  []string    `json:"text"`
}

// writeHTML writes one page that loads nothing: nested foldable scopes, a row a
// node, search, and a panel that explains the picked row.
func writeHTML(p *picture) ([]byte, error) {
	args := map[string][]string{}
	for _, e := range p.edges {
		args[e.to] = append(args[e.to], e.from)
	}
	data, err := pageData(p, args)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	title := html.EscapeString(strings.TrimSpace(p.module + " @" + p.fn))
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"+
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '%s'; script-src '%s'\">\n"+
		"<meta name=\"viewport\" content=\"width=device-width\">\n<title>%s</title>\n<style>%s</style>\n</head>\n<body>\n"+
		"<header><h1>%s</h1><input id=\"ui-search\" type=\"search\" placeholder=\"search ( / )\"><button id=\"ui-open\">open all</button><button id=\"ui-fold\">fold all</button></header>\n<main>\n",
		digest(pageCSS), digest(pageJS), title, pageCSS, title)
	writeTree(&b, scopeTree(p), args)
	fmt.Fprintf(&b, "</main>\n<aside id=\"ui-panel\"><p>Pick a row to see what it reads and who reads it.</p></aside>\n"+
		"<script type=\"application/json\" id=\"ui-data\">%s</script>\n<script>%s</script>\n</body>\n</html>\n", data, pageJS)
	return b.Bytes(), nil
}

// digest is the source expression of an inline script or style.
func digest(s string) string {
	h := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(h[:])
}

// pageData is JSON in which < > & are escaped, so that no string ends the script.
func pageData(p *picture, args map[string][]string) ([]byte, error) {
	list := make([]pageNode, len(p.nodes))
	for i, n := range p.nodes {
		x := pageNode{ID: n.id, Title: n.title, Type: n.typ, Scope: strings.Join(n.scope, "."), Attrs: [][2]string{}, Args: args[n.id], Text: n.text}
		for _, a := range n.attrs {
			x.Attrs = append(x.Attrs, [2]string{a.Name, a.Value})
		}
		if x.Args == nil {
			x.Args = []string{}
		}
		if x.Text == nil {
			x.Text = []string{}
		}
		list[i] = x
	}
	return json.Marshal(list)
}

// tree is a scope with what stands in it, in order: rows and inner scopes.
type tree struct {
	name  string
	items []any // *node or *tree
	inner map[string]*tree
	nodes int
}

func scopeTree(p *picture) *tree {
	root := &tree{inner: map[string]*tree{}}
	for _, n := range p.nodes {
		t := root
		for _, s := range n.scope {
			next := t.inner[s]
			if next == nil {
				next = &tree{name: s, inner: map[string]*tree{}}
				t.inner[s] = next
				t.items = append(t.items, next)
			}
			next.nodes++
			t = next
		}
		t.items = append(t.items, n)
	}
	return root
}

func writeTree(b *bytes.Buffer, t *tree, args map[string][]string) {
	for _, item := range t.items {
		switch x := item.(type) {
		case *tree:
			fmt.Fprintf(b, "<details open><summary>%s<small>%d</small></summary>\n", html.EscapeString(x.name), x.nodes)
			writeTree(b, x, args)
			b.WriteString("</details>\n")
		case *node:
			writeRow(b, x, args[x.id])
		}
	}
}

func writeRow(b *bytes.Buffer, n *node, args []string) {
	id := html.EscapeString(n.id)
	fmt.Fprintf(b, "<div class=\"row %s\" id=\"%s\" tabindex=\"0\"><b>%s</b><span>%s</span><code>%s</code><span class=\"from\">", n.kind, id, html.EscapeString(n.title), id, html.EscapeString(n.typ))
	for i, a := range args {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(b, "<a href=\"#%s\">%s</a>", html.EscapeString(url.PathEscape(a)), html.EscapeString(a))
	}
	b.WriteString("</span></div>\n")
}
