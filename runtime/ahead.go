package runtime

import (
	"fmt"
	"time"

	"quire/runtime/device"
)

// aheadSteps is the most steps that a device runs by itself: pages are reserved for so many
// tokens, and others wait as long.
const aheadSteps = 64

// runner is the device where it can go on by itself with what was assembled: the only
// request there is, which feeds the token that the device chooses.
func (e *engine) runner() device.Runner {
	if len(e.active) != 1 || len(e.batch.parts) != 1 {
		return nil
	}
	p := e.batch.parts[0]
	if p.r.choose == nil || p.n != 1 || p.outs != 1 {
		return nil
	}
	m, ok := e.model.(device.Runner)
	if !ok || !m.Runs() {
		return nil
	}
	return m
}

// run lets the device take several steps; false where there is no room for them.
func (e *engine) run(m device.Runner) bool {
	r := e.batch.parts[0].r
	n := min(aheadSteps, e.limits.context-r.sess.seq.Len())
	if n < 2 || r.sess.reserve(n) != nil {
		return false
	}
	e.layOut() // with pages for all steps
	choice := r.choose(n)
	e.batch.Choices = append(e.batch.Choices[:0], choice)
	start := time.Now()
	ended := false
	err := m.Run(&e.batch.Batch, n, func(token int32) bool {
		if ended || r.err != nil {
			return false
		}
		e.steps++
		e.rowsN++
		if r.err = r.sess.commit(r.tokens[r.fed:][:1]); r.err != nil {
			return false
		}
		r.fed++
		var more []int32
		v := rows{n: 1, vocab: e.p.Vocab, argmax: []int32{token}}
		if choice.Draw() {
			v.argmax, v.chosen = nil, v.argmax
		}
		more, r.err = r.take(v)
		if ended = r.err != nil || len(more) == 0; ended {
			return false
		}
		r.tokens, r.fed = more, 0
		return r.ctx.Err() == nil && len(e.wake) == 0
	})
	e.ended = time.Now()
	e.busy += e.ended.Sub(start)
	if err != nil {
		r.sess.broken = true
		r.err = fmt.Errorf("runtime: %w: %w", ErrBroken, err)
	}
	e.expect = 0
	e.settle(map[*request]bool{r: true})
	return true
}
