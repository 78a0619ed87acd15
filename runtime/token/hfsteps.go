package token

import (
	"encoding/json"
	"fmt"
)

// hfStep is one node of a normaliser, pre-tokeniser, decoder or post-processor: the fields of all kinds.
type hfStep struct {
	Type           string            `json:"type"`
	Normalizers    []json.RawMessage `json:"normalizers"`
	PreTokenizers  []json.RawMessage `json:"pretokenizers"`
	Decoders       []json.RawMessage `json:"decoders"`
	Processors     []json.RawMessage `json:"processors"`
	Pattern        *hfPattern        `json:"pattern"`
	Content        string            `json:"content"`
	Prepend        string            `json:"prepend"`
	StripLeft      bool              `json:"strip_left"`
	StripRight     bool              `json:"strip_right"`
	Behavior       string            `json:"behavior"`
	Invert         bool              `json:"invert"`
	AddPrefixSpace *bool             `json:"add_prefix_space"`
	UseRegex       *bool             `json:"use_regex"`
	Individual     bool              `json:"individual_digits"`
	Replacement    string            `json:"replacement"`
	PrependScheme  string            `json:"prepend_scheme"`
	Split          *bool             `json:"split"`
	Start          int               `json:"start"`
	Stop           int               `json:"stop"`
	Single         []hfTemplatePart  `json:"single"`
	SpecialTokens  map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"special_tokens"`
	Sep json.RawMessage `json:"sep"`
	Cls json.RawMessage `json:"cls"`
}

type hfPattern struct {
	String *string `json:"String"`
	Regex  *string `json:"Regex"`
}

type hfTemplatePart struct {
	SpecialToken *struct {
		ID string `json:"id"`
	} `json:"SpecialToken"`
	Sequence *struct {
		ID string `json:"id"`
	} `json:"Sequence"`
}

// maxSteps bounds how many nodes a file may have, sequences in sequences included.
const maxSteps = 64

// walk calls visit for each node of raw that is not a sequence, in order. where names raw in errors.
func walk(raw json.RawMessage, where string, visit func(s *hfStep, index int) error) error {
	n := 0
	var rec func(raw json.RawMessage) error
	rec = func(raw json.RawMessage) error {
		if len(raw) == 0 || string(raw) == "null" {
			return nil
		}
		var s hfStep
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("tokenizer.json: %s: %w", where, err)
		}
		if n++; n > maxSteps {
			return fmt.Errorf("tokenizer.json: %s: more than %d steps", where, maxSteps)
		}
		if s.Type != "Sequence" {
			if err := visit(&s, n-1); err != nil {
				return fmt.Errorf("tokenizer.json: %s: %s: %w", where, s.Type, err)
			}
			return nil
		}
		n--
		for _, list := range [][]json.RawMessage{s.Normalizers, s.PreTokenizers, s.Decoders, s.Processors} {
			for _, sub := range list {
				if err := rec(sub); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return rec(raw)
}

func (f *hfFile) steps(d *Data) error {
	if err := walk(f.Normalizer, "normalizer", func(s *hfStep, _ int) error { return s.normalizer(d) }); err != nil {
		return err
	}
	if err := walk(f.PreTokenizer, "pre_tokenizer", func(s *hfStep, i int) error { return s.preTokenizer(d, i) }); err != nil {
		return err
	}
	return walk(f.Decoder, "decoder", func(s *hfStep, _ int) error { return s.decoder(d) })
}

var errUnknownKind = fmt.Errorf("kind is unknown")

func (s *hfStep) normalizer(d *Data) error {
	add := func(n Norm) error {
		d.Norms = append(d.Norms, n)
		return nil
	}
	switch s.Type {
	case "NFC", "NFD", "NFKC", "NFKD":
		return add(Norm{Kind: map[string]NormKind{"NFC": NFC, "NFD": NFD, "NFKC": NFKC, "NFKD": NFKD}[s.Type]})
	case "Lowercase":
		return add(Norm{Kind: Lowercase})
	case "Strip":
		if s.StripLeft {
			d.Norms = append(d.Norms, Norm{Kind: StripLeft})
		}
		if s.StripRight {
			d.Norms = append(d.Norms, Norm{Kind: StripRight})
		}
		return nil
	case "Prepend":
		return add(Norm{Kind: Prepend, To: s.Prepend})
	case "Replace":
		if s.Pattern == nil || s.Pattern.String == nil {
			return fmt.Errorf("pattern is not plain text, expected {\"String\": ...}")
		}
		return add(Norm{Kind: Replace, From: *s.Pattern.String, To: s.Content})
	}
	return errUnknownKind
}

func (s *hfStep) preTokenizer(d *Data, index int) error {
	add := func(p Split) error {
		p.Spelled = d.ByteLevel
		_, err := p.compile()
		d.Splits = append(d.Splits, p)
		return err
	}
	switch s.Type {
	case "ByteLevel":
		if d.ByteLevel {
			return fmt.Errorf("a second one, expected at most one")
		}
		if s.AddPrefixSpace == nil || *s.AddPrefixSpace {
			if index > 0 {
				return fmt.Errorf("add_prefix_space is set on step %d, expected only on the first", index+1)
			}
			d.Norms = append(d.Norms, Norm{Kind: Prepend, To: " ", IfMissing: true, Late: true})
			d.StripSpace = true
		}
		if s.UseRegex == nil || *s.UseRegex {
			d.Splits = append(d.Splits, Split{Pattern: patGPT2HF, Behaviour: Isolated})
		}
		d.ByteLevel = true
		return nil
	case "Split":
		p, err := s.split()
		if err != nil {
			return err
		}
		return add(p)
	case "Digits":
		if s.Individual {
			return add(Split{Pattern: patDigit, Behaviour: Isolated})
		}
		return add(Split{Pattern: patDigit, Behaviour: Contiguous})
	case "Whitespace":
		return add(Split{Pattern: `\w+|[^\w\s]+`, Behaviour: Removed, Invert: true})
	case "WhitespaceSplit":
		return add(Split{Pattern: `\s`, Behaviour: Removed})
	case "Punctuation":
		b := Behaviour(s.Behavior)
		if b == "" {
			b = Isolated
		}
		return add(Split{Pattern: "[\\p{P}!-/:-@\\[-`{-~]", Behaviour: b})
	case "Metaspace":
		return s.metaspace(d)
	}
	return errUnknownKind
}

