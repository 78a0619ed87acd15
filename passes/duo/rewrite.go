package duo

import (
	"fmt"

	"quire/ir"
	"quire/ir/types"
)

// versions are the caches of both classes that stand for one version of a layer's;
// the retrieval one of a layer without retrieval heads is nil.
type versions [2]*ir.Value

// suffixes of names that the classes give.
var suffixes = [2]string{"r", "s"}

// rewriter rebuilds one function.
type rewriter struct {
	*splitter
	f     *ir.Func
	now   map[*ir.Value]versions  // by the version that is replaced
	swap  map[*ir.Value]*ir.Value // outputs of attention, by what they replace
	taken map[taken]*ir.Value
}

// taken is a heads op that exists already.
type taken struct {
	x     *ir.Value
	layer *layer
	class int
}

func (g *rewriter) rewrite() error {
	params, body := g.f.Params, g.f.Body
	g.f.Params, g.f.Body = nil, nil
	for _, p := range params {
		l := g.layers[p.Type.Cache]
		if l == nil {
			g.f.Params = append(g.f.Params, p)
			continue
		}
		now, err := each(l, p, func(class int) (*ir.Value, error) {
			return g.f.AddParam("", types.CacheOf(l.cache[class])), nil
		})
		if err != nil {
			return err
		}
		g.now[p] = now
	}
	for _, v := range body {
		if err := g.value(v); err != nil {
			return err
		}
	}
	g.results()
	return nil
}

// each makes what stands for v in every class that the layer has, named after v.
func each(l *layer, v *ir.Value, class func(int) (*ir.Value, error)) (out versions, err error) {
	for i, suffix := range suffixes {
		if len(l.kv[i]) == 0 {
			continue
		}
		if out[i], err = class(i); err != nil {
			return out, err
		}
		if v.Name != "" {
			out[i].Name = v.Name + suffix
		}
	}
	return out, nil
}

// value keeps a value, or puts what stands for it in its place.
func (g *rewriter) value(v *ir.Value) error {
	var version *ir.Value
	for i, a := range v.Args {
		if y, ok := g.swap[a]; ok {
			v.Args[i] = y
		}
		if _, ok := g.now[a]; ok {
			version = a
		}
	}
	if version == nil {
		g.f.Body = append(g.f.Body, v)
		return nil
	}
	l, now := g.layers[version.Type.Cache], g.now[version]
	switch v.Op {
	case ir.OpAppend:
		return g.append(v, l, now)
	case ir.OpAttention:
		return g.attention(v, l, now)
	}
	return fmt.Errorf("BUG: %s reads cache @%s", v.Op, version.Type.Cache)
}

func (g *rewriter) append(v *ir.Value, l *layer, now versions) (err error) {
	g.now[v], err = each(l, v, func(class int) (*ir.Value, error) {
		k, err := g.heads(v, l, v.Args[1], class)
		if err != nil {
			return nil, err
		}
		val, err := g.heads(v, l, v.Args[2], class)
		if err != nil {
			return nil, err
		}
		return g.add(v, ir.OpAppend, nil, now[class], k, val, v.Args[3])
	})
	return err
}

func (g *rewriter) attention(v *ir.Value, l *layer, now versions) error {
	out, err := each(l, v, func(class int) (*ir.Value, error) {
		a := v.Attrs.(ir.AttentionAttrs)
		if class == 1 && g.o.Prefill == Strict {
			recent := g.o.Recent
			a.Sink, a.Recent = g.o.Sink, &recent
		}
		q, err := g.heads(v, l, v.Args[0], class)
		if err != nil {
			return nil, err
		}
		return g.add(v, ir.OpAttention, a, q, now[class], v.Args[2])
	})
	if err != nil {
		return err
	}
	y := out[1]
	if l.both() {
		if y, err = g.add(v, ir.OpHeadsMerge, ir.MergeAttrs{KV: l.kv[:], Group: l.group(v)}, out[0], out[1]); err != nil {
			return err
		}
	}
	y.Name = v.Name
	g.swap[v] = y
	return nil
}

// heads takes the heads of one class of x, once.
func (g *rewriter) heads(at *ir.Value, l *layer, x *ir.Value, class int) (*ir.Value, error) {
	key := taken{x, l, class}
	if !l.both() {
		return x, nil
	}
	if y, ok := g.taken[key]; ok {
		return y, nil
	}
	y, err := g.add(at, ir.OpHeads, ir.HeadsAttrs{KV: l.kv[class], Group: l.group(x)}, x)
	if err == nil && x.Name != "" {
		y.Name = x.Name + suffixes[class]
	}
	g.taken[key] = y
	return y, err
}

// add appends a value with the scope and place of at.
func (g *rewriter) add(at *ir.Value, op ir.Op, attrs ir.Attrs, args ...*ir.Value) (*ir.Value, error) {
	v, err := g.f.Add(g.m, op, attrs, args...)
	if err != nil {
		return nil, err
	}
	v.Scope, v.Pos = at.Scope, at.Pos
	return v, nil
}

func (g *rewriter) results() {
	var out []*ir.Value
	for _, r := range g.f.Results {
		now, split := g.now[r]
		y, swapped := g.swap[r]
		switch {
		case swapped:
			out = append(out, y)
		case !split:
			out = append(out, r)
		}
		for _, v := range now {
			if v != nil {
				out = append(out, v)
			}
		}
	}
	g.f.Results = out
}
