package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/alecthomas/kong"

	"quire/codegen/llc"
	"quire/ir"
)

// The exit codes.
const (
	exitFailed      = 1 // bad input, or a job that failed
	exitUsage       = 2
	exitInterrupted = 130
)

var errInterrupted = errors.New("interrupted")

// usageError is a wrong command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usage marks what the parser says, and names the command that it had come to.
func (e *environment) usage(err error) error {
	where := "command line"
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context.Selected() != nil {
		where = p.Context.Selected().Name
		e.command = where + " "
	}
	return &usageError{err: fmt.Errorf("%s: %w", where, err)}
}

// wrong is a usage error of a command's own check.
func wrong(format string, a ...any) error { return &usageError{err: fmt.Errorf(format, a...)} }

// fail prints an error and returns the exit code.
func (e *environment) fail(err error) int {
	e.finishBars()
	if err == nil {
		return 0
	}
	if errors.Is(err, errInterrupted) {
		fmt.Fprintln(e.err, "quire: interrupted")
		return exitInterrupted
	}
	fmt.Fprintf(e.err, "quire: %s\n", message(err))
	if hint := e.hint(err); hint != "" {
		fmt.Fprintf(e.err, "hint: %s\n", hint)
	}
	var u *usageError
	if errors.As(err, &u) {
		return exitUsage
	}
	return exitFailed
}

// message is an error as people read it: where comes first, also where the operating system puts its call there.
func message(err error) string {
	text := strings.TrimRight(err.Error(), "\n")
	var p *fs.PathError
	if errors.As(err, &p) {
		text = strings.Replace(text, p.Op+" "+p.Path+": ", p.Path+": ", 1)
	}
	var s *ir.SyntaxError
	if errors.As(err, &s) && s.Caret() != "" {
		text += "\n" + strings.TrimRight(s.Caret(), "\n")
	}
	return text
}

// hint says what to do next, where that is not in the message.
func (e *environment) hint(err error) string {
	var u *usageError
	switch {
	case errors.As(err, &u):
		return "quire " + e.command + "--help"
	case errors.Is(err, llc.ErrMissing):
		return "a program compiled elsewhere (quire compile -o FILE.quire) runs without LLVM"
	}
	return ""
}
