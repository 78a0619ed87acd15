// Package dot draws a Func: Graphviz dot, SVG, a self-contained foldable HTML page,
// and the JSON of Model Explorer. One layer and a repeat box by default, all layers
// on request. A node has the same id in all four, and it is the Value's name in the
// text ("%q", "@wq"; a launch is "launch.3", its second part "launch.3.1").
//
// Border law: this package imports quire/ir, quire/ir/types and
// github.com/emicklei/dot. Nothing but tools imports it. SVG runs Graphviz' dot,
// found on PATH; the other formats need no program.
//
// Reading order: picture.go (nodes, edges, scopes, free of any format), collapse.go
// (which layers repeat), then a file a format: graphviz.go, html.go, explorer.go.
//
// Every string that comes from a model is escaped: a name is untrusted text. The
// page loads nothing (Content-Security-Policy default-src 'none').
package dot
