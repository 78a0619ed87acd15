package ir

import "quire/ir/types"

// Per says who shares a selection of pages.
type Per uint8

// A KV group's query heads read the same pages, or each its own.
const (
	PerGroup Per = iota
	PerHead
)

var perNames = []string{"group", "head"}

// MarshalText returns the word used in text.
func (p Per) MarshalText() ([]byte, error) { return []byte(perNames[p]), nil }

// UnmarshalText reads the word used in text.
func (p *Per) UnmarshalText(b []byte) error { return enumText(p, perNames, b) }

// EstimateAttrs: the attention's scale, and who shares the scores.
type EstimateAttrs struct {
	Scale float64 `ir:"scale"`
	Per   Per     `ir:"per"`
}

// TopKAttrs: a row reads Budget pages of Page tokens, the last among them.
type TopKAttrs struct {
	Budget int `ir:"budget"`
	Page   int `ir:"page"`
}

// KeepAttrs: a pick is of use to the tokens whose index in the sequence, divided by
// Every, is the same.
type KeepAttrs struct {
	Every int `ir:"every"`
}

func (EstimateAttrs) attrs() {}
func (KeepAttrs) attrs()     {}
func (TopKAttrs) attrs()     {}

// CachedTokens is the symbol of the longest sequence of a step, new rows
// included: a device dim, by whose bound page scores are sized.
const CachedTokens = "C"

// pages is how many pages of a table a sequence may have.
func (c *inferCtx) pages(page int) types.Dim {
	d := c.m.Dim(CachedTokens)
	if d == nil || d.When != Device {
		c.failf("dim %s is not declared for the device", CachedTokens)
	}
	if page <= 0 {
		c.failf("page of %d tokens, expected a positive number", page)
	}
	return types.Sym(CachedTokens).CeilDiv(int64(page))
}

// inferPageEstimate: q [N, H, d] -> f32[N, KV or H, pages].
func inferPageEstimate(c *inferCtx) types.Type {
	decl, a := c.queries(), c.attrs.(EstimateAttrs)
	positive(c, "scale", a.Scale)
	t := c.m.Table(decl.Table)
	if t == nil || t.Summary <= 0 {
		c.failf("table @%s of cache @%s has no summaries", decl.Table, decl.Name)
	}
	heads := c.arg(0).Shape[1]
	if a.Per == PerGroup {
		heads = types.Const(int64(decl.Heads))
	}
	return types.Of32(c.arg(0).Shape[0], heads, c.pages(t.Page))
}

// inferPageTopK: f32[N, H, pages] -> pick[N, H, budget].
func inferPageTopK(c *inferCtx) types.Type {
	s, seq, a := c.float(0, 3), c.rows(1), c.attrs.(TopKAttrs)
	if len(s.Shape) != 3 {
		c.failf("arg 1 has type %s, expected scores [N, H, pages]", s)
	}
	c.same("rows of scores", seq.Shape[0], s.Shape[0])
	c.same("pages", c.pages(a.Page), s.Shape[2])
	if a.Budget <= 0 {
		c.failf("budget of %d pages, expected one or more", a.Budget)
	}
	return types.PickOf(s.Shape[0], s.Shape[1], types.Const(int64(a.Budget)))
}

// kept is the declaration of the cache of picks at argument i.
func (c *inferCtx) kept(i int) *CacheDecl {
	d := c.m.Cache(c.arg(i).Cache)
	if c.arg(i).Kind != types.Cache || d == nil || !d.Pick {
		c.failf("arg %d has type %s, expected a cache of picks", i+1, c.arg(i))
	}
	return d
}

// inferPageKeep: a cache of picks and a pick of its extents -> the next version.
func inferPageKeep(c *inferCtx) types.Type {
	d, p, seq := c.kept(0), c.arg(1), c.rows(2)
	if want := types.PickOf(seq.Shape[0], types.Const(int64(d.Heads)), types.Const(int64(d.Dim))); !p.Equal(want) {
		c.failf("arg 2 has type %s, expected %s of cache @%s", p, want, d.Name)
	}
	if n := c.attrs.(KeepAttrs).Every; n <= 0 {
		c.failf("every %d tokens, expected one or more", n)
	}
	return c.arg(0)
}

// inferSummarise: a cache whose table has summaries.
func inferSummarise(c *inferCtx) types.Type {
	decl := c.cache(0)
	c.rows(1)
	if t := c.m.Table(decl.Table); t == nil || t.Summary <= 0 {
		c.failf("table @%s of cache @%s has no summaries", decl.Table, decl.Name)
	}
	return c.arg(0)
}

// inferAttentionPaged: as attention; the pick is of the cache's heads or of q's.
func inferAttentionPaged(c *inferCtx) types.Type {
	q, a := inferAttention(c), c.attrs.(AttentionAttrs)
	decl, p := c.cache(1), c.arg(3)
	if p.Kind == types.Cache {
		k := c.kept(3)
		p = types.PickOf(q.Shape[0], types.Const(int64(k.Heads)), types.Const(int64(k.Dim)))
	}
	if p.Kind != types.Pick {
		c.failf("arg 4 has type %s, expected a pick", p)
	}
	c.same("rows of the pick", q.Shape[0], p.Shape[0])
	if h := p.Shape[1]; h != types.Const(int64(decl.Heads)) && h != q.Shape[1] {
		c.failf("a pick of %s heads, expected %d or %s", h, decl.Heads, q.Shape[1])
	}
	if a.Sink != 0 || a.Recent != nil {
		c.failf("sink or recent beside picked pages")
	}
	if t := c.m.Table(decl.Table); t == nil || t.Recent != nil {
		c.failf("table @%s of cache @%s drops tokens, expected whole pages", decl.Table, decl.Name)
	}
	return q
}

// queries checks arguments q, kv, seq as attention has them, and returns the
// cache's declaration.
func (c *inferCtx) queries() *CacheDecl {
	q, decl, seq := c.float(0, 3), c.cache(1), c.rows(2)
	if len(q.Shape) != 3 {
		c.failf("arg 1 has type %s, expected heads [N, H, d]", q)
	}
	c.same("rows of q", seq.Shape[0], q.Shape[0])
	c.same("head size of q", types.Const(int64(decl.Dim)), q.Last())
	if h := c.constant("heads of q", q.Shape[1]); decl.Heads <= 0 || h%int64(decl.Heads) != 0 {
		c.failf("%d query heads on %d KV heads, expected a multiple", h, decl.Heads)
	}
	return decl
}
