package token

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// hfFile is tokenizer.json as the tokenizers library writes it.
type hfFile struct {
	AddedTokens   []hfAdded       `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         hfModel         `json:"model"`
}

type hfModel struct {
	Type         string          `json:"type"`
	Vocab        json.RawMessage `json:"vocab"`
	Merges       json.RawMessage `json:"merges"`
	Unk          *string         `json:"unk_token"`
	Prefix       *string         `json:"continuing_subword_prefix"`
	Suffix       *string         `json:"end_of_word_suffix"`
	ByteFallback bool            `json:"byte_fallback"`
	FuseUnk      bool            `json:"fuse_unk"`
	IgnoreMerges bool            `json:"ignore_merges"`
}

type hfAdded struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// FromHF makes Data from the files of a Hugging Face model directory: tokenizer.json (required), and, where they
// exist, tokenizer_config.json, generation_config.json and special_tokens_map.json. It reads BPE models, byte-level
// or in SentencePiece's manner; anything that it does not know is an error, never ignored.
func FromHF(tokenizerJSON, tokenizerConfigJSON, generationConfigJSON, specialTokens []byte) (Data, error) {
	d, err := fromHF(tokenizerJSON, tokenizerConfigJSON, generationConfigJSON, specialTokens)
	if err != nil {
		return Data{}, &Error{err}
	}
	return d, nil
}

func fromHF(tokenizerJSON, tokenizerConfigJSON, generationConfigJSON, specialTokens []byte) (Data, error) {
	d := Data{Model: BPE, BOS: None, EOS: None, UNK: None, PAD: None}
	var f hfFile
	if err := json.Unmarshal(tokenizerJSON, &f); err != nil {
		return d, fmt.Errorf("tokenizer.json: %w", err)
	}
	cfg, err := readHFConfig(tokenizerConfigJSON, generationConfigJSON, specialTokens)
	if err != nil {
		return d, err
	}
	if err := f.Model.check(); err != nil {
		return d, err
	}
	v, err := readVocab(f.Model.Vocab)
	if err != nil {
		return d, err
	}
	if err := v.addAll(f.AddedTokens, cfg.added); err != nil {
		return d, err
	}
	if d.Tokens, err = v.dense(); err != nil {
		return d, err
	}
	d.ByteFallback, d.IgnoreMerges, d.FuseUNK = f.Model.ByteFallback, f.Model.IgnoreMerges, f.Model.FuseUnk
	if f.Model.Unk != nil {
		id, ok := v.ids[*f.Model.Unk]
		if !ok {
			return d, fmt.Errorf("tokenizer.json: model.unk_token: %q is not a token", *f.Model.Unk)
		}
		d.UNK, d.MissingIsUNK = id, true
	}
	d.SkipMissing = !d.MissingIsUNK && !d.ByteFallback
	v.types(&d)
	if d.Merges, err = readMerges(f.Model.Merges, v.ids); err != nil {
		return d, err
	}
	if err := f.steps(&d); err != nil {
		return d, err
	}
	return d, cfg.apply(&d, f.PostProcessor, v.ids)
}

func (m *hfModel) check() error {
	switch {
	case m.Type != "BPE" && !(m.Type == "" && m.Merges != nil):
		return fmt.Errorf("tokenizer.json: model.type is %q, expected BPE", m.Type)
	case m.Prefix != nil && *m.Prefix != "":
		return fmt.Errorf("tokenizer.json: model.continuing_subword_prefix is %q, expected none", *m.Prefix)
	case m.Suffix != nil && *m.Suffix != "":
		return fmt.Errorf("tokenizer.json: model.end_of_word_suffix is %q, expected none", *m.Suffix)
	}
	return nil
}

// hfVocab gathers tokens by text and by id.
type hfVocab struct {
	ids   map[string]int32
	texts map[int32]string
	added map[int32]hfAdded
}

func readVocab(raw json.RawMessage) (*hfVocab, error) {
	v := &hfVocab{ids: map[string]int32{}, texts: map[int32]string{}, added: map[int32]hfAdded{}}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("tokenizer.json: model.vocab: expected an object of tokens and ids")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("tokenizer.json: model.vocab: %w", err)
		}
		text, _ := key.(string)
		val, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("tokenizer.json: model.vocab: %w", err)
		}
		num, ok := val.(json.Number)
		if !ok {
			return nil, fmt.Errorf("tokenizer.json: model.vocab: id of %q is %v, expected a number", text, val)
		}
		id, err := num.Int64()
		if err != nil {
			return nil, fmt.Errorf("tokenizer.json: model.vocab: id of %q is %v, expected a whole number", text, num)
		}
		if first, seen := v.ids[text]; seen {
			return nil, fmt.Errorf("tokenizer.json: model.vocab: %q has two ids, %d and %d", text, first, id)
		}
		if err := v.put(text, id, "model.vocab"); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (v *hfVocab) put(text string, id int64, where string) error {
	if id < 0 || id >= maxTokens {
		return fmt.Errorf("tokenizer.json: %s: id of %q is %d, expected 0 to %d", where, text, id, maxTokens-1)
	}
	if other, ok := v.texts[int32(id)]; ok && other != text {
		return fmt.Errorf("tokenizer.json: %s: id %d is both %q and %q", where, id, other, text)
	}
	v.ids[text] = int32(id)
	v.texts[int32(id)] = text
	return nil
}

// addAll enters added tokens; those of tokenizer_config.json count where tokenizer.json does not have the id.
func (v *hfVocab) addAll(own, more []hfAdded) error {
	for _, a := range own {
		if id, ok := v.ids[a.Content]; ok && int64(id) != a.ID {
			return fmt.Errorf("tokenizer.json: added_tokens: %q has two ids, %d and %d", a.Content, id, a.ID)
		}
		if err := v.put(a.Content, a.ID, "added_tokens"); err != nil {
			return err
		}
		v.added[int32(a.ID)] = a
	}
	for _, a := range more {
		if _, ok := v.ids[a.Content]; ok {
			continue
		}
		if err := v.put(a.Content, a.ID, "added_tokens_decoder"); err != nil {
			return err
		}
		v.added[int32(a.ID)] = a
	}
	return nil
}

// dense lists the tokens by id: ids must run from 0 without a gap.
func (v *hfVocab) dense() ([]string, error) {
	out := make([]string, len(v.texts))
	for id := range out {
		text, ok := v.texts[int32(id)]
		if !ok {
			return nil, fmt.Errorf("tokenizer.json: no token has id %d, expected ids 0 to %d without a gap", id, len(out)-1)
		}
		out[id] = text
	}
	return out, nil
}

func (v *hfVocab) types(d *Data) {
	d.Types = make([]Type, len(d.Tokens))
	for i, text := range d.Tokens {
		id := int32(i)
		a, added := v.added[id]
		d.Types[i] = Normal
		if _, isByte := fallbackByte(text); isByte && d.ByteFallback {
			d.Types[i] = Byte
		}
		switch {
		case id == d.UNK:
			d.Types[i] = Unknown
		case added && a.Special:
			d.Types[i] = Control
		case added:
			d.Types[i] = UserDefined
		}
		if added {
			d.Added = append(d.Added, Added{ID: id, Special: a.Special || id == d.UNK, LStrip: a.LStrip, RStrip: a.RStrip,
				SingleWord: a.SingleWord, Normalized: a.Normalized})
		}
	}
}

// readMerges reads merges as strings ("left right") or as pairs.
func readMerges(raw json.RawMessage, ids map[string]int32) ([]Merge, error) {
	const where = "tokenizer.json: model.merges"
	var lines []string
	if json.Unmarshal(raw, &lines) == nil {
		return resolveMerges(ids, lines, where)
	}
	var pairs [][]string
	if err := json.Unmarshal(raw, &pairs); err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	out := make([]Merge, len(pairs))
	for i, p := range pairs {
		if len(p) != 2 {
			return nil, fmt.Errorf("%s: merge %d has %d parts, expected 2", where, i, len(p))
		}
		var err error
		if out[i], err = resolveMerge(ids, p[0], p[1]); err != nil {
			return nil, fmt.Errorf("%s: merge %d is %w", where, i, err)
		}
	}
	return out, nil
}

// hfConfig is what stands beside tokenizer.json.
type hfConfig struct {
	class         string
	bos, eos, pad string
	addBOS        *bool
	addEOS        *bool
	template      string
	added         []hfAdded
	eog           []int64
}

// hfToken is a token given as text or as an object with its content.
type hfToken string

func (t *hfToken) UnmarshalJSON(b []byte) error {
	var s *string
	if json.Unmarshal(b, &s) == nil {
		if s != nil {
			*t = hfToken(*s)
		}
		return nil
	}
	var o struct{ Content string }
	if err := json.Unmarshal(b, &o); err != nil {
		return err
	}
	*t = hfToken(o.Content)
	return nil
}

func readHFConfig(config, generation, special []byte) (hfConfig, error) {
	var c hfConfig
	var names struct {
		BOS hfToken `json:"bos_token"`
		EOS hfToken `json:"eos_token"`
		PAD hfToken `json:"pad_token"`
	}
	if len(special) > 0 {
		if err := json.Unmarshal(special, &names); err != nil {
			return c, fmt.Errorf("special_tokens_map.json: %w", err)
		}
	}
	if len(config) > 0 {
		if err := json.Unmarshal(config, &names); err != nil {
			return c, fmt.Errorf("tokenizer_config.json: %w", err)
		}
		if err := c.readConfig(config); err != nil {
			return c, fmt.Errorf("tokenizer_config.json: %w", err)
		}
	}
	c.bos, c.eos, c.pad = string(names.BOS), string(names.EOS), string(names.PAD)
	if len(generation) > 0 {
		var g struct {
			EOS json.RawMessage `json:"eos_token_id"`
		}
		err := json.Unmarshal(generation, &g)
		if err == nil && len(g.EOS) > 0 && json.Unmarshal(g.EOS, &c.eog) != nil {
			c.eog = make([]int64, 1)
			err = json.Unmarshal(g.EOS, &c.eog[0])
		}
		if err != nil {
			return c, fmt.Errorf("generation_config.json: %w", err)
		}
	}
	return c, nil
}

func (c *hfConfig) readConfig(config []byte) error {
	var t struct {
		Class    string             `json:"tokenizer_class"`
		AddBOS   *bool              `json:"add_bos_token"`
		AddEOS   *bool              `json:"add_eos_token"`
		Template json.RawMessage    `json:"chat_template"`
		Added    map[string]hfAdded `json:"added_tokens_decoder"`
	}
	if err := json.Unmarshal(config, &t); err != nil {
		return err
	}
	c.class, c.addBOS, c.addEOS = t.Class, t.AddBOS, t.AddEOS
	for key, a := range t.Added {
		if _, err := fmt.Sscanf(key, "%d", &a.ID); err != nil {
			return fmt.Errorf("added_tokens_decoder: key %q, expected an id", key)
		}
		c.added = append(c.added, a)
	}
	slices.SortFunc(c.added, func(a, b hfAdded) int { return int(a.ID - b.ID) })
	if len(t.Template) == 0 || string(t.Template) == "null" || json.Unmarshal(t.Template, &c.template) == nil {
		return nil
	}
	var list []struct{ Name, Template string }
	if err := json.Unmarshal(t.Template, &list); err != nil {
		return fmt.Errorf("chat_template: %w", err)
	}
	for _, e := range list {
		if e.Name == "default" || c.template == "" {
			c.template = e.Template
		}
	}
	return nil
}

// apply sets the ids of special tokens and what encoding adds: the post-processor says it, and for the classes whose
// add_bos_token rebuilds the post-processor in transformers, that flag does.
func (c *hfConfig) apply(d *Data, post json.RawMessage, ids map[string]int32) error {
	d.Template = c.template
	for _, s := range []struct {
		name string
		id   *int32
	}{{c.bos, &d.BOS}, {c.eos, &d.EOS}, {c.pad, &d.PAD}} {
		if id, ok := ids[s.name]; ok && s.name != "" {
			*s.id = id
		}
	}
	before, after, known, err := readPostProcessor(post)
	if err != nil {
		return err
	}
	if err := takeAffix(before, &d.BOS, &d.AddBOS, len(d.Tokens)); err != nil {
		return err
	}
	if err := takeAffix(after, &d.EOS, &d.AddEOS, len(d.Tokens)); err != nil {
		return err
	}
	rebuilt := slices.ContainsFunc([]string{"Llama", "CodeLlama", "Gemma", "Cohere"}, func(p string) bool {
		return strings.HasPrefix(c.class, p)
	})
	if c.addBOS != nil && (rebuilt || !known) {
		d.AddBOS = *c.addBOS && d.BOS != None
	}
	if c.addEOS != nil && (rebuilt || !known) {
		d.AddEOS = *c.addEOS && d.EOS != None
	}
	for _, id := range c.eog {
		if id < 0 || id >= int64(len(d.Tokens)) {
			return fmt.Errorf("generation_config.json: eos_token_id is %d, vocabulary has %d", id, len(d.Tokens))
		}
		d.EOG = append(d.EOG, int32(id))
	}
	if d.EOS != None {
		d.EOG = append(d.EOG, d.EOS)
	}
	if len(c.eog) == 0 {
		for _, name := range endNames {
			if id, ok := ids[name]; ok && d.Types[id] == Control {
				d.EOG = append(d.EOG, id)
			}
		}
	}
	slices.Sort(d.EOG)
	d.EOG = slices.Compact(d.EOG)
	return nil
}
