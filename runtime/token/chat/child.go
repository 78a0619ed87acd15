package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// ChildMain is the first thing that the main function of a program calls that uses Reexec. In a process that Reexec
// started it renders probes and exits; in any other it returns at once.
func ChildMain() {
	if len(os.Args) != 2 || os.Args[1] != childArg {
		return
	}
	if err := child(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(in io.Reader, out io.Writer) error {
	if err := limit(); err != nil {
		return fmt.Errorf("setting limits: %w", err)
	}
	var req request
	if err := json.NewDecoder(io.LimitReader(in, 8*MaxTemplate)).Decode(&req); err != nil {
		return fmt.Errorf("reading the template: %w", err)
	}
	r := reply{OK: true}
	if err := probe(req.Template, req.Options); err != nil {
		r = reply{Error: err.Error()}
	}
	if len(r.Error) > 4<<10 {
		r.Error = r.Error[:4<<10]
	}
	return json.NewEncoder(out).Encode(r)
}

// limit bounds this process. Go reserves much address space that it never uses, so memory counts from here.
func limit() error {
	debug.SetMaxStack(childStack)
	var pages uint64
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return err
	}
	if _, err := fmt.Sscan(string(statm), &pages); err != nil {
		return err
	}
	space := pages*uint64(os.Getpagesize()) + childMemory
	for _, l := range []struct {
		what int
		to   unix.Rlimit
	}{
		{unix.RLIMIT_AS, unix.Rlimit{Cur: space, Max: space}},
		{unix.RLIMIT_CPU, unix.Rlimit{Cur: childCPU, Max: childCPU}},
		{unix.RLIMIT_CORE, unix.Rlimit{}},
		{unix.RLIMIT_FSIZE, unix.Rlimit{}},
	} {
		if err := unix.Setrlimit(l.what, &l.to); err != nil {
			return err
		}
	}
	return nil
}

// probe renders every probe. A template may refuse some of them (raise_exception), or fail for what it does not
// support; one that can render none is of no use, and one that runs into a limit is out.
func probe(text string, o Options) error {
	t, err := compile("probe", text, o, false)
	if err != nil {
		return err
	}
	var first error
	rendered := 0
	for _, in := range probes() {
		_, err := t.Render(in)
		var over *LimitError
		switch {
		case err == nil:
			rendered++
		case errors.As(err, &over):
			return err
		case first == nil:
			first = err
		}
	}
	if rendered == 0 {
		return fmt.Errorf("it renders no probe: %w", first)
	}
	return nil
}
