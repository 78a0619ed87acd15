package ir

import "quire/ir/types"

// HeadsAttrs: which KV heads, in any order, none twice; a head group of Group consecutive heads
// (1 for keys and values, the query heads of a KV head for queries) each.
type HeadsAttrs struct {
	KV    []int `ir:"kv"`
	Group int   `ir:"group"`
}

// MergeAttrs: the KV heads of each argument, ascending; together every KV head once.
type MergeAttrs struct {
	KV    [][]int `ir:"kv"`
	Group int     `ir:"group"`
}

func (HeadsAttrs) attrs() {}
func (MergeAttrs) attrs() {}

// inferHeads: [.., KV*group, d] -> [.., len(kv)*group, d].
func inferHeads(c *inferCtx) types.Type {
	x, a := c.float(0, 2), c.attrs.(HeadsAttrs)
	kv := c.kvHeads("heads of arg 1", x, a.Group)
	c.headList(a.KV, kv, map[int]bool{}, false)
	return withHeads(x, len(a.KV)*a.Group)
}

// inferHeadsMerge: [.., |kv0|*group, d] and [.., |kv1|*group, d] -> [.., KV*group, d].
func inferHeadsMerge(c *inferCtx) types.Type {
	x, y, a := c.float(0, 2), c.float(1, 2), c.attrs.(MergeAttrs)
	if len(a.KV) != 2 {
		c.failf("%d lists of heads, expected one an argument", len(a.KV))
	}
	total, seen := len(a.KV[0])+len(a.KV[1]), map[int]bool{}
	for i, t := range []types.Type{x, y} {
		if n := c.kvHeads("heads of an argument", t, a.Group); n != len(a.KV[i]) {
			c.failf("arg %d has %d KV heads, its list %d", i+1, n, len(a.KV[i]))
		}
		c.headList(a.KV[i], total, seen, true)
	}
	if want := withHeads(x, len(a.KV[1])*a.Group); !y.Equal(want) {
		c.failf("arg 2 has type %s, expected %s", y, want)
	}
	return withHeads(x, total*a.Group)
}

// kvHeads is the number of head groups of t.
func (c *inferCtx) kvHeads(what string, t types.Type, group int) int {
	h := c.constant(what, t.Shape[len(t.Shape)-2])
	if group <= 0 || h%int64(group) != 0 {
		c.failf("%d heads in groups of %d, expected a multiple", h, group)
	}
	return int(h) / group
}

// headList checks a list of KV heads, none seen before.
func (c *inferCtx) headList(list []int, heads int, seen map[int]bool, ascending bool) {
	if len(list) == 0 {
		c.failf("no heads, expected one or more")
	}
	for i, h := range list {
		if h < 0 || h >= heads {
			c.failf("KV head %d of %d", h, heads)
		}
		if seen[h] {
			c.failf("KV head %d is listed twice", h)
		}
		if ascending && i > 0 && h < list[i-1] {
			c.failf("KV head %d is out of order", h)
		}
		seen[h] = true
	}
}

func withHeads(t types.Type, heads int) types.Type {
	shape := append(types.Shape{}, t.Shape...)
	shape[len(shape)-2] = types.Const(int64(heads))
	return t.With(shape...)
}
