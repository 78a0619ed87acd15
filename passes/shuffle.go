package passes

import (
	"math/rand/v2"

	"quire/ir"
	"quire/ir/types"
)

// Shuffle reorders every Graph-level Func into another legal order before each
// pass, so that no pass can depend on positions. For tests.
func Shuffle(seed uint64) Observer {
	rng := rand.New(rand.NewPCG(seed, 1))
	return Observer{Before: func(e *Event) error {
		for _, f := range e.Module.Funcs {
			if f.Level == ir.Graph {
				f.Body = legalOrder(f, rng)
			}
		}
		return nil
	}}
}

// legalOrder draws a topological order of the body at random: arguments first,
// and readers of a cache version before its consumer.
func legalOrder(f *ir.Func, rng *rand.Rand) []*ir.Value {
	inBody := map[*ir.Value]bool{}
	for _, v := range f.Body {
		inBody[v] = true
	}
	next := map[*ir.Value][]*ir.Value{}
	wait := map[*ir.Value]int{}
	edge := func(a, b *ir.Value) {
		if inBody[a] && a != b {
			next[a] = append(next[a], b)
			wait[b]++
		}
	}
	readers := map[*ir.Value][]*ir.Value{}
	for _, v := range f.Body {
		for i, a := range v.Args {
			edge(a, v)
			if a.Type.Kind == types.Cache && !(i == 0 && v.Op.Info().Effect == ir.Updates) {
				readers[a] = append(readers[a], v)
			}
		}
	}
	for _, v := range f.Body {
		if v.Op.Info().Effect == ir.Updates {
			for _, r := range readers[v.Args[0]] {
				edge(r, v)
			}
		}
	}
	var ready, out []*ir.Value
	for _, v := range f.Body {
		if wait[v] == 0 {
			ready = append(ready, v)
		}
	}
	for len(ready) > 0 {
		i := rng.IntN(len(ready))
		v := ready[i]
		ready = append(ready[:i], ready[i+1:]...)
		out = append(out, v)
		for _, n := range next[v] {
			if wait[n]--; wait[n] == 0 {
				ready = append(ready, n)
			}
		}
	}
	if len(out) != len(f.Body) {
		panic("BUG: shuffle: the body has a cycle")
	}
	return out
}
