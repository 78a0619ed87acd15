package runtime

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"sync"
	"time"

	"quire/runtime/device"
	"quire/runtime/kv"
	"quire/runtime/program"
)

// rows are results of one request in one step.
type rows struct {
	first  int // the token, counted over the request, that the first row was fed
	n      int
	vocab  int
	logits []float32 // [n, vocab], if wanted
	argmax []int32
	chosen []int32
	lse    []float32
}

// request is tokens that a session is fed, and what becomes of their results.
type request struct {
	ctx    context.Context
	sess   *Session
	tokens []int32
	fed    int
	all    bool        // every token's row is wanted, else the last one's
	want   device.Want // results of those rows
	chunk  int         // at most this many tokens a step; 0: the engine's chunk
	// choose, if set, says how a device chooses the tokens of the next n steps; take feeds them.
	choose func(n int) device.Choice
	lone   bool // a client's Decode: it will be back with the next token

	// take gets results, on a goroutine of the engine; what it returns is fed next.
	// Without more the request is done. The rows are valid until it returns.
	take func(rows) (more []int32, err error)

	more []int32
	err  error
	done chan error
	stop func() bool // of the context's callback
}

func (r *request) left() int { return len(r.tokens) - r.fed }

// gatherTime is how long a step waits for clients that decoded together in the step before,
// so that they go on together.
const gatherTime = 200 * time.Microsecond

// engine owns a Model and its pages: one goroutine assembles steps from the requests that
// wait, runs them, and hands results out. It sleeps when there is nothing to do.
type engine struct {
	model  device.Model
	pool   *kv.Pool
	p      *program.Program
	limits limits
	gives  device.Want // results that every step has, and tokens of a device that chooses

	mu      sync.Mutex
	arrived []*request
	calls   []func(*engine)
	closing bool
	release func() error
	wake    chan struct{} // holds one token when there is news
	gone    chan struct{} // closed when the goroutine ended
	err     error         // of closing

	// The goroutine's own.
	active []*request
	batch  batch
	expect int // clients that decoded together in the last step
	ended  time.Time
	steps  int64
	rowsN  int64
	busy   time.Duration
}

