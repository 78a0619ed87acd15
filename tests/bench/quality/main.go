// Command quality measures what the rewrites of long contexts cost on real weights. Each of
// its two words prints one table:
//
//	go run ./tests/bench/quality rewrites     # make rewrites
//	go run ./tests/bench/quality passkeys     # make passkeys
//
// rewrites feeds a text token by token, as decoding does, through every subset of AWQ,
// DuoAttention, Quest and the encodings of caches. A row of the table is a subset at a
// context length: the relative L2 error of logits against the plain model, the attention mass
// that heads keep (from the very queries and keys of the rewritten model: the mean of all
// heads and the head that keeps least), how often the greatest logit is the plain model's,
// and the perplexity of the text so far, which is that of `quire score --stepwise`. Errors and
// masses are of 32 rows in the latter half of the context.
//
// passkeys hides a number of five digits at ten depths of texts of several lengths, asks for
// it, and counts how often it comes back: dense, with Quest's budgets, with masks of
// DuoAttention. Prompts are read at once, the question token by token.
//
// What has been measured is kept in a folder, with what it was measured of: a run that was
// killed goes on there, and nothing else is measured twice.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"

	"quire/frontends/spec"
	"quire/runtime/token"
	"quire/tools/model"
)

// bench is what both tables are made from.
type bench struct {
	model, dir, test, calibration string
	tokens, threads               int
	kv                            string // encodings of caches, with commas between
	duo, quest                    string // options but the table of gates
	budgets, sparsities           string
	out, log                      io.Writer

	ref   model.Ref
	cache string
	gates string // file
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "quality:", err)
		os.Exit(1)
	}
}

// run is the command with its arguments.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	tables := map[string]func(*bench, context.Context) error{"rewrites": (*bench).rewrites, "passkeys": (*bench).passkeys}
	if len(args) == 0 || tables[args[0]] == nil {
		return errors.New("no table, expected rewrites or passkeys")
	}
	b := &bench{out: out, log: log}
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	f.SetOutput(log)
	f.StringVar(&b.model, "m", "smollm2", "the model")
	f.StringVar(&b.dir, "dir", "", "folder of what has been measured; default: quality in the cache folder")
	f.StringVar(&b.test, "text", "", "the text; default: test.txt of tests/fetch/texts.sh")
	f.StringVar(&b.calibration, "calibration", "", "the text that AWQ and gates are calibrated on; default: calibration.txt of texts.sh")
	f.IntVar(&b.tokens, "tokens", 8192, "the longest context")
	f.IntVar(&b.threads, "threads", runtime.GOMAXPROCS(0), "threads")
	f.StringVar(&b.kv, "kv", "f16,int8,int4", "rewrites: encodings of caches")
	f.StringVar(&b.duo, "duo", "sparsity=0.5", "rewrites: the mask")
	f.StringVar(&b.quest, "quest", "budget=512", "rewrites: the selection")
	f.StringVar(&b.budgets, "budgets", "128,256,512,1024", "passkeys: tokens that Quest reads")
	f.StringVar(&b.sparsities, "sparsities", "0.1,0.25,0.5,0.75", "passkeys: parts of the heads that stream")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if err := b.complete(ctx); err != nil {
		return err
	}
	return tables[args[0]](b, ctx)
}

// complete fills what flags leave open, and measures gates if none are there.
func (b *bench) complete(ctx context.Context) (err error) {
	if b.cache, err = model.DefaultCacheDir(); err != nil {
		return err
	}
	texts := filepath.Join(b.cache, "texts")
	for _, p := range []struct {
		path  *string
		other string
	}{{&b.dir, filepath.Join(b.cache, "quality")}, {&b.test, filepath.Join(texts, "test.txt")}, {&b.calibration, filepath.Join(texts, "calibration.txt")}} {
		if *p.path == "" {
			*p.path = p.other
		}
	}
	if b.ref, err = model.Resolve(b.model, b.cache); err != nil {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	b.gates = filepath.Join(b.dir, "gates.tsv")
	if _, err := os.Stat(b.gates); err == nil {
		return nil
	}
	ids, err := b.encode(b.calibration, 9000)
	if err != nil {
		return err
	}
	fmt.Fprintln(b.log, "measuring gates")
	g, err := model.MeasureGates(ctx, b.ref, model.Options{CacheDir: b.cache}, model.GateOptions{Sink: 64, Recent: 256, Window: 1024, Threads: b.threads}, ids)
	if err != nil {
		return err
	}
	return os.WriteFile(b.gates, []byte(g.String()), 0o644)
}

// encode reads a text as tokens, at most so many bytes of it (0: all).
func (b *bench) encode(file string, limit int) ([]int32, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w, expected what tests/fetch/texts.sh fetches", err)
	}
	if limit > 0 {
		text = text[:min(limit, len(text))]
	}
	return b.ids(string(text))
}

// ids are a text's tokens, without a begin token.
func (b *bench) ids(text string) ([]int32, error) {
	t, err := model.Tokenizer(b.ref)
	if err != nil {
		return nil, err
	}
	return t.Encode(text, token.EncodeOptions{BOS: token.AddNever})
}

// options are a model's, each as the command line spells it, "" for none.
func (b *bench) options(kv, duo, quest string) (model.Options, error) {
	o := model.Options{CacheDir: b.cache}
	if duo != "" {
		duo = b.gates + "," + duo
	}
	for _, f := range []struct{ name, text string }{{"kv", kv}, {"duo", duo}, {"quest", quest}} {
		if f.text == "" {
			continue
		}
		if err := spec.ParseOption(&o.Frontend.Options, f.name, f.text); err != nil {
			return o, err
		}
	}
	return o, nil
}

// list splits a flag of several values.
func list(text string) []string { return strings.Split(text, ",") }
