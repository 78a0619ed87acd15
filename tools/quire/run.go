package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"quire/runtime"
)

type runCmd struct {
	Model string `short:"m" required:"" placeholder:"MODEL" help:"The model."`
	modelFlags
	promptFlags
	samplingFlags
	Tokens    string   `placeholder:"1,2,3" xor:"prompt" help:"Token ids, fed as they are."`
	MaxTokens int      `short:"n" placeholder:"N" help:"Tokens to generate; 0: until an end token, or the context is full."`
	System    string   `placeholder:"TEXT" help:"System message of the chat template."`
	Raw       bool     `help:"Continue the text as it is, without the chat template."`
	Template  string   `placeholder:"NAME" help:"Use a built-in chat template instead of the model's: chatml, llama3, ..."`
	Stop      []string `sep:"none" placeholder:"TEXT" help:"Text that ends the reply; may be given more than once."`
	IgnoreEOS bool     `name:"ignore-eos" help:"Do not stop at end tokens."`
}

func (runCmd) Help() string {
	return "Examples:\n\n    quire run -m smollm2 -p \"Why is the sky blue?\"\n    quire run -m model.gguf -f prompt.txt --raw -n 100 --temp 0.8 --seed 7\n" +
		"    quire run -m ./checkpoint --tokens 1,2,3 -n 8 --json\n    echo Hello | quire run -m smollm2\n\n" +
		"Where no flag says how tokens are chosen the model's own defaults do; without those, the greatest logit.\n\n" +
		"Without a prompt, on a terminal, it is a chat."
}

type timings struct {
	Load          float64 `json:"load_s"`
	Compile       float64 `json:"compile_s"`
	CompileCached bool    `json:"compile_cached"`
	Prefill       float64 `json:"prefill_s"`
	PrefillRate   float64 `json:"prefill_tok_s"`
	Decode        float64 `json:"decode_s"`
	DecodeRate    float64 `json:"decode_tok_s"`
}

type runResult struct {
	Device       string       `json:"device"`
	Target       string       `json:"target"`
	PromptTokens []int32      `json:"prompt_tokens"`
	Tokens       []int32      `json:"tokens"`
	Text         string       `json:"text"`
	FinishReason string       `json:"finish_reason"`
	Timings      timings      `json:"timings"`
	Memory       memoryResult `json:"memory"`
}

// Run generates, or chats.
func (c *runCmd) Run(ctx context.Context, e *environment) error {
	if c.MaxTokens < 0 {
		return wrong("-n: %d, expected a number of tokens", c.MaxTokens)
	}
	text, given, err := "", false, error(nil)
	if c.Tokens == "" {
		if text, given, err = e.text(c.promptFlags); err != nil {
			return err
		}
	} else if _, err := parseTokens(c.Tokens, 0); err != nil {
		return err
	}
	talk := c.Tokens == "" && !given
	if talk && (e.JSON || !isTerminal(e.in)) {
		return wrong("run: no prompt, expected -p TEXT, -f FILE, --tokens 1,2,3 or text on stdin")
	}
	l, err := e.load(ctx, c.Model, &c.modelFlags, nil)
	if err != nil {
		return err
	}
	defer l.close()
	if talk {
		return c.chat(ctx, e, l)
	}
	prompt, err := c.prompt(ctx, e, l, text)
	if err != nil {
		return err
	}
	sess, err := l.prog.NewSession(ctx)
	if err != nil {
		return err
	}
	show := func(string) error { return nil }
	if !e.JSON {
		show = func(text string) error { return e.printf("%s", text) }
	}
	r, err := c.generate(ctx, l, sess, prompt, show)
	if err != nil {
		return err
	}
	if r.Memory, err = l.memory(ctx, 1, len(r.PromptTokens)+len(r.Tokens)); err != nil {
		return err
	}
	if e.JSON {
		return e.json(r)
	}
	if _, err := l.prog.Tokenizer(); err != nil { // nothing to show but ids
		err = e.printf("%s\n", joinIDs(r.Tokens))
	} else {
		err = e.printf("\n")
	}
	if err != nil {
		return err
	}
	if e.verbose || isTerminal(e.err) {
		r.report(e)
	}
	return nil
}

// prompt is what the model is fed first.
func (c *runCmd) prompt(ctx context.Context, e *environment, l *loaded, text string) ([]int32, error) {
	if c.Tokens != "" {
		return parseTokens(c.Tokens, l.prog.Info().Vocab)
	}
	t, err := l.prog.Tokenizer()
	if err != nil {
		return nil, fmt.Errorf("%w, expected --tokens 1,2,3", err)
	}
	var ids []int32
	if tmpl, terr := c.template(ctx, e, t); terr != nil {
		return nil, terr
	} else if tmpl != nil {
		ids, err = renderChat(tmpl, t, conversation(c.System, text))
	} else {
		ids, err = encodeRaw(t, text)
	}
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("run: the prompt has no tokens, expected at least one")
	}
	return ids, err
}

// generate feeds a prompt and shows the reply as it comes.
func (c *runCmd) generate(ctx context.Context, l *loaded, sess *runtime.Session, prompt []int32, show func(string) error) (*runResult, error) {
	info := l.prog.Info()
	r := &runResult{Device: string(l.prog.Machine().Device), Target: info.Target, PromptTokens: prompt, Tokens: []int32{}}
	r.Timings = timings{Load: l.loadSeconds, Compile: l.compileSeconds, CompileCached: l.built.Cached}
	o := runtime.GenerateOptions{Prompt: prompt, Sample: c.sampling(c.Seed, info.Generation), MaxTokens: c.MaxTokens, Stop: c.Stop, IgnoreEnd: c.IgnoreEOS}
	var text strings.Builder
	start := time.Now()
	first := start
	for piece, err := range sess.Generate(ctx, o) {
		if err != nil {
			return nil, err
		}
		if len(r.Tokens) == 0 {
			first = time.Now()
		}
		r.Tokens = append(r.Tokens, piece.Token)
		text.WriteString(piece.Text)
		if err := show(piece.Text); err != nil {
			return nil, err
		}
		r.FinishReason = string(piece.Finish)
	}
	r.Text = text.String()
	r.Timings.Prefill, r.Timings.Decode = first.Sub(start).Seconds(), time.Since(first).Seconds()
	r.Timings.PrefillRate = rate(len(prompt), r.Timings.Prefill)
	r.Timings.DecodeRate = rate(len(r.Tokens)-1, r.Timings.Decode)
	return r, nil
}

// rate is tokens a second, 0 where nothing was done.
func rate(n int, seconds float64) float64 {
	if n <= 0 || seconds <= 0 {
		return 0
	}
	return float64(n) / seconds
}

func (r *runResult) report(e *environment) {
	t := r.Timings
	how := "compiled in " + fmt.Sprintf("%.2f s", t.Compile)
	if t.CompileCached {
		how = "program from the cache"
	}
	fmt.Fprintf(e.err, "%s, loaded in %.2f s; prompt %d tokens at %.0f tok/s, reply %d at %.1f tok/s; %s resident; %s\n",
		how, t.Load, len(r.PromptTokens), t.PrefillRate, len(r.Tokens), t.DecodeRate, bytesText(r.Memory.PeakRSS), r.Memory.cacheText())
}
