package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"quire/runtime/token"
	"quire/runtime/token/chat"
)

// conversation is one user message, after a system message if there is one.
func conversation(system, user string) []chat.Message {
	var out []chat.Message
	if system != "" {
		out = append(out, chat.Message{Role: "system", Content: system})
	}
	return append(out, chat.Message{Role: "user", Content: user})
}

// template is the chat template to use: nil under --raw, or for a model without one, whose text goes on as it is.
func (c *runCmd) template(ctx context.Context, e *environment, t *token.Tokenizer) (*chat.Template, error) {
	if c.Raw {
		if c.System != "" || c.Template != "" {
			return nil, wrong("--raw: beside --system or --template, expected one of them")
		}
		return nil, nil
	}
	o := chat.Options{BOS: special(t, t.BOS()), EOS: special(t, t.EOS()), PAD: special(t, t.Data().PAD), UNK: special(t, t.Data().UNK)}
	if c.Template != "" {
		return chat.Builtin(c.Template, o)
	}
	text := t.Data().Template
	if text == "" {
		if c.System != "" {
			return nil, fmt.Errorf("--system: the model has no chat template, expected --template NAME: %s", strings.Join(chat.BuiltinNames(), ", "))
		}
		e.warnf("the model has no chat template: the text is continued as it is")
		return nil, nil
	}
	tmpl, err := chat.Admit(ctx, text, o, chat.Reexec)
	if err != nil {
		return nil, fmt.Errorf("%w; expected one that renders: --template %s, or --raw", err, chat.Family(text))
	}
	return tmpl, nil
}

// special is the text of a token that may not be there.
func special(t *token.Tokenizer, id int32) string {
	if id == token.None {
		return ""
	}
	return t.Text(id)
}

// renderChat gives the ids of a conversation that waits for its reply.
func renderChat(tmpl *chat.Template, t *token.Tokenizer, messages []chat.Message) ([]int32, error) {
	text, err := tmpl.Render(chat.Input{Messages: messages, AddGenerationPrompt: true})
	if err != nil {
		return nil, err
	}
	return t.Encode(text, token.EncodeOptions{BOS: token.AddNever, Special: true})
}

// encodeRaw begins with the begin token if the tokenizer says so, and has no end token.
func encodeRaw(t *token.Tokenizer, text string) ([]int32, error) {
	return encode(t, text, t.AddsBOS(), false)
}

// chat is a conversation on a terminal, until the input ends.
func (c *runCmd) chat(ctx context.Context, e *environment, l *loaded) error {
	t, err := l.prog.Tokenizer()
	if err != nil {
		return fmt.Errorf("%w, expected --tokens 1,2,3", err)
	}
	tmpl, err := c.template(ctx, e, t)
	if err != nil {
		return err
	}
	if tmpl == nil {
		return wrong("run: a chat needs a chat template, expected -p TEXT or --template NAME")
	}
	sess, err := l.prog.NewSession(ctx)
	if err != nil {
		return err
	}
	var messages []chat.Message
	if c.System != "" {
		messages = append(messages, chat.Message{Role: "system", Content: c.System})
	}
	lines := readLines(e.in)
	for {
		fmt.Fprint(e.err, "> ")
		var line string
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-lines:
			if r.err != nil {
				fmt.Fprintln(e.err)
				if errors.Is(r.err, io.EOF) {
					return nil
				}
				return r.err
			}
			line = r.text
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		messages = append(messages, chat.Message{Role: "user", Content: line})
		ids, err := renderChat(tmpl, t, messages)
		if err != nil {
			return err
		}
		kept, err := sess.Rewind(ctx, ids)
		if err != nil {
			return err
		}
		r, err := c.generate(ctx, l, sess, ids[kept:], func(text string) error { return e.printf("%s", text) })
		if err != nil {
			return err
		}
		if err := e.printf("\n"); err != nil {
			return err
		}
		messages = append(messages, chat.Message{Role: "assistant", Content: strings.TrimSpace(r.Text)})
	}
}

type readLine struct {
	text string
	err  error
}

// readLines reads on its own goroutine, which ends with the process: a terminal cannot be interrupted.
func readLines(in io.Reader) <-chan readLine {
	out := make(chan readLine)
	go func() {
		r := bufio.NewReader(in)
		for {
			text, err := r.ReadString('\n')
			if err != nil && text != "" {
				err = nil
			}
			out <- readLine{strings.TrimRight(text, "\r\n"), err}
			if err != nil {
				return
			}
		}
	}()
	return out
}
