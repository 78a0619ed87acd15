package sample

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Candidate is a token with its logit.
type Candidate struct {
	ID    int32
	Logit float32
}

// before orders candidates: greater logits first, ties by id.
func before(a, b Candidate) int {
	if c := cmp.Compare(b.Logit, a.Logit); c != 0 {
		return c
	}
	return cmp.Compare(a.ID, b.ID)
}

// Greatest is the token of the greatest logit, the lowest id among equals. A NaN anywhere,
// or a greatest value that is infinite, is an error that wraps ErrNotFinite.
func Greatest(logits []float32) (Candidate, error) {
	top := Candidate{-1, float32(math.Inf(-1))}
	for i, v := range logits {
		if v > top.Logit {
			top = Candidate{int32(i), v}
		} else if v != v {
			return top, fmt.Errorf("sample: %w: token %d of %d has %v", ErrNotFinite, i, len(logits), v)
		}
	}
	if top.ID < 0 || math.IsInf(float64(top.Logit), 1) {
		return top, fmt.Errorf("sample: %w: the greatest of %d is %v", ErrNotFinite, len(logits), top.Logit)
	}
	return top, nil
}

// Top gives the k greatest logits of a row in order.
func Top(logits []float32, k int) []Candidate { return topK(nil, logits, k) }

// LogSumExp is ln(sum of exp) of a row in float64.
func LogSumExp(logits []float32) float64 {
	top := math.Inf(-1)
	for _, v := range logits {
		top = math.Max(top, float64(v))
	}
	if math.IsInf(top, 0) || top != top {
		return top
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum)
}

// topK appends the k greatest, in order. The heap's root is the least of them; most of a
// vocabulary is below it and costs one comparison.
func topK(out []Candidate, logits []float32, k int) []Candidate {
	k = min(k, len(logits))
	if k <= 0 {
		return out
	}
	for i, v := range logits {
		c := Candidate{int32(i), v}
		if len(out) < k {
			out = append(out, c)
			if len(out) == k {
				for j := k/2 - 1; j >= 0; j-- {
					sink(out, j)
				}
			}
			continue
		}
		if v > out[0].Logit { // an equal logit has a higher id
			out[0] = c
			sink(out, 0)
		}
	}
	slices.SortFunc(out, before)
	return out
}

// sink restores the heap below i: a parent comes after its children.
func sink(h []Candidate, i int) {
	for {
		least := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < len(h) && before(h[least], h[c]) < 0 {
				least = c
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// nucleus appends, in order, the fewest greatest tokens whose probabilities reach TopP.
// Tokens far below the greatest rarely matter, so it looks at those within a distance
// first and doubles it while they do not reach p.
func nucleus(out []Candidate, logits []float32, top Candidate, o Options) []Candidate {
	sum := 0.0
	for _, v := range logits {
		sum += weight(v, top, o.Temperature)
	}
	for reach := 4.0; ; reach *= 2 {
		out = out[:0]
		floor, mass := float64(top.Logit)-reach*o.Temperature, 0.0
		for i, v := range logits {
			if float64(v) >= floor {
				out = append(out, Candidate{int32(i), v})
				mass += weight(v, top, o.Temperature)
			}
		}
		if mass >= o.TopP*sum || len(out) == len(logits) || reach > 1<<20 {
			break
		}
	}
	slices.SortFunc(out, before)
	return cutP(out, o.TopP, top, o.Temperature, sum)
}

// cutP keeps the first candidates whose weights reach p of sum; 0 and 1 keep all.
func cutP(cs []Candidate, p float64, top Candidate, temperature, sum float64) []Candidate {
	if p == 0 || p == 1 {
		return cs
	}
	reached := 0.0
	for i, c := range cs {
		if reached += weight(c.Logit, top, temperature); reached >= p*sum {
			return cs[:i+1]
		}
	}
	return cs
}

func total(cs []Candidate, top Candidate, temperature float64) float64 {
	sum := 0.0
	for _, c := range cs {
		sum += weight(c.Logit, top, temperature)
	}
	return sum
}
