package main

import (
	"context"
	"fmt"
	"strings"

	"quire/frontends"
	"quire/frontends/decoder"
	"quire/frontends/weights"
	"quire/runtime"
	"quire/runtime/program"
	"quire/tools/model"
)

type showCmd struct {
	Model string `arg:"" placeholder:"MODEL" help:"The model."`
	Seed  int64  `hidden:""`
}

func (showCmd) Help() string {
	return "Examples:\n\n    quire show smollm2\n    quire show model.gguf --ctx 4096 --json"
}

type tensorInfo struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`
	Shape []int64 `json:"shape"`
	Bytes int64   `json:"bytes"`
}

type tokenizerInfo struct {
	Model  string `json:"model"`
	Tokens int    `json:"tokens"`
	BOS    int32  `json:"bos"`
	EOS    int32  `json:"eos"`
	AddBOS bool   `json:"add_bos"`
	Chat   bool   `json:"chat_template"`
}

type showResult struct {
	Name         string         `json:"name"`
	Format       string         `json:"format"`
	Family       string         `json:"family"`
	Layers       int            `json:"layers"`
	Hidden       int            `json:"hidden"`
	Heads        int            `json:"heads"`
	KVHeads      int            `json:"kv_heads"`
	HeadDim      int            `json:"head_dim"`
	FFN          int            `json:"ffn"`
	Vocab        int            `json:"vocab"`
	Context      int            `json:"context"`
	Parameters   int64          `json:"parameters"`
	WeightsBytes int64          `json:"weights_bytes"`
	KVPerToken   int64          `json:"kv_bytes_per_token"` // while every head keeps all
	CacheExact   int64          `json:"cache_formula"`      // of keys and values at --ctx, else at the context
	CachePaged   int64          `json:"cache_pages"`        // in whole pages with their summaries; 0 where no program says
	Tokenizer    *tokenizerInfo `json:"tokenizer"`
	Tensors      []tensorInfo   `json:"tensors"`

	need func(n int) (exact, paged int64, err error) // of a cache of n tokens
}

// Run describes the model.
func (c *showCmd) Run(ctx context.Context, e *environment) error {
	ref, err := e.resolve(c.Model)
	if err != nil {
		return err
	}
	var r *showResult
	switch ref.Kind {
	case model.Compiled:
		r, err = showProgram(ref.Path)
	case model.Spec:
		r, err = showSpec(ref, c.Seed)
	default:
		r, err = showFiles(ref)
	}
	if err != nil {
		return err
	}
	if e.Ctx > r.Context && r.Context > 0 {
		return fmt.Errorf("--ctx: %d tokens, expected at most the model's %d", e.Ctx, r.Context)
	}
	if r.need != nil {
		if r.CacheExact, r.CachePaged, err = r.need(r.tokens(e)); err != nil {
			return fmt.Errorf("%s: %w", c.Model, err)
		}
	}
	if e.JSON {
		return e.json(r)
	}
	return r.print(e)
}

// tokens is how many the cache is shown for.
func (r *showResult) tokens(e *environment) int {
	if e.Ctx > 0 {
		return e.Ctx
	}
	return r.Context
}

// config takes the sizes of a configuration.
func (r *showResult) config(c decoder.Config) {
	r.Family, r.Layers, r.Hidden, r.Heads, r.KVHeads, r.HeadDim = string(c.Family), c.Layers, c.Hidden, c.Heads, c.KVHeads, c.HeadDim
	r.FFN, r.Vocab, r.Context, r.KVPerToken = c.FFN, c.Vocab, c.MaxContext, c.KVBytesPerToken()
	r.need = func(n int) (int64, int64, error) { return r.KVPerToken * int64(n), 0, nil }
	if c.Name != "" {
		r.Name = c.Name
	}
}

// showFiles reads a model's files. One without tensors is a vocabulary.
func showFiles(ref model.Ref) (*showResult, error) {
	src, err := weights.OpenWith(ref.Path, weights.Options{NoWeights: true})
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if len(src.Tensors) == 0 && src.KV == nil && src.Config == nil && src.Tokenizer == nil {
		return nil, fmt.Errorf("%s: neither config.json nor tokenizer.json, expected a Hugging Face directory", ref.Path)
	}
	r := &showResult{Name: ref.Path, Format: string(src.Format), Tensors: []tensorInfo{}}
	for _, t := range src.Tensors {
		r.Tensors = append(r.Tensors, tensorInfo{t.Name, t.Enc, t.Shape, t.Bytes})
		r.Parameters += t.Elems()
		r.WeightsBytes += t.Bytes
	}
	if len(src.Tensors) > 0 {
		cfg, err := decoder.FromSource(src)
		if err == nil {
			_, err = decoder.Bind(cfg, src)
		}
		if err != nil {
			return nil, err
		}
		r.config(cfg)
	} else {
		r.Family, _ = src.KV.Text("general.architecture")
	}
	if name, ok := src.KV.Text("general.name"); ok {
		r.Name = name
	}
	return r, r.tokenizer(ref)
}

func (r *showResult) tokenizer(ref model.Ref) error {
	t, err := model.Tokenizer(ref)
	if err != nil {
		return nil // a model without a tokenizer, or with one that we do not know, is a model all the same
	}
	d := t.Data()
	r.Tokenizer = &tokenizerInfo{Model: string(d.Model), Tokens: t.Size(), BOS: t.BOS(), EOS: t.EOS(), AddBOS: t.AddsBOS(), Chat: d.Template != ""}
	if r.Vocab == 0 {
		r.Vocab = t.Size()
	}
	return nil
}

// showSpec shows what the spec makes: random weights, or those of its files.
func showSpec(ref model.Ref, seed int64) (*showResult, error) {
	m, err := frontends.Load(ref.Path, frontends.Options{Seed: seed})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	r := &showResult{Name: m.Name, Format: "spec", Tensors: []tensorInfo{}}
	r.config(m.Config)
	r.KVPerToken = model.CacheToken(m)
	r.need = func(n int) (int64, int64, error) {
		exact, err := model.CacheFormula(m, n)
		return exact, 0, err
	}
	for _, w := range m.Module.Weights {
		s, err := m.Segment(w.Name)
		if err != nil {
			continue // derived from others
		}
		t := tensorInfo{Name: w.Name, Type: s.Elem, Bytes: s.Bytes}
		elems := int64(1)
		for _, d := range w.Type.Shape {
			n, _ := d.IsConst()
			t.Shape, elems = append(t.Shape, n), elems*n
		}
		r.Parameters += elems
		r.WeightsBytes += t.Bytes
		r.Tensors = append(r.Tensors, t)
	}
	return r, r.tokenizer(ref)
}

// showProgram shows a compiled one: its weights as they are laid out.
func showProgram(path string) (*showResult, error) {
	f, err := program.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := f.Program
	r := &showResult{Name: p.Model, Format: "program for " + p.Target, Family: p.Family, Vocab: p.Vocab, Context: p.Context, Tensors: []tensorInfo{}}
	heads := map[string]int{} // of each layer: its caches are kvN, or kvNr and kvNs of retrieval and streaming heads
	for _, c := range p.Caches {
		if c.Elem != program.Picks {
			layer := strings.TrimRight(c.Name, "rs")
			heads[layer] += c.Heads
			r.KVHeads, r.HeadDim = heads[layer], c.Dim
		}
	}
	r.Layers = len(heads)
	r.KVPerToken, _ = runtime.CacheNeed(p, 1)
	r.need = func(n int) (exact, paged int64, err error) {
		exact, paged = runtime.CacheNeed(p, n)
		return exact, paged, nil
	}
	for _, w := range p.Weights {
		rows := 0
		for _, s := range w.Segments {
			rows += s.Rows
		}
		r.Tensors = append(r.Tensors, tensorInfo{w.Name, w.Elem, []int64{int64(rows), int64(w.Cols)}, w.Bytes})
		r.Parameters += int64(rows) * int64(w.Cols)
		r.WeightsBytes += w.Bytes
	}
	return r, r.tokenizer(model.Ref{Kind: model.Compiled, Path: path})
}

func (r *showResult) print(e *environment) error {
	var b strings.Builder
	row := func(name, format string, a ...any) {
		fmt.Fprintf(&b, "%-14s "+format+"\n", append([]any{name}, a...)...)
	}
	row("name", "%s (%s)", r.Name, r.Format)
	row("family", "%s", r.Family)
	if r.Layers > 0 {
		row("layers", "%d", r.Layers)
	}
	if r.Heads > 0 {
		row("hidden", "%d, feed-forward %d", r.Hidden, r.FFN)
		row("heads", "%d query, %d key/value, %d elements each", r.Heads, r.KVHeads, r.HeadDim)
	}
	row("vocabulary", "%d", r.Vocab)
	if r.Context > 0 {
		n, paged := r.tokens(e), ""
		if r.CachePaged > 0 {
			paged = fmt.Sprintf(", %s in whole pages", bytesText(r.CachePaged))
		}
		row("parameters", "%.1f M", float64(r.Parameters)/1e6)
		row("weights", "%s: %s", bytesText(r.WeightsBytes), r.types())
		row("cache", "%s a token, %s at %d tokens%s", bytesText(r.KVPerToken), bytesText(r.CacheExact), n, paged)
		row("memory", "%s at %d tokens (weights and cache)", bytesText(r.WeightsBytes+max(r.CacheExact, r.CachePaged)), n)
	}
	if t := r.Tokenizer; t != nil {
		row("tokenizer", "%s, %d tokens, bos %d, eos %d", t.Model, t.Tokens, t.BOS, t.EOS)
	}
	if e.verbose {
		for _, t := range r.Tensors {
			fmt.Fprintf(&b, "  %-48s %-8s %-16s %s\n", t.Name, t.Type, fmt.Sprint(t.Shape), bytesText(t.Bytes))
		}
	}
	return e.printf("%s", b.String())
}

// types counts the tensors of each encoding, in the order in which they appear.
func (r *showResult) types() string {
	var order []string
	count := map[string]int{}
	for _, t := range r.Tensors {
		if count[t.Type] == 0 {
			order = append(order, t.Type)
		}
		count[t.Type]++
	}
	for i, name := range order {
		order[i] = fmt.Sprintf("%s x %d", name, count[name])
	}
	return strings.Join(order, ", ")
}
