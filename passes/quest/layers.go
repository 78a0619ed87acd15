package quest

import "quire/ir"

// layers numbers the caches of a function by layer, in the order of its parameters.
// Caches whose readers take their heads from one query are of one layer.
func layers(f *ir.Func) map[string]int {
	query := map[string]*ir.Value{} // the query of a cache's readers
	for _, v := range f.Body {
		if v.Op == ir.OpAttention || v.Op == ir.OpAttentionPaged {
			q := v.Args[0]
			for q.Op == ir.OpHeads {
				q = q.Args[0]
			}
			query[v.Args[1].Type.Cache] = q
		}
	}
	layer, of := map[string]int{}, map[*ir.Value]int{}
	n := 0
	for _, p := range f.Params {
		cache := p.Type.Cache
		if cache == "" {
			continue
		}
		q := query[cache]
		if at, same := of[q]; same && q != nil {
			layer[cache] = at
			continue
		}
		layer[cache], of[q] = n, n
		n++
	}
	return layer
}
