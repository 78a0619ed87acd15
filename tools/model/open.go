package model

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"quire/runtime/program"
	"quire/runtime/weights"
)

// Program is an opened Program: mapped from a file, its weights with it if the file holds them.
type Program struct {
	*program.Program
	Path   string // the file
	Cached bool   // it was in the cache, or MODEL is a compiled program
	Report Report // of the compilation, now or then; zero for a compiled MODEL

	file *program.File
}

// Packed gives weight i as laid out, valid until Close; nil when the weights are in the model's files.
func (p *Program) Packed(i int) []byte { return p.file.Weight(i) }

// Close unmaps the file. Nothing may use its weights any more.
func (p *Program) Close() error { return p.file.Close() }

// Open gives MODEL as a Program: a compiled one as it is, any other one from the cache, compiled into it if need be.
func Open(ctx context.Context, model string, o Options) (*Program, error) {
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
		return mapped(ref.Path)
	}
	if o, err = o.complete(); err != nil {
		return nil, err
	}
	if err := RefuseOptions(o.Frontend.Options); err != nil {
		return nil, err
	}
	key, err := o.key(ref)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(o.CacheDir, "programs")
	path := filepath.Join(dir, key.name())
	if p, err := mapped(path); err == nil {
		p.readReport()
		return p, nil
	} // a damaged or an older file is a miss, as an absent one is
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
	out, err := mapped(path)
	if err != nil {
		return nil, err
	}
	out.Cached, out.Report = false, *report
	return out, nil
}

func mapped(path string) (*Program, error) {
	f, err := program.Open(path)
	if err != nil {
		return nil, err
	}
	return &Program{Program: f.Program, Path: path, Cached: true, file: f}, nil
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
		}, runtime.GOMAXPROCS(0), nil)
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

func (p *Program) readReport() {
	text, err := os.ReadFile(reportPath(p.Path))
	if err != nil {
		return
	}
	var r Report
	if json.Unmarshal(text, &r) == nil {
		p.Report = r
	}
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
func (p *Program) Copy(path string) error {
	in, err := os.Open(p.Path)
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
