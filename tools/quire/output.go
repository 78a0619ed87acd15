package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/alecthomas/kong"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// environment is what a command talks to.
type environment struct {
	Global
	in       io.Reader
	out, err io.Writer
	parser   *kong.Kong
	verbose  bool
	command  string // the one that runs, with a space behind, or ""

	mu   sync.Mutex
	bars *mpb.Progress
	bar  map[string]*mpb.Bar
}

// json prints the one object of --json.
func (e *environment) json(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = e.out.Write(append(text, '\n'))
	return err
}

func (e *environment) printf(format string, a ...any) error {
	_, err := fmt.Fprintf(e.out, format, a...)
	return err
}

// logf tells people who asked for more.
func (e *environment) logf(format string, a ...any) {
	if e.verbose {
		fmt.Fprintf(e.err, format+"\n", a...)
	}
}

// warnf tells everybody.
func (e *environment) warnf(format string, a ...any) { fmt.Fprintf(e.err, "quire: "+format+"\n", a...) }

// notes tells everybody what compiling chose where the options leave it open.
func (e *environment) notes(list []string) {
	for _, n := range list {
		e.finishBars()
		e.warnf("%s", n)
	}
}

// isTerminal says whether a reader or a writer is one.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// stageNames is how bars call the stages of package model.
var stageNames = map[string]string{
	"compile": "compiling", "pack": "laying out weights", "load": "loading", "download": "downloading", "unpack": "unpacking", "check": "checking",
}

// progress draws a bar for each stage, on a terminal only.
func (e *environment) progress(stage string, done, total int64) {
	if !isTerminal(e.err) || total <= 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.bars == nil {
		e.bars = mpb.New(mpb.WithOutput(e.err), mpb.WithWidth(48))
		e.bar = map[string]*mpb.Bar{}
	}
	b := e.bar[stage]
	if b == nil {
		name := stageNames[stage]
		if name == "" {
			name = stage
		}
		b = e.bars.New(total, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"), mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(name, decor.WC{W: 20, C: decor.DindentRight})),
			mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5})))
		e.bar[stage] = b
	}
	b.SetCurrent(done)
}

// finishBars takes the bars off the terminal.
func (e *environment) finishBars() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.bars == nil {
		return
	}
	for _, b := range e.bar {
		if !b.Completed() {
			b.Abort(true)
		}
	}
	e.bars.Wait()
	e.bars, e.bar = nil, nil
}

// bytes is a size as people read it.
func bytesText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}
