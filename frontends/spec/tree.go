package spec

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	yamlparser "github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a spec: the largest example has 1 kB, and the YAML parser takes quadratic time on some texts.
const (
	maxBytes = 16 << 10
	maxDepth = 8
)

// pos is a place in the text, from 1; the zero pos is a command line.
type pos struct{ line, col int }

type kind string

const (
	scalar  kind = "value"
	list    kind = "list"
	mapping kind = "mapping"
)

// node is what a spec needs of YAML.
type node struct {
	kind    kind
	pos     pos
	text    string // scalar
	quoted  bool   // scalar: a string whatever it looks like
	items   []*node
	entries []entry
}

type entry struct {
	key  string
	pos  pos
	node *node
}

// parseTree reads one YAML document whose root is a mapping.
func parseTree(text []byte) (root *node, err error) {
	if len(text) > maxBytes {
		return nil, errAt(pos{1, 1}, "%d bytes, expected a spec of at most %d", len(text), maxBytes)
	}
	if p, deep := nesting(text); deep {
		return nil, errAt(p, "brackets nested deeper than %d, expected a spec", maxDepth)
	}
	// The parser is a third party's and the text is anyone's: a panic in it is a syntax error here.
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, errAt(pos{1, 1}, "not YAML: %v", r)
		}
	}()
	file, err := yamlparser.ParseBytes(text, 0)
	if err != nil {
		var y yaml.Error
		if errors.As(err, &y) {
			return nil, errAt(tokenPos(y.GetToken()), "not YAML: %s", y.GetMessage())
		}
		return nil, errAt(pos{1, 1}, "not YAML: %v", err)
	}
	var body ast.Node
	for _, d := range file.Docs {
		switch {
		case d.Body == nil:
		case body != nil:
			return nil, errAt(tokenPos(d.Body.GetToken()), "a second document, expected one")
		default:
			body = d.Body
		}
	}
	if body == nil {
		return nil, errAt(pos{1, 1}, "empty, expected a mapping of keys to values")
	}
	root, err = convert(body, 0)
	if err == nil && root.kind != mapping {
		err = errAt(root.pos, "a %s, expected a mapping of keys to values", root.kind)
	}
	return root, err
}

// nesting finds flow brackets deeper than any spec has, before the parser recurses on them.
func nesting(text []byte) (pos, bool) {
	depth, at := 0, pos{1, 1}
	for _, c := range text {
		switch c {
		case '[', '{':
			if depth++; depth > maxDepth {
				return at, true
			}
		case ']', '}':
			depth = max(0, depth-1)
		case '\n':
			at = pos{at.line + 1, 0}
		}
		at.col++
	}
	return pos{}, false
}

// errAt is an Error without its file and line of text, which Parse fills in.
func errAt(p pos, format string, a ...any) *Error {
	return &Error{Line: p.line, Col: p.col, Msg: fmt.Sprintf(format, a...)}
}

func tokenPos(t *token.Token) pos {
	if t == nil || t.Position == nil {
		return pos{1, 1}
	}
	return pos{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

func convert(n ast.Node, depth int) (*node, error) {
	at := tokenPos(n.GetToken())
	if depth > maxDepth {
		return nil, errAt(at, "nested deeper than %d, expected a spec", maxDepth)
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			at = tokenPos(n.Values[0].Key.GetToken())
		}
		return convertMapping(n.Values, at, depth)
	case *ast.MappingValueNode:
		return convertMapping([]*ast.MappingValueNode{n}, tokenPos(n.Key.GetToken()), depth)
	case *ast.SequenceNode:
		out := &node{kind: list, pos: at}
		for _, v := range n.Values {
			item, err := convert(v, depth+1)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, item)
		}
		return out, nil
	case *ast.StringNode:
		quoted := n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
		return &node{kind: scalar, pos: at, text: n.Value, quoted: quoted}, nil
	case *ast.LiteralNode:
		return &node{kind: scalar, pos: at, text: n.Value.Value, quoted: true}, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return &node{kind: scalar, pos: at, text: n.GetToken().Value}, nil
	}
	return nil, errAt(at, "a YAML %s, expected plain values, lists and mappings", n.Type())
}

func convertMapping(values []*ast.MappingValueNode, at pos, depth int) (*node, error) {
	out := &node{kind: mapping, pos: at}
	for _, v := range values {
		p := tokenPos(v.Key.GetToken())
		if v.Key.IsMergeKey() {
			return nil, errAt(p, "a YAML merge, expected plain values, lists and mappings")
		}
		value := &node{kind: scalar, pos: p}
		if v.Value != nil {
			var err error
			if value, err = convert(v.Value, depth+1); err != nil {
				return nil, err
			}
		}
		out.entries = append(out.entries, entry{v.Key.GetToken().Value, p, value})
	}
	return out, nil
}
