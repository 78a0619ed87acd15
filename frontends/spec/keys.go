package spec

import (
	"fmt"
	"slices"
	"strings"

	"quire/frontends/decoder"
	"quire/ir"
	"quire/ir/types"
	"quire/ir/types/block"
)

// Key is one row of the table of keys.
type Key struct {
	Path    string // dotted, as nested in YAML
	Type    string // for people
	Default string // "" where the key is required or stands for a choice
	Doc     string

	group bool // a mapping of further keys
	set   func(p *parser, v *node)
}

var dtypes = map[string]types.DType{"f32": types.F32, "f16": types.F16, "bf16": types.BF16}

// encodingKinds are the kinds of weights that quantisation may name.
var encodingKinds = []decoder.Kind{decoder.KindEmbed, decoder.KindAttn, decoder.KindMLP, decoder.KindHead}

var acts = map[string]decoder.Act{"silu": decoder.SiLU, "gelu_tanh": decoder.GELUTanh, "gelu": decoder.GELU}

// Keys returns the table: every key that a spec may have, in reading order.
func Keys() []Key {
	return []Key{
		textKey("name", "the file's name", "What the model is called.", func(s *Spec) *string { return &s.Config.Name }),
		wordKey("family", decoder.Families(), "", "The model family. With it the spec describes the model; without it the file at weights does.",
			func(s *Spec, w string) { s.Config.Family = w }),

		intKey("layers", "", "Decoder layers.", 1, func(s *Spec) *int { return &s.Config.Layers }),
		intKey("hidden", "", "Width of the residual stream.", 1, func(s *Spec) *int { return &s.Config.Hidden }),
		intKey("heads", "", "Query heads of a layer.", 1, func(s *Spec) *int { return &s.Config.Heads }),
		intKey("kv_heads", "heads", "Key and value heads of a layer; divides heads.", 1, func(s *Spec) *int { return &s.Config.KVHeads }),
		intKey("head_dim", "hidden / heads", "Elements of a head.", 1, func(s *Spec) *int { return &s.Config.HeadDim }),
		intKey("ffn", "", "Width between gate/up and down.", 1, func(s *Spec) *int { return &s.Config.FFN }),
		intKey("vocab", "", "Tokens of the vocabulary.", 1, func(s *Spec) *int { return &s.Config.Vocab }),
		intKey("context", "", "Longest sequence in tokens. Without family: at most what the file says.", 1, func(s *Spec) *int { return &s.Config.MaxContext }),

		numKey("norm_eps", "", "Epsilon of the norms.", func(s *Spec) *float64 { return &s.Config.NormEps }),
		numKey("norm_offset", "1 for gemma, but 0 with a GGUF file", "Added to the weights of norms.", func(s *Spec) *float64 { return &s.Config.NormOffset }),
		boolKey("qk_norm", "true for qwen3 and gemma3", "Norms of each head of q and k.", func(s *Spec) *bool { return &s.Config.QKNorm }),
		boolKey("post_norms", "true for gemma", "Norms of what attention and mlp give, before it is added.", func(s *Spec) *bool { return &s.Config.PostNorms }),
		wordKey("act", []string{"silu", "gelu_tanh", "gelu"}, "gelu_tanh for gemma, else silu", "Activation of the gate.",
			func(s *Spec, w string) { s.Config.Act = acts[w] }),
		boolKey("tied_embeddings", "true for gemma", "Logits come from the embedding table.", func(s *Spec) *bool { return &s.Config.TiedEmbeddings }),

		group("bias", "Which linears add a bias."),
		boolKey("bias.qkv", "true for qwen2", "On q, k and v.", func(s *Spec) *bool { return &s.Config.Bias.QKV }),
		boolKey("bias.o", "false", "On the output of attention.", func(s *Spec) *bool { return &s.Config.Bias.O }),
		boolKey("bias.mlp", "false", "On gate, up and down.", func(s *Spec) *bool { return &s.Config.Bias.MLP }),

		group("rope", "The rotary embedding."),
		numKey("rope.base", "10000", "Base of the frequencies.", func(s *Spec) *float64 { return &s.Config.Rope.Base }),
		numKey("rope.local_base", "base", "Base in windowed layers, which then have no scaling (Gemma 3).", func(s *Spec) *float64 { return &s.Config.Rope.LocalBase }),
		intKey("rope.dim", "head_dim", "Elements of a head that are rotated.", 2, func(s *Spec) *int { return &s.Config.Rope.RotaryDim }),
		wordKey("rope.style", []string{"half", "adjacent"}, "half, but adjacent with a GGUF file of family llama or mistral", "Which elements of a head form pairs.",
			func(s *Spec, w string) {
				s.Config.Rope.Style = map[string]ir.RopeStyle{"half": ir.RopeHalf, "adjacent": ir.RopeAdjacent}[w]
			}),
		wordKey("rope.scaling", []string{"none", "linear", "llama3"}, "none", "How frequencies change for longer contexts.",
			func(s *Spec, w string) {
				s.Config.Rope.Scaling = map[string]ir.RopeScaling{"none": ir.ScaleNone, "linear": ir.ScaleLinear, "llama3": ir.ScaleLlama3}[w]
			}),
		numKey("rope.factor", "", "Divides frequencies; with linear and llama3.", func(s *Spec) *float64 { return &s.Config.Rope.Factor }),
		numKey("rope.low", "", "Low frequency factor of llama3.", func(s *Spec) *float64 { return &s.Config.Rope.Low }),
		numKey("rope.high", "", "High frequency factor of llama3.", func(s *Spec) *float64 { return &s.Config.Rope.High }),
		intKey("rope.original", "", "Context before the scaling, of llama3.", 1, func(s *Spec) *int { return &s.Config.Rope.Original }),

		intKey("window", "none", "A windowed layer's query sees this many newest tokens, its own among them.", 1, func(s *Spec) *int { return &s.Config.Window }),
		{Path: "window_layers", Type: "none, all, even, odd, or a list of layers from 0, or a mapping", Default: "all; even for gemma2, full_every 6 for gemma3",
			Doc: "Which layers have the window.", group: true, set: setWindowLayers},
		{Path: "window_layers.full_every", Type: "whole number", Doc: "All but each such layer: 6 makes layers 5, 11, ... full.",
			set: func(p *parser, v *node) { p.windowRule(v, decoder.FullEvery, 1) }},
		{Path: "window_layers.from", Type: "whole number", Doc: "This layer and all after it.",
			set: func(p *parser, v *node) { p.windowRule(v, decoder.WindowsFrom, 0) }},

		numKey("attn_scale", "1 / sqrt(head_dim)", "Factor of scores.", func(s *Spec) *float64 { return &s.Config.AttnScale }),
		{Path: "query_scale", Type: "number", Default: "head_dim", Doc: "The same as query_pre_attn_scalar says it: attn_scale is 1 / sqrt of this.", set: setQueryScale},
		numKey("attn_softcap", "none", "Scores become cap tanh(score / cap).", func(s *Spec) *float64 { return &s.Config.AttnCap }),
		numKey("final_softcap", "none", "Logits become cap tanh(logit / cap).", func(s *Spec) *float64 { return &s.Config.FinalCap }),
		numKey("embed_scale", "sqrt(hidden) for gemma, else none", "Factor of embeddings.", func(s *Spec) *float64 { return &s.Config.EmbedScale }),

		textKey("weights", "random ones", "A GGUF file or a Hugging Face directory, relative to the spec.", func(s *Spec) *string { return &s.Weights }),
		{Path: "seed", Type: "whole number", Default: "0, or --seed", Doc: "Of random weights.", set: setSeed},
		{Path: "quantisation", Type: "an encoding, or a mapping", Default: "f32",
			Doc: "How random weights are held: " + strings.Join(block.Names(), " ") + ", or integers in groups of a row with a scale and a zero, such as q4g128.", group: true, set: func(p *parser, v *node) { p.encoding(v, encodingKinds...) }},
		encodingKey(decoder.KindEmbed, "The embedding table."),
		encodingKey(decoder.KindAttn, "q, k, v and the output of attention."),
		encodingKey(decoder.KindMLP, "gate, up and down."),
		encodingKey(decoder.KindHead, "The output table, where it is not the embedding."),

		wordKey("compute", []string{"f32", "f16", "bf16"}, "f32", "Elements of activations.", func(s *Spec, w string) { s.Config.Compute = dtypes[w] }),
		intKey("page", "64", "Tokens of a page of the cache.", 1, func(s *Spec) *int { return &s.Config.Page }),
		wordKey("kv", []string{"f32", "f16", "bf16", "int8", "int4"}, "as compute", "Elements of the cache; int8 and int4 are codes with a scale and a zero for each head of each token.", func(s *Spec, w string) { s.Options.KV = w }),

		option("awq", "", "bits=4,group=128", "Round the linears to integers at load.", func(s *Spec) { s.awq() }),
		choiceKey("awq.bits", []int{4, 3}, "4", "Bits of a weight.", func(s *Spec) *int { return &s.awq().Bits }),
		choiceKey("awq.group", []int{32, 64, 128}, "the largest that divides", "Elements that share a scale.", func(s *Spec) *int { return &s.awq().Group }),

		option("duo", "heads", "FILE.tsv,sparsity=0.5", "Split KV heads into retrieval and streaming heads (DuoAttention).", func(s *Spec) { s.duo() }),
		textKey("duo.heads", "", "The table of gates, relative to the spec.", func(s *Spec) *string { return &s.duo().Heads }),
		{Path: "duo.sparsity", Type: "number from 0 to 1", Default: "0.5", Doc: "Part of the heads that stream.", set: setSparsity},
		{Path: "duo.threshold", Type: "number", Doc: "Heads with gates from here on are retrieval heads; instead of sparsity.", set: setThreshold},
		intKey("duo.sink", "64", "First tokens that streaming heads keep.", 0, func(s *Spec) *int { return &s.duo().Sink }),
		intKey("duo.recent", "256", "Newest tokens that streaming heads keep.", 0, func(s *Spec) *int { return &s.duo().Recent }),
		wordKey("duo.prefill", []string{"strict", "chunked"}, "strict", "How streaming heads read a prompt.", func(s *Spec, w string) { s.duo().Prefill = w }),
		intKey("duo.chunk", "", "Tokens of a chunk, with chunked.", 1, func(s *Spec) *int { return &s.duo().Chunk }),

		option("quest", "", "budget=4096", "Read only the most promising pages of a long cache.", func(s *Spec) { s.quest() }),
		intKey("quest.budget", "", "Tokens that a row reads.", 1, func(s *Spec) *int { return &s.quest().Budget }),
		intKey("quest.page", "16", "Tokens that one summary covers.", 1, func(s *Spec) *int { return &s.quest().Page }),
		intKey("quest.physical-page", "64", "Tokens of a page in memory; a multiple of page.", 1, func(s *Spec) *int { return &s.quest().PhysicalPage }),
		intKey("quest.dense-layers", "2", "First layers, which read everything.", 0, func(s *Spec) *int { return &s.quest().DenseLayers }),
		wordKey("quest.per", []string{"kv-group", "query-head"}, "kv-group", "Who shares a selection.", func(s *Spec, w string) { s.quest().Per = w }),
		intKey("quest.reselect", "1", "Tokens from one selection to the next; a divisor of physical-page.", 1, func(s *Spec) *int { return &s.quest().Reselect }),
	}
}

