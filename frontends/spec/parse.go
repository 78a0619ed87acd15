package spec

import (
	"cmp"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"quire/frontends/decoder"
	"quire/ir/types/block"
)

// maxErrors bounds a report.
const maxErrors = 20

// parser is one reading of a spec or an option: it walks the tree by the table and collects errors.
type parser struct {
	keys  []Key
	spec  *Spec
	lines []string
	root  pos
	at    map[string]pos // where the value of each key stands, by canonical path
	order []string       // the keys seen
	errs  Errors

	queryScale float64
	windowed   []bool // window_layers as a list: by layer, as far as it goes
}

func newParser(file string, text []byte) *parser {
	s := &Spec{File: file, Encodings: decoder.Encodings{}}
	return &parser{keys: Keys(), spec: s, lines: strings.Split(string(text), "\n"), at: map[string]pos{}}
}

func (p *parser) seen(path string) bool { _, ok := p.at[canonical(path)]; return ok }

func (p *parser) unless(path string, set func()) {
	if !p.seen(path) {
		set()
	}
}

// where is the place of a key, or of the nearest key above it, or of the family.
func (p *parser) where(path string) pos {
	for path = canonical(path); path != ""; {
		if at, ok := p.at[path]; ok {
			return at
		}
		path = path[:max(strings.LastIndex(path, "."), 0)]
	}
	if at, ok := p.at["family"]; ok {
		return at
	}
	return p.root
}

// errorf collects an error about a key; "" is the whole spec.
func (p *parser) errorf(path, format string, a ...any) {
	e := errAt(p.where(path), format, a...)
	if path != "" {
		e.Msg = path + ": " + e.Msg
	}
	p.add(e)
}

func (p *parser) add(e *Error) {
	if len(p.errs) == maxErrors {
		return
	}
	e.File = p.spec.File
	if e.Line > 0 && e.Line <= len(p.lines) {
		e.Text = strings.TrimRight(p.lines[e.Line-1], "\r")
	}
	p.errs = append(p.errs, e)
}

func (p *parser) sort() {
	slices.SortStableFunc(p.errs, func(a, b *Error) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col)) })
}

// fieldErrors reports what decoder found wrong, at the keys' places.
func (p *parser) fieldErrors(err error) {
	if err == nil {
		return
	}
	list := []error{err}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		list = j.Unwrap()
	}
	for _, e := range list {
		var f *decoder.FieldError
		if errors.As(e, &f) {
			p.errorf(f.Field, "%s", f.Msg)
		} else {
			p.errorf("", "%v", e)
		}
	}
}

func (p *parser) mapping(prefix string, m *node) {
	for _, e := range m.entries {
		if len(p.errs) == maxErrors {
			return
		}
		p.entry(prefix, e)
	}
}

func (p *parser) entry(prefix string, e entry) {
	path := prefix + e.key
	i := slices.IndexFunc(p.keys, func(k Key) bool { return canonical(k.Path) == canonical(path) })
	if i < 0 {
		err := errAt(e.pos, "%s: no such key%s", path, p.nearest(prefix, path))
		p.add(err)
		return
	}
	k := p.keys[i]
	path = k.Path
	if p.seen(path) {
		p.errorf(path, "twice, expected once")
		return
	}
	p.at[canonical(path)] = e.node.pos
	p.order = append(p.order, path)
	switch {
	case e.node.kind == mapping && k.group:
		if k.set != nil && len(e.node.entries) == 0 {
			k.set(p, &node{kind: scalar, pos: e.node.pos})
			return
		}
		p.mapping(path+".", e.node)
	case e.node.kind == mapping, e.node.kind == list && path != "window_layers", k.set == nil:
		p.errorf(path, "a %s, expected %s", e.node.kind, k.Type)
	default:
		k.set(p, e.node)
	}
}

// nearest suggests the key that was meant.
func (p *parser) nearest(prefix, path string) string {
	best, distance := "", 4
	for _, k := range p.keys {
		if d := edits(canonical(k.Path), canonical(path)); d < distance && strings.HasPrefix(k.Path, prefix) {
			best, distance = k.Path, d
		}
	}
	if best == "" {
		var all []string
		for _, k := range p.keys {
			if rest, ok := strings.CutPrefix(k.Path, prefix); ok && !strings.Contains(rest, ".") {
				all = append(all, rest)
			}
		}
		return ", expected one of " + strings.Join(all, " ")
	}
	return ", expected perhaps " + best
}

