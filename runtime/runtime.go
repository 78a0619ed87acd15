package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"quire/runtime/device"
	"quire/runtime/kv"
	"quire/runtime/program"
	"quire/runtime/token"
)

// Runtime is an open device. It is safe for concurrent use.
type Runtime struct {
	config  Config
	machine Machine

	mu       sync.Mutex
	programs []*Program
	closed   bool
}

// Rows of prompts in a step: what keeps a processor's caches, and a GPU's matrix units, busy.
const (
	chunkCPU = 512
	chunkGPU = 2048
)

// Open opens a device.
func Open(ctx context.Context, c Config) (*Runtime, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.threads == 0 {
		c.threads = goruntime.NumCPU()
	}
	m, err := find(c.device)
	if err != nil {
		return nil, err
	}
	if c.chunk == 0 {
		c.chunk = chunkCPU
		if m.Device != CPU {
			c.chunk = chunkGPU
		}
	}
	return &Runtime{config: c, machine: m}, nil
}

// Machine is what runs this Runtime's Programs.
func (rt *Runtime) Machine() Machine { return rt.machine }

// Load opens a file that package program wrote and binds it to the device. Weights that the
// file holds are mapped; others are laid out from the Program's sources.
func (rt *Runtime) Load(ctx context.Context, path string) (*Program, error) {
	f, err := program.Open(path)
	if err != nil {
		return nil, err
	}
	p, err := rt.load(ctx, f.Program, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if p.file == nil { // nothing of it is in use
		if err := f.Close(); err != nil {
			return nil, errors.Join(err, p.Close(ctx))
		}
	}
	return p, nil
}

// LoadProgram binds a Program in memory, which must not change afterwards.
func (rt *Runtime) LoadProgram(ctx context.Context, p *program.Program) (*Program, error) {
	return rt.load(ctx, p, nil)
}

func (rt *Runtime) load(ctx context.Context, p *program.Program, f *program.File) (*Program, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	b := binding{config: rt.config, p: p}
	if f != nil && len(p.Weights) > 0 && f.Weight(0) != nil {
		b.packed = f.Weight
	}
	machine := rt.serving(p)
	var limits limits
	var tok *token.Tokenizer
	var m device.Model
	var g errgroup.Group // either takes tens of milliseconds
	g.Go(func() (err error) {
		tok, err = newTokenizer(p)
		return err
	})
	g.Go(func() (err error) {
		m, limits, err = machine.bind(ctx, b)
		return err
	})
	if err := g.Wait(); err != nil {
		if m != nil {
			err = errors.Join(err, m.Close())
		}
		return nil, err
	}
	out := newProgram(p, tok, m, limits)
	out.rt, out.machine = rt, machine
	if b.packed != nil && rt.config.mapped && machine.Device == CPU {
		out.file = f
	}
	rt.mu.Lock()
	closed := rt.closed
	if !closed {
		rt.programs = append(rt.programs, out)
	}
	rt.mu.Unlock()
	if closed {
		out.file = nil // the caller closes it
		return nil, errors.Join(fmt.Errorf("runtime: load: %w", ErrClosed), out.close(context.Background()))
	}
	return out, nil
}

// Close closes all Programs and their sessions. It waits for running steps until ctx is
// done; what it did not wait for is freed when the step ends.
func (rt *Runtime) Close(ctx context.Context) error {
	rt.mu.Lock()
	rt.closed = true
	programs := rt.programs
	rt.programs = nil
	rt.mu.Unlock()
	var errs []error
	for _, p := range programs {
		errs = append(errs, p.close(ctx))
	}
	return errors.Join(errs...)
}

func (rt *Runtime) forget(p *Program) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if i := slices.Index(rt.programs, p); i >= 0 {
		rt.programs = slices.Delete(rt.programs, i, i+1)
	}
}

// limits are how much a Program may hold at once.
type limits struct {
	context int
	slots   int   // sequences in a step
	chunk   int   // rows of prompts in a step
	cut     int   // prompts are cut at its multiples, and nowhere else; 0: anywhere
	pages   []int // of each table
}

// limits shares so many bytes of pages among sessions.
func (c Config) limits(p *program.Program, pages int64) limits {
	l := limits{context: p.Context, slots: c.sessions, chunk: c.chunk}
	if c.context > 0 {
		l.context = min(c.context, p.Context)
	}
	pageBytes := make([]int64, len(p.Tables)) // of all caches on a table
	for _, k := range p.Caches {
		pageBytes[k.Table] += k.PageBytes
	}
	for _, t := range p.Tables {
		l.cut = max(l.cut, t.Chunk)
	}
	var one int64 // a full session
	per := make([]int, len(p.Tables))
	for i, t := range p.Tables {
		tokens := l.context
		if t.Recent != nil {
			tokens = min(tokens, t.Sink+*t.Recent+max(c.chunk, t.Chunk)+(kv.Slack+3)*t.Page)
		}
		per[i] = (tokens + t.Page - 1) / t.Page
		one += int64(per[i]) * pageBytes[i]
	}
	sessions := int64(c.sessions)
	if one > 0 {
		sessions = min(sessions, max(1, pages/one))
	}
	for i := range p.Tables {
		n := int64(per[i]) * sessions
		if one > 0 && one > pages { // not even one: a share of what there is
			n = max(1, int64(float64(per[i])*float64(pages)/float64(one)))
		}
		l.pages = append(l.pages, int(min(n, 1<<30)))
	}
	return l
}