// canonical spells a key with "_" for "-".
func canonical(path string) string { return strings.ReplaceAll(path, "-", "_") }

func group(path, doc string) Key { return Key{Path: path, Type: "mapping", Doc: doc, group: true} }

func option(path, first, example, doc string, with func(*Spec)) Key {
	return Key{Path: path, Type: "mapping, or text as on the command line: " + example, Default: "none", Doc: doc, group: true,
		set: func(p *parser, v *node) {
			with(p.spec)
			p.mapping(path+".", inline(v, first))
		}}
}

func textKey(path, otherwise, doc string, to func(*Spec) *string) Key {
	return Key{Path: path, Type: "text", Default: otherwise, Doc: doc, set: func(p *parser, v *node) {
		if v.text == "" {
			p.errorf(path, "empty, expected text")
		}
		*to(p.spec) = v.text
	}}
}

func intKey(path, otherwise, doc string, least int, to func(*Spec) *int) Key {
	return Key{Path: path, Type: "whole number", Default: otherwise, Doc: doc, set: func(p *parser, v *node) {
		if n, ok := p.integer(path, v, least); ok {
			*to(p.spec) = n
		}
	}}
}

func choiceKey(path string, of []int, otherwise, doc string, to func(*Spec) *int) Key {
	words := strings.Trim(strings.ReplaceAll(fmt.Sprint(of), " ", " or "), "[]")
	return Key{Path: path, Type: words, Default: otherwise, Doc: doc, set: func(p *parser, v *node) {
		n, ok := p.integer(path, v, 0)
		switch {
		case ok && slices.Contains(of, n):
			*to(p.spec) = n
		case ok:
			p.errorf(path, "%d, expected %s", n, words)
		}
	}}
}

