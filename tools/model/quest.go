package model

import (
	"quire/frontends/spec"
	"quire/ir"
	"quire/passes"
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

// unselected says so when pages were asked for and no layer picks any: all are among the
// first, which read everything, or have a window.
func unselected(records []passes.Record) []string {
	for _, r := range records {
		if r.Name == "quest.select-pages" && r.Counts["select-pages"] == 0 && len(r.Misses) > 0 {
			return []string{"quest: no layer picks pages: " + r.Misses[0].Why}
		}
	}
	return nil
}
