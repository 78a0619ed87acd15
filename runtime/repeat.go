package runtime

import (
	"context"
	"fmt"
	"slices"

	"quire/runtime/kv"
)

// Repeat makes the session hold n more tokens: those that it holds, again and again. None is
// fed: new pages of the cache are copies, whose keys still have the positions of those that
// were copied. It is for measuring steps over texts that would take too long to feed. What
// the session holds must fill whole pages; where a window has dropped the page to copy, the
// one before is.
func (s *Session) Repeat(ctx context.Context, n int) error {
	if err := s.enter("repeat"); err != nil {
		return err
	}
	defer s.leave()
	held := s.Tokens()
	if len(held) == 0 {
		return fmt.Errorf("runtime: repeat: the session holds no tokens, expected some")
	}
	for _, t := range s.prog.p.Tables {
		if len(held)%t.Page != 0 {
			return fmt.Errorf("runtime: repeat: %d tokens held, expected whole pages of %d", len(held), t.Page)
		}
	}
	more := make([]int32, max(n, 0))
	for i := range more {
		more[i] = held[i%len(held)]
	}
	if err := s.check("repeat", more); err != nil {
		return err
	}
	for part := range slices.Chunk(more, s.prog.limits.chunk) { // a window has pages for so many
		var failed error
		if err := s.prog.engine.do(ctx, func(e *engine) { failed = s.repeat(e, len(held), part) }); err != nil {
			return err
		}
		if failed != nil {
			return failed
		}
	}
	return nil
}

// repeat is the engine's: so many tokens before a new page is what it copies.
func (s *Session) repeat(e *engine, back int, tokens []int32) error {
	var before []int
	for t := range e.p.Tables {
		before = append(before, len(s.seq.Pages(t)))
	}
	if err := s.reserve(len(tokens)); err != nil {
		return err
	}
	var copies []kv.Copy
	for t, table := range e.p.Tables {
		pages := s.seq.Pages(t)
		for i := before[t]; i < len(pages); i++ {
			from := pages[i-back/table.Page]
			if from == kv.None {
				from = pages[i-1]
			}
			copies = append(copies, kv.Copy{Table: t, From: from, To: pages[i]})
		}
	}
	e.copy(copies)
	return s.commit(tokens)
}
