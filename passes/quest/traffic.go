package quest

import "quire/ir"

// Traffic is what a decode row reads of a cache, in bytes: a summary (a largest and a
// least) for each Page tokens, and keys and values of the pages that are picked. A token
// has token bytes of keys and values, scales of codes with them, and a summary summary:
// of one KV head, or of all that read alike. With selections of their own, the query
// heads of a group, group in all, pick up to that many times the budget.
func (o Options) Traffic(tokens, group int, token, summary float64) float64 {
	picked := o.Pages() * o.PhysicalPage
	if tokens <= picked {
		return Dense(tokens, token)
	}
	if o.Per == ir.PerHead {
		picked *= group
	}
	summaries := (tokens + o.Page - 1) / o.Page
	return float64(summaries)*summary + float64(min(picked, tokens))*token
}

// Dense is what a row reads without selection; of a streaming head, of the tokens that
// its window and its sink leave.
func Dense(tokens int, token float64) float64 { return float64(tokens) * token }
