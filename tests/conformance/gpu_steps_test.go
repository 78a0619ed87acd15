package conformance

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"quire/ir/interp"
	machine "quire/ir/target"
	"quire/runtime"
	"quire/runtime/cuda/driver"
	"quire/runtime/program"
)

// On a GPU, thousands of steps over sequences that are opened, forked, cut and closed while others decode, in steps
// of many shapes: none hangs, and the device's free memory is to the byte what it was.
func TestGPUSteps(t *testing.T) {
	lib := library(t)
	tgt, err := machine.Parse("sm_90a")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		variant
		steps int
	}{
		{variant{"dense", tiny("llama", "kv: f16", "quantisation: q4_0"), 0, 1e-2, nil, nil}, 10000},
		{rewritten("every rewrite", tiny("qwen3", "kv: "+everyRewrite.kv, "awq: {bits: 4, group: 64}"), everyRewrite), 3000},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, p, err := compile(t, c.spec, c.options(tgt), *bundle == "")
			if err != nil {
				t.Fatal(err)
			}
			if lib == nil {
				return
			}
			d, err := driver.New(lib, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			bound := 0.0
			if c.duo == nil {
				bound = c.bound // a rewritten model reads prompts otherwise than single tokens
			}
			traffic(t, runtime.CUDA, p, c.steps, bound) // what the driver keeps for itself, for so many graphs at once, from then on
			before := available(t, d)
			start := time.Now()
			traffic(t, runtime.CUDA, p, c.steps, bound)
			t.Logf("%d steps in %v", c.steps, time.Since(start).Round(time.Millisecond))
			if after := available(t, d); after != before {
				t.Errorf("%d bytes of the device are free, %d were before", after, before)
			}
		})
	}
	notRun(t)
}

// The same on this processor, for a while.
func TestTraffic(t *testing.T) {
	host, err := machine.Host()
	if err != nil {
		t.Fatal(err)
	}
	v := variant{spec: spec("llama", small, "quantisation: q4_0")}
	_, p := build(t, v.spec, v.options(host))
	traffic(t, runtime.CPU, p, 400, 2e-5)
}

func available(t *testing.T, d *driver.Device) int64 {
	t.Helper()
	leave, err := d.Enter()
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	n, err := d.Available()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// crossing is sessions of a program at work.
type crossing struct {
	t     *testing.T
	ctx   context.Context
	prog  *runtime.Program
	rng   *rand.Rand
	all   []*runtime.Session
	last  [][]float32 // logits of each
	bound float64
}

// traffic runs so many steps. Where there is a bound, a sequence that ends is told to another one as a prompt, whose
// logits must be as near as that.
func traffic(t *testing.T, dev runtime.Device, p *program.Program, steps int, bound float64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	rt, err := runtime.Open(ctx, runtime.NewConfig().WithDevice(dev).WithThreads(2).WithMaxSessions(16).WithCacheBytes(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := rt.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	prog, err := rt.LoadProgram(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	c := &crossing{t: t, ctx: ctx, prog: prog, rng: rand.New(rand.NewPCG(11, 12)), bound: bound}
	for done := int64(0); done < int64(steps); {
		c.come()
		c.turn()
		c.leave()
		stats, err := prog.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		done = stats.Steps
	}
	for len(c.all) > 0 {
		c.end(0)
	}
}

func (c *crossing) fatal(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *crossing) tokens(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = c.rng.Int32N(83)
	}
	return out
}

// come opens or forks a sequence now and then.
func (c *crossing) come() {
	switch n := len(c.all); {
	case n < 2 || n < 14 && c.rng.IntN(8) == 0:
		s, err := c.prog.NewSession(c.ctx)
		c.fatal(err)
		logits, err := s.Prefill(c.ctx, c.tokens(1+c.rng.IntN(150)))
		c.fatal(err)
		c.all, c.last = append(c.all, s), append(c.last, logits)
	case n < 14 && c.rng.IntN(12) == 0:
		i := c.rng.IntN(n)
		s, err := c.all[i].Fork(c.ctx)
		c.fatal(err)
		c.all, c.last = append(c.all, s), append(c.last, c.last[i])
	}
}

// turn feeds all sequences at once: a token each, now and then a chunk or a reply.
func (c *crossing) turn() {
	errs := make([]error, len(c.all))
	var wg sync.WaitGroup
	for i, s := range c.all {
		ids := c.tokens(1)
		reply := c.rng.IntN(300) == 0
		if c.rng.IntN(20) == 0 {
			ids = c.tokens(2 + c.rng.IntN(40))
		}
		wg.Go(func() {
			if reply {
				for _, err := range s.Generate(c.ctx, runtime.GenerateOptions{Prompt: ids, MaxTokens: 9, IgnoreEnd: true}) {
					errs[i] = err
				}
				ids = ids[:1]
			}
			if errs[i] == nil {
				c.last[i], errs[i] = s.Prefill(c.ctx, ids)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		c.fatal(err)
	}
}

// leave closes what is nearly full, and others now and then.
func (c *crossing) leave() {
	for i := len(c.all) - 1; i >= 0; i-- {
		if c.all[i].Len() > 420 || c.rng.IntN(150) == 0 {
			c.end(i)
		}
	}
}

func (c *crossing) end(i int) {
	s := c.all[i]
	if c.bound > 0 {
		again, err := c.prog.NewSession(c.ctx)
		c.fatal(err)
		logits, err := again.Prefill(c.ctx, s.Tokens())
		c.fatal(err)
		if d := interp.RelL2(doubles(c.last[i]), doubles(logits)); !(d <= c.bound) {
			c.t.Fatalf("a sequence of %d tokens ends %.3g from one that was told them at once, expected at most %g", s.Len(), d, c.bound)
		}
		c.fatal(again.Close(c.ctx))
	}
	c.fatal(s.Close(c.ctx))
	c.all, c.last = append(c.all[:i:i], c.all[i+1:]...), append(c.last[:i:i], c.last[i+1:]...)
}

func doubles(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
