package dot

import (
	"fmt"
	"path/filepath"
	"strings"

	"quire/ir"
)

// Format is what a drawing is written in.
type Format string

// The formats.
const (
	DOT      Format = "dot"
	SVG      Format = "svg"
	HTML     Format = "html"
	Explorer Format = "json" // a graph collection of Model Explorer
)

// FormatOf returns the format of a file name by its extension.
func FormatOf(file string) (Format, error) {
	ext := Format(strings.TrimPrefix(filepath.Ext(file), "."))
	if _, ok := writers[ext]; !ok {
		return "", fmt.Errorf("%s: extension %q, expected .dot, .svg, .html or .json", file, filepath.Ext(file))
	}
	return ext, nil
}

// Layers says which of the repeated layers are drawn.
type Layers uint8

// OneLayer draws the first layer of each kind, and a box for those that are like
// one of them; AllLayers draws every one.
const (
	OneLayer Layers = iota
	AllLayers
)

// Options choose a drawing.
type Options struct {
	Format Format
	Layers Layers
}

var writers = map[Format]func(*picture) ([]byte, error){
	DOT:      writeDOT,
	SVG:      writeSVG,
	HTML:     writeHTML,
	Explorer: writeExplorer,
}

// Draw returns the drawing of f, a function of m. It depends on nothing but its
// arguments (and, for SVG, the version of Graphviz).
func Draw(m *ir.Module, f *ir.Func, o Options) ([]byte, error) {
	write, ok := writers[o.Format]
	if !ok {
		return nil, fmt.Errorf("format %q, expected dot, svg, html or json", o.Format)
	}
	p := newPicture(m, f)
	if o.Layers == OneLayer {
		p.collapse()
	}
	return write(p)
}
