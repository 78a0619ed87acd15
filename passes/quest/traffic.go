package quest

import "quire/ir"

// Traffic is what a decode row reads of one KV head's cache, in bytes: a summary (a
// largest and a least) for each Page tokens, and keys and values of the pages that
// are picked. With selections of their own, the query heads of a group, group in
// all, pick up to that many times the budget. Heads have dim elements of size bytes.
func (o Options) Traffic(tokens, group, dim int, size float64) float64 {
	picked := o.Pages() * o.PhysicalPage
	if o.Per == ir.PerHead {
		picked *= group
	}
	if tokens <= o.Pages()*o.PhysicalPage {
		return Dense(tokens, dim, size)
	}
	summaries := (tokens + o.Page - 1) / o.Page
	return 2 * float64(dim) * size * float64(summaries+min(picked, tokens))
}

// Dense is what a row reads without selection.
func Dense(tokens, dim int, size float64) float64 { return 2 * float64(dim) * size * float64(tokens) }
