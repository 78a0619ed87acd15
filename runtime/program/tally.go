package program

import (
	"quire/ir/types"
	"quire/ir/work"
)

// Tally sums what the runs of a Launch had to move and compute.
type Tally struct {
	Calls        int64
	Bytes, Flops float64

	params work.Params
	each   [2]types.Dim // bytes and flops of a run, but for what depends on each slot's length
}

// Tally reads a launch's costs; params are its kernel's.
func (l *Launch) Tally(params work.Params) (Tally, error) {
	t := Tally{params: params}
	for i, text := range []string{l.Bytes, l.Flops} {
		if text == "" {
			continue
		}
		d, err := types.ParseDim(text)
		if err != nil {
			return t, err
		}
		t.each[i] = d
	}
	return t, nil
}

// Add counts a run under some dims, P among them; before and added are the tokens of each
// slot.
func (t *Tally) Add(b types.Bindings, before, added []int32) {
	t.Calls++
	bytes, _ := t.each[0].Eval(b) // Validate knows the symbols
	flops, _ := t.each[1].Eval(b)
	t.Bytes += float64(bytes)
	t.Flops += float64(flops)
	r, ok := t.params.(work.Reader)
	if !ok {
		return
	}
	for i, n := range before {
		bytes, flops := r.Read(int64(n), int64(added[i]))
		t.Bytes += float64(bytes)
		t.Flops += float64(flops)
	}
}

// Clear forgets all runs.
func (t *Tally) Clear() { t.Calls, t.Bytes, t.Flops = 0, 0, 0 }
