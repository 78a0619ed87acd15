package model

import (
	"quire/ir/work"
	"quire/runtime"
	"quire/runtime/program"
)

// Memory is what a Program takes in bytes for one sequence.
type Memory struct {
	Weights int64 `json:"weights"`
	Steps   int64 `json:"steps"` // activations of the largest step
	Caches  int64 `json:"caches"`
	Code    int64 `json:"code"`
}

// Total is all of it.
func (m Memory) Total() int64 { return m.Weights + m.Steps + m.Caches + m.Code }

// Plan is the memory of a sequence of context tokens that is prefilled in steps of at most rows tokens.
func Plan(p *program.Program, context, rows int) (Memory, error) {
	m := Memory{Code: int64(len(p.Object))}
	for _, w := range p.Weights {
		m.Weights += w.Bytes
	}
	d := work.Dims{N: int64(min(rows, context)), M: 1, S: 1, C: int64(context)}
	for _, t := range p.Tables {
		d.P = max(d.P, int64((context+t.Page-1)/t.Page))
	}
	for _, text := range p.Slots {
		size, err := slot(text, d)
		if err != nil {
			return m, err
		}
		m.Steps += size
	}
	_, m.Caches = runtime.CacheNeed(p, context)
	return m, nil
}

// slot is the bytes of a piece of step memory: the largest of its buffers.
func slot(text string, d work.Dims) (int64, error) {
	sizes, err := program.Sizes(text)
	if err != nil {
		return 0, err
	}
	var size int64
	for _, s := range sizes {
		n, err := program.Dims(s.String(), d)
		if err != nil {
			return 0, err
		}
		size = max(size, n)
	}
	return size, nil
}