// cacheBytes is the memory that KV pages may take: what is set, else half of what the
// machine or the container has.
func cacheBytes(set int64) int64 {
	if set > 0 {
		return set
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 4 << 30
	}
	total := int64(info.Totalram) * int64(info.Unit)
	if text, err := os.ReadFile(cgroupMemory); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			total = min(total, n)
		}
	}
	return total / 2
}

// cgroupMemory is the limit of a container, "max" without one.
const cgroupMemory = "/sys/fs/cgroup/memory.max"

// Program is a program.Program bound to a device. It is safe for concurrent use.
type Program struct {
	p       *program.Program
	rt      *Runtime // nil in tests
	machine Machine
	file    *program.File
	tok     *token.Tokenizer
	limits  limits
	eog     map[int32]bool
	engine  *engine
}

// newProgram starts the scheduler of a bound Program; tok is nil without a tokenizer.
func newProgram(p *program.Program, tok *token.Tokenizer, m device.Model, l limits) *Program {
	out := &Program{p: p, tok: tok, limits: l, eog: map[int32]bool{}}
	if tok != nil {
		for _, id := range tok.Data().EOG {
			out.eog[id] = true
		}
	}
	for _, id := range p.Generation.EOS {
		out.eog[id] = true
	}
	out.engine = newEngine(m, kv.New(tablesOf(p), l.pages, l.context), p, l)
	return out
}

// CacheNeed is CacheNeed of the Program's own caches.
func (p *Program) CacheNeed(n int) (exact, paged int64) { return CacheNeed(p.p, n) }

// newTokenizer reads a Program's tokenizer, nil if it has none.
func newTokenizer(p *program.Program) (*token.Tokenizer, error) {
	if p.Tokenizer == nil {
		return nil, nil
	}
	var d token.Data
	if err := json.Unmarshal(p.Tokenizer, &d); err != nil {
		return nil, fmt.Errorf("runtime: tokenizer: %w", err)
	}
	return token.New(d)
}

// Info is the Program's data. The caller must not change it.
func (p *Program) Info() *program.Program { return p.p }

// Machine is what runs the Program.
func (p *Program) Machine() Machine { return p.machine }

// Context is the largest number of tokens of a session.
func (p *Program) Context() int { return p.limits.context }

// Tokenizer is the Program's tokenizer, or ErrNoTokenizer.
func (p *Program) Tokenizer() (*token.Tokenizer, error) {
	if p.tok == nil {
		return nil, fmt.Errorf("runtime: %s: %w", p.p.Model, ErrNoTokenizer)
	}
	return p.tok, nil
}

// EndsGeneration says whether a token ends a reply: one of the tokenizer's, or of the model's
// generation defaults.
func (p *Program) EndsGeneration(token int32) bool { return p.eog[token] }

// Stats is what a Program is doing and holds.
type Stats struct {
	Sessions int   // open
	Waiting  int   // requests that are being served or wait for it
	Steps    int64 // run so far
	Rows     int64 // tokens computed so far
	Seconds  float64
	Memory   device.Memory
	Tables   []kv.Stats
	// CacheBytes are KV pages in use, at most so far, and holding memory.
	CacheBytes, CachePeak, CacheTouched int64
}

// Stats reports on the Program. It waits for the running step.
func (p *Program) Stats(ctx context.Context) (Stats, error) {
	var out Stats
	err := p.engine.do(ctx, func(e *engine) { out = e.stats() })
	return out, err
}

// Profile reports the launches of all steps since it was called last, summed; nothing
// unless the Config asks for profiles.
func (p *Program) Profile(ctx context.Context) ([]device.Launch, error) {
	var out []device.Launch
	err := p.engine.do(ctx, func(e *engine) { out = e.model.Profile() })
	return out, err
}

// ReadRate measures the rate, in bytes a second, at which a GPU reads its memory at best: what the launches of Profile are
// compared with. Other devices are an error.
func (p *Program) ReadRate(ctx context.Context) (float64, error) {
	var rate float64
	var failed error
	err := p.engine.do(ctx, func(e *engine) {
		g, ok := e.model.(device.Gauge)
		if !ok {
			failed = fmt.Errorf("runtime: read rate: %s, expected a GPU", p.machine.Device)
			return
		}
		rate, failed = g.ReadRate()
	})
	if err != nil {
		return 0, err
	}
	return rate, failed
}

// Trim gives the memory of KV pages that no session uses back to the system.
func (p *Program) Trim(ctx context.Context) error {
	return p.engine.do(ctx, func(e *engine) {
		for t := range p.p.Tables {
			e.model.Discard(t, e.pool.Free(t))
		}
	})
}

// Close ends the sessions' calls with ErrClosed and frees everything. It waits for the
// running step until ctx is done.
func (p *Program) Close(ctx context.Context) error {
	if p.rt != nil {
		p.rt.forget(p)
	}
	return p.close(ctx)
}

func (p *Program) close(ctx context.Context) error {
	return p.engine.close(ctx, func() error {
		if p.file != nil {
			return p.file.Close()
		}
		return nil
	})
}
