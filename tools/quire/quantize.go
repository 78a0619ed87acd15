package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"quire/frontends"
	"quire/ir/types/packed"
	"quire/tools/calibrate"
	"quire/tools/model"
)

type quantizeCmd struct {
	Model    string `short:"m" required:"" placeholder:"MODEL" help:"The model: floats, or GGUF's encodings."`
	Output   string `short:"o" required:"" placeholder:"DIR" help:"Where the checkpoint goes. A run that was killed goes on there."`
	Text     string `required:"" placeholder:"FILE" help:"The text to calibrate on."`
	TestText string `name:"test-text" placeholder:"FILE" help:"Another text: report the perplexity on it before and after."`
	Bits     int    `default:"4" placeholder:"4|3" help:"Bits of a code."`
	Group    int    `placeholder:"N" help:"Columns that share a scale: 128, 64 or 32. Without it the largest that divides."`
	Search   string `default:"activation" placeholder:"none|activation|duo" help:"How scales are looked for; none rounds to nearest."`
	Clip     bool   `help:"Also look for bounds of the weights of each group."`
	Format   string `placeholder:"awq|compressed-tensors" help:"Layout of the checkpoint. Without it awq, or compressed-tensors for 3 bits."`
	Window   int    `default:"512" placeholder:"N" help:"Tokens of a sequence, in calibration and test."`
	Windows  int    `default:"64" placeholder:"N" help:"Sequences to calibrate on."`
	Seed     int64  `default:"0" placeholder:"S" help:"Draws the sequences, where the text has more."`
}

func (quantizeCmd) Help() string {
	return "Scales of channels are searched so that rounding moves the products of each linear least (AWQ), and absorbed into norms and linears before.\n\n" +
		"Examples:\n\n    quire quantize -m smollm2 -o smollm2-awq --text book.txt --clip\n    quire quantize -m smollm2 -o smollm2-w3 --text book.txt --bits 3 --group 32 --search duo --test-text other.txt"
}

// formats are the words of --format.
var formats = map[string]packed.Format{"": "", "awq": packed.AWQGemm, "compressed-tensors": packed.CompressedTensors}

type quantizeResult struct {
	Path      string            `json:"path"`
	Bits      int               `json:"bits"`
	Group     int               `json:"group"`
	Format    packed.Format     `json:"format"`
	Layers    []calibrate.Layer `json:"layers"`
	Resumed   int               `json:"resumed_layers"`
	PPLBefore float64           `json:"ppl_before,omitempty"`
	PPLAfter  float64           `json:"ppl_after,omitempty"`
}

// Run calibrates, writes and, with a test text, scores.
func (c *quantizeCmd) Run(ctx context.Context, e *environment) error {
	o, path, err := c.options(e)
	if err != nil {
		return err
	}
	r, err := calibrate.Run(ctx, path, c.Output, o)
	e.finishBars()
	if err != nil {
		return err
	}
	e.notes(r.Notes)
	out := &quantizeResult{Path: c.Output, Bits: r.Bits, Group: r.Group, Format: r.Format, Layers: r.Layers, Resumed: r.Resumed}
	if c.TestText != "" {
		if out.PPLBefore, err = c.perplexity(ctx, e, c.Model); err != nil {
			return err
		}
		if out.PPLAfter, err = c.perplexity(ctx, e, c.Output); err != nil {
			return err
		}
	}
	if e.JSON {
		return e.json(out)
	}
	return c.print(e, out)
}

func (c *quantizeCmd) options(e *environment) (o calibrate.Options, path string, err error) {
	search, err := calibrate.ParseSearch(c.Search)
	if err != nil {
		return o, "", wrong("--%v", err)
	}
	format, ok := formats[c.Format]
	switch {
	case !ok:
		return o, "", wrong("--format: %q, expected awq or compressed-tensors", c.Format)
	case c.Bits != 4 && c.Bits != 3:
		return o, "", wrong("--bits: %d, expected 4 or 3", c.Bits)
	case c.Window < 2 || c.Windows < 1:
		return o, "", wrong("--window: %d sequences of %d tokens, expected one or more of at least 2", c.Windows, c.Window)
	}
	cache, err := e.cacheDir()
	if err != nil {
		return o, "", err
	}
	ref, err := model.Resolve(c.Model, cache)
	if err != nil {
		return o, "", err
	}
	if ref.Kind == model.Compiled {
		return o, "", fmt.Errorf("%s: a compiled program, expected a model that can be compiled", ref.Path)
	}
	ids, err := tokensOf(ref, c.Text)
	if err != nil {
		return o, "", err
	}
	return calibrate.Options{Frontend: frontends.Options{}, Tokens: ids, Bits: c.Bits, Group: c.Group, Search: search, Clip: c.Clip, Seed: c.Seed,
		Format: format, Window: c.Window, Windows: c.Windows, Threads: e.threads(), CacheDir: cache, Progress: e.progress}, ref.Path, nil
}

// tokensOf reads a text as a model's tokens.
func tokensOf(ref model.Ref, file string) ([]int32, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	t, err := model.Tokenizer(ref)
	if err != nil {
		return nil, err
	}
	return encode(t, string(text), false, false)
}

// perplexity is of the test text, in windows as `quire score` has them.
func (c *quantizeCmd) perplexity(ctx context.Context, e *environment, name string) (float64, error) {
	l, err := e.load(ctx, name, &modelFlags{}, nil)
	if err != nil {
		return 0, err
	}
	defer l.close()
	text, err := os.ReadFile(c.TestText)
	if err != nil {
		return 0, err
	}
	t, err := l.prog.Tokenizer()
	if err != nil {
		return 0, err
	}
	ids, err := encode(t, string(text), false, false)
	if err != nil {
		return 0, err
	}
	r, err := (&scoreCmd{Window: c.Window}).score(ctx, e, l.prog, ids)
	if err != nil {
		return 0, err
	}
	return r.PPL, nil
}

func (c *quantizeCmd) print(e *environment, r *quantizeResult) error {
	for _, l := range r.Layers {
		for _, s := range l.Sites {
			line := fmt.Sprintf("layer %2d  %-24s", l.Layer, filepath.Ext(s.Linears[0])[1:])
			switch {
			case s.Why != "":
				line += "no scale: " + s.Why
			case s.Ratio < 0:
				line += fmt.Sprintf("no scale is better      error %.3g", s.Loss)
			default:
				line += fmt.Sprintf("ratio %.2f  error %.3g of %.3g", s.Ratio, s.Loss, s.Nearest)
			}
			if c.Clip {
				line += fmt.Sprintf("  %.0f %% of groups clipped", 100*s.Clipped)
			}
			if err := e.printf("%s\n", line); err != nil {
				return err
			}
		}
	}
	if r.PPLAfter > 0 {
		if err := e.printf("perplexity %.4f before, %.4f after\n", r.PPLBefore, r.PPLAfter); err != nil {
			return err
		}
	}
	return e.printf("%s: %d bits in groups of %d, %s\n", r.Path, r.Bits, r.Group, r.Format)
}
