package ir

import "quire/ir/types"

func inferRopeTable(c *inferCtx) types.Type {
	pos, a := c.index(0), c.attrs.(RopeTableAttrs)
	if a.Dim <= 0 || a.Dim%2 != 0 {
		c.failf("dim is %d, expected a positive even number", a.Dim)
	}
	positive(c, "base", a.Base)
	if n := len(a.Factors); n != 0 && n != a.Dim/2 {
		c.failf("%d factors, expected %d", n, a.Dim/2)
	}
	switch a.Scaling {
	case ScaleLinear:
		positive(c, "factor", a.Factor)
	case ScaleLlama3:
		positive(c, "factor", a.Factor)
		positive(c, "low", a.LowFreq)
		positive(c, "original", float64(a.Original))
		if !(a.HighFreq > a.LowFreq) {
			c.failf("high is %v, expected more than low %v", a.HighFreq, a.LowFreq)
		}
	}
	return types.Of32(pos.Shape[0], types.Const(int64(a.Dim/2)), types.Const(2))
}

func inferRope(c *inferCtx) types.Type {
	x, t := c.float(0, 3), c.float(1, 3)
	if t.Elem != types.Plain(types.F32) || len(t.Shape) != 3 || t.Shape[2] != types.Const(2) {
		c.failf("arg 2 has type %s, expected f32[N, dim/2, 2]", t)
	}
	c.same("rows of the table", x.Shape[0], t.Shape[0])
	d, r := c.constant("head", x.Last()), c.constant("pairs", t.Shape[1])
	if 2*r > d {
		c.failf("the table rotates %d elements of heads of %d", 2*r, d)
	}
	return x
}

// cache returns the declaration of the cache that argument i is a version of.
func (c *inferCtx) cache(i int) *CacheDecl {
	t := c.arg(i)
	if t.Kind != types.Cache {
		c.failf("arg %d has type %s, expected a cache", i+1, t)
	}
	d := c.m.Cache(t.Cache)
	if d == nil {
		c.failf("arg %d: cache @%s is not declared", i+1, t.Cache)
	}
	if d.Pick {
		c.failf("arg %d: cache @%s holds picks, expected keys and values", i+1, t.Cache)
	}
	return d
}

// rows returns the row map at argument i.
func (c *inferCtx) rows(i int) types.Type {
	t := c.arg(i)
	if t.Kind != types.Rows {
		c.failf("arg %d has type %s, expected rows[N, S]", i+1, t)
	}
	return t
}

func inferAppend(c *inferCtx) types.Type {
	decl, seq := c.cache(0), c.rows(3)
	for i := 1; i <= 2; i++ {
		t := c.float(i, 3)
		want := types.Shape{seq.Shape[0], types.Const(int64(decl.Heads)), types.Const(int64(decl.Dim))}
		if !t.Shape.Equal(want) {
			c.failf("arg %d has shape [%s], expected [%s] of cache @%s", i+1, t.Shape, want, decl.Name)
		}
	}
	return c.arg(0)
}

func inferAttention(c *inferCtx) types.Type {
	q, decl, seq, a := c.float(0, 3), c.cache(1), c.rows(2), c.attrs.(AttentionAttrs)
	c.same("rows of q", seq.Shape[0], q.Shape[0])
	c.same("head size of q", types.Const(int64(decl.Dim)), q.Last())
	if h := c.constant("heads of q", q.Shape[1]); decl.Heads <= 0 || h%int64(decl.Heads) != 0 {
		c.failf("%d query heads on %d KV heads, expected a multiple", h, decl.Heads)
	}
	positive(c, "scale", a.Scale)
	if a.Sink < 0 || a.Recent != nil && *a.Recent < 0 || a.Cap < 0 {
		c.failf("negative sink, recent or cap")
	}
	return q
}

func inferArgMax(c *inferCtx) types.Type {
	x := c.float(0, 1)
	return types.TensorOf(types.Plain(types.I32), x.Shape[:len(x.Shape)-1]...)
}

func inferLogSumExp(c *inferCtx) types.Type {
	x := c.float(0, 1)
	return types.Of32(x.Shape[:len(x.Shape)-1]...)
}
