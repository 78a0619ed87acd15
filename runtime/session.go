package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"quire/runtime/device"
	"quire/runtime/kv"
)

// Session is one sequence of tokens and its cache. One call at a time may use it.
type Session struct {
	prog   *Program
	busy   atomic.Bool
	closed atomic.Bool
	end    context.Context // ends when the session is closed
	cancel context.CancelFunc
	logits []float32

	mu     sync.Mutex
	tokens []int32 // what the cache holds

	// The engine's own, and a call's between its requests.
	seq    *kv.Sequence
	broken bool
}

// NewSession begins an empty sequence. It takes no cache pages yet.
func (p *Program) NewSession(ctx context.Context) (*Session, error) {
	s := &Session{prog: p}
	s.end, s.cancel = context.WithCancel(context.Background())
	if err := p.engine.do(ctx, func(e *engine) { s.seq = e.pool.NewSequence() }); err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

// abandon closes a session whose making was cancelled: its sequence may come to be.
func (s *Session) abandon() {
	s.closed.Store(true)
	s.cancel()
	// An error means that the engine ends, and its pool with it.
	_ = s.prog.engine.do(cancelled(), func(*engine) {
		if s.seq != nil {
			s.seq.Close()
		}
	})
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// enter begins a call: ErrClosed, ErrBusy, ErrBroken or nil.
func (s *Session) enter(call string) error {
	if s.closed.Load() {
		return fmt.Errorf("runtime: %s: session: %w", call, ErrClosed)
	}
	if !s.busy.CompareAndSwap(false, true) {
		return fmt.Errorf("runtime: %s: %w", call, ErrBusy)
	}
	if s.broken {
		s.busy.Store(false)
		return fmt.Errorf("runtime: %s: %w", call, ErrBroken)
	}
	return nil
}

func (s *Session) leave() { s.busy.Store(false) }

// check refuses tokens that cannot be fed.
func (s *Session) check(call string, tokens []int32) error {
	if len(tokens) == 0 {
		return fmt.Errorf("runtime: %s: no tokens, expected at least 1", call)
	}
	for i, t := range tokens {
		if t < 0 || int(t) >= s.prog.p.Vocab {
			return fmt.Errorf("runtime: %s: token %d at %d, expected 0 to %d", call, t, i, s.prog.p.Vocab-1)
		}
	}
	if n := s.Len(); n+len(tokens) > s.prog.limits.context {
		return fmt.Errorf("runtime: %s: %w: %d tokens and %d more, the context has %d", call, ErrContextFull, n, len(tokens), s.prog.limits.context)
	}
	return nil
}

// run submits a request and waits for its end: the engine's answer, which comes at most
// one step after ctx or the session ended.
func (s *Session) run(ctx context.Context, r *request) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.end, cancel)()
	r.ctx, r.sess = ctx, s
	s.prog.engine.submit(r)
	err := <-r.done
	if err != nil && s.closed.Load() && ctx.Err() != nil {
		return fmt.Errorf("runtime: session: %w", ErrClosed)
	}
	return err
}

// reserve and commit are the engine's.
func (s *Session) reserve(n int) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.seq.Reserve(n)
}

func (s *Session) commit(tokens []int32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append(s.tokens, tokens...)
	return s.seq.Commit(len(tokens))
}

// Len is the number of tokens that the session was fed and holds.
func (s *Session) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tokens)
}

// Tokens are the tokens that the session was fed and holds. The slice is the caller's.
func (s *Session) Tokens() []int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tokens)
}

// Prefill feeds tokens, in chunks, and gives the logits of the last one. The slice is
// valid until the session's next call. If ctx ends the tokens of whole chunks stay fed: Len says
// how many.
func (s *Session) Prefill(ctx context.Context, tokens []int32) ([]float32, error) {
	return s.feed(ctx, "prefill", tokens, false)
}

// Decode feeds one token and gives its logits, as Prefill does.
func (s *Session) Decode(ctx context.Context, token int32) ([]float32, error) {
	return s.feed(ctx, "decode", []int32{token}, true)
}

func (s *Session) feed(ctx context.Context, call string, tokens []int32, lone bool) ([]float32, error) {
	if err := s.enter(call); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.check(call, tokens); err != nil {
		return nil, err
	}
	err := s.run(ctx, &request{tokens: slices.Clone(tokens), want: device.Logits, lone: lone, take: func(v rows) ([]int32, error) {
		if v.logits == nil {
			return nil, fmt.Errorf("runtime: %s: the program gives no logits", call)
		}
		s.logits = append(s.logits[:0], v.logits...)
		return nil, nil
	}})
	if err != nil {
		return nil, err
	}
	return s.logits, nil
}

// Fork makes a session that was fed the same tokens. Whole pages of the cache are shared.
func (s *Session) Fork(ctx context.Context) (*Session, error) {
	if err := s.enter("fork"); err != nil {
		return nil, err
	}
	defer s.leave()
	f := &Session{prog: s.prog, tokens: s.Tokens()}
	f.end, f.cancel = context.WithCancel(context.Background())
	var failed error
	err := s.prog.engine.do(ctx, func(e *engine) {
		var copies []kv.Copy
		if f.seq, copies, failed = s.seq.Fork(); failed == nil {
			e.copy(copies)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		f.abandon()
		return nil, err
	}
	return f, nil
}

func (e *engine) copy(copies []kv.Copy) {
	for _, c := range copies {
		e.model.CopyPage(c.Table, c.From, c.To)
	}
}

// Truncate forgets all but the first n tokens. It is an error when a sliding window no
// longer holds what the shorter sequence would see.
func (s *Session) Truncate(ctx context.Context, n int) error {
	if err := s.enter("truncate"); err != nil {
		return err
	}
	defer s.leave()
	return s.truncate(ctx, n)
}

func (s *Session) truncate(ctx context.Context, n int) error {
	var failed error
	err := s.prog.engine.do(ctx, func(e *engine) {
		var copies []kv.Copy
		if copies, failed = s.seq.Truncate(n); failed == nil {
			e.copy(copies)
			s.mu.Lock()
			s.tokens = s.tokens[:n]
			s.mu.Unlock()
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// Rewind makes the session begin with as much of tokens as it holds already, and forgets
// the rest: at most all but the last, which is there to be fed. It returns how many tokens need not be
// fed again. A conversation goes on by rewinding to its new text.
func (s *Session) Rewind(ctx context.Context, tokens []int32) (kept int, err error) {
	if err := s.enter("rewind"); err != nil {
		return 0, err
	}
	defer s.leave()
	held, n := s.Tokens(), 0
	for n < len(held) && n < len(tokens)-1 && held[n] == tokens[n] {
		n++
	}
	if n == len(held) {
		return n, nil
	}
	if err := s.truncate(ctx, n); err != nil {
		if ctx.Err() != nil {
			return 0, err
		}
		return 0, s.truncate(ctx, 0) // a window has lost what n tokens would see
	}
	return n, nil
}

// Close ends the session's call, if one runs, and gives its pages back. It waits for the running
// step until ctx is done; without waiting, the pages come back when the step ends.
func (s *Session) Close(ctx context.Context) error {
	if s.closed.Swap(true) {
		return nil
	}
	s.cancel()
	err := s.prog.engine.do(ctx, func(e *engine) {
		e.drop(s)
		s.seq.Close()
	})
	if errors.Is(err, ErrClosed) { // the engine ends, and its pool with it
		return nil
	}
	return err
}
