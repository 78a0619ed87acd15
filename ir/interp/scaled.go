package interp

import (
	"errors"

	"quire/ir"
)

// Weight returns the values of a weight of m, derived ones made from w's: what a reader
// of the weight sees, rounded to its type.
func Weight(m *ir.Module, w Weights, name string) (t *Tensor, err error) {
	fr := &frame{Machine: New(m, w, Options{})}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(evalError)
			if !ok {
				panic(r)
			}
			t, err = nil, errors.New(e.msg)
		}
	}()
	return fr.weight(name), nil
}

// scaled returns the values of a scaled weight: one product or quotient an element.
func (fr *frame) scaled(w *ir.Weight) *Tensor {
	s := w.Scaled
	of, by := fr.weight(s.Of), fr.weight(s.By)
	t := NewTensor(w.Type.Elem, of.Shape...)
	inner := 1 // elements from one of the axis to the next
	for _, n := range of.Shape[s.Axis+1:] {
		inner *= n
	}
	for i, x := range of.Data {
		f := by.Data[i/inner%len(by.Data)]
		if x += s.Offset; s.Over {
			x /= f
		} else {
			x *= f
		}
		t.Data[i] = x - s.Offset
	}
	if !fr.wide {
		if err := roundAll(w.Type.Elem, t.Data); err != nil {
			fr.failf("weight @%s: %v", w.Name, err)
		}
	}
	return t
}
