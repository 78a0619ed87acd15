package frontends

import (
	"quire/frontends/decoder"
	"quire/frontends/spec"
	"quire/frontends/weights"
)

// loadSpec opens a YAML spec: random weights, weights of a file that the spec describes, or a file that describes
// itself.
func loadSpec(path string, o Options) (*Model, error) {
	s, err := spec.Read(path)
	if err != nil {
		return nil, err
	}
	o.Options = o.Options.Or(s.Options)
	if s.Weights == "" {
		return o.random(path, s)
	}
	src, err := weights.OpenWith(s.Weights, weights.Options{NoMmap: o.NoMmap})
	if err != nil {
		return nil, err
	}
	c := s.Config
	switch {
	case !s.Described:
		c, err = decoder.FromSource(src)
		o.fromSpec(s.Config)
		if s.Config.Name != "" {
			c.Name = s.Config.Name
		}
		if s.Config.Page != 0 {
			c.Page = s.Config.Page
		}
	case src.Format == weights.GGUF:
		s.ForGGUF()
		c = s.Config
	}
	if err == nil {
		err = o.apply(&c)
	}
	return o.opened(path, src, c, err)
}

// fromSpec takes from a spec without a family what o leaves open.
func (o *Options) fromSpec(c decoder.Config) {
	if o.Context == 0 {
		o.Context = c.MaxContext
	}
	if o.Compute == 0 {
		o.Compute = c.Compute
	}
}

// random makes a model without a file. The spec's seed is the default of the option's.
func (o Options) random(path string, s *spec.Spec) (*Model, error) {
	m := &Model{Path: path, Config: s.Config, Options: o.Options, Seed: o.Seed}
	if s.Seed != nil && o.Seed == 0 {
		m.Seed = *s.Seed
	}
	err := o.apply(&m.Config)
	if err == nil {
		m.Bindings, err = decoder.RandomBindings(m.Config, m.Seed, s.Encodings)
	}
	if err == nil {
		err = m.build()
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}
