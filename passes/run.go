package passes

import (
	"fmt"
	"runtime/debug"
	"time"

	"quire/ir"
)

// Event is what an observer sees of one pass.
type Event struct {
	Index  int // position in the pipeline, from 0
	Pass   *Pass
	Module *ir.Module
	// After a pass only:
	Seconds   float64
	OpsBefore int
	OpsAfter  int
	Counts    map[string]int
	Misses    []Miss
}

// Observer watches a pipeline. Before hooks run in order, After hooks in reverse,
// so that they nest. A nil hook is skipped; an error stops the run. Step, if set,
// is told of every rule that fired.
type Observer struct {
	Before func(*Event) error
	After  func(*Event) error
	Step   func(rule string, m *ir.Module)
	// Failed is told of a pass that panicked: the text of the module before it.
	Failed func(e *Event, before string, cause any) error
}

// Record is the history of one pass of a run.
type Record struct {
	Name      string
	Seconds   float64
	OpsBefore int
	OpsAfter  int
	Counts    map[string]int
	Misses    []Miss
}

// PanicError reports a pass that panicked.
type PanicError struct {
	Pass  string
	Cause any
	Stack []byte
}

// Error names the pass.
func (e *PanicError) Error() string { return fmt.Sprintf("%s: BUG: panic: %v", e.Pass, e.Cause) }

// Run validates the pipeline and runs it on m in place.
func (p Pipeline) Run(m *ir.Module, observers ...Observer) ([]Record, error) {
	if err := p.Validate(m.Props...); err != nil {
		return nil, err
	}
	var history []Record
	for i := range p {
		r, err := runOne(i, &p[i], m, observers)
		if err != nil {
			return history, err
		}
		history = append(history, *r)
	}
	return history, nil
}

func runOne(index int, pass *Pass, m *ir.Module, observers []Observer) (*Record, error) {
	e := &Event{Index: index, Pass: pass, Module: m, OpsBefore: CountOps(m)}
	ctx := NewContext(m)
	ctx.step = stepper(observers)
	for _, o := range observers {
		if o.Before == nil {
			continue
		}
		if err := o.Before(e); err != nil {
			return nil, fmt.Errorf("before %s: %w", pass.Name, err)
		}
	}
	start := time.Now()
	if err := guarded(pass, ctx, m, e, observers); err != nil {
		return nil, err
	}
	e.Seconds = time.Since(start).Seconds()
	for _, c := range pass.Clears {
		m.ClearProp(c)
	}
	for _, s := range pass.Sets {
		m.SetProp(s)
	}
	e.OpsAfter, e.Counts, e.Misses = CountOps(m), ctx.Counts(), ctx.Misses()
	for i := len(observers) - 1; i >= 0; i-- {
		if observers[i].After == nil {
			continue
		}
		if err := observers[i].After(e); err != nil {
			return nil, fmt.Errorf("after %s: %w", pass.Name, err)
		}
	}
	return &Record{pass.Name, e.Seconds, e.OpsBefore, e.OpsAfter, e.Counts, e.Misses}, nil
}

func stepper(observers []Observer) func(string, *ir.Module) {
	var steps []func(string, *ir.Module)
	for _, o := range observers {
		if o.Step != nil {
			steps = append(steps, o.Step)
		}
	}
	if steps == nil {
		return nil
	}
	return func(rule string, m *ir.Module) {
		for _, s := range steps {
			s(rule, m)
		}
	}
}

// guarded runs the pass and turns a panic into a PanicError, after handing the
// text before the pass to observers that keep reproducers.
func guarded(pass *Pass, ctx *Context, m *ir.Module, e *Event, observers []Observer) (err error) {
	var before string
	for _, o := range observers {
		if o.Failed != nil && before == "" {
			before = ir.Print(m)
		}
	}
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		err = &PanicError{pass.Name, cause, debug.Stack()}
		for _, o := range observers {
			if o.Failed == nil {
				continue
			}
			if ferr := o.Failed(e, before, cause); ferr != nil {
				err = fmt.Errorf("%w (reproducer: %v)", err, ferr)
			}
		}
	}()
	if err := pass.Run(ctx, m); err != nil {
		return fmt.Errorf("%s: %w", pass.Name, err)
	}
	return nil
}

// CountOps returns the number of graph ops in a module, launch bodies included.
func CountOps(m *ir.Module) int {
	n := 0
	for _, f := range m.Funcs {
		f.Walk(func(v *ir.Value) {
			if v.Op.Info().Effect != ir.Opaque {
				n++
			}
		})
	}
	return n
}
