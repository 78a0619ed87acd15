package main

import (
	"fmt"
	goruntime "runtime"
	"strconv"
	"strings"

	"quire/frontends"
	"quire/frontends/spec"
	"quire/ir"
	"quire/ir/target"
	"quire/runtime"
	"quire/runtime/program"
	"quire/runtime/sample"
	"quire/tools/model"
)

// Global are the flags that mean the same everywhere.
type Global struct {
	Device   string `default:"auto" placeholder:"auto|cpu|cuda[:N]" help:"What runs the model."`
	Threads  int    `placeholder:"N" help:"Threads of a CPU device; 0: one a processor."`
	Ctx      int    `placeholder:"N" help:"Longest context in tokens; 0: the model's."`
	CacheDir string `placeholder:"DIR" help:"Folder of models and programs; default: quire in the user's cache folder."`
	Offline  bool   `help:"Use no network."`
	JSON     bool   `name:"json" help:"Print exactly one JSON object on stdout."`
	Verbose  bool   `short:"v" help:"Say more on stderr."`
}

// check refuses what this build cannot run on.
func (g *Global) check() error {
	if !runtime.Device(g.Device).Valid() {
		return wrong("--device: %q, expected auto, cpu or cuda[:N]", g.Device)
	}
	if g.Threads < 0 || g.Threads > 1024 {
		return wrong("--threads: %d, expected 0 to 1024", g.Threads)
	}
	if g.Ctx < 0 {
		return wrong("--ctx: %d, expected a number of tokens", g.Ctx)
	}
	return nil
}

func (g *Global) threads() int {
	if g.Threads == 0 {
		return goruntime.GOMAXPROCS(0)
	}
	return g.Threads
}

// modelFlags are the options of a model, the same words as in a YAML spec.
type modelFlags struct {
	Dot   string `placeholder:"f32|f16|bf16|i8" help:"Round the operands of products: f16 (a GPU's default) or bf16, or 8-bit activations. f32 (a CPU's default) is exact."`
	Seed  int64  `placeholder:"S" help:"Seed of sampling, and of random weights for a spec without weights."`
	AWQ   string `name:"awq" placeholder:"bits=4|3[,group=N]" help:"Round the linears to integers at load."`
	Duo   string `placeholder:"FILE.tsv[,...]" help:"Split heads into retrieval and streaming ones (DuoAttention)."`
	Quest string `placeholder:"budget=N[,...]" help:"Read the most promising pages of a long cache (Quest)."`
	KV    string `name:"kv" placeholder:"f32|f16|bf16|int8|int4" help:"Elements of the KV cache; int8 and int4 are codes with a scale and a zero for each head of each token."`
}

// options reads the flags. Context is a compile option only for commands that print it.
func (m *modelFlags) options(g *Global) (model.Options, error) {
	o := model.Options{CacheDir: g.CacheDir, Frontend: frontends.Options{Seed: m.Seed}}
	if m.Dot != "" {
		if err := o.Dot.UnmarshalText([]byte(m.Dot)); err != nil {
			return o, wrong("--dot: %q, expected f32, f16, bf16 or i8", m.Dot)
		}
	}
	for _, f := range []struct{ name, text string }{{"awq", m.AWQ}, {"duo", m.Duo}, {"quest", m.Quest}, {"kv", m.KV}} {
		if f.text == "" {
			continue
		}
		if err := spec.ParseOption(&o.Frontend.Options, f.name, f.text); err != nil {
			return o, wrong("%w", err)
		}
	}
	return o, nil
}

// aim says what to compile for. A GPU multiplies numbers of 16 bits.
func (m *modelFlags) aim(o *model.Options, t target.Target) error {
	o.Target = t
	if t.Arch != target.PTX || o.Dot != ir.DotF32 {
		return nil
	}
	if m.Dot != "" {
		return wrong("--dot: %s on %s, expected f16 or bf16: what tensor cores multiply", m.Dot, t)
	}
	o.Dot = ir.DotF16
	return nil
}

// samplingFlags say how tokens are chosen.
type samplingFlags struct {
	Temp *float64 `placeholder:"T" help:"Temperature; 0 takes the greatest logit."`
	TopK *int     `placeholder:"K" help:"Draw from the K likeliest tokens."`
	TopP *float64 `placeholder:"P" help:"Draw from the likeliest tokens that together reach probability P."`
	MinP *float64 `placeholder:"P" help:"Draw from tokens of at least P times the likeliest one's probability."`
}

// sampling is the flags, else the defaults given, else greedy.
func (s *samplingFlags) sampling(seed int64, g program.Generation) sample.Options {
	o := sample.Options{Seed: uint64(seed)}
	set(&o.Temperature, s.Temp, g.Temperature)
	set(&o.TopK, s.TopK, g.TopK)
	set(&o.TopP, s.TopP, g.TopP)
	set(&o.MinP, s.MinP, g.MinP)
	set(&o.Repetition, g.RepetitionPenalty)
	return o
}

// set takes the first value that is there.
func set[T any](to *T, from ...*T) {
	for _, v := range from {
		if v != nil {
			*to = *v
			return
		}
	}
}

// parseTarget reads --target; "" and native are the host.
func parseTarget(name string) (target.Target, error) {
	if name == "" || name == "native" {
		return target.Host()
	}
	t, err := target.Parse(name)
	if err != nil {
		return t, wrong("--target: %w", err)
	}
	return t, nil
}

// promptFlags say where a text comes from.
type promptFlags struct {
	Prompt string `short:"p" placeholder:"TEXT" xor:"prompt" help:"The text."`
	File   string `short:"f" placeholder:"FILE" xor:"prompt" help:"File that holds the text; - is stdin."`
}

// parseTokens reads 1,2,3; vocab 0 is not checked.
func parseTokens(text string, vocab int) ([]int32, error) {
	var out []int32
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(part), 10, 32)
		if err != nil {
			return nil, wrong("--tokens: %.40q is not a token id, expected numbers with commas between: 1,2,3", part)
		}
		if n < 0 || vocab > 0 && n >= int64(vocab) {
			return nil, fmt.Errorf("--tokens: id %d, expected 0 to %d", n, vocab-1)
		}
		out = append(out, int32(n))
	}
	return out, nil
}
