// Package pipeline is the table: which passes run, in what order, and why.
//
// Border law: imports the passes. Nothing but tools, tests and the embedding
// program imports it.
package pipeline

import (
	"slices"

	"quire/ir"
	"quire/ir/target"
	"quire/passes"
	"quire/passes/awq"
	"quire/passes/canon"
	"quire/passes/dots"
	"quire/passes/duo"
	"quire/passes/fuse"
	"quire/passes/kvquant"
	"quire/passes/lower"
	"quire/passes/plan"
	"quire/passes/quest"
	"quire/passes/siblings"
)

// Options choose among pipelines.
type Options struct {
	// Dot rounds the operands of products on the way (passes/dots); the zero
	// value keeps f32 exact on a CPU, and is what tensor cores take on a GPU.
	Dot ir.Dot
	// Duo splits the heads of each layer (passes/duo), Quest selects pages of long
	// caches (passes/quest); nil is off. Both approximate.
	Duo   *duo.Options
	Quest *quest.Options
	// KV quantises caches of keys and values (passes/kvquant); the zero value leaves them as
	// the model has them.
	KV kvquant.Bits
	// Target chooses specialisations and kernels; the zero Target is any CPU.
	Target target.Target
	// Taps makes the inputs of linears results of the step: what calibration reads.
	Taps bool
	// HeadTaps makes queries and keys results: what gates are measured by.
	HeadTaps bool
}

// Standard is the compiler: read it top to bottom.
func Standard(o Options) passes.Pipeline {
	p := passes.Pipeline{
		canon.Simplify(),      // one spelling, so that every later pattern is short
		awq.FuseDequantGemm(), // before merging: a merged weight must be the one that kernels read
		canon.Simplify(),      // again: fusion leaves dead dequants, which would count as users
	}
	if o.Taps {
		p = append(p, awq.TapInputs()) // before merging: an input is named by its own linear
	}
	p = append(p, siblings.Merge()) // while projections are still whole matmuls
	switch {                        // after merging: one rounding for all siblings
	case o.Target.Arch == target.PTX && (o.Dot == ir.DotF32 || o.Dot == ir.DotF16):
		p = append(p, dots.TensorCores())
	case o.Dot != ir.DotF32:
		p = append(p, dots.RoundActivations(o.Dot))
	}
	p = append(p, canon.Simplify()) // again: merging leaves slices of whole axes
	if o.HeadTaps {
		p = append(p, duo.TapHeads()) // before heads are split: a layer's are whole
	}
	if o.Duo != nil {
		p = append(p, duo.SplitHeads(*o.Duo)) // after merging: heads are taken of finished projections, no weight is cut
	}
	if o.Quest != nil {
		p = append(p, quest.SelectPages(*o.Quest)) // after heads are split: streaming heads have no pages to select
	}
	if o.KV != 0 {
		p = append(p, kvquant.QuantiseCaches(o.KV)) // anywhere before specialising: caches that are split later would inherit it
	}
	return append(p,
		lower.Specialise(lower.Specs(o.Target)...), // the border: nothing approximates after it
		fuse.RopeAppend(o.Target),                  // first: it wants the linear, its heads and the cache still apart
		fuse.Epilogues(o.Target),                   // before pointwise: what a linear can take should not become a launch
		fuse.Pointwise(o.Target),                   // what is left of elementwise chains
		fuse.Stores(o.Target),                      // both appends of a split layer whose caches quantise
		fuse.HeadGroups(o.Target),                  // both attentions of a split layer, where their heads stand
		fuse.Pages(o.Target),                       // a selection is one launch
		fuse.Norms(o.Target),                       // last fusion: a norm joins the finished linear
		lower.Summarise(o.Target),                  // clusters are final: it follows whatever appends
		lower.CopySlices(o.Target),                 // what no cluster reads in place
		lower.SelectKernels(o.Target),              // clusters are final; a body without a kernel is an error
		plan.Buffers(),                             // lifetimes are final only now
	)
}

// All returns every pass by itself, sorted by name, for tools that run one. Those
// with options have their package's Defaults; duo's mask is then duo.Alternating, and caches have 4 bits.
func All() []passes.Pass { return For(target.Target{}) }

// For returns every pass as All does, for a target.
func For(t target.Target) []passes.Pass {
	var out []passes.Pass
	all := Standard(Options{Target: t, Dot: ir.DotI8, Duo: &duo.Defaults, Quest: &quest.Defaults, KV: kvquant.KV4, Taps: true, HeadTaps: true})
	for _, p := range append(all, awq.AbsorbScales(nil), dots.TensorCores()) { // calibration's, before a model is written; a GPU's
		if !slices.ContainsFunc(out, func(q passes.Pass) bool { return q.Name == p.Name }) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b passes.Pass) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

// ByName returns the pass with that name, for a target.
func ByName(name string, t target.Target) (passes.Pass, bool) {
	for _, p := range For(t) {
		if p.Name == name {
			return p, true
		}
	}
	return passes.Pass{}, false
}