func numKey(path, otherwise, doc string, to func(*Spec) *float64) Key {
	return Key{Path: path, Type: "number", Default: otherwise, Doc: doc, set: func(p *parser, v *node) {
		if x, ok := p.number(path, v); ok {
			*to(p.spec) = x
		}
	}}
}

func boolKey(path, otherwise, doc string, to func(*Spec) *bool) Key {
	return Key{Path: path, Type: "true or false", Default: otherwise, Doc: doc, set: func(p *parser, v *node) {
		if v.quoted || v.text != "true" && v.text != "false" {
			p.errorf(path, "%s, expected true or false", v.show())
		}
		*to(p.spec) = v.text == "true"
	}}
}

func wordKey(path string, words []string, otherwise, doc string, to func(*Spec, string)) Key {
	all := strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	return Key{Path: path, Type: all, Default: otherwise, Doc: doc, set: func(p *parser, v *node) {
		if !slices.Contains(words, v.text) {
			p.errorf(path, "%s, expected %s", v.show(), all)
			return
		}
		to(p.spec, v.text)
	}}
}

func encodingKey(k decoder.Kind, doc string) Key {
	return Key{Path: "quantisation." + string(k), Type: "an encoding", Default: "f32", Doc: doc, set: func(p *parser, v *node) { p.encoding(v, k) }}
}

// Markdown prints the table: the text of keys.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# Keys of a model spec\n\nPrinted from the table in keys.go by `go test ./frontends/spec -run Markdown -rewrite`.\n")
	b.WriteString("Indented keys stand in the mapping above them. `-` and `_` are the same in a key.\n\n")
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, k := range Keys() {
		name := k.Path
		if i := strings.LastIndex(name, "."); i >= 0 {
			name = "&nbsp;&nbsp;" + name[i+1:]
		}
		otherwise := k.Default
		if slices.Contains(required, k.Path) {
			otherwise = "required with family"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, k.Type, otherwise, k.Doc)
	}
	return b.String()
}
