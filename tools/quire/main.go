package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"quire/runtime/token/chat"
)

// commands is the command line, in the order of a model's life.
type commands struct {
	Global

	Run        runCmd        `cmd:"" help:"Generate text."`
	Score      scoreCmd      `cmd:"" help:"Measure how likely a text is."`
	Tokenize   tokenizeCmd   `cmd:"" help:"Turn text into token ids."`
	Detokenize detokenizeCmd `cmd:"" help:"Turn token ids into text."`
	Show       showCmd       `cmd:"" help:"Say what a model file is."`
	Compile    compileCmd    `cmd:"" help:"Compile a model to a program."`
	Opt        optCmd        `cmd:"" help:"Run passes on IR text."`
	Graph      graphCmd      `cmd:"" help:"Draw a model or IR text."`
	Heads      headsCmd      `cmd:"" help:"Show DuoAttention gates and the mask chosen from them."`
	Bench      benchCmd      `cmd:"" help:"Measure speed against what the machine can do."`
	Quantize   quantizeCmd   `cmd:"" help:"Calibrate and round a model (AWQ); write a checkpoint."`
	Pull       pullCmd       `cmd:"" help:"Fetch a model into the cache."`
	Version    versionCmd    `cmd:"" help:"Print version, commit, LLVM and driver."`
	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`

	Serve     laterCmd `cmd:"" hidden:"" help:"HTTP server (not in this build)."`
	Attribute laterCmd `cmd:"" hidden:"" help:"Attribution models (not in this build)."`
	Train     laterCmd `cmd:"" hidden:"" help:"Training (not in this build)."`
}

const about = "Quire compiles language models to machine code and runs them: MODEL is a GGUF file, a Hugging Face " +
	"directory, a YAML spec, a compiled .quire program, or a name that `quire pull` knows."

func main() {
	chat.ChildMain() // renders an untrusted chat template and exits, if that is what this process is for
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program; it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	env := &environment{in: stdin, out: stdout, err: stderr}
	defer func() {
		if cause := recover(); cause != nil {
			env.finishBars()
			fmt.Fprintf(stderr, "quire: internal error: %v, expected none: this is a bug\n", cause)
			if env.verbose {
				stderr.Write(debug.Stack())
			}
			code = exitFailed
		}
	}()
	cli := &commands{}
	done := -1
	parser, err := kong.New(cli, kong.Name("quire"), kong.Description(about), kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { done = code; panic(exited{}) }), kong.DefaultEnvars("QUIRE"),
		kong.WithHyphenPrefixedParameters(true), // a prompt may begin with a dash
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
		kong.ShortUsageOnError())
	if err != nil {
		panic("BUG: " + err.Error())
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parse(parser, args)
	if done >= 0 {
		return done
	}
	if err != nil {
		return env.fail(env.usage(err))
	}
	env.Global = cli.Global
	env.parser, env.verbose = parser, cli.Verbose
	if n := kctx.Selected(); n != nil && !n.Hidden {
		env.command = n.Name + " " // for hints
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	kctx.BindTo(ctx, (*context.Context)(nil))
	kctx.Bind(env)
	err = kctx.Run()
	if ctx.Err() != nil && err != nil {
		err = errInterrupted
	}
	return env.fail(err)
}

// exited is how --help leaves the parser.
type exited struct{}

func parse(parser *kong.Kong, args []string) (ctx *kong.Context, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			if _, ok := cause.(exited); !ok {
				panic(cause)
			}
		}
	}()
	return parser.Parse(args)
}
