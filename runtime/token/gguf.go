package token

import (
	"fmt"
	"strings"
)

// FromGGUF makes Data from the metadata of a GGUF file. The keys are those of the GGUF specification with these
// Go types: strings as string, numbers as any integer or float type, bool as bool, arrays as slices of those.
//
//	tokenizer.ggml.model             string: "gpt2" and "gemma4" (BPE), "llama" (SPM)
//	tokenizer.ggml.pre               string: see PreTokenisers
//	tokenizer.ggml.tokens, .merges   []string
//	tokenizer.ggml.scores            []float32
//	tokenizer.ggml.token_type        []int32
//	tokenizer.ggml.{bos,eos,eot,eom,unknown,padding}_token_id   integers
//	tokenizer.ggml.add_{bos_token,eos_token,space_prefix}       bool
//	tokenizer.chat_template, general.name                       string
func FromGGUF(kv map[string]any) (Data, error) {
	g := ggufView{kv: kv}
	d := Data{BOS: None, EOS: None, UNK: None, PAD: None}
	d.Tokens = g.strings("tokenizer.ggml.tokens", true)
	d.Template = g.text("tokenizer.chat_template")
	var err error
	if g.spelled, err = spellings(d.Tokens); err != nil {
		return Data{}, &Error{err}
	}
	switch model := g.text("tokenizer.ggml.model"); model {
	case "gpt2", "gemma4":
		err = g.bpe(&d, model)
	case "llama":
		g.spm(&d)
	case "":
		err = fmt.Errorf("tokenizer.ggml.model: key is missing, the file has no tokenizer")
	default:
		err = fmt.Errorf("tokenizer.ggml.model: kind %q, expected gpt2, gemma4 or llama", model)
	}
	if err != nil {
		return Data{}, &Error{err}
	}
	d.Types = g.types(len(d.Tokens))
	g.ids(&d)
	wellKnown(&d, g.spelled)
	g.added(&d)
	if g.err != nil {
		return Data{}, &Error{g.err}
	}
	return d, nil
}

// ggufView reads keys by type and keeps the first mismatch.
type ggufView struct {
	kv      map[string]any
	spelled map[string]int32
	err     error
}

func (g *ggufView) mismatch(key, want string) {
	if g.err == nil {
		g.err = fmt.Errorf("%s: value is a %T, expected %s", key, g.kv[key], want)
	}
}

func (g *ggufView) text(key string) string {
	v, present := g.kv[key]
	s, ok := v.(string)
	if present && !ok {
		g.mismatch(key, "a string")
	}
	return s
}

func (g *ggufView) strings(key string, required bool) []string {
	v, present := g.kv[key]
	s, ok := v.([]string)
	if (present || required) && !ok {
		g.mismatch(key, "an array of strings")
	}
	return s
}

func (g *ggufView) flag(key string, otherwise bool) bool {
	v, present := g.kv[key]
	if !present {
		return otherwise
	}
	b, ok := v.(bool)
	if !ok {
		g.mismatch(key, "a bool")
	}
	return b
}

// id reads a token id. One outside the vocabulary of n tokens counts as absent, as in llama.cpp.
func (g *ggufView) id(key string, n int, otherwise int32) int32 {
	v, present := g.kv[key]
	if present {
		i, ok := integer(v)
		if !ok {
			g.mismatch(key, "an integer")
		}
		if ok && i >= 0 && i < int64(n) {
			return int32(i)
		}
	}
	if otherwise >= int32(n) {
		return None
	}
	return otherwise
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case uint8:
		return int64(v), true
	case int8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case int16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint64:
		return int64(v), true
	case int64:
		return v, true
	}
	return 0, false
}

func (g *ggufView) bpe(d *Data, model string) error {
	d.Model = BPE
	name := g.text("tokenizer.ggml.pre")
	d.BOS, d.EOS = 11, 11 // llama.cpp's defaults for this kind
	if model == "gemma4" {
		name = "gemma4"
		d.BOS, d.EOS = None, None
	}
	pre, ok := findPreTokeniser(name)
	if !ok {
		return fmt.Errorf("tokenizer.ggml.pre: pre-tokeniser %q is unknown", name)
	}
	if pre.noBOS {
		d.BOS = None
	}
	d.ByteLevel = !pre.chars
	d.ByteFallback = pre.chars
	d.IgnoreMerges = pre.ignoreMerges
	d.NewlineRuns = pre.newlineRuns
	d.AddBOS = g.flag("tokenizer.ggml.add_bos_token", pre.addBOS) || pre.newlineRuns // Gemma 4 always has one
	d.AddEOS = g.flag("tokenizer.ggml.add_eos_token", false)
	if pre.metaspace {
		d.Metaspace = true
		d.Norms = []Norm{{Kind: Replace, From: " ", To: "\u2581"}}
	}
	for _, p := range pre.patterns {
		d.Splits = append(d.Splits, Split{Pattern: p, Behaviour: Isolated})
	}
	var err error
	d.Merges, err = resolveMerges(g.spelled, g.strings("tokenizer.ggml.merges", true), "tokenizer.ggml.merges")
	return err
}