func (s *hfStep) split() (Split, error) {
	p := Split{Behaviour: Behaviour(s.Behavior), Invert: s.Invert}
	switch {
	case s.Pattern != nil && s.Pattern.Regex != nil:
		var err error
		if p.Pattern, err = portRegex(*s.Pattern.Regex); err != nil {
			return p, err
		}
	case s.Pattern != nil && s.Pattern.String != nil:
		p.Pattern, p.Literal = *s.Pattern.String, true
	default:
		return p, fmt.Errorf("pattern is missing, expected {\"Regex\": ...} or {\"String\": ...}")
	}
	return p, nil
}

func (s *hfStep) metaspace(d *Data) error {
	if s.Replacement != "\u2581" {
		return fmt.Errorf("replacement is %q, expected %q", s.Replacement, "\u2581")
	}
	d.Metaspace = true
	d.Norms = append(d.Norms, Norm{Kind: Replace, From: " ", To: "\u2581", Late: true})
	scheme := s.PrependScheme
	if scheme == "" {
		scheme = "always"
		if s.AddPrefixSpace != nil && !*s.AddPrefixSpace {
			scheme = "never"
		}
	}
	switch scheme {
	case "always", "first":
		d.Norms = append(d.Norms, Norm{Kind: Prepend, To: "\u2581", IfMissing: true, FirstOnly: scheme == "first", Late: true})
		d.StripSpace = true
	case "never":
	default:
		return fmt.Errorf("prepend_scheme is %q, expected always, first or never", scheme)
	}
	if s.Split == nil || *s.Split {
		d.Splits = append(d.Splits, Split{Pattern: "\u2581", Literal: true, Behaviour: MergedWithNext})
	}
	return nil
}

func (s *hfStep) decoder(d *Data) error {
	switch s.Type {
	case "ByteLevel", "Fuse", "ByteFallback":
		return nil
	case "Metaspace":
		d.Metaspace = true
		return nil
	case "Replace":
		if s.Pattern == nil || s.Pattern.String == nil || *s.Pattern.String != "\u2581" || s.Content != " " {
			return fmt.Errorf("expected U+2581 replaced by a space")
		}
		d.Metaspace = true
		return nil
	case "Strip":
		if s.Content != " " || s.Start != 1 || s.Stop != 0 {
			return fmt.Errorf("expected one space stripped at the start")
		}
		d.StripSpace = true
		return nil
	}
	return errUnknownKind
}

// readPostProcessor gives the ids that stand before and after a single text. known says that the file has a
// post-processor that could have added some.
func readPostProcessor(raw json.RawMessage) (before, after []int32, known bool, err error) {
	err = walk(raw, "post_processor", func(s *hfStep, _ int) error {
		switch s.Type {
		case "ByteLevel":
			return nil
		case "TemplateProcessing":
			known = true
			seen := false
			for _, part := range s.Single {
				switch {
				case part.Sequence != nil:
					seen = true
				case part.SpecialToken != nil:
					ids := s.SpecialTokens[part.SpecialToken.ID].IDs
					if len(ids) == 0 {
						return fmt.Errorf("special token %q has no id", part.SpecialToken.ID)
					}
					if seen {
						after = append(after, ids...)
					} else {
						before = append(before, ids...)
					}
				}
			}
			return nil
		case "RobertaProcessing", "BertProcessing":
			known = true
			for _, p := range []struct {
				raw json.RawMessage
				ids *[]int32
			}{{s.Cls, &before}, {s.Sep, &after}} {
				var text string
				var id int32
				if err := json.Unmarshal(p.raw, &[]any{&text, &id}); err != nil {
					return err
				}
				*p.ids = append(*p.ids, id)
			}
			return nil
		}
		return errUnknownKind
	})
	return before, after, known, err
}

// takeAffix makes the ids around a text the begin or end token.
func takeAffix(ids []int32, id *int32, add *bool, n int) error {
	switch {
	case len(ids) == 0:
		return nil
	case len(ids) > 1:
		return fmt.Errorf("tokenizer.json: post_processor: %d tokens at one end of a text, expected at most one", len(ids))
	case ids[0] < 0 || int(ids[0]) >= n:
		return fmt.Errorf("tokenizer.json: post_processor: token %d, vocabulary has %d", ids[0], n)
	}
	*id, *add = ids[0], true
	return nil
}
