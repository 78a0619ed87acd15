package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"quire/runtime"
	"quire/runtime/device"
	"quire/runtime/program"
	"quire/runtime/sample"
	"quire/tools/bandwidth"
)

type benchCmd struct {
	Model string `short:"m" required:"" placeholder:"MODEL" help:"The model; its program is compiled first if need be."`
	modelFlags
	samplingFlags
	Prefill int `default:"512" placeholder:"N" help:"Tokens of a prompt; 0 leaves prefill out."`
	Decode  int `default:"128" placeholder:"N" help:"Tokens to decode, one a step; 0 leaves decode out."`
	Depth   int `default:"0" placeholder:"N" help:"Tokens that the cache holds before."`
	Feed    int `default:"0" placeholder:"N" help:"Tokens of the depth that are fed; the rest are copies of their cache pages, for depths that take too long to feed. 0: all."`
	Batch   int `default:"1" placeholder:"N" help:"Sequences at once."`
	Reps    int `default:"3" placeholder:"N" help:"Repetitions; rates are medians."`
}

func (benchCmd) Help() string {
	return "The ceiling is what as many threads, or the GPU, can read from memory, measured in the same run. The table of kernels is of one decode " +
		"step (of one prefill step when --decode is 0): calls, microseconds, bytes that it must move, GB/s, percent of the ceiling. " +
		"Tokens are the greatest logits unless the flags of sampling say otherwise; a model's own defaults are not looked at.\n\n" +
		"Examples:\n\n    quire bench -m smollm2 --threads 2\n    quire bench -m smollm2 --depth 4096 --prefill 0 --json\n    quire bench -m llama-3-8b.yaml --prefill 0 --temp 1 --top-p 0.95"
}

type kernelResult struct {
	Name    string  `json:"name"`
	Calls   float64 `json:"calls"`
	US      float64 `json:"us"`
	Bytes   float64 `json:"bytes"`
	GBs     float64 `json:"gb_s"`
	Percent float64 `json:"percent"`
	GFlops  float64 `json:"gflop_s"`
}

type benchResult struct {
	Device       string         `json:"device"`
	Target       string         `json:"target"`
	Threads      int            `json:"threads"`
	Load         float64        `json:"load_s"`
	PrefillRate  float64        `json:"prefill_tok_s"`
	PrefillRates []float64      `json:"prefill_tok_s_all"`
	DecodeRate   float64        `json:"decode_tok_s"`
	DecodeRates  []float64      `json:"decode_tok_s_all"`
	BytesPerStep float64        `json:"bytes_per_step"`
	ReadGBs      float64        `json:"read_gb_s"`
	Percent      float64        `json:"percent_of_ceiling"`
	Kernels      []kernelResult `json:"kernels"`
	Memory       memoryResult   `json:"memory"`
}

// Run measures without a profile, then takes the profile in a run of its own.
func (c *benchCmd) Run(ctx context.Context, e *environment) error {
	for _, f := range []struct {
		name     string
		n, least int
	}{{"prefill", c.Prefill, 0}, {"decode", c.Decode, 0}, {"depth", c.Depth, 0}, {"feed", c.Feed, 0}, {"batch", c.Batch, 1}, {"reps", c.Reps, 1}} {
		if f.n < f.least {
			return wrong("--%s: %d, expected at least %d", f.name, f.n, f.least)
		}
	}
	if c.Prefill == 0 && c.Decode == 0 {
		return wrong("bench: neither --prefill nor --decode, expected one of them above 0")
	}
	r := &benchResult{Threads: e.threads(), PrefillRates: []float64{}, DecodeRates: []float64{}, Kernels: []kernelResult{}}
	if err := c.chooses().Validate(); err != nil {
		return wrong("bench: %w", err)
	}
	if err := c.measure(ctx, e, r); err != nil {
		return err
	}
	if err := c.profile(ctx, e, r); err != nil {
		return err
	}
	e.finishBars()
	if e.JSON {
		return e.json(r)
	}
	return c.print(e, r)
}

// chooses is how tokens are chosen.
func (c *benchCmd) chooses() sample.Options { return c.sampling(c.Seed, program.Generation{}) }

