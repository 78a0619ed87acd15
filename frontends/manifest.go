package frontends

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"quire/runtime/program"
	"quire/runtime/token"
)

// Segment says where the rows of a weight of the module come from: what codegen writes into a Program.
func (m *Model) Segment(name string) (program.Segment, error) {
	b, ok := m.Bindings[name]
	if !ok {
		return program.Segment{}, fmt.Errorf("%s: no weight %s, expected a name of the module", m.Path, name)
	}
	offset, size := b.Extent()
	s := program.Segment{Tensor: name, Rows: int(b.Rows), Elem: b.Enc, Offset: offset, Bytes: size}
	if b.Tensor == nil {
		s.Source, s.Offset, s.Bytes = -1, 0, 0
		s.Seed, s.Mean, s.Std = b.Random.Seed, b.Random.Mean, b.Random.Std
		return s, nil
	}
	s.Tensor, s.Source = b.Tensor.Name, b.Tensor.File
	if b.Packed != nil {
		s.Packed = &program.Packed{Matrix: b.Packed.Matrix, First: int(b.Row)}
		for r, t := range b.Packed.Tensors {
			if t != nil {
				s.Packed.Places[r] = program.Place{Source: t.File, Offset: t.Offset}
			}
		}
	}
	return s, nil
}

// Sources lists the files that segments index, by absolute path.
func (m *Model) Sources() ([]program.Source, error) {
	if m.Source == nil {
		return nil, nil
	}
	var out []program.Source
	for _, f := range m.Source.Files {
		p, err := filepath.Abs(f.Path)
		if err != nil {
			return nil, err
		}
		out = append(out, program.Source{Path: p, Bytes: f.Size})
	}
	return out, nil
}

// TokenData is the model's tokenizer with its chat template; nil for a model without one.
func (m *Model) TokenData() (*token.Data, error) {
	var d token.Data
	var err error
	switch t := m.Tokenizer; {
	case t.GGUF != nil:
		d, err = token.FromGGUF(t.GGUF)
	case t.JSON != nil:
		d, err = token.FromHF(t.JSON, t.Config, m.generationJSON(), t.SpecialTokens)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	if d.Template == "" {
		d.Template = m.ChatTemplate
	}
	return &d, nil
}

func (m *Model) generationJSON() []byte {
	if m.Source == nil {
		return nil
	}
	return m.Source.GenerationConfig
}

// Describe puts into a compiled Program what the module does not say: names, tokenizer, generation defaults.
func (m *Model) Describe(p *program.Program) error {
	p.Model, p.Family, p.Context = m.Name, string(m.Config.Family), m.Config.MaxContext
	p.Generation = m.Generation
	d, err := m.TokenData()
	if err != nil || d == nil {
		return err
	}
	p.Tokenizer, err = json.Marshal(d)
	return err
}
