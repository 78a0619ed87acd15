package main

import (
	"context"
	"fmt"
	"math"

	"quire/runtime"
)

type scoreCmd struct {
	Model string `short:"m" required:"" placeholder:"MODEL" help:"The model."`
	modelFlags
	promptFlags
	Tokens   string `placeholder:"1,2,3" xor:"prompt" help:"Token ids, scored as they are."`
	Window   int    `placeholder:"N" help:"Tokens of a window; windows do not overlap. 0: the context."`
	Top      int    `placeholder:"K" help:"Report the K greatest logits after every token."`
	Stepwise bool   `help:"Feed one token at a time, as decoding does."`
	BOS      bool   `name:"bos" help:"Begin the text with the model's begin token."`
}

func (scoreCmd) Help() string {
	return "Each window starts fresh, and its first token is not scored.\n\n" +
		"Examples:\n\n    quire score -m smollm2 -f text.txt --window 1024\n    quire score -m smollm2 --tokens 1,2,3 --top 5 --json"
}

type logit struct {
	ID    int32   `json:"id"`
	Logit float64 `json:"logit"`
}

type scoreResult struct {
	Tokens int         `json:"tokens"`
	Scored int         `json:"scored"`
	NLL    float64     `json:"nll"`
	PPL    float64     `json:"ppl"`
	Top    [][][]logit `json:"top,omitempty"`
}

// Run scores window by window.
func (c *scoreCmd) Run(ctx context.Context, e *environment) error {
	switch {
	case c.Window < 0 || c.Window == 1:
		return wrong("--window: %d, expected at least 2 tokens", c.Window)
	case c.Top < 0:
		return wrong("--top: %d, expected a number of tokens", c.Top)
	}
	text, given, err := "", c.Tokens != "", error(nil)
	if given {
		_, err = parseTokens(c.Tokens, 0)
	} else {
		text, given, err = e.text(c.promptFlags)
	}
	if err != nil {
		return err
	}
	if !given {
		return wrong("score: no text, expected -f FILE, -p TEXT, --tokens 1,2,3 or text on stdin")
	}
	l, err := e.load(ctx, c.Model, &c.modelFlags, nil)
	if err != nil {
		return err
	}
	defer l.close()
	ids, err := c.ids(l, text)
	if err != nil {
		return err
	}
	r, err := c.score(ctx, e, l.prog, ids)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(r)
	}
	return c.print(e, r)
}

func (c *scoreCmd) ids(l *loaded, text string) ([]int32, error) {
	if c.Tokens != "" {
		return parseTokens(c.Tokens, l.prog.Info().Vocab)
	}
	t, err := l.prog.Tokenizer()
	if err != nil {
		return nil, fmt.Errorf("%w, expected --tokens 1,2,3", err)
	}
	return encode(t, text, c.BOS, false)
}

func (c *scoreCmd) score(ctx context.Context, e *environment, prog *runtime.Program, ids []int32) (*scoreResult, error) {
	window := c.Window
	switch {
	case window == 0:
		window = prog.Context()
	case window > prog.Context():
		return nil, fmt.Errorf("--window: %d tokens, expected at most the context's %d", window, prog.Context())
	}
	if len(ids) < 2 {
		return nil, fmt.Errorf("score: %d tokens, expected at least 2: the first of a window is not scored", len(ids))
	}
	r := &scoreResult{Tokens: len(ids)}
	for at := 0; at < len(ids); at += window {
		part := ids[at:min(at+window, len(ids))]
		if len(part) == 1 && c.Top == 0 {
			break // nothing to score
		}
		scores, err := scoreWindow(ctx, prog, part, runtime.ScoreOptions{Top: c.Top, Stepwise: c.Stepwise})
		if err != nil {
			return nil, err
		}
		r.add(scores, c.Top > 0)
		e.progress("scoring", int64(at+len(part)), int64(len(ids)))
	}
	r.PPL = math.Exp(r.NLL / float64(r.Scored))
	e.finishBars()
	return r, nil
}

func scoreWindow(ctx context.Context, prog *runtime.Program, part []int32, o runtime.ScoreOptions) ([]runtime.Score, error) {
	sess, err := prog.NewSession(ctx)
	if err != nil {
		return nil, err
	}
	defer sess.Close(ctx)
	return sess.Score(ctx, part, o)
}

// add sums a window; its last position predicts what is not in it.
func (r *scoreResult) add(scores []runtime.Score, top bool) {
	for _, s := range scores[:len(scores)-1] {
		r.NLL += s.NLL()
		r.Scored++
	}
	if !top {
		return
	}
	window := make([][]logit, len(scores))
	for i, s := range scores {
		for _, c := range s.Top {
			window[i] = append(window[i], logit{c.ID, float64(c.Logit)})
		}
	}
	r.Top = append(r.Top, window)
}

func (c *scoreCmd) print(e *environment, r *scoreResult) error {
	for w, window := range r.Top {
		for i, row := range window {
			line := fmt.Sprintf("%d.%d", w, i)
			for _, t := range row {
				line += fmt.Sprintf(" %d:%.4f", t.ID, t.Logit)
			}
			if err := e.printf("%s\n", line); err != nil {
				return err
			}
		}
	}
	return e.printf("tokens %d, scored %d, nll %.4f, perplexity %.4f\n", r.Tokens, r.Scored, r.NLL, r.PPL)
}
