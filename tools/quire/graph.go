package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quire/frontends"
	"quire/ir"
	"quire/ir/dot"
	"quire/passes"
	"quire/tools/model"
)

type graphCmd struct {
	Model string `arg:"" placeholder:"MODEL|FILE.ir" help:"A model, or IR text."`
	modelFlags
	After  string `placeholder:"PASS" help:"Draw what the pipeline has made by the end of this pass (its last run; PASS#2 is the second). Default: before any pass."`
	Out    string `short:"o" type:"path" placeholder:"FILE" help:"Where to: .svg, .dot, .html or .json (Model Explorer). Default: dot on stdout."`
	Layers string `default:"one" enum:"all,one" help:"Draw all layers, or one and how often it repeats."`
	Func   string `placeholder:"NAME" help:"The function to draw. Default: the decode step if there is one, else the first."`
}

func (graphCmd) Help() string {
	return "Examples:\n\n    quire graph smollm2 -o model.svg\n    quire graph smollm2 --after fuse.norms -o fused.html\n    quire graph smollm2 --quest budget=512 --after quest.select-pages -o quest.svg\n    quire graph ir/02-awq.fuse-dequant-gemm.ir --layers all -o all.json"
}

type graphResult struct {
	Path   string `json:"path"`
	Format string `json:"format"`
	Func   string `json:"func"`
	Bytes  int    `json:"bytes"`
	Text   string `json:"text,omitempty"` // without -o
}

// Run draws.
func (c *graphCmd) Run(ctx context.Context, e *environment) error {
	r := graphResult{Path: c.Out, Format: string(dot.DOT)}
	if c.Out != "" {
		format, err := dot.FormatOf(c.Out)
		if err != nil {
			return wrong("-o: %w", err)
		}
		r.Format = string(format)
	}
	m, err := c.module(ctx, e)
	if err != nil {
		return err
	}
	f, err := c.function(m)
	if err != nil {
		return err
	}
	r.Func = f.Name
	layers := dot.OneLayer
	if c.Layers == "all" {
		layers = dot.AllLayers
	}
	out, err := dot.Draw(m, f, dot.Options{Format: dot.Format(r.Format), Layers: layers})
	if err != nil {
		return err
	}
	r.Bytes = len(out)
	switch {
	case c.Out != "":
		if err := os.WriteFile(c.Out, out, 0o644); err != nil {
			return err
		}
		if e.JSON {
			return e.json(r)
		}
		return e.printf("%s\n", c.Out)
	case e.JSON:
		r.Text = string(out)
		return e.json(r)
	}
	_, err = e.out.Write(out)
	return err
}

// module is the IR at the point that --after names.
func (c *graphCmd) module(ctx context.Context, e *environment) (*ir.Module, error) {
	o, err := c.options(&e.Global)
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(filepath.Ext(c.Model), ".ir") {
		if c.After == "" {
			return e.parseIR(c.Model)
		}
		list, err := o.Passes(o.Frontend.Options)
		if err != nil {
			return nil, err
		}
		m, rest, err := model.Resume(c.Model, list)
		if err != nil {
			return nil, err
		}
		return c.after(ctx, m, rest)
	}
	ref, err := e.resolve(c.Model)
	if err != nil {
		return nil, err
	}
	o.Frontend.Context = e.Ctx
	src, err := model.Source(ref, frontends.Options(o.Frontend))
	if err != nil {
		return nil, err
	}
	defer src.Close()
	list, err := o.Passes(src.Options)
	if err != nil {
		return nil, err
	}
	return c.after(ctx, src.Module, list)
}

// after runs the passes up to the one that --after names.
func (c *graphCmd) after(ctx context.Context, m *ir.Module, list passes.Pipeline) (*ir.Module, error) {
	if c.After == "" {
		return m, nil
	}
	var at []int
	name, number, _ := strings.Cut(c.After, "#")
	for i, p := range list {
		if p.Name == name {
			at = append(at, i)
		}
	}
	if number != "" {
		n := 0
		if _, err := fmt.Sscanf(number, "%d", &n); err != nil || n < 1 || n > len(at) {
			return nil, wrong("--after: %s, expected %s#1 to #%d", c.After, name, len(at))
		}
		at = at[:n]
	}
	if len(at) == 0 {
		var names []string
		for _, p := range list {
			if !slices.Contains(names, p.Name) {
				names = append(names, p.Name)
			}
		}
		return nil, wrong("--after: no pass %q ahead, expected one of %s", c.After, strings.Join(names, ", "))
	}
	_, err := list[:at[len(at)-1]+1].Run(m, passes.Observer{Before: func(*passes.Event) error { return ctx.Err() }})
	return m, err
}

func (c *graphCmd) function(m *ir.Module) (*ir.Func, error) {
	if c.Func != "" {
		if f := m.Func(strings.TrimPrefix(c.Func, "@")); f != nil {
			return f, nil
		}
	}
	var names []string
	for _, f := range m.Funcs {
		if c.Func == "" && f.Name == "step.decode" {
			return f, nil
		}
		names = append(names, f.Name)
	}
	if c.Func != "" || len(names) == 0 {
		return nil, fmt.Errorf("--func: no function %q, expected one of %s", c.Func, strings.Join(names, ", "))
	}
	return m.Funcs[0], nil
}
