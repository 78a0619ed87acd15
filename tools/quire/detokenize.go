package main

import (
	"context"

	"quire/runtime/token"
)

type detokenizeCmd struct {
	Model   string `short:"m" required:"" placeholder:"MODEL" help:"A model with a tokenizer."`
	Tokens  string `required:"" placeholder:"1,2,3" help:"The ids."`
	Special bool   `help:"Show control tokens as they are spelled."`
}

func (detokenizeCmd) Help() string {
	return "Example:\n\n    quire detokenize -m smollm2 --tokens 19556,905"
}

// Run decodes.
func (c *detokenizeCmd) Run(ctx context.Context, e *environment) error {
	ids, err := parseTokens(c.Tokens, 0)
	if err != nil {
		return err
	}
	t, err := openTokenizer(c.Model, e)
	if err != nil {
		return err
	}
	text, err := t.Decode(ids, token.DecodeOptions{Special: c.Special})
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(struct {
			Text string `json:"text"`
		}{text})
	}
	return e.printf("%s\n", text)
}
