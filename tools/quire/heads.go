package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"quire/passes/duo"
	"quire/tools/model"
)

type headsCmd struct {
	Gates     string   `placeholder:"FILE.tsv" xor:"gates" help:"Table of gates: a line a layer, a column a KV head."`
	Sparsity  *float64 `placeholder:"S" xor:"mask" help:"Part of the heads that stream; 0.5 without --threshold."`
	Threshold *float64 `placeholder:"T" xor:"mask" help:"Heads with gates from here on are retrieval heads."`
	Out       string   `short:"o" type:"path" placeholder:"FILE" help:"Draw layers and heads (.svg); with -m, write the measured table (.tsv)."`
	Model     string   `short:"m" placeholder:"MODEL" xor:"gates" help:"Measure gates of a model that has none, on --text."`
	Text      string   `placeholder:"FILE" help:"The text to measure them on."`
	Sink      int      `default:"64" placeholder:"N" help:"With -m: first tokens that a streaming head would keep."`
	Recent    int      `default:"256" placeholder:"N" help:"With -m: recent tokens that a streaming head would keep."`
	Window    int      `default:"1024" placeholder:"N" help:"With -m: tokens of a sequence."`
}

func (headsCmd) Help() string {
	return "Examples:\n\n    quire heads --gates heads.tsv --sparsity 0.5\n    quire heads --gates heads.tsv --threshold 0.9 -o heads.svg\n    quire heads -m smollm2 --text book.txt -o heads.tsv"
}

type headsResult struct {
	Layers         int     `json:"layers"`
	KVHeads        int     `json:"kv_heads"`
	RetrievalHeads int     `json:"retrieval_heads"`
	Mask           [][]int `json:"mask"`
}

// Run chooses a mask from gates and shows it.
func (c *headsCmd) Run(ctx context.Context, e *environment) error {
	switch {
	case c.Model != "":
		return c.measure(ctx, e)
	case c.Gates == "":
		return wrong("heads: no gates, expected --gates FILE.tsv, or -m MODEL --text FILE -o FILE.tsv")
	case c.Out != "" && !strings.EqualFold(filepath.Ext(c.Out), ".svg"):
		return wrong("-o: %s, expected FILE.svg", c.Out)
	}
	text, err := os.ReadFile(c.Gates)
	if err != nil {
		return err
	}
	g, err := duo.ParseGates(c.Gates, string(text))
	if err != nil {
		return err
	}
	mask, how, err := c.mask(g)
	if err != nil {
		return err
	}
	if c.Out != "" {
		title := fmt.Sprintf("%s, %s", filepath.Base(c.Gates), how)
		if err := os.WriteFile(c.Out, []byte(duo.Picture(title, g, mask)), 0o644); err != nil {
			return err
		}
	}
	return c.show(e, g, mask, how)
}

// measure writes the table of gates of a model and shows the mask that they give.
func (c *headsCmd) measure(ctx context.Context, e *environment) error {
	switch {
	case c.Text == "":
		return wrong("heads: no text, expected -m MODEL --text FILE -o FILE.tsv")
	case !strings.EqualFold(filepath.Ext(c.Out), ".tsv"):
		return wrong("-o: %q, expected FILE.tsv", c.Out)
	case c.Sink < 0 || c.Recent < 0:
		return wrong("heads: sink %d and recent %d, expected no negative", c.Sink, c.Recent)
	}
	if err := e.check(); err != nil {
		return err
	}
	text, err := os.ReadFile(c.Text)
	if err != nil {
		return err
	}
	ref, err := e.resolve(c.Model)
	if err != nil {
		return err
	}
	tok, err := model.Tokenizer(ref)
	if err != nil {
		return err
	}
	ids, err := encode(tok, string(text), false, false)
	if err != nil {
		return err
	}
	o := model.Options{CacheDir: e.CacheDir, Progress: e.progress}
	g, err := model.MeasureGates(ctx, ref, o, model.GateOptions{Sink: c.Sink, Recent: c.Recent, Window: c.Window, Threads: e.threads()}, ids)
	e.finishBars()
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.Out, []byte(g.String()), 0o644); err != nil {
		return err
	}
	mask, how, err := c.mask(g)
	if err != nil {
		return err
	}
	return c.show(e, g, mask, how)
}

// mask chooses by what the flags say.
func (c *headsCmd) mask(g duo.Gates) (mask duo.Mask, how string, err error) {
	if c.Threshold != nil {
		mask, err = g.ByThreshold(*c.Threshold)
		how = fmt.Sprintf("threshold %v", *c.Threshold)
	} else {
		s := 0.5
		if c.Sparsity != nil {
			s = *c.Sparsity
		}
		mask, err = g.BySparsity(s)
		how = fmt.Sprintf("sparsity %v", s)
	}
	if err != nil {
		return nil, "", wrong("heads: %w", err)
	}
	return mask, how, nil
}

// show prints counts, and a line a layer with R for retrieval heads and . for others.
func (c *headsCmd) show(e *environment, g duo.Gates, mask duo.Mask, how string) error {
	r := headsResult{Layers: len(g), KVHeads: len(g[0]), RetrievalHeads: mask.Retrieval()}
	var lines strings.Builder
	for l, row := range mask {
		bits := make([]int, len(row))
		fmt.Fprintf(&lines, "%5d  ", l)
		n := 0
		for h, retrieval := range row {
			if retrieval {
				bits[h] = 1
				n++
			}
			lines.WriteByte(".R"[bits[h]])
		}
		fmt.Fprintf(&lines, "  %d\n", n)
		r.Mask = append(r.Mask, bits)
	}
	if e.JSON {
		return e.json(r)
	}
	return e.printf("%d layers of %d KV heads, %s: %d retrieval heads, %d streaming\n%s",
		r.Layers, r.KVHeads, how, r.RetrievalHeads, mask.Streaming(), lines.String())
}
