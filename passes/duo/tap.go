package duo

import (
	"fmt"

	"quire/ir"
	"quire/passes"
)

// TapHeads returns the queries and keys of each layer as results of the function, behind
// those that it has, so that a compiled model shows what its heads look for. Results are
// named "q." and "k." and the name of the layer's cache.
func TapHeads() passes.Pass {
	return passes.Pass{
		Name: "duo.tap-heads",
		Doc: `The queries and keys of each layer become results.

Invariants: exact; the results that there were stay the first ones. Keys are those that
are appended, before the cache rounds them. Values that are views, or results already,
are left out. For the measuring of gates: a program for use has no taps.

	%c1 = kv.append %c0, %k, %v, %seq   =>   %k.kv0 = ...  %q.kv0 = ...
	%a = attention %q, %c1, %seq             return %a, %k.kv0, %q.kv0`,
		Numerics: passes.Exact,
		Run: passes.OnFuncs(ir.Graph, func(c *passes.Context, m *ir.Module, f *ir.Func) error {
			returned := map[*ir.Value]bool{}
			for _, r := range f.Results {
				returned[r] = true
			}
			for _, v := range f.Body {
				x, name := v, ""
				switch {
				case v.Op == ir.OpAppend:
					x, name = v.Args[1], "k."+v.Type.Cache
				case v.Op == ir.OpAttention && len(v.Args) == 3:
					x, name = v.Args[0], "q."+v.Args[1].Type.Cache
				default:
					continue
				}
				switch {
				case returned[x]:
				case x.Op.Info().View || x.Op == ir.OpSlice || x.Op == ir.OpParam:
					c.Missed("tap-heads", f, v, "%s is %s, not computed", name, x.Op)
				default:
					x.Name, returned[x] = name, true
					f.Results = append(f.Results, x)
					c.Count("tap-heads")
				}
			}
			return nil
		}),
	}
}

// Measured is a layer's gates from the mass that each query head gives to tokens outside
// sink and recent: the mean over the query heads of each of kvHeads KV heads.
func Measured(mass []float64, kvHeads int) ([]float64, error) {
	if kvHeads <= 0 || len(mass)%kvHeads != 0 {
		return nil, fmt.Errorf("%d heads of %d KV heads, expected a multiple", len(mass), kvHeads)
	}
	group := len(mass) / kvHeads
	out := make([]float64, kvHeads)
	for h, x := range mass {
		out[h/group] += x / float64(group)
	}
	return out, nil
}
