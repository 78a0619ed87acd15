package calibrate

import "strings"

// The grid of clips: the bound of |w| in a row's group is tried at 1.00, 0.95 .. 0.55 of the largest.
const (
	clipSteps = 10
	clipStep  = 0.05
)

// Shrink is the i-th factor of the grid.
func Shrink(i int) float32 { return 1 - float32(i)*clipStep }

// Clips reports whether a linear's weights may be clipped: not those of queries and keys, whose products are compared
// with one another (llm-awq's auto_clip leaves them out by name).
func Clips(name string) bool {
	name = name[strings.LastIndexByte(name, '.')+1:]
	return name != "q_proj" && name != "k_proj"
}

// Clip bounds the weights of one group of columns in place: x are n rows of the group's inputs, w rows of group columns.
// squares gives, for each row of d = Q(clamp(W)) - W, the sum of squares of its products with x. It returns for each row the chosen
// factor of its largest |w|; the first smallest error wins, so no row's error grows.
func Clip(w []float32, group int, round func([]float32) error, squares func(d []float32) ([]float64, error)) ([]float32, error) {
	rows := len(w) / group
	top, best, chosen := make([]float32, rows), make([]float64, rows), make([]float32, rows)
	for r := range rows {
		for _, v := range w[r*group:][:group] {
			top[r] = max(top[r], abs(v))
		}
	}
	d := make([]float32, len(w))
	for i := range clipSteps {
		clamp(d, w, top, group, func(int) float32 { return Shrink(i) })
		if err := round(d); err != nil {
			return nil, err
		}
		for j := range d {
			d[j] -= w[j]
		}
		sums, err := squares(d)
		if err != nil {
			return nil, err
		}
		for r, e := range sums {
			if i == 0 || e < best[r] {
				best[r], chosen[r] = e, Shrink(i)
			}
		}
	}
	clamp(w, w, top, group, func(r int) float32 { return chosen[r] })
	return chosen, nil
}

func clamp(dst, w, top []float32, group int, by func(r int) float32) {
	for r, t := range top {
		m := t * by(r)
		for j, v := range w[r*group:][:group] {
			dst[r*group+j] = min(max(v, -m), m)
		}
	}
}
