package calibrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"quire/frontends/decoder"
	"quire/ir"
	"quire/ir/interp"
	"quire/ir/types/block"
	"quire/passes"
	"quire/passes/awq"
)

// layer calibrates and rounds one layer.
func (r *run) layer(ctx context.Context, i int) (*result, error) {
	needs := map[string]decoder.Need{}
	for _, n := range r.m.Config.Needs() {
		if n.Layer() == i {
			needs[n.Name] = n
		}
	}
	l := &layer{run: r, ctx: ctx, needs: needs, scales: map[string][]float32{}, out: &result{Layer: Layer{Layer: i}, Rows: map[string][]byte{}, Floats: map[string][]float32{}}}
	for _, s := range awq.Sites(r.module.Func("step")) {
		if _, ok := needs[s.Name()]; ok {
			l.sites = append(l.sites, s)
		}
	}
	for _, s := range l.sites {
		if err := l.search(&s); err != nil {
			return nil, err
		}
	}
	if err := l.absorb(); err != nil {
		return nil, err
	}
	for k, s := range l.sites {
		if err := l.round(&s, &l.out.Layer.Sites[k]); err != nil {
			return nil, err
		}
	}
	return l.out, nil
}

// layer is the work on one layer.
type layer struct {
	*run
	ctx    context.Context
	needs  map[string]decoder.Need
	sites  []awq.Site
	scales map[string][]float32 // by site, those that are not all ones
	final  map[string][]float32 // weights after absorption
	out    *result
}

// search finds a site's scale on the original weights.
func (l *layer) search(s *awq.Site) error {
	rep := Scale{Linears: s.Weights(), Ratio: -1, Why: s.Why}
	defer func() { l.out.Layer.Sites = append(l.out.Layer.Sites, rep) }()
	in := l.seen[s.Name()]
	if in == nil {
		return fmt.Errorf("%s: the compiled model does not show its input", s.Name())
	}
	list := Candidates(None, nil, nil)
	w, k, err := l.joined(s)
	if err != nil {
		return err
	}
	if s.Why == "" && l.o.Search != None {
		list = Candidates(l.o.Search, in.mean, RelativeWeights(w, k, l.o.Group))
	}
	p, err := l.product(l.ctx, len(in.sample)/k, len(w)/k, k)
	if err != nil {
		return err
	}
	if err := p.inputs(in.sample); err != nil {
		return err
	}
	best, err := Best(list, w, k, func(x []float32) error { return l.through(x, k) }, func(d []float32) (float64, error) {
		if err := l.ctx.Err(); err != nil {
			return 0, err
		}
		return p.loss(d)
	})
	if err != nil {
		return err
	}
	rep.Ratio, rep.Nearest, rep.Loss = best.Ratio, best.Nearest, best.Loss
	if best.Scales != nil {
		l.scales[s.Name()] = best.Scales
	}
	return nil
}

// joined is the rows of all linears of a site.
func (l *layer) joined(s *awq.Site) (w []float32, k int, err error) {
	for _, name := range s.Weights() {
		x, err := l.m.Float32(name)
		if err != nil {
			return nil, 0, err
		}
		w, k = append(w, x...), l.needs[name].Cols
	}
	return w, k, nil
}

