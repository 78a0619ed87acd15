package model

import (
	"encoding/json"
	"fmt"

	"quire/frontends"
	"quire/frontends/spec"
	"quire/frontends/weights"
	"quire/runtime/program"
	"quire/runtime/token"
)

// Tokenizer opens the tokenizer of MODEL alone: no weights need be there, so that a GGUF file that holds only a
// vocabulary will do, or a directory with a tokenizer.json.
func Tokenizer(ref Ref) (*token.Tokenizer, error) {
	d, err := tokenData(ref)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, fmt.Errorf("%s: no tokenizer in it, expected a model with one", ref.Path)
	}
	t, err := token.New(*d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref.Path, err)
	}
	return t, nil
}

func tokenData(ref Ref) (*token.Data, error) {
	switch ref.Kind {
	case Compiled:
		f, err := program.Open(ref.Path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return TokenData(f.Program)
	case Spec:
		s, err := spec.Read(ref.Path)
		if err != nil || s.Weights == "" {
			return nil, err
		}
		if ref, err = Resolve(s.Weights, ""); err != nil {
			return nil, err
		}
	}
	src, err := weights.OpenWith(ref.Path, weights.Options{NoWeights: true})
	if err != nil {
		return nil, err
	}
	defer src.Close()
	m := &frontends.Model{Path: ref.Path, Source: src}
	if src.Format == weights.GGUF {
		if _, ok := src.KV.Texts("tokenizer.ggml.tokens"); ok {
			m.Tokenizer.GGUF = src.KV
		}
	} else {
		m.Tokenizer = frontends.Tokenizer{JSON: src.Tokenizer, Config: src.TokenizerConfig, SpecialTokens: src.SpecialTokens}
	}
	return m.TokenData()
}

// TokenData is the tokenizer that a Program carries; nil without one.
func TokenData(p *program.Program) (*token.Data, error) {
	if len(p.Tokenizer) == 0 {
		return nil, nil
	}
	d := &token.Data{}
	if err := json.Unmarshal(p.Tokenizer, d); err != nil {
		return nil, fmt.Errorf("%s: tokenizer: %w", p.Model, err)
	}
	return d, nil
}
