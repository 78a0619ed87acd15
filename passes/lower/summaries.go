package lower

import (
	"slices"

	"quire/ir"
	"quire/ir/target"
	"quire/ir/types"
	"quire/ir/work"
	"quire/passes"
)

// Summarise gives launches that append to a cache on a GPU one that makes summaries.
func Summarise(t target.Target) passes.Pass {
	return passes.Pass{
		Name: "lower.summarise",
		Doc: `What appends prompts to a cache whose pages are scored is followed by a launch that makes summaries.

Invariants: exact. On a GPU alone: blocks that append do not wait for each other, so
none of them could know the keys of a page to be whole. A step of single rows needs no
such launch: the selection itself makes the summaries of a page when it finds one newly
closed, and a prompt those that single rows left out. Caches whose pages nothing scores
have none made.

	launch -> %kv { kv.append }   =>   launch -> %kv { kv.append }  launch -> %kv { kv.summarise %kv, %seq }`,
		Requires: []passes.Prop{passes.Fused},
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Kernel, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			if t.Arch != target.PTX || singleRows(f) {
				return nil
			}
			return summarise(c, m, f)
		}),
	}
}

func summarise(c *passes.Context, m *ir.Module, f *ir.Func) error {
	scored, done := map[string]bool{}, map[string]bool{}
	each(f, func(_, v *ir.Value) {
		switch v.Op {
		case ir.OpPageEstimate:
			scored[v.Args[1].Type.Cache] = true
		case ir.OpSummarise:
			done[v.Type.Cache] = true
		}
	})
	type site struct{ launch, append *ir.Value }
	var sites []site
	each(f, func(l, v *ir.Value) {
		if v.Op == ir.OpAppend && scored[v.Type.Cache] && !done[v.Type.Cache] {
			sites = append(sites, site{l, v})
		}
	})
	for _, s := range sites {
		cache := s.append.Args[0]
		t, err := ir.Infer(m, ir.OpSummarise, nil, []*ir.Value{cache, s.append.Args[3]})
		if err != nil {
			return err
		}
		y := f.NewValue(ir.OpSummarise, t, nil, cache, s.append.Args[3])
		l := f.NewValue(ir.OpLaunch, types.Type{Kind: types.Void}, nil)
		l.Scope, l.Pos, y.Scope, y.Pos = s.launch.Scope, s.launch.Pos, s.append.Scope, s.append.Pos
		l.Launch = []*ir.Part{{Dst: []*ir.Value{cache}, Body: []*ir.Value{y}, Yield: []*ir.Value{y}}}
		f.Body = slices.Insert(f.Body, 1+slices.Index(f.Body, s.launch), l)
		c.Count("summarise")
	}
	return nil
}

// each visits the ops of all launches' bodies.
func each(f *ir.Func, visit func(launch, v *ir.Value)) {
	for _, l := range f.Body {
		for _, p := range l.Launch {
			for _, v := range p.Body {
				visit(l, v)
			}
		}
	}
}

// matchSummarise takes the making of summaries alone.
func matchSummarise(b *body) (Found, error) {
	v := b.first(ir.OpSummarise)
	if err := b.only(ir.OpSummarise); err != nil {
		return Found{}, err
	}
	c, page, err := b.cacheOf(v)
	if err != nil {
		return Found{}, err
	}
	d, err := b.result(v)
	return Found{work.Summarise{KVHeads: c.Heads, Dim: c.Dim, CacheEnc: cacheEnc(c), Page: page, Summary: b.summary(c)},
		map[string]*ir.Value{"cache": d}}, err
}
