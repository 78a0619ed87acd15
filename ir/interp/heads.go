package interp

import "quire/ir"

// heads copies the listed head groups in the order of the list.
func heads(c *call) any {
	x, a := c.tensor(0), c.v.Attrs.(ir.HeadsAttrs)
	n, d := x.Shape[len(x.Shape)-2], x.width()
	y := x.like(x.lead(2, len(a.KV)*a.Group, d)...)
	at := 0
	for row := range x.Rows() / max(n, 1) {
		for _, kv := range a.KV {
			from := (row*n + kv*a.Group) * d
			at += copy(y.Data[at:], x.Data[from:from+a.Group*d])
		}
	}
	return y
}

// headsMerge puts the head groups of both arguments where their lists say.
func headsMerge(c *call) any {
	a := c.v.Attrs.(ir.MergeAttrs)
	d := c.tensor(0).width()
	n := (len(a.KV[0]) + len(a.KV[1])) * a.Group
	y := c.tensor(0).like(c.tensor(0).lead(2, n, d)...)
	for i, list := range a.KV {
		x, at := c.tensor(i), 0
		for row := range y.Rows() / n {
			for _, kv := range list {
				to := (row*n + kv*a.Group) * d
				at += copy(y.Data[to:to+a.Group*d], x.Data[at:])
			}
		}
	}
	return y
}