// resolveMerges turns merges of the form "left right" into ids; where names them in errors.
func resolveMerges(ids map[string]int32, merges []string, where string) ([]Merge, error) {
	out := make([]Merge, len(merges))
	for i, m := range merges {
		cut := -1
		if m != "" {
			cut = strings.IndexByte(m[1:], ' ') + 1
		}
		if cut <= 0 {
			return nil, fmt.Errorf("%s: merge %d is %q, expected two tokens with a space between", where, i, m)
		}
		var err error
		if out[i], err = resolveMerge(ids, m[:cut], m[cut+1:]); err != nil {
			return nil, fmt.Errorf("%s: merge %d is %w", where, i, err)
		}
	}
	return out, nil
}

func resolveMerge(ids map[string]int32, left, right string) (Merge, error) {
	l, ok1 := ids[left]
	r, ok2 := ids[right]
	if !ok1 || !ok2 {
		return Merge{}, fmt.Errorf("of %q and %q, which are not both tokens", left, right)
	}
	both, ok := ids[left+right]
	if !ok {
		return Merge{}, fmt.Errorf("of %q and %q and makes %q, which is not a token", left, right, left+right)
	}
	return Merge{l, r, both}, nil
}

func (g *ggufView) spm(d *Data) {
	d.Model = SPM
	d.ByteFallback = true
	d.MissingIsUNK = true
	d.Metaspace = true
	d.BOS, d.EOS, d.UNK = 1, 2, 0
	d.AddBOS = g.flag("tokenizer.ggml.add_bos_token", true)
	d.AddEOS = g.flag("tokenizer.ggml.add_eos_token", false)
	if g.flag("tokenizer.ggml.add_space_prefix", true) {
		d.Norms = append(d.Norms, Norm{Kind: Prepend, To: " "})
		d.StripSpace = true
	}
	d.Norms = append(d.Norms, Norm{Kind: Replace, From: " ", To: "\u2581"})
	switch s := g.kv["tokenizer.ggml.scores"].(type) {
	case []float32:
		d.Scores = s
	case []int32:
		for _, v := range s {
			d.Scores = append(d.Scores, float32(v))
		}
	case nil:
		d.Scores = make([]float32, len(d.Tokens))
	default:
		g.mismatch("tokenizer.ggml.scores", "an array of float32")
	}
	if n := len(d.Tokens); len(d.Scores) > n {
		d.Scores = d.Scores[:n]
	}
}

func (g *ggufView) types(n int) []Type {
	const key = "tokenizer.ggml.token_type"
	out := make([]Type, n)
	given, present := g.kv[key]
	list, ok := given.([]int32)
	if present && !ok {
		g.mismatch(key, "an array of int32")
	}
	if present && len(list) < n && g.err == nil {
		g.err = fmt.Errorf("%s: %d types for %d tokens", key, len(list), n)
	}
	for i := range out {
		out[i] = Normal
		if i < len(list) {
			out[i] = Undefined
			if v := list[i]; v > 0 && v <= int32(Byte) {
				out[i] = Type(v)
			}
		}
	}
	return out
}

func (g *ggufView) ids(d *Data) {
	n := len(d.Tokens)
	d.BOS = g.id("tokenizer.ggml.bos_token_id", n, d.BOS)
	d.EOS = g.id("tokenizer.ggml.eos_token_id", n, d.EOS)
	d.UNK = g.id("tokenizer.ggml.unknown_token_id", n, d.UNK)
	d.PAD = g.id("tokenizer.ggml.padding_token_id", n, d.PAD)
	for _, key := range []string{"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"} {
		if id := g.id(key, n, None); id != None {
			d.EOG = append(d.EOG, id)
		}
	}
	if d.EOS != None {
		d.EOG = append(d.EOG, d.EOS)
	}
	d.MissingIsUNK = d.MissingIsUNK && d.UNK != None
}

// added lists the tokens that are looked for in text: user-defined ones always, control and unknown ones on
// request. Phi-3's swallow the white space on their right, which GGUF has no field for.
func (g *ggufView) added(d *Data) {
	name := strings.ToLower(g.text("general.name"))
	phi3 := strings.Contains(name, "phi-3") || strings.Contains(name, "phi3")
	for i, t := range d.Types {
		if t != Control && t != Unknown && t != UserDefined {
			continue
		}
		a := Added{ID: int32(i), Special: t != UserDefined, ASCIISpace: true}
		if phi3 {
			text := d.Tokens[i]
			a.RStrip = text != "<unk>" && text != "<s>" && text != "<|endoftext|>"
		}
		d.Added = append(d.Added, a)
	}
}