func (c *benchCmd) measure(ctx context.Context, e *environment, r *benchResult) error {
	s, err := c.start(ctx, e, false)
	if err != nil {
		return err
	}
	defer s.close()
	r.Target, r.Device = s.prog.Info().Target, string(s.prog.Machine().Device)
	r.Load = s.loadSeconds
	for i := range c.Reps {
		p, d, err := s.once(ctx)
		if err != nil {
			return err
		}
		if i == 0 { // before the next line takes memory of its own
			if r.Memory, err = s.memory(ctx, c.Batch, c.Depth+max(c.Prefill, c.Decode)); err != nil {
				return err
			}
		}
		rate, err := s.ceiling(ctx, r.Threads)
		if err != nil {
			return err
		}
		r.ReadGBs = max(r.ReadGBs, rate)
		if p > 0 {
			r.PrefillRates = append(r.PrefillRates, p)
		}
		if d > 0 {
			r.DecodeRates = append(r.DecodeRates, d)
		}
		e.progress("measuring", int64(i+1), int64(c.Reps)+1)
	}
	r.PrefillRate, r.DecodeRate = median(r.PrefillRates), median(r.DecodeRates)
	return nil
}

// ceiling is what the model's device can read, in GB/s.
func (s *benchRun) ceiling(ctx context.Context, threads int) (float64, error) {
	if s.prog.Machine().Device == runtime.CPU {
		return bandwidth.Read(threads), nil
	}
	rate, err := s.prog.ReadRate(ctx)
	return rate / 1e9, err
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// profile takes the kernels of one more repetition.
func (c *benchCmd) profile(ctx context.Context, e *environment, r *benchResult) error {
	s, err := c.start(ctx, e, true)
	if err != nil {
		return err
	}
	defer s.close()
	one := *c
	if c.Decode > 0 {
		one.Prefill = 0
	}
	s.c = &one
	if _, err := s.prog.Profile(ctx); err != nil { // what filled the cache
		return err
	}
	before, err := s.prog.Stats(ctx)
	if err != nil {
		return err
	}
	if _, _, err := s.once(ctx); err != nil {
		return err
	}
	after, err := s.prog.Stats(ctx)
	if err != nil {
		return err
	}
	launches, err := s.prog.Profile(ctx)
	if err != nil {
		return err
	}
	r.kernels(launches, float64(after.Steps-before.Steps))
	if c.Decode > 0 {
		r.Percent = 100 * r.BytesPerStep * r.DecodeRate / float64(c.Batch) / 1e9 / r.ReadGBs
	}
	return nil
}

// kernels sums launches that do the same in every layer.
func (r *benchResult) kernels(launches []device.Launch, steps float64) {
	index := map[string]int{}
	for _, l := range launches {
		if l.Calls == 0 {
			continue
		}
		name := l.Step + " " + anyLayer(l.Name)
		i, ok := index[name]
		if !ok {
			i = len(r.Kernels)
			index[name] = i
			r.Kernels = append(r.Kernels, kernelResult{Name: name})
		}
		k := &r.Kernels[i]
		k.Calls += float64(l.Calls) / steps
		k.US += l.Seconds * 1e6 / steps
		k.Bytes += l.Bytes / steps
		k.GFlops += l.Flops / steps / 1e9 // of all; below a second
	}
	for i := range r.Kernels {
		k := &r.Kernels[i]
		r.BytesPerStep += k.Bytes
		if k.US > 0 {
			k.GBs, k.GFlops = k.Bytes/k.US/1e3, k.GFlops/k.US*1e6
		}
		k.Percent = 100 * k.GBs / r.ReadGBs
	}
	slices.SortStableFunc(r.Kernels, func(a, b kernelResult) int {
		switch {
		case a.US > b.US:
			return -1
		case a.US < b.US:
			return 1
		}
		return 0
	})
}

// anyLayer writes * for the number in "layers.5.attn linear".
func anyLayer(name string) string {
	rest, ok := strings.CutPrefix(name, "layers.")
	if !ok {
		return name
	}
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i > 0 {
		return "layers.*" + rest[i:]
	}
	return name
}

// benchRun is a loaded model with sessions at the depth.
type benchRun struct {
	*loaded
	c        *benchCmd
	random   *rand.Rand
	sessions []*runtime.Session
}

func (c *benchCmd) start(ctx context.Context, e *environment, profile bool) (*benchRun, error) {
	l, err := e.load(ctx, c.Model, &c.modelFlags, func(cfg runtime.Config) runtime.Config {
		return cfg.WithProfile(profile).WithMaxSessions(2 * max(c.Batch, 1)) // and their forks
	})
	if err != nil {
		return nil, err
	}
	s := &benchRun{loaded: l, c: c, random: rand.New(rand.NewPCG(1, 2))}
	if most := c.Depth + max(c.Prefill, c.Decode); most > l.prog.Context() {
		l.close()
		return nil, fmt.Errorf("bench: --depth and --prefill or --decode make %d tokens, expected at most the context's %d", most, l.prog.Context())
	}
	for range c.Batch {
		sess, err := l.prog.NewSession(ctx)
		fed := c.Depth
		if c.Feed > 0 {
			fed = min(fed, c.Feed)
		}
		if err == nil && fed > 0 {
			_, err = sess.Prefill(ctx, s.tokens(fed))
		}
		if err == nil && fed < c.Depth {
			err = sess.Repeat(ctx, c.Depth-fed)
		}
		if err != nil {
			l.close()
			return nil, err
		}
		s.sessions = append(s.sessions, sess)
	}
	return s, nil
}

// tokens are random ones: what they are does not change the work.
func (s *benchRun) tokens(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = s.random.Int32N(int32(s.prog.Info().Vocab))
	}
	return out
}

