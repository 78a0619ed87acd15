package interp

import (
	"fmt"
	"math"

	"quire/ir"
)

// MassOutside is the part of each query head's attention, summed over the rows of one
// sequence, that goes to tokens outside the first sink, the recent ones before the row's own
// and its own. q is [n, heads, d], k [n, kv heads, d], both rotated; a says how the layer
// attends. Divide by the rows of all sequences for the mean.
func MassOutside(q, k *Tensor, a ir.AttentionAttrs, sink, recent int) ([]float64, error) {
	if len(q.Shape) != 3 || len(k.Shape) != 3 || q.Shape[0] != k.Shape[0] || q.Shape[2] != k.Shape[2] || q.Shape[1]%k.Shape[1] != 0 {
		return nil, fmt.Errorf("attention of %v over %v, expected rows of heads over as many rows of a divisor of the heads", q.Shape, k.Shape)
	}
	n, heads, kv := q.Shape[0], q.Shape[1], k.Shape[1]
	mass, scores := make([]float64, heads), make([]float64, n)
	for h := range heads {
		for i := range n {
			top := math.Inf(-1)
			for j := range i + 1 {
				if scores[j] = math.Inf(-1); a.Recent == nil || j < a.Sink || i-j <= *a.Recent {
					scores[j] = score(q.Row(i*heads+h), k.Row(j*kv+h*kv/heads), a)
				}
				top = max(top, scores[j])
			}
			var all, outside float64
			for j := range i + 1 {
				w := math.Exp(scores[j] - top)
				if all += w; j >= sink && i-j > recent {
					outside += w
				}
			}
			mass[h] += outside / all
		}
	}
	return mass, nil
}

func score(q, k []float64, a ir.AttentionAttrs) float64 {
	s := 0.0
	for i, x := range q {
		s += x * k[i]
	}
	if s *= a.Scale; a.Cap > 0 {
		s = a.Cap * math.Tanh(s/a.Cap)
	}
	return s
}
