package token

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// ToHF writes a tokenizer as tokenizer.json and tokenizer_config.json, which FromHF reads back to the same ids. It takes
// byte-level BPE whose words are cut as GPT-2 does, or at every digit and then so (GGUF's "gpt-2" and "smollm").
func ToHF(d *Data) (tokenizer, config []byte, err error) {
	if d.Model != BPE || !d.ByteLevel || len(d.Norms) > 0 || d.UNK != None && d.MissingIsUNK {
		return nil, nil, &Error{fmt.Errorf("tokenizer: %q is written as tokenizer.json only where it is byte-level BPE without normalisation", d.Model)}
	}
	pre, err := d.hfPre()
	if err != nil {
		return nil, nil, &Error{err}
	}
	vocab, err := d.hfVocab()
	if err != nil {
		return nil, nil, err
	}
	merges := make([][2]string, len(d.Merges))
	for i, m := range d.Merges {
		merges[i] = [2]string{d.Tokens[m.Left], d.Tokens[m.Right]}
	}
	level := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	tokenizer, err = plainJSON(map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": d.hfAdded(), "normalizer": nil, "pre_tokenizer": pre,
		"post_processor": d.hfPost(), "decoder": level,
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": d.IgnoreMerges, "vocab": vocab, "merges": merges},
	})
	if err != nil {
		return nil, nil, err
	}
	c := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false, "add_bos_token": d.AddBOS, "add_eos_token": d.AddEOS}
	for name, id := range map[string]int32{"bos_token": d.BOS, "eos_token": d.EOS, "unk_token": d.UNK, "pad_token": d.PAD} {
		if id != None {
			c[name] = d.Tokens[id]
		}
	}
	if d.Template != "" {
		c["chat_template"] = d.Template
	}
	config, err = plainJSON(c)
	return tokenizer, config, err
}

// hfPost puts a begin token before every text, where the model wants one.
func (d *Data) hfPost() any {
	if !d.AddBOS || d.BOS == None {
		return nil
	}
	name := d.Tokens[d.BOS]
	part := func(special bool) map[string]any {
		if special {
			return map[string]any{"SpecialToken": map[string]any{"id": name, "type_id": 0}}
		}
		return map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}
	}
	b := map[string]any{"Sequence": map[string]any{"id": "B", "type_id": 0}}
	return map[string]any{"type": "TemplateProcessing", "single": []any{part(true), part(false)}, "pair": []any{part(true), part(false), b},
		"special_tokens": map[string]any{name: map[string]any{"id": name, "ids": []int32{d.BOS}, "tokens": []string{name}}}}
}

// hfPre is the pre-tokeniser.
func (d *Data) hfPre() (any, error) {
	words := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	var patterns []string
	for _, s := range d.Splits {
		if s.Behaviour != Isolated || s.Invert || s.Literal {
			return nil, fmt.Errorf("tokenizer: words are cut by %q (%s), expected GPT-2's pattern", s.Pattern, s.Behaviour)
		}
		patterns = append(patterns, s.Pattern)
	}
	gpt2 := func(p string) bool { return p == patGPT2 || p == patGPT2HF }
	switch {
	case len(patterns) == 1 && gpt2(patterns[0]):
		return words, nil
	case len(patterns) == 2 && patterns[0] == patDigit && gpt2(patterns[1]):
		digits := map[string]any{"type": "Digits", "individual_digits": true}
		return map[string]any{"type": "Sequence", "pretokenizers": []any{digits, words}}, nil
	}
	return nil, fmt.Errorf("tokenizer: words are cut by %q, expected GPT-2's pattern, after every digit or alone", patterns)
}

// hfVocab is text to id, in the order of ids.
func (d *Data) hfVocab() (json.RawMessage, error) {
	var b bytes.Buffer
	seen := map[string]bool{}
	b.WriteByte('{')
	for id, t := range d.Tokens {
		if seen[t] {
			return nil, &Error{fmt.Errorf("tokenizer: token %d, %q, is there twice", id, t)}
		}
		seen[t] = true
		name, err := plainJSON(t)
		if err != nil {
			return nil, err
		}
		if id > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s:%d", bytes.TrimSpace(name), id)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// hfAdded lists the tokens that are looked for in the text.
func (d *Data) hfAdded() []any {
	added := slices.Clone(d.Added)
	slices.SortFunc(added, func(a, b Added) int { return int(a.ID) - int(b.ID) })
	out := []any{}
	for _, a := range added {
		out = append(out, map[string]any{"id": a.ID, "content": d.Tokens[a.ID], "single_word": a.SingleWord, "lstrip": a.LStrip, "rstrip": a.RStrip,
			"normalized": a.Normalized, "special": a.Special})
	}
	return out
}

// plainJSON is JSON without HTML's escapes.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
