package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"quire/runtime"
	"quire/runtime/program"
	"quire/runtime/weights"
)

// Built is a Program on disk.
type Built struct {
	Path   string
	Cached bool   // it was in the cache, or MODEL is a compiled program
	Report Report // of the compilation, now or then; zero for a compiled MODEL

	compiled bool // MODEL itself is a program
}

// Build gives MODEL as a Program's file: a compiled one as it is, any other one from the cache, compiled into it if
// need be. It does not look into a file that is there: Open and Load do, and build again what is damaged.
func Build(ctx context.Context, model string, o Options) (*Built, error) {
	var err error
	if o.CacheDir == "" {
		if o.CacheDir, err = DefaultCacheDir(); err != nil {
			return nil, err
		}
	}
	ref, err := Resolve(model, o.CacheDir)
	if err != nil {
		return nil, err
	}
	if ref.Kind == Compiled {
		return &Built{Path: ref.Path, Cached: true, compiled: true}, nil
	}
	if o, err = o.complete(); err != nil {
		return nil, err
	}
	key, err := o.key(ref)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(o.CacheDir, "programs")
	path := filepath.Join(dir, key.name())
	if _, err := os.Stat(path); err == nil {
		return &Built{Path: path, Cached: true, Report: readReport(path)}, nil
	}
	p, report, err := Compile(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := Write(ctx, path, p, !report.Random, o.Progress); err != nil {
		return nil, err
	}
	report.Seconds += time.Since(start).Seconds()
	writeReport(path, report)
	prune(dir, key)
	return &Built{Path: path, Report: *report}, nil
}

// opened builds MODEL and hands its file to open; one in the cache that open finds damaged or of another version is
// built again.
func opened(ctx context.Context, model string, o Options, open func(path string) error) (*Built, error) {
	for {
		b, err := Build(ctx, model, o)
		if err != nil {
			return nil, err
		}
		err = open(b.Path)
		stale := errors.Is(err, program.ErrCorrupt) || errors.Is(err, program.ErrVersion) || errors.Is(err, program.ErrNotProgram)
		if !stale || !b.Cached || b.compiled || os.Remove(b.Path) != nil {
			return b, err
		}
	}
}

// Open builds MODEL and opens its file, to look at; Load runs it.
func Open(ctx context.Context, model string, o Options) (*program.File, *Built, error) {
	var f *program.File
	b, err := opened(ctx, model, o, func(path string) (err error) {
		f, err = program.Open(path)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return f, b, nil
}

// Load builds MODEL and binds it to the runtime's device.
func Load(ctx context.Context, rt *runtime.Runtime, model string, o Options) (*runtime.Program, *Built, error) {
	var p *runtime.Program
	b, err := opened(ctx, model, o, func(path string) (err error) {
		p, err = rt.Load(ctx, path)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return p, b, nil
}

// Write stores p at path. With pack the file also holds the weights as laid out, and needs the model's files no more.
func Write(ctx context.Context, path string, p *program.Program, pack bool, progress func(stage string, done, total int64)) error {
	if !pack {
		return program.Write(path, p, nil)
	}
	sources, err := weights.Open(p)
	if err != nil {
		return err
	}
	defer sources.Close()
	var total int64
	var done atomic.Int64
	for _, w := range p.Weights {
		total += w.Bytes
	}
	var buf []byte
	return program.Write(path, p, func(i int) ([]byte, error) {
		n := p.Weights[i].Bytes
		if int64(cap(buf)) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		clear(buf)
		err := sources.Fill(ctx, func(j int) []byte {
			if j == i {
				return buf
			}
			return nil
		}, goruntime.GOMAXPROCS(0), nil)
		if at := done.Add(n); progress != nil {
			progress("pack", at, total)
		}
		return buf, err
	})
}

// reportPath is where a Program's history stands beside it.
func reportPath(path string) string { return strings.TrimSuffix(path, ".quire") + ".json" }

// writeReport keeps the history; without it a Program is as good.
func writeReport(path string, r *Report) {
	text, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(reportPath(path), text, 0o644)
	}
	if err != nil {
		os.Remove(reportPath(path))
	}
}

func readReport(path string) Report {
	var r Report
	text, err := os.ReadFile(reportPath(path))
	if err != nil || json.Unmarshal(text, &r) != nil {
		return Report{}
	}
	return r
}

// kept is how many states of a subject stay in the cache: two compilers (a test's and a tool's) may take turns.
const kept = 2

// prune removes the oldest states of what was just compiled. Processes that have mapped them keep them.
func prune(dir string, key entry) {
	old, err := filepath.Glob(filepath.Join(dir, key.subject+"-*.quire"))
	if err != nil || len(old) <= kept {
		return
	}
	when := func(path string) time.Time {
		st, err := os.Stat(path)
		if err != nil {
			return time.Time{}
		}
		return st.ModTime()
	}
	slices.SortFunc(old, func(a, b string) int { return when(b).Compare(when(a)) })
	for _, path := range old[kept:] {
		os.Remove(path)
		os.Remove(reportPath(path))
	}
}

// Copy writes the Program's file to path, all of it or nothing.
func (b *Built) Copy(path string) error {
	in, err := os.Open(b.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) // after the rename there is nothing to remove
	if _, err = out.ReadFrom(in); err == nil {
		err = out.Chmod(0o644)
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(out.Name(), path)
}
