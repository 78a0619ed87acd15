package interp

import (
	"fmt"

	"quire/ir/types"
)

// Arg is what a parameter may be given: a *[Tensor] or a *[RowMap].
type Arg interface{ isArg() }

func (*Tensor) isArg() {}
func (*RowMap) isArg() {}

// Inputs are the arguments of one run by parameter name (as in the text, without
// %; an unnamed parameter goes by its number). Caches are not here: they come
// from the [State].
type Inputs map[string]Arg

// Slot says which rows of a step belong to one sequence: New of them, from
// Start on, after Before cached tokens.
type Slot struct {
	Start, New, Before int
}

// Decode reports whether the slot decodes: one new row after cached tokens. Pages
// are selected for such rows alone, so that no token depends on its company.
func (s Slot) Decode() bool { return s.New == 1 && s.Before > 0 }

// RowMap is a value of type rows[N, S]. Slots[s] describes sequence slot s; rows
// that no slot claims are dead: attention gives them NaN and nothing stores them.
type RowMap struct {
	N     int
	Slots []Slot
}

// check reports slots that overlap or leave the step.
func (r *RowMap) check() error {
	owner := make([]int, r.N)
	for s, sl := range r.Slots {
		if sl.New < 0 || sl.Before < 0 || sl.New > 0 && (sl.Start < 0 || sl.Start+sl.New > r.N) {
			return fmt.Errorf("slot %d has rows %d..%d after %d tokens, expected rows of 0..%d", s, sl.Start, sl.Start+sl.New-1, sl.Before, r.N-1)
		}
		for i := sl.Start; i < sl.Start+sl.New; i++ {
			if owner[i] != 0 {
				return fmt.Errorf("row %d belongs to slots %d and %d", i, owner[i]-1, s)
			}
			owner[i] = s + 1
		}
	}
	return nil
}

// Turn is what one sequence brings to a step: tokens, and of how many of its
// last rows the logits are wanted.
type Turn struct {
	Slot   int
	Tokens []int32
	Logits int
}

// StepOf makes the bindings (N, S, M, C) and inputs (tok, pos, seq, out) of the
// conventional @step over the given turns; lengths come from the state, and
// positions are cache indexes.
func StepOf(state *State, slots int, turns ...Turn) (types.Bindings, Inputs) {
	rows := &RowMap{Slots: make([]Slot, slots)}
	for s := range rows.Slots {
		rows.Slots[s].Before = state.Length(s)
	}
	var tok, pos, out []int32
	longest := 0
	for _, t := range turns {
		sl := &rows.Slots[t.Slot]
		sl.Start, sl.New = len(tok), len(t.Tokens)
		for k, id := range t.Tokens {
			if k >= len(t.Tokens)-t.Logits {
				out = append(out, int32(len(tok)))
			}
			tok, pos = append(tok, id), append(pos, int32(sl.Before+k))
		}
		longest = max(longest, sl.Before+sl.New)
	}
	rows.N = len(tok)
	bind := types.Bindings{"N": int64(len(tok)), "S": int64(slots), "M": int64(len(out)), "C": int64(longest)}
	return bind, Inputs{"tok": Ints(tok...), "pos": Ints(pos...), "seq": rows, "out": Ints(out...)}
}
