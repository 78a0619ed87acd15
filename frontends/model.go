package frontends

import (
	"fmt"
	"path/filepath"
	"strings"

	"quire/frontends/decoder"
	"quire/frontends/spec"
	"quire/frontends/weights"
	"quire/ir"
	"quire/ir/types"
	"quire/runtime/program"
)

// Options of Load. The zero value is the default.
type Options struct {
	Context int         // longest sequence in tokens; 0: what the model says
	Compute types.DType // elements of activations: f32, f16 or bf16; invalid: f32
	Seed    int64       // of random weights, for a spec without weights
	NoMmap  bool        // read files into memory instead of mapping them

	spec.Options // awq, duo, quest and kv, as spec.ParseOption reads them; each goes before a spec's own
}

// Model is an opened model. It owns its files until Close; the module and the configuration stay valid after it.
type Model struct {
	Name     string
	Path     string // as given to Load
	Config   decoder.Config
	Module   *ir.Module
	Source   *weights.Source  // nil: random weights
	Bindings decoder.Bindings // every weight of Module, by its name in IR

	// Options are those of Load and of the spec together. AWQ and KV f32, f16 and bf16 are in Module already; the others
	// are passes.
	Options spec.Options
	Seed    int64    // of random weights
	Notes   []string // what Load chose where the options leave it open, a sentence each

	Tokenizer    Tokenizer
	ChatTemplate string // Jinja, "" when the model has none
	Generation   program.Generation
}

// Tokenizer is what a model file says about its tokenizer, as it is: GGUF keys, or JSON files. The zero value is a
// model without one.
type Tokenizer struct {
	GGUF          weights.Metadata // nil unless the model is a GGUF file with tokenizer.ggml keys
	JSON          []byte           // tokenizer.json
	Config        []byte           // tokenizer_config.json
	SpecialTokens []byte           // special_tokens_map.json
}

// Load opens the model at path: a GGUF file, a Hugging Face directory, or a YAML spec (.yaml or .yml).
func Load(path string, o Options) (*Model, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".yaml", ".yml":
		return loadSpec(path, o)
	}
	src, err := weights.OpenWith(path, weights.Options{NoMmap: o.NoMmap})
	if err != nil {
		return nil, err
	}
	c, err := decoder.FromSource(src)
	if err == nil {
		err = o.apply(&c)
	}
	return o.opened(path, src, c, err)
}

// opened binds and builds a model whose source is open; on any error the source is closed.
func (o Options) opened(path string, src *weights.Source, c decoder.Config, err error) (*Model, error) {
	m := &Model{Path: path, Source: src, Config: c, Options: o.Options}
	if err == nil {
		m.Bindings, err = decoder.Bind(c, src)
	}
	if err == nil {
		err = m.build()
	}
	if err == nil {
		err = m.describe()
	}
	if err != nil {
		src.Close() // the first error is the cause
		return nil, err
	}
	return m, nil
}

// apply puts the options into a configuration.
func (o Options) apply(c *decoder.Config) error {
	if o.Context < 0 || o.Context > c.MaxContext {
		return fmt.Errorf("context: %d tokens, expected 1 to the model's %d", o.Context, c.MaxContext)
	}
	if o.Context > 0 {
		c.MaxContext = o.Context
	}
	if o.Compute != types.InvalidDType {
		c.Compute, c.CacheElem = o.Compute, o.Compute
	}
	if d, ok := types.ParseDType(o.KV); ok && d.IsFloat() {
		c.CacheElem = d
	}
	return c.Validate()
}

// build makes the module and the model's name.
func (m *Model) build() error {
	if a := m.Options.AWQ; a != nil {
		note, err := decoder.Rounding{Bits: a.Bits, Group: a.Group}.Round(m.Config, m.Bindings)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		if note != "" {
			m.Notes = append(m.Notes, note)
		}
	}
	if m.Config.Name == "" {
		base := filepath.Base(filepath.Clean(m.Path))
		m.Config.Name = strings.TrimSuffix(base, filepath.Ext(base))
	}
	m.Name = m.Config.Name
	var err error
	m.Module, err = decoder.Build(m.Config, m.Bindings)
	return err
}

// Float32 returns the values of a weight by its name in IR, row-major, dequantised: what an oracle computes with.
func (m *Model) Float32(name string) ([]float32, error) {
	b, ok := m.Bindings[name]
	if !ok {
		return nil, fmt.Errorf("%s: no weight %s, expected a name of the module", m.Path, name)
	}
	return b.Float32()
}

// Close unmaps and closes the model's files. A second Close does nothing.
func (m *Model) Close() error {
	if m.Source == nil {
		return nil
	}
	return m.Source.Close()
}
