package chat

import (
	"errors"
	"fmt"
	"time"

	"github.com/ardanlabs/jinja"
)

// Limits of one rendering, which the engine itself does not have.
const (
	maxSteps  = 500_000 // iterations of all loops and calls of all macros
	maxCalls  = 64      // macros in macros
	maxRange  = 100_000 // elements of all ranges (Jinja's sandbox has the same limit for one)
	maxRender = 10 * time.Second
	maxText   = 16 << 20  // bytes of a string in a variable
	maxItems  = 1_000_000 // of a list in a variable
)

// meter counts what one rendering does. The counters stand in the rewritten template: see rewrite.go.
type meter struct {
	steps, calls int
	ranged       int64
	printed      int
	maxPrint     int
	start        time.Time
}

func (m *meter) step([]jinja.Value) (jinja.Value, error) {
	if m.steps++; m.steps > maxSteps {
		return overLimit("more than %d steps in one rendering", maxSteps)
	}
	if m.steps%1024 == 0 && time.Since(m.start) > maxRender {
		return overLimit("rendering took longer than %s", maxRender)
	}
	return jinja.NewString(""), nil
}

func (m *meter) enter(args []jinja.Value) (jinja.Value, error) {
	if m.calls++; m.calls > maxCalls {
		return overLimit("macros call each other deeper than %d", maxCalls)
	}
	return m.step(args)
}

func (m *meter) leave([]jinja.Value) (jinja.Value, error) {
	m.calls--
	return jinja.NewString(""), nil
}

// print passes a value on to be printed.
func (m *meter) print(args []jinja.Value) (jinja.Value, error) {
	v, err := single(args)
	switch {
	case err != nil:
		return v, err
	case v.IsNone():
		v = jinja.NewString("None")
	case v.IsString():
		m.printed += len(v.AsString())
	}
	if m.printed > m.maxPrint {
		return overLimit("more than %d bytes printed", m.maxPrint)
	}
	return v, nil
}

// keep passes a value on to be assigned.
func (m *meter) keep(args []jinja.Value) (jinja.Value, error) {
	v, err := single(args)
	switch {
	case err != nil:
		return v, err
	case v.IsString() && len(v.AsString()) > maxText:
		return overLimit("a string of %d bytes, expected at most %d", len(v.AsString()), maxText)
	case v.IsList() && v.AsList().Len() > maxItems:
		return overLimit("a list of %d items, expected at most %d", v.AsList().Len(), maxItems)
	}
	return v, nil
}

// single undoes what a pair of brackets around an expression does to a tuple without brackets.
func single(args []jinja.Value) (jinja.Value, error) {
	switch len(args) {
	case 0:
		return jinja.Undefined(), errors.New("an empty expression")
	case 1:
		return args[0], nil
	}
	return jinja.NewList(args), nil
}

// span is Jinja's range, bounded.
func (m *meter) span(args []jinja.Value) (jinja.Value, error) {
	n := [3]int64{0, 0, 1}
	for i, a := range args {
		if i > 2 || !a.IsInt() {
			return jinja.Undefined(), fmt.Errorf("range: argument %d is %s, expected one to three whole numbers", i+1, a.String())
		}
		n[i] = a.AsInt()
	}
	switch {
	case len(args) == 0:
		return jinja.Undefined(), errors.New("range: no argument, expected one to three whole numbers")
	case len(args) == 1:
		n[0], n[1] = 0, n[0]
	case n[2] == 0:
		return jinja.Undefined(), errors.New("range: step is 0")
	}
	var items []jinja.Value
	for i := n[0]; n[2] > 0 && i < n[1] || n[2] < 0 && i > n[1]; {
		if m.ranged++; m.ranged > maxRange {
			return overLimit("range: more than %d elements in one rendering", maxRange)
		}
		items = append(items, jinja.NewInt(i))
		next := i + n[2]
		if (next > i) != (n[2] > 0) {
			break // past the last int64
		}
		i = next
	}
	return jinja.NewList(items), nil
}
