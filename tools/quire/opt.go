package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"quire/ir"
	"quire/passes"
	"quire/passes/pipeline"
)

type optCmd struct {
	File   string   `arg:"" placeholder:"FILE.ir" help:"IR text; - is stdin."`
	Passes []string `sep:"," placeholder:"a,b,c" help:"Passes to run, in order; none: print the canonical text."`
	Missed bool     `help:"Say on stderr why rules did not fire."`
	Stats  bool     `help:"Say on stderr how often each rule fired."`
	Dot    string   `default:"f32" placeholder:"f32|bf16|i8" help:"For passes that round products."`
}

func (optCmd) Help() string {
	var b strings.Builder
	b.WriteString("Examples:\n\n    quire opt --passes awq.fuse-dequant-gemm,canon.simplify in.ir\n    quire opt --passes fuse.norms --missed in.ir\n\nPasses:\n\n")
	for _, p := range pipeline.All() {
		title, _, _ := strings.Cut(strings.TrimSpace(p.Doc), "\n")
		fmt.Fprintf(&b, "    %-28s %s\n", p.Name, title)
	}
	return b.String()
}

// Run is text in, text out.
func (c *optCmd) Run(ctx context.Context, e *environment) error {
	m, err := e.parseIR(c.File)
	if err != nil {
		return err
	}
	list, err := c.pipeline()
	if err != nil {
		return err
	}
	observers := []passes.Observer{passes.Verify(), {Before: func(*passes.Event) error { return ctx.Err() }}}
	if c.Missed {
		observers = append(observers, passes.Missed(e.err))
	}
	if c.Stats {
		observers = append(observers, passes.Stats(e.err))
	}
	if err := ir.Verify(m); err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if _, err := list.Run(m, observers...); err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if e.JSON {
		return e.json(struct {
			IR string `json:"ir"`
		}{ir.Print(m)})
	}
	return e.printf("%s", ir.Print(m))
}

// pipeline is the passes by name, those of --dot before the others.
func (c *optCmd) pipeline() (passes.Pipeline, error) {
	var dot ir.Dot
	if err := dot.UnmarshalText([]byte(c.Dot)); err != nil {
		return nil, wrong("--dot: %q, expected f32, bf16 or i8", c.Dot)
	}
	known := append(pipeline.Standard(pipeline.Options{Dot: dot}), pipeline.All()...)
	var out passes.Pipeline
	for _, name := range c.Passes {
		i := slices.IndexFunc(known, func(p passes.Pass) bool { return p.Name == name })
		if i < 0 {
			var names []string
			for _, p := range pipeline.All() {
				names = append(names, p.Name)
			}
			return nil, wrong("--passes: no pass %q, expected some of %s", name, strings.Join(names, ", "))
		}
		out = append(out, known[i])
	}
	return out, nil
}

// parseIR reads a module from a file or stdin.
func (e *environment) parseIR(path string) (*ir.Module, error) {
	in, done, err := e.open(path)
	if err != nil {
		return nil, err
	}
	defer done()
	text, err := io.ReadAll(io.LimitReader(in, maxText))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ir.Parse(path, string(text))
}