// edits is the Levenshtein distance, for short texts.
func edits(a, b string) int {
	if len(b) > 64 {
		return len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := min(row[j]+1, row[j+1]+1, diagonal)
			if a[i] != b[j] {
				next = min(row[j]+1, row[j+1]+1, diagonal+1)
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

// show is a value as errors print it.
func (v *node) show() string {
	const most = 40
	switch {
	case v.kind != scalar:
		return "a " + string(v.kind)
	case len(v.text) > most:
		return strconv.Quote(v.text[:most]) + "..."
	case v.quoted || v.text == "":
		return strconv.Quote(v.text)
	}
	return v.text
}

func (p *parser) integer(path string, v *node, least int) (int, bool) {
	n, err := strconv.Atoi(v.text)
	if err != nil || v.kind != scalar || v.quoted {
		p.errorf(path, "%s, expected a whole number", v.show())
		return 0, false
	}
	if n < least {
		p.errorf(path, "%d, expected %d or more", n, least)
		return 0, false
	}
	return n, true
}

func (p *parser) number(path string, v *node) (float64, bool) {
	x, err := strconv.ParseFloat(v.text, 64)
	if err != nil || v.kind != scalar || v.quoted || strings.Trim(v.text, "0123456789+-.eE") != "" {
		p.errorf(path, "%s, expected a number", v.show())
		return 0, false
	}
	return x, true
}

func (p *parser) encoding(v *node, kinds ...decoder.Kind) {
	e, ok := block.Lookup(v.text)
	if !ok {
		path := "quantisation"
		if len(kinds) == 1 {
			path += "." + string(kinds[0])
		}
		p.errorf(path, "%s, expected one of %s, or integers in groups of a row such as q4g128", v.show(), strings.Join(block.Names(), " "))
		return
	}
	for _, k := range kinds {
		p.spec.Encodings[k] = e.Name
	}
}

var windowWords = map[string]decoder.Windows{
	"none": decoder.NoWindows, "all": decoder.AllWindows, "even": decoder.EvenWindows, "odd": decoder.OddWindows,
}

func setWindowLayers(p *parser, v *node) {
	c := &p.spec.Config
	if v.kind == scalar {
		w, ok := windowWords[v.text]
		if !ok {
			p.errorf("window_layers", "%s, expected none, all, even, odd, a list of layers, full_every or from", v.show())
		}
		c.Windows = w
		return
	}
	var marked []bool
	for _, item := range v.items {
		n, ok := p.integer("window_layers", item, 0)
		const most = 1 << 12 // the table of sizes has the real limit
		if !ok || n >= most {
			p.errorf("window_layers", "layer %s, expected one of the model's", item.show())
			return
		}
		for len(marked) <= n {
			marked = append(marked, false)
		}
		marked[n] = true
	}
	p.windowed = marked
}

func (p *parser) windowRule(v *node, rule decoder.Windows, least int) {
	if n, ok := p.integer("window_layers", v, least); ok {
		p.spec.Config.Windows, p.spec.Config.WindowN = rule, n
	}
}

func setQueryScale(p *parser, v *node) {
	x, ok := p.number("query_scale", v)
	switch {
	case ok && x > 0:
		p.queryScale = 1 / math.Sqrt(x)
	case ok:
		p.errorf("query_scale", "%v, expected more than 0", x)
	}
}

func setSeed(p *parser, v *node) {
	n, err := strconv.ParseInt(v.text, 10, 64)
	if err != nil || v.kind != scalar || v.quoted {
		p.errorf("seed", "%s, expected a whole number", v.show())
	}
	p.spec.Seed = &n
}

func setSparsity(p *parser, v *node) {
	x, ok := p.number("duo.sparsity", v)
	if ok && !(x >= 0 && x <= 1) {
		p.errorf("duo.sparsity", "%v, expected 0 to 1", x)
	}
	p.spec.duo().Sparsity = x
}

func setThreshold(p *parser, v *node) {
	if x, ok := p.number("duo.threshold", v); ok {
		p.spec.duo().Threshold = &x
	}
}

// relative finds a path of the spec from the folder of the spec.
func (p *parser) relative(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(p.spec.File), path)
}
