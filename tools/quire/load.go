package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"quire/runtime"
	"quire/tools/model"
)

// loaded is a model on its device.
type loaded struct {
	rt    *runtime.Runtime
	prog  *runtime.Program
	built *model.Built

	loadSeconds, compileSeconds float64
}

// load compiles or finds the program of a model and binds it.
func (e *environment) load(ctx context.Context, name string, m *modelFlags, configure func(runtime.Config) runtime.Config) (*loaded, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	o, err := m.options(&e.Global)
	if err != nil {
		return nil, err
	}
	o.Progress = e.progress
	cache, err := e.cacheDir()
	if err != nil {
		return nil, err
	}
	c := runtime.NewConfig().WithDevice(runtime.Device(e.Device)).WithThreads(e.threads()).WithContext(e.Ctx).
		WithCodeDir(filepath.Join(cache, "jit")).
		WithProgress(func(p runtime.Progress) { e.progress("load", p.Done, p.Total) })
	if configure != nil {
		c = configure(c)
	}
	l := &loaded{}
	if l.rt, err = runtime.Open(ctx, c); err != nil {
		return nil, err
	}
	if machine := l.rt.Machine(); machine.Device != runtime.CPU {
		t, err := parseTarget(machine.Target())
		if err != nil {
			return nil, errors.Join(err, l.rt.Close(ctx))
		}
		t.Multiprocessors = machine.Multiprocessors
		if err := m.aim(&o, t); err != nil {
			return nil, errors.Join(err, l.rt.Close(ctx))
		}
	}
	start := time.Now()
	if l.prog, l.built, err = model.Load(ctx, l.rt, name, o); err != nil {
		return nil, errors.Join(err, l.rt.Close(ctx))
	}
	l.loadSeconds = time.Since(start).Seconds()
	if !l.built.Cached {
		l.compileSeconds = l.built.Report.Seconds
		l.loadSeconds -= l.compileSeconds
	}
	e.finishBars()
	e.notes(l.built.Report.Notes)
	if l.built.Report.Random {
		e.warnf("%s: no weights in it, running with random ones from seed %d", name, l.built.Report.Seed)
	}
	if e.Ctx > l.prog.Info().Context {
		return nil, errors.Join(fmt.Errorf("--ctx: %d tokens, expected at most the model's %d", e.Ctx, l.prog.Info().Context), l.close())
	}
	e.logf("loaded %s for %s on %s in %.2f s", l.built.Path, l.prog.Info().Target, l.prog.Machine(), l.loadSeconds)
	return l, nil
}

func (l *loaded) close() error { return l.rt.Close(context.Background()) }

type memoryResult struct {
	PeakRSS int64 `json:"peak_rss"`
	Weights int64 `json:"weights"`
	Cache   int64 `json:"cache"`         // the most so far
	Exact   int64 `json:"cache_formula"` // of the tokens, where tables keep sink and recent alone
	Paged   int64 `json:"cache_pages"`   // and in whole pages with their summaries
	Device  int64 `json:"device"`        // what the program holds of a GPU's memory, its cache to the longest context; 0 on a CPU
}

// cacheText is one line of it.
func (m memoryResult) cacheText() string {
	text := fmt.Sprintf("cache %s at most: %s by the formula, %s in whole pages", bytesText(m.Cache), bytesText(m.Exact), bytesText(m.Paged))
	if m.Device > 0 {
		text += fmt.Sprintf("; %s of the device's memory", bytesText(m.Device))
	}
	return text
}

// memory is what the model takes for sequences of n tokens, and the most that this process ever had.
func (l *loaded) memory(ctx context.Context, sequences, n int) (memoryResult, error) {
	s, err := l.prog.Stats(ctx)
	if err != nil {
		return memoryResult{}, err
	}
	exact, paged := l.prog.CacheNeed(n)
	var held int64
	if l.prog.Machine().Device != runtime.CPU {
		held = s.Memory.Total() + s.Memory.Caches
	}
	return memoryResult{Device: held, PeakRSS: peakRSS(), Weights: s.Memory.Weights + s.Memory.Mapped, Cache: s.CachePeak,
		Exact: exact * int64(sequences), Paged: paged * int64(sequences)}, nil
}

// peakRSS is VmHWM of this process in bytes; 0 where the system does not say.
func peakRSS() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		rest, ok := strings.CutPrefix(line, "VmHWM:")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		if err != nil {
			return 0
		}
		return n << 10
	}
	return 0
}
