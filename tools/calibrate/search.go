package calibrate

import (
	"fmt"
	"math"
)

// Search is how scales are looked for.
type Search string

// The searches.
const (
	None       Search = "none"       // no scale: round to nearest
	Activation Search = "activation" // s = a^r, a the mean |x| of a channel (llm-awq)
	Duo        Search = "duo"        // s = a^r / w^(1-r), w the mean of |W| over its group's largest (AutoAWQ)
)

// ParseSearch reads a search's name.
func ParseSearch(s string) (Search, error) {
	switch Search(s) {
	case None, Activation, Duo:
		return Search(s), nil
	}
	return "", fmt.Errorf("search %.64q, expected none, activation or duo", s)
}

// grid is the number of ratios: r = 0, 1/20 .. 19/20.
const grid = 20

// Candidate is a scale of a site's channels.
type Candidate struct {
	Ratio  float64   // r, or -1 for the identity that Duo's grid lacks
	Scales []float32 // nil: all ones
}

// Candidates lists the scales that a search tries, in order. mean is the mean |x| of each of K channels, weight (Duo
// alone) the mean relative |W| of each, as RelativeWeights gives.
func Candidates(s Search, mean, weight []float32) []Candidate {
	out := []Candidate{{Ratio: -1}}
	if s == None {
		return out
	}
	if s == Activation {
		out = nil // r = 0 is the identity
	}
	for i := range grid {
		r := float64(i) / grid
		c := Candidate{Ratio: r, Scales: make([]float32, len(mean))}
		for j, a := range mean {
			v := math.Pow(float64(a), r)
			if s == Duo {
				v /= math.Pow(float64(weight[j]), 1-r) + 1e-4
			}
			c.Scales[j] = float32(max(v, 1e-4))
		}
		normalise(c.Scales)
		out = append(out, c)
	}
	return out
}

// normalise makes the product of the largest and the smallest scale 1; what is no positive number becomes 1.
func normalise(s []float32) {
	lo, hi := math.Inf(1), 0.0
	for _, v := range s {
		lo, hi = min(lo, float64(v)), max(hi, float64(v))
	}
	by := math.Sqrt(lo * hi)
	for j, v := range s {
		w := float64(v) / by
		if !(w > 0) || math.IsInf(w, 0) {
			w = 1
		}
		s[j] = float32(w)
	}
}

// RelativeWeights is, for each of k columns, the mean over all rows of w of |w| over the largest |w| of the row's group.
func RelativeWeights(w []float32, k, group int) []float32 {
	sum := make([]float64, k)
	for at := 0; at < len(w); at += group {
		var top float32
		for _, v := range w[at : at+group] {
			top = max(top, abs(v))
		}
		for i, v := range w[at : at+group] {
			sum[at%k+i] += float64(abs(v) / (top + 1e-6))
		}
	}
	out := make([]float32, k)
	for j, s := range sum {
		out[j] = float32(s / float64(len(w)/k))
	}
	return out
}

// Found is the outcome of a search.
type Found struct {
	Candidate
	Loss    float64 // of the candidate
	Nearest float64 // of rounding to nearest
}

// Best tries candidates on the rows w of k columns: round puts weights through their encoding, loss weighs how far
// products with d = W' - W are from none. The first smallest wins.
func Best(list []Candidate, w []float32, k int, round func([]float32) error, loss func(d []float32) (float64, error)) (Found, error) {
	best := Found{Loss: math.Inf(1)}
	d := make([]float32, len(w))
	for i, c := range list {
		if err := difference(d, w, k, c.Scales, round); err != nil {
			return best, err
		}
		l, err := loss(d)
		if err != nil {
			return best, err
		}
		if i == 0 {
			best.Nearest = l // the identity comes first
		}
		if l < best.Loss {
			best.Candidate, best.Loss = c, l
		}
	}
	return best, nil
}

// difference is Q(W diag(s)) / s - W.
func difference(d, w []float32, k int, s []float32, round func([]float32) error) error {
	copy(d, w)
	each(len(w)/k, func(r int) {
		for j := range d[r*k:][:len(s)] {
			d[r*k+j] *= s[j]
		}
	})
	if err := round(d); err != nil {
		return err
	}
	each(len(w)/k, func(r int) {
		row, was := d[r*k:][:k], w[r*k:][:k]
		for j, v := range row {
			if s != nil {
				v /= s[j]
			}
			row[j] = v - was[j]
		}
	})
	return nil
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