func newEngine(m device.Model, pool *kv.Pool, p *program.Program, l limits) *engine {
	e := &engine{model: m, pool: pool, p: p, limits: l, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	e.gives = gives(p)
	if c, ok := m.(device.Chooser); ok && c.Chooses() {
		e.gives |= device.Chosen
	}
	go e.loop()
	return e
}

// gives are the results that every step of a Program has.
func gives(p *program.Program) device.Want {
	all := device.Logits | device.ArgMax | device.LogSumExp
	for _, s := range p.Steps {
		var has device.Want
		for _, r := range s.Results {
			has |= device.WantOf(r.Name)
		}
		all &= has
	}
	return all
}

// poke tells the goroutine that there is news.
func (e *engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// submit queues a request; its done channel gets the outcome.
func (e *engine) submit(r *request) {
	r.done = make(chan error, 1)
	r.stop = context.AfterFunc(r.ctx, e.poke)
	e.mu.Lock()
	closing := e.closing
	if !closing {
		e.arrived = append(e.arrived, r)
	}
	e.mu.Unlock()
	if closing {
		e.finish(r, fmt.Errorf("runtime: %w", ErrClosed))
		return
	}
	e.poke()
}

// do runs f on the engine's goroutine, between steps. If ctx ends first f still runs.
func (e *engine) do(ctx context.Context, f func(*engine)) error {
	done := make(chan struct{})
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return fmt.Errorf("runtime: %w", ErrClosed)
	}
	e.calls = append(e.calls, func(e *engine) { f(e); close(done) })
	e.mu.Unlock()
	e.poke()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends the goroutine after the running step; release runs last.
func (e *engine) close(ctx context.Context, release func() error) error {
	e.mu.Lock()
	if !e.closing {
		e.closing, e.release = true, release
	}
	e.mu.Unlock()
	e.poke()
	select {
	case <-e.gone:
		return e.err
	case <-ctx.Done():
		if s, ok := e.model.(device.Stopper); ok {
			s.Stop()
		}
		return ctx.Err()
	}
}

func (e *engine) loop() {
	defer close(e.gone)
	for {
		open := e.receive()
		if !open {
			e.end()
			return
		}
		e.dropCancelled()
		if len(e.active) == 0 {
			<-e.wake
			continue
		}
		if e.gather() {
			continue
		}
		if e.assemble() {
			e.step()
		}
	}
}

// receive takes what arrived; false when the engine is to end.
func (e *engine) receive() bool {
	e.mu.Lock()
	arrived, calls, closing := e.arrived, e.calls, e.closing
	e.arrived, e.calls = nil, nil
	e.mu.Unlock()
	e.active = append(e.active, arrived...)
	for _, f := range calls {
		f(e)
	}
	return !closing
}

// end fails what waits and frees everything.
func (e *engine) end() {
	for _, r := range e.active {
		e.finish(r, fmt.Errorf("runtime: %w", ErrClosed))
	}
	e.active = nil
	e.err = errors.Join(e.model.Close(), e.release())
}

func (e *engine) finish(r *request, err error) {
	r.stop()
	r.done <- err
}

// dropCancelled ends the requests whose context ended.
func (e *engine) dropCancelled() {
	e.active = slices.DeleteFunc(e.active, func(r *request) bool {
		err := r.ctx.Err()
		if err != nil {
			e.finish(r, err)
		}
		return err != nil
	})
}

// drop ends the requests of a session that is being closed.
func (e *engine) drop(s *Session) {
	e.active = slices.DeleteFunc(e.active, func(r *request) bool {
		if r.sess == s {
			e.finish(r, fmt.Errorf("runtime: session: %w", ErrClosed))
		}
		return r.sess == s
	})
}

// gather waits a moment for clients that decoded together and are not back; it reports
// whether there is news.
func (e *engine) gather() bool {
	lone := 0
	for _, r := range e.active {
		if r.lone {
			lone++
		}
	}
	wait := gatherTime - time.Since(e.ended)
	if e.expect < 2 || lone >= e.expect || wait <= 0 {
		return false
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-e.wake:
		return true
	case <-t.C:
		return false
	}
}

// step runs the assembled batch and hands its results out.
func (e *engine) step() {
	if m := e.runner(); m != nil && e.run(m) {
		return
	}
	start := time.Now()
	out, err := e.model.Step(&e.batch.Batch)
	e.ended = time.Now()
	e.busy += e.ended.Sub(start)
	e.steps++
	e.rowsN += int64(len(e.batch.Tok))
	if err == nil {
		err = e.commit()
	}
	if err != nil {
		for _, part := range e.batch.parts {
			part.r.sess.broken = true
			part.r.err = fmt.Errorf("runtime: %w: %w", ErrBroken, err)
		}
	} else {
		e.results(out)
	}
	e.expect = 0
	served := map[*request]bool{}
	for _, part := range e.batch.parts {
		served[part.r] = true
		if part.r.lone {
			e.expect++
		}
	}
	e.settle(served)
}

// commit makes the fed tokens part of their sessions.
func (e *engine) commit() error {
	for _, part := range e.batch.parts {
		if err := part.r.sess.commit(part.r.tokens[part.r.fed:][:part.n]); err != nil {
			return err
		}
		part.r.fed += part.n
	}
	return nil
}

// results gives each request its rows, several requests on several threads: choosing a
// token from a long row takes as long as a launch.
func (e *engine) results(out device.Output) {
	var work []func()
	for _, part := range e.batch.parts {
		r := part.r
		if part.outs == 0 {
			continue
		}
		v := rows{first: r.fed - part.outs, n: part.outs, vocab: e.vocab(out, len(e.batch.Out))}
		if out.Logits != nil {
			v.logits = out.Logits[part.out*v.vocab : (part.out+part.outs)*v.vocab]
		}
		if out.ArgMax != nil {
			v.argmax = out.ArgMax[part.out:][:part.outs]
		}
		if out.Chosen != nil {
			v.chosen = out.Chosen[part.out:][:part.outs]
		}
		if out.LogSumExp != nil {
			v.lse = out.LogSumExp[part.out:][:part.outs]
		}
		work = append(work, func() { r.more, r.err = r.take(v) })
	}
	spread(work)
}

// vocab is the length of a row of logits.
func (e *engine) vocab(out device.Output, m int) int {
	if m == 0 || out.Logits == nil {
		return 0
	}
	return len(out.Logits) / m
}

// spread runs functions on as many goroutines as there are processors.
func spread(work []func()) {
	n := min(len(work), goruntime.GOMAXPROCS(0))
	if n < 2 {
		for _, f := range work {
			f()
		}
		return
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for j := i; j < len(work); j += n {
				work[j]()
			}
		})
	}
	wg.Wait()
}

// settle ends the requests that are done and puts those that were served behind those
// that wait.
func (e *engine) settle(served map[*request]bool) {
	var waiting, again []*request
	for _, r := range e.active {
		switch {
		case !served[r]:
			waiting = append(waiting, r)
		case r.err != nil:
			e.finish(r, r.err)
		case r.left() > 0:
			again = append(again, r)
		case len(r.more) > 0:
			r.tokens, r.fed, r.more = r.more, 0, nil
			again = append(again, r)
		default:
			e.finish(r, nil)
		}
	}
	e.active = append(waiting, again...)
}

func (e *engine) stats() Stats {
	s := Stats{Sessions: e.pool.Sequences(), Waiting: len(e.active), Steps: e.steps, Rows: e.rowsN, Seconds: e.busy.Seconds(), Memory: e.model.Memory()}
	pageBytes := make([]int64, len(e.p.Tables))
	for _, c := range e.p.Caches {
		pageBytes[c.Table] += c.PageBytes
	}
	for t := range e.p.Tables {
		k := e.pool.Stats(t)
		s.Tables = append(s.Tables, k)
		s.CacheBytes += int64(k.Used) * pageBytes[t]
		s.CachePeak += int64(k.Peak) * pageBytes[t]
		s.CacheTouched += int64(k.Touched) * pageBytes[t]
	}
	return s
}
