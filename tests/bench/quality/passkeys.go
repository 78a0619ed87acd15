package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"quire/runtime"
	"quire/runtime/token"
	"quire/tools/model"
)

// depths is how many places of a text a passkey is hidden at, evenly from its begin to its end.
const depths = 10

// answer is how many tokens are generated.
const answer = 8

// The wording is that of the published passkey tests (Mohtashami and Jaggi, arXiv 2305.16300).
const (
	task     = "There is important information hidden inside a lot of irrelevant text. Find it and memorize it. I will quiz you about it.\n"
	filler   = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. "
	needle   = "\nThe pass key is %d. Remember it. %d is the pass key.\n"
	question = "\nWhat is the pass key? The pass key is"
)

// prompt is one text: all but the question is read at once, the question token by token.
type prompt struct {
	Text, Question []int32
	Key            string
}

// prompts are a length's, a depth each. The same length gives the same prompts.
func (b *bench) prompts(length int) ([]prompt, error) {
	rng := rand.New(rand.NewPCG(uint64(length), 11))
	var head, hay, ask []int32
	for _, p := range []struct {
		ids  *[]int32
		text string
	}{{&head, task}, {&hay, strings.Repeat(filler, length/16)}, {&ask, question}} {
		var err error
		if *p.ids, err = b.ids(p.text); err != nil {
			return nil, err
		}
	}
	var out []prompt
	for d := range depths {
		key := 10000 + rng.IntN(90000)
		mark, err := b.ids(fmt.Sprintf(needle, key, key))
		if err != nil {
			return nil, err
		}
		room := length - len(head) - len(mark) - len(ask) - answer
		if room < 0 || room > len(hay) {
			return nil, fmt.Errorf("a text of %d tokens, expected room for %d", length, length-room)
		}
		at := room * d / (depths - 1)
		var text []int32
		for _, part := range [][]int32{head, hay[:at], mark, hay[at:room]} {
			text = append(text, part...)
		}
		out = append(out, prompt{text, ask, fmt.Sprint(key)})
	}
	return out, nil
}

// passkeys prints the table of passkeys: a column a length, a mark a depth.
func (b *bench) passkeys(ctx context.Context) error {
	type config struct{ name, duo, quest string }
	configs := []config{{name: "dense"}}
	for _, n := range list(b.budgets) {
		configs = append(configs, config{"quest budget=" + n, "", "budget=" + n})
	}
	for _, s := range list(b.sparsities) {
		configs = append(configs, config{"duo sparsity=" + s, "sparsity=" + s, ""})
	}
	at := contexts(b.tokens)
	fmt.Fprintf(b.out, "%-24s", "passkeys")
	for _, n := range at {
		fmt.Fprintf(b.out, " %16d", n)
	}
	fmt.Fprintln(b.out)
	for _, c := range configs {
		found, err := b.find(ctx, c.name, c.duo, c.quest, at)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintf(b.out, "%-24s", c.name)
		for _, marks := range found {
			fmt.Fprintf(b.out, " %5d %s", strings.Count(marks, "#"), marks)
		}
		fmt.Fprintln(b.out)
	}
	return nil
}

// find asks a model for every passkey of the lengths, unless that has been done; # is one that came back.
func (b *bench) find(ctx context.Context, name, duo, quest string, lengths []int) ([]string, error) {
	o, err := b.options("f16", duo, quest)
	if err != nil {
		return nil, err
	}
	c := runtime.NewConfig().WithDevice(runtime.CPU).WithThreads(b.threads)
	rt, err := runtime.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	defer rt.Close(ctx)
	prog, _, err := model.Load(ctx, rt, b.model, o)
	if err != nil {
		return nil, err
	}
	tok, err := prog.Tokenizer()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range lengths {
		prompts, err := b.prompts(n)
		if err != nil {
			return nil, err
		}
		of, err := digest(prog.Info(), prompts)
		if err != nil {
			return nil, err
		}
		marks, err := remember(b, fmt.Sprintf("passkeys %s %d", name, n), of, func() (string, error) {
			marks := ""
			for _, p := range prompts {
				text, err := ask(ctx, prog, tok, p)
				if err != nil {
					return "", err
				}
				mark := "."
				if strings.HasPrefix(strings.TrimSpace(text), p.Key) {
					mark = "#"
				}
				marks += mark
			}
			fmt.Fprintf(b.log, "%s: %d tokens: %s\n", name, n, marks)
			return marks, nil
		})
		if err != nil {
			return nil, err
		}
		out = append(out, marks)
	}
	return out, nil
}

// ask gives the model a text and the question, and takes its greedy answer.
func ask(ctx context.Context, prog *runtime.Program, tok *token.Tokenizer, p prompt) (string, error) {
	s, err := prog.NewSession(ctx)
	if err != nil {
		return "", err
	}
	defer s.Close(ctx)
	if _, err := s.Prefill(ctx, p.Text); err != nil {
		return "", err
	}
	var row []float32
	for _, id := range p.Question {
		if row, err = s.Decode(ctx, id); err != nil {
			return "", err
		}
	}
	var ids []int32
	for range answer {
		best := 0
		for i, x := range row {
			if x > row[best] {
				best = i
			}
		}
		ids = append(ids, int32(best))
		if prog.EndsGeneration(int32(best)) {
			break
		}
		if row, err = s.Decode(ctx, int32(best)); err != nil {
			return "", err
		}
	}
	return tok.Decode(ids, token.DecodeOptions{})
}
