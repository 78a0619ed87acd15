package model

import (
	"quire/frontends/spec"
	"quire/ir"
	"quire/passes/quest"
)

// questOptions turns the option of a command line or spec into the pass's; nil stays nil.
func questOptions(q *spec.Quest) *quest.Options {
	if q == nil {
		return nil
	}
	o := &quest.Options{Budget: q.Budget, Page: q.Page, PhysicalPage: q.PhysicalPage, DenseLayers: q.DenseLayers, Reselect: q.Reselect}
	if q.Per == "query-head" {
		o.Per = ir.PerHead
	}
	return o
}