// once is one repetition: tokens a second of prefill and of decode, over all sequences.
func (s *benchRun) once(ctx context.Context) (prefill, decode float64, err error) {
	n := len(s.sessions)
	if s.c.Prefill > 0 {
		prompts := make([][]int32, n)
		for i := range prompts {
			prompts[i] = s.tokens(s.c.Prefill)
		}
		seconds, err := s.timed(ctx, func(i int, sess *runtime.Session) error {
			_, err := sess.Prefill(ctx, prompts[i])
			return err
		})
		if err != nil {
			return 0, 0, err
		}
		prefill = rate(n*s.c.Prefill, seconds)
	}
	if s.c.Decode > 0 {
		seconds, err := s.timed(ctx, func(i int, sess *runtime.Session) error {
			o := runtime.GenerateOptions{Prompt: []int32{int32(i)}, Sample: s.c.chooses(), MaxTokens: s.c.Decode, IgnoreEnd: true}
			for _, err := range sess.Generate(ctx, o) {
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
		decode = rate(n*s.c.Decode, seconds)
	}
	return prefill, decode, nil
}

// timed runs f on forks of all sessions at once: a window may have given back what a
// session would need to return to the depth.
func (s *benchRun) timed(ctx context.Context, f func(i int, sess *runtime.Session) error) (float64, error) {
	errs, forks := make([]error, len(s.sessions)), make([]*runtime.Session, len(s.sessions))
	for i, sess := range s.sessions {
		var err error
		if forks[i], err = sess.Fork(ctx); err != nil {
			return 0, err
		}
	}
	var wg sync.WaitGroup
	start := time.Now()
	for i, sess := range forks {
		wg.Go(func() { errs[i] = f(i, sess) })
	}
	wg.Wait()
	seconds := time.Since(start).Seconds()
	for i, sess := range forks {
		if err := errors.Join(errs[i], sess.Close(ctx)); err != nil {
			return 0, err
		}
	}
	return seconds, nil
}

func (c *benchCmd) print(e *environment, r *benchResult) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d threads, %s; loaded in %.2f s\n", r.Device, r.Threads, r.Target, r.Load)
	if c.Prefill > 0 {
		fmt.Fprintf(&b, "prefill %d at depth %d, batch %d: %.0f tok/s\n", c.Prefill, c.Depth, c.Batch, r.PrefillRate)
	}
	if c.Decode > 0 {
		fmt.Fprintf(&b, "decode %d at depth %d, batch %d: %.1f tok/s (%s a step, %.0f %% of %.1f GB/s)\n", c.Decode, c.Depth, c.Batch,
			r.DecodeRate, bytesText(int64(r.BytesPerStep)), r.Percent, r.ReadGBs)
	}
	fmt.Fprintf(&b, "%s\n", r.Memory.cacheText())
	fmt.Fprintf(&b, "\n%-36s %6s %10s %10s %8s %8s %9s\n", "kernel", "calls", "us", "bytes", "GB/s", "ceiling", "GFLOP/s")
	for _, k := range r.Kernels {
		fmt.Fprintf(&b, "%-36s %6.0f %10.1f %10s %8.1f %7.0f%% %9.1f\n", k.Name, k.Calls, k.US, bytesText(int64(k.Bytes)), k.GBs, k.Percent, k.GFlops)
	}
	return e.printf("%s", b.String())
}
