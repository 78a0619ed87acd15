package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// childArg marks a process that renders probes; ChildMain looks for it.
const childArg = "chat-template-probe"

// Limits of the child.
const (
	childCPU    = 1         // seconds
	childMemory = 512 << 20 // bytes of address space beyond what the program takes at its start
	childStack  = 64 << 20
	childWall   = 5 * time.Second
	maxReply    = 64 << 10
)

// Runner runs this program once more so that ChildMain takes over, gives it in on standard input, and returns what it
// wrote to standard output.
type Runner func(ctx context.Context, in []byte) (out []byte, err error)

// request is what the child reads, reply what it writes.
type request struct {
	Template string
	Options  Options
}

type reply struct {
	OK    bool
	Error string
}

// Admit compiles a template that is not on the built-in list, after a child process with limits on time and memory has
// rendered it for a set of probe conversations. A template that fails there is an error that says how.
func Admit(ctx context.Context, text string, o Options, run Runner) (*Template, error) {
	if name, ok := Known(text); ok {
		return compile(name, text, o, true)
	}
	if _, err := check(text, false); err != nil {
		return nil, err
	}
	in, err := json.Marshal(request{Template: text, Options: o})
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	out, err := run(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("chat template: rendering probes: %w", err)
	}
	var r reply
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("chat template: rendering probes: the child's answer is no JSON: %w", err)
	}
	if !r.OK {
		return nil, errors.New(r.Error)
	}
	return compile("admitted", text, o, false)
}

// Reexec is the Runner of a program whose main calls ChildMain first.
func Reexec(ctx context.Context, in []byte) ([]byte, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, childWall)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, childArg)
	cmd.Env = []string{"GOTRACEBACK=none", "GOMAXPROCS=1"}
	cmd.Stdin = bytes.NewReader(in)
	out, errs := &capped{limit: maxReply}, &capped{limit: 4 << 10}
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		return nil, fmt.Errorf("took longer than %s", childWall)
	case err != nil && ctx.Err() == nil && killed(err):
		return nil, fmt.Errorf("took more than %d s of CPU time", childCPU)
	case err != nil:
		return nil, fmt.Errorf("the child ended with %w (%s)", err, cause(errs.String()))
	}
	return out.Bytes(), nil
}

// cause names the limit that a child ran into, from the first line that Go's runtime wrote.
func cause(stderr string) string {
	for _, c := range []struct{ mark, meaning string }{
		{"stack overflow", "recursion without end"},
		{"stack exceeds", "recursion without end"},
		{"out of memory", "too much memory"},
		{"cannot allocate memory", "too much memory"},
	} {
		if strings.Contains(stderr, c.mark) {
			return c.meaning
		}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n")
	if line == "" {
		return "no reason given"
	}
	return line
}

// killed says that the kernel ended a process: at the limit on CPU time it does so without a word.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// capped keeps the first limit bytes written to it.
type capped struct {
	bytes.Buffer
	limit int
}

func (c *capped) Write(p []byte) (int, error) {
	if room := c.limit - c.Len(); room > 0 {
		c.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
