package runtime

import (
	"fmt"
	"slices"

	"quire/runtime/device"
	"quire/runtime/kv"
)

// batch is one step being assembled: its memory is used again for the next.
type batch struct {
	device.Batch
	parts []part
}

// part is the rows of one request.
type part struct {
	r         *request
	n         int // tokens
	out, outs int // its results among the step's
}

// logitsBytes bounds the memory of a step's logits when every row is wanted.
const logitsBytes = 64 << 20

// widthStep rounds the width of page tables up, so that it changes seldom.
const widthStep = 16

// assemble fills the batch: first the requests that have one token to feed, then prompts,
// together at most a chunk of rows, both in the order of the queue. While a prompt waits
// one slot is kept for it. Requests that cannot have pages fail. It reports whether there is
// anything to run.
func (e *engine) assemble() bool {
	b := &e.batch
	b.parts = b.parts[:0]
	b.Want = 0
	budget, outs := e.limits.chunk, max(1, logitsBytes/(4*e.p.Vocab))
	failed := map[*request]bool{}
	for _, one := range []bool{true, false} {
		slots := e.limits.slots
		if one && slots > 1 && slices.ContainsFunc(e.active, func(r *request) bool { return r.left() > 1 }) {
			slots--
		}
		for _, r := range e.active {
			if (r.left() == 1) != one || len(b.parts) >= slots {
				continue
			}
			n := r.most(budget, outs, e.limits.cut, len(b.parts) == 0)
			if n == 0 {
				continue
			}
			if err := r.sess.reserve(n); err != nil {
				r.err = fmt.Errorf("runtime: %w", err)
				failed[r] = true
				continue
			}
			if !one {
				budget -= n
			}
			p := part{r: r, n: n}
			if r.all {
				p.outs = n
			} else if n == r.left() {
				p.outs = 1
			}
			outs -= p.outs
			if p.outs > 0 {
				b.Want |= r.want
			}
			b.parts = append(b.parts, p)
		}
	}
	if len(failed) > 0 {
		e.settle(failed)
	}
	if len(b.parts) == 0 {
		return false
	}
	e.layOut()
	return true
}

// most is how many tokens the request may feed in a step that has room for budget rows of
// prompts and outs rows of results. Where results depend on the cut, it is all up to the
// next multiple of cut, or none; alone in a step it may have more than there is room for.
func (r *request) most(budget, outs, cut int, alone bool) int {
	n := r.left()
	if cut > 0 {
		n = min(n, cut-r.sess.seq.Len()%cut)
		if r.chunk > 0 {
			n = min(n, r.chunk)
		}
		if !alone && (n > 1 && n > budget || r.all && n > outs) {
			return 0
		}
		return n
	}
	if n > 1 {
		n = min(n, budget)
	}
	if r.chunk > 0 {
		n = min(n, r.chunk)
	}
	if r.all {
		n = min(n, max(0, outs))
	}
	return n
}

// layOut writes the step inputs of the parts.
func (e *engine) layOut() {
	b := &e.batch
	b.Tok, b.Pos, b.Out, b.RowSlot = b.Tok[:0], b.Pos[:0], b.Out[:0], b.RowSlot[:0]
	b.SlotStart, b.SlotNew, b.SlotLen = b.SlotStart[:0], b.SlotNew[:0], b.SlotLen[:0]
	for i := range b.parts {
		p := &b.parts[i]
		length := p.r.sess.seq.Len()
		b.SlotStart = append(b.SlotStart, int32(len(b.Tok)))
		b.SlotNew = append(b.SlotNew, int32(p.n))
		b.SlotLen = append(b.SlotLen, int32(length))
		for j, t := range p.r.tokens[p.r.fed:][:p.n] {
			b.Tok = append(b.Tok, t)
			b.Pos = append(b.Pos, int32(length+j))
			b.RowSlot = append(b.RowSlot, int32(i))
		}
		p.out = len(b.Out)
		for j := p.n - p.outs; j < p.n; j++ {
			b.Out = append(b.Out, b.SlotStart[i]+int32(j))
		}
	}
	b.Choices = b.Choices[:0]
	for i := 0; b.Want&device.Chosen != 0 && i < len(b.parts); i++ {
		for range b.parts[i].outs {
			var c device.Choice
			if r := b.parts[i].r; r.choose != nil {
				c = r.choose(1)
			}
			b.Choices = append(b.Choices, c)
		}
	}
	e.layOutPages()
}

func (e *engine) layOutPages() {
	b := &e.batch
	if b.Pages == nil {
		b.Pages = make([]device.Pages, len(e.p.Tables))
	}
	for t := range b.Pages {
		p := &b.Pages[t]
		p.Width = 0
		for i := range b.parts {
			p.Width = max(p.Width, len(b.parts[i].r.sess.seq.Pages(t)))
		}
		p.Width = (p.Width + widthStep - 1) / widthStep * widthStep
		p.Entries = p.Entries[:0]
		for i := range b.parts {
			pages := b.parts[i].r.sess.seq.Pages(t)
			p.Entries = append(p.Entries, pages...)
			for range p.Width - len(pages) {
				p.Entries = append(p.Entries, kv.None)
			}
		}
	}
}