// through puts rows of k values through their encoding.
func (l *layer) through(x []float32, k int) error {
	enc := block.Grouped(l.o.Bits, l.o.Group)
	e, ok := block.Lookup(enc)
	if !ok {
		return fmt.Errorf("no encoding %s", enc)
	}
	size, err := e.RowBytes(int64(k))
	if err != nil {
		return err
	}
	errs := make([]error, len(x)/k)
	each(len(x)/k, func(r int) {
		raw, row := make([]byte, size), x[r*k:][:k]
		if errs[r] = block.Encode(enc, row, raw); errs[r] == nil {
			errs[r] = block.Decode(enc, raw, row)
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// absorb rewrites the layer's graph with the scales and evaluates the weights that come of it.
func (l *layer) absorb() error {
	m := l.module.Clone()
	if len(l.scales) > 0 {
		if _, err := (passes.Pipeline{awq.AbsorbScales(sorted(l.scales))}).Run(m, passes.Verify()); err != nil {
			return err
		}
	}
	values := func(name string) ([]float32, error) {
		if site, ok := strings.CutSuffix(name, awq.ScaleSuffix); ok && l.scales[site] != nil {
			return l.scales[site], nil
		}
		return l.m.Float32(name)
	}
	l.final = map[string][]float32{}
	for _, name := range weightsOf(m.Func("step")) {
		from := awq.Base(m, name)
		n, ok := l.needs[from]
		if !ok || name == from && !n.Linear() {
			continue // not of this layer, or as it was
		}
		t, err := interp.Weight(m, values, name)
		if err != nil {
			return err
		}
		l.final[from] = t.F32()
		if !n.Linear() {
			l.out.Floats[from] = l.final[from]
		}
	}
	return nil
}

// weightsOf lists the weights that a function reads, in order.
func weightsOf(f *ir.Func) []string {
	var out []string
	for _, v := range f.Body {
		for _, a := range v.Args {
			if a.Op == ir.OpWeight && !slices.Contains(out, ir.WeightName(a)) {
				out = append(out, ir.WeightName(a))
			}
		}
	}
	return out
}

// round clips and rounds the linears of a site.
func (l *layer) round(s *awq.Site, rep *Scale) error {
	in := l.seen[s.Name()]
	x := in.scaled(l.scales[s.Name()])
	enc := block.Grouped(l.o.Bits, l.o.Group)
	e, _ := block.Lookup(enc)
	clipped, groups := 0, 0
	for _, name := range s.Weights() {
		w := l.final[name]
		n := l.needs[name]
		if w == nil {
			return fmt.Errorf("%s: the rewritten graph does not read it", name)
		}
		if l.o.Clip && Clips(name) {
			c, err := l.clip(w, n, x)
			if err != nil {
				return err
			}
			clipped, groups = clipped+c, groups+len(w)/l.o.Group
		}
		size, err := e.RowBytes(int64(n.Cols))
		if err != nil {
			return err
		}
		rows := make([]byte, int64(n.Rows)*size)
		if err := block.EncodeRows(enc, n.Cols, w, rows); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		l.out.Rows[name] = rows
	}
	if groups > 0 {
		rep.Clipped = float64(clipped) / float64(groups)
	}
	return nil
}

// clip bounds the weights of a linear, group by group, on the inputs x.
func (l *layer) clip(w []float32, n decoder.Need, x []float32) (clipped int, err error) {
	g, tokens := l.o.Group, len(x)/n.Cols
	p, err := l.product(l.ctx, tokens, n.Rows, g)
	if err != nil {
		return 0, err
	}
	xs, ws := make([]float32, tokens*g), make([]float32, n.Rows*g)
	for c := 0; c < n.Cols; c += g {
		if err := l.ctx.Err(); err != nil {
			return 0, err
		}
		columns(xs, x, n.Cols, c, g)
		columns(ws, w, n.Cols, c, g)
		if err := p.inputs(xs); err != nil {
			return 0, err
		}
		chosen, err := Clip(ws, g, func(d []float32) error { return l.through(d, g) }, p.squares)
		if err != nil {
			return 0, err
		}
		for r := range n.Rows {
			copy(w[r*n.Cols+c:][:g], ws[r*g:][:g])
		}
		clipped += len(slices.DeleteFunc(chosen, func(f float32) bool { return f == 1 }))
	}
	return clipped, nil
}

// columns copies columns c to c+g of rows of k values.
func columns(dst, src []float32, k, c, g int) {
	for r := range len(dst) / g {
		copy(dst[r*g:][:g], src[r*k+c:][:g])
	}
}
