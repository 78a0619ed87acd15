package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"quire/runtime/token"
	"quire/tools/model"
)

type tokenizeCmd struct {
	Model string `short:"m" required:"" placeholder:"MODEL" help:"A model with a tokenizer; a GGUF file may hold only a vocabulary."`
	promptFlags
	JSONL   string `name:"jsonl" placeholder:"FILE" xor:"prompt" help:"One JSON string a line in, one JSON array a line out; - is stdin."`
	BOS     bool   `name:"bos" help:"Begin with the model's begin token."`
	Special bool   `help:"Text that spells a special token becomes it."`
}

func (tokenizeCmd) Help() string {
	return "Examples:\n\n    quire tokenize -m smollm2 -p \"Hello world\"\n    quire tokenize -m smollm2 --jsonl strings.jsonl"
}

// Run encodes one text, or many.
func (c *tokenizeCmd) Run(ctx context.Context, e *environment) error {
	t, err := openTokenizer(c.Model, e)
	if err != nil {
		return err
	}
	if c.JSONL != "" {
		return c.lines(ctx, e, t)
	}
	text, given, err := e.text(c.promptFlags)
	if err != nil {
		return err
	}
	if !given {
		return wrong("tokenize: no text, expected -p TEXT, -f FILE, --jsonl FILE or text on stdin")
	}
	ids, err := c.encode(t, text)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.json(struct {
			IDs []int32 `json:"ids"`
		}{ids})
	}
	return e.printf("%s\n", joinIDs(ids))
}

func openTokenizer(name string, e *environment) (*token.Tokenizer, error) {
	ref, err := e.resolve(name)
	if err != nil {
		return nil, err
	}
	return model.Tokenizer(ref)
}

// encode adds the begin token only where --bos asks for it.
func (c *tokenizeCmd) encode(t *token.Tokenizer, text string) ([]int32, error) {
	return encode(t, text, c.BOS, c.Special)
}

func encode(t *token.Tokenizer, text string, bos, special bool) ([]int32, error) {
	ids, err := t.Encode(text, token.EncodeOptions{BOS: token.AddNever, Special: special})
	if err != nil || !bos {
		return append([]int32{}, ids...), err
	}
	if t.BOS() == token.None {
		return nil, fmt.Errorf("--bos: the vocabulary names no begin token, expected one")
	}
	return append([]int32{t.BOS()}, ids...), nil
}

func (c *tokenizeCmd) lines(ctx context.Context, e *environment, t *token.Tokenizer) error {
	in, done, err := e.open(c.JSONL)
	if err != nil {
		return err
	}
	defer done()
	out := bufio.NewWriter(e.out)
	r := bufio.NewReader(in)
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, rerr := r.ReadString('\n')
		if rerr != nil && rerr != io.EOF {
			return rerr
		}
		if strings.TrimSpace(line) != "" {
			var text string
			if err := json.Unmarshal([]byte(line), &text); err != nil {
				return fmt.Errorf("%s:%d: %.40q, expected a JSON string", c.JSONL, n, strings.TrimSpace(line))
			}
			ids, err := c.encode(t, text)
			if err != nil {
				return fmt.Errorf("%s:%d: %w", c.JSONL, n, err)
			}
			row, err := json.Marshal(ids)
			if err != nil {
				return err
			}
			out.Write(append(row, '\n'))
		}
		if rerr == io.EOF {
			return out.Flush()
		}
	}
}

// joinIDs spells ids as --tokens reads them.
func joinIDs(ids []int32) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(parts, ",")
}

// resolve finds a model, and says which command fetches one that is missing.
func (e *environment) resolve(name string) (model.Ref, error) {
	dir, err := e.cacheDir()
	if err != nil {
		return model.Ref{}, err
	}
	return model.Resolve(name, dir)
}

func (e *environment) cacheDir() (string, error) {
	if e.CacheDir != "" {
		return e.CacheDir, nil
	}
	return model.DefaultCacheDir()
}

// maxText bounds a prompt.
const maxText = 256 << 20

// text reads a prompt: a flag, a file, or stdin when something is piped into it; nothing at all is no text.
func (e *environment) text(f promptFlags) (text string, given bool, err error) {
	switch {
	case f.File != "":
	case f.Prompt != "":
		return f.Prompt, true, nil
	case !isPiped(e.in):
		return "", false, nil
	default:
		f.File = "-"
	}
	in, done, err := e.open(f.File)
	if err != nil {
		return "", false, err
	}
	defer done()
	b, err := io.ReadAll(io.LimitReader(in, maxText+1))
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", f.File, err)
	}
	if len(b) > maxText {
		return "", false, fmt.Errorf("%s: more than %s of text, expected less", f.File, bytesText(maxText))
	}
	return string(b), len(b) > 0 || f.File != "-", nil
}

// open opens a file, or stdin for "-".
func (e *environment) open(path string) (io.Reader, func(), error) {
	if path == "-" {
		return e.in, func() {}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	return f, func() { f.Close() }, nil
}

// isPiped says whether stdin brings a text: a pipe or a file, and neither a terminal nor the null device.
func isPiped(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return in != nil
	}
	st, err := f.Stat()
	return err == nil && (st.Mode()&os.ModeNamedPipe != 0 || st.Mode().IsRegular())
}
