package quest

import (
	"fmt"

	"quire/ir"
	"quire/ir/types"
	"quire/passes"
)

// Options of the selection.
type Options struct {
	Budget       int // tokens that a row reads
	Page         int // tokens that a summary covers
	PhysicalPage int // tokens that are picked together, a multiple of Page
	DenseLayers  int // first layers, which read everything
	Per          ir.Per
	Reselect     int // tokens from one selection to the next, a divisor of PhysicalPage
}

// Defaults are the papers' sizes.
var Defaults = Options{Budget: 4096, Page: 16, PhysicalPage: 64, DenseLayers: 2, Reselect: 1}

// Pages is how many pages a row reads, the last among them.
func (o Options) Pages() int { return (o.Budget + o.PhysicalPage - 1) / o.PhysicalPage }

func (o Options) check() error {
	switch {
	case o.Budget <= 0:
		return fmt.Errorf("budget of %d tokens, expected a positive number", o.Budget)
	case o.Page <= 0 || o.PhysicalPage <= 0 || o.PhysicalPage%o.Page != 0:
		return fmt.Errorf("page of %d tokens in a physical page of %d, expected a divisor", o.Page, o.PhysicalPage)
	case o.DenseLayers < 0:
		return fmt.Errorf("%d dense layers, expected no negative", o.DenseLayers)
	case o.Reselect <= 0 || o.PhysicalPage%o.Reselect != 0:
		return fmt.Errorf("selection every %d tokens, expected a divisor of the page of %d: a page opens with a selection", o.Reselect, o.PhysicalPage)
	}
	return nil
}

const rule = "select-pages"

// SelectPages puts a selection of pages before attention over long caches.
func SelectPages(o Options) passes.Pass {
	return passes.Pass{
		Name: "quest.select-pages",
		Doc: `Attention reads the pages that its query may care for (Quest, arXiv 2406.10774).

Invariants: exact while the budget covers the context, and for every row that is
not a decode row; else approximate. The table keeps summaries of its pages. Layers
below the dense ones, caches that drop tokens and attention with a window stay as
they are. With a selection every few tokens the picks are kept in a cache of their
own, between a parameter and a result more.

	%a = attention %q, %c1, %seq   =>   %e = page.estimate %q, %c1, %seq
	                                    %p = page.topk %e, %seq {budget = 64, page = 64}
	                                    %a = attention.paged %q, %c1, %seq, %p`,
		Sets:     []passes.Prop{passes.PagesSelected},
		Numerics: passes.Approximates,
		Run: func(c *passes.Context, m *ir.Module) error {
			if m.Has(passes.PagesSelected) {
				return nil
			}
			if err := o.check(); err != nil {
				return err
			}
			if m.Has(passes.Specialised) {
				return fmt.Errorf("the module is specialised: nothing approximates any more")
			}
			return passes.OnFuncs(ir.Graph, o.rewrite)(c, m)
		},
	}
}

func (o Options) rewrite(c *passes.Context, m *ir.Module, f *ir.Func) error {
	layer := layers(f)
	var body []*ir.Value
	for _, v := range f.Body {
		if v.Op == ir.OpAttention {
			body = append(body, v)
		}
	}
	for _, v := range body {
		table := m.Table(m.Cache(v.Args[1].Type.Cache).Table)
		switch n := layer[v.Args[1].Type.Cache]; {
		case table.Recent != nil || v.Attrs.(ir.AttentionAttrs).Recent != nil:
			c.Missed(rule, f, v, "cache @%s or its reader has a window", v.Args[1].Type.Cache)
		case n < o.DenseLayers:
			c.Missed(rule, f, v, "layer %d is one of the first %d, which read everything", n, o.DenseLayers)
		default:
			table.Page, table.Summary = o.PhysicalPage, o.Page
			if err := o.attention(m, f, v); err != nil {
				return err
			}
			c.Count(rule)
		}
	}
	return nil
}

// attention puts a selection in front of v and attention over it in v's place.
func (o Options) attention(m *ir.Module, f *ir.Func, v *ir.Value) error {
	a := v.Attrs.(ir.AttentionAttrs)
	if d := m.Dim(ir.CachedTokens); d == nil {
		m.Dims = append(m.Dims, &ir.DimDecl{Name: ir.CachedTokens, When: ir.Device, Range: types.Range{Max: maxTokens}})
	}
	q, kv, seq := v.Args[0], v.Args[1], v.Args[2]
	e, err := f.AddBefore(m, v, ir.OpPageEstimate, ir.EstimateAttrs{Scale: a.Scale, Per: o.Per}, q, kv, seq)
	if err != nil {
		return err
	}
	p, err := f.AddBefore(m, v, ir.OpPageTopK, ir.TopKAttrs{Budget: o.Pages(), Page: o.PhysicalPage}, e, seq)
	if err != nil {
		return err
	}
	if o.Reselect > 1 {
		if p, err = o.keep(m, f, v, p); err != nil {
			return err
		}
	}
	y, err := f.AddBefore(m, v, ir.OpAttentionPaged, a, q, kv, seq, p)
	if err != nil {
		return err
	}
	y.Name = v.Name
	f.Replace(v, y)
	f.Remove(map[*ir.Value]bool{v: true})
	return nil
}

// keep gives a pick a cache, from which it is read until the next selection.
func (o Options) keep(m *ir.Module, f *ir.Func, at, pick *ir.Value) (*ir.Value, error) {
	name := at.Args[1].Type.Cache + "p"
	if m.Cache(name) != nil {
		return nil, fmt.Errorf("cache @%s exists, expected the name free for picks", name)
	}
	heads, _ := pick.Type.Shape[1].IsConst()
	m.Caches = append(m.Caches, &ir.CacheDecl{Name: name, Heads: int(heads), Dim: o.Pages(), Table: m.Cache(at.Args[1].Type.Cache).Table, Pick: true})
	kept := f.AddParam(name, types.CacheOf(name))
	next, err := f.AddBefore(m, at, ir.OpPageKeep, ir.KeepAttrs{Every: o.Reselect}, kept, pick, at.Args[2])
	if err == nil {
		f.Results = append(f.Results, next)
	}
	return next, err
}

// maxTokens bounds a sequence where a module does not.
const maxTokens = 1 << 20
