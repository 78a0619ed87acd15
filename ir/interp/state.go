package interp

import (
	"fmt"
	"slices"

	"quire/ir"
)

// State holds the caches of all sequences between steps. The zero State is not
// ready: use [NewState].
type State struct {
	caches map[string]*version
}

// NewState returns empty caches.
func NewState() *State { return &State{caches: map[string]*version{}} }

// Entry is one cached token of one cache: K and V are [heads * dim], rounded to
// the cache's element type; Index is its place in the sequence.
type Entry struct {
	Index int
	K, V  []float64
}

// version is one immutable version of a cache.
type version struct {
	seqs []sequence
}

type sequence struct {
	length  int // tokens appended so far, dropped ones included
	entries []Entry
	sums    []Summary // one for each Summary tokens of the table, the last perhaps not full
	held    *held     // of a cache of picks instead of all these: what is kept
}

// Length returns how many tokens a slot has taken, over all caches.
func (s *State) Length(slot int) int {
	n := 0
	for _, v := range s.caches {
		n = max(n, v.at(slot).length)
	}
	return n
}

// Entries returns what a cache keeps for a slot, oldest first.
func (s *State) Entries(cache string, slot int) []Entry {
	if v := s.caches[cache]; v != nil {
		return v.at(slot).entries
	}
	return nil
}

// Summaries returns the page summaries of a cache for a slot, in order, nil when
// its table keeps none.
func (s *State) Summaries(cache string, slot int) []Summary {
	if v := s.caches[cache]; v != nil {
		return v.at(slot).sums
	}
	return nil
}

// Drop forgets a slot, for its next sequence.
func (s *State) Drop(slot int) {
	for name, v := range s.caches {
		if slot < len(v.seqs) {
			c := &version{seqs: slices.Clone(v.seqs)}
			c.seqs[slot] = sequence{}
			s.caches[name] = c
		}
	}
}

// Clone returns an independent copy.
func (s *State) Clone() *State {
	c := NewState()
	for name, v := range s.caches {
		c.caches[name] = v // versions are immutable
	}
	return c
}

func (s *State) version(cache string) *version {
	if v := s.caches[cache]; v != nil {
		return v
	}
	return &version{}
}

func (v *version) at(slot int) sequence {
	if slot < len(v.seqs) {
		return v.seqs[slot]
	}
	return sequence{}
}

// append returns the next version: for each slot with new rows, what the table
// no longer keeps is dropped, then the rows are added. k and v are [N, heads*dim]
// rows already rounded. Summaries of quantised keys are float16.
func (v *version) append(rows *RowMap, table *ir.Table, quantised bool, k, val *Tensor) (*version, error) {
	next := &version{seqs: slices.Clone(v.seqs)}
	for len(next.seqs) < len(rows.Slots) {
		next.seqs = append(next.seqs, sequence{})
	}
	width := k.width() * k.Shape[1]
	for s, sl := range rows.Slots {
		if sl.New == 0 {
			continue
		}
		q := next.seqs[s]
		if q.length != sl.Before {
			return nil, fmt.Errorf("slot %d holds %d tokens, the row map says %d", s, q.length, sl.Before)
		}
		if table.Chunk > 0 && sl.New > table.Chunk {
			return nil, fmt.Errorf("slot %d appends %d tokens, table @%s takes at most %d a step", s, sl.New, table.Name, table.Chunk)
		}
		kept := kept(table, q)
		sums := slices.Clone(q.sums)
		for i := range sl.New {
			row := (sl.Start + i) * width
			e := Entry{q.length + i, slices.Clone(k.Data[row : row+width]), slices.Clone(val.Data[row : row+width])}
			kept, sums = append(kept, e), summarise(sums, table.Summary, inSummary(e, quantised))
		}
		next.seqs[s] = sequence{length: q.length + sl.New, entries: kept, sums: sums}
	}
	return next, nil
}

// kept returns a fresh list of the entries that the token after q may still see:
// the first Sink, and the last Recent.
func kept(t *ir.Table, q sequence) []Entry {
	var out []Entry
	for _, e := range q.entries {
		if t.Recent == nil || e.Index < t.Sink || q.length-e.Index <= *t.Recent {
			out = append(out, e)
		}
	}
	return out
}
