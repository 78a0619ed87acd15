package spec

import (
	"errors"
	"os"
	"path/filepath"

	"quire/frontends/decoder"
	"quire/ir"
)

// Spec is a model as written down.
type Spec struct {
	File string // path of the spec

	// Config is the model where the spec names a family; Described says so. Otherwise the file at Weights describes
	// itself, and of Config only Name, MaxContext, Compute and Page count, where they are not zero.
	Config    decoder.Config
	Described bool

	Weights   string            // path of a GGUF file or Hugging Face directory; "": random values
	Encodings decoder.Encodings // of random weights
	Seed      *int64            // of random weights
	Options   Options

	styleGiven, offsetGiven bool
}

// Read opens and parses the spec at path.
func Read(path string) (*Spec, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{File: path, Msg: "no such spec, expected a YAML file: " + unwrapPath(err).Error()}
	}
	defer f.Close()
	text := make([]byte, maxBytes+1)
	n := 0
	for n < len(text) {
		k, err := f.Read(text[n:])
		n += k
		if err != nil || k == 0 {
			break
		}
	}
	return Parse(path, text[:n])
}

func unwrapPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Parse reads the text of a spec; path is named in errors, and paths inside the spec are relative to its folder. The
// error is of type Errors.
func Parse(path string, text []byte) (*Spec, error) {
	p := newParser(path, text)
	root, err := parseTree(text)
	if err != nil {
		var e *Error
		errors.As(err, &e)
		p.add(e)
		return nil, p.errs
	}
	p.root = root.pos
	p.mapping("", root)
	p.finish()
	if len(p.errs) > 0 {
		p.sort()
		return nil, p.errs
	}
	return p.spec, nil
}

// ForGGUF adapts a described model to weights of a GGUF file, which stores some things its own way, unless the spec
// says how they are stored.
func (s *Spec) ForGGUF() {
	f := decoder.LookupFamily(s.Config.Family)
	if !s.styleGiven {
		s.Config.Rope.Style = f.GGUFRope
	}
	if !s.offsetGiven {
		s.Config.NormOffset = 0
	}
}

// required lists the keys without a default.
var required = []string{"layers", "hidden", "heads", "ffn", "vocab", "context", "norm_eps"}

// undescribed lists the keys that may stand beside weights whose file describes the model.
var undescribed = []string{"name", "weights", "context", "compute", "page", "awq", "duo", "quest", "kv"}

// finish fills in defaults and checks what no key can check alone.
func (p *parser) finish() {
	s := p.spec
	p.finishOptions()
	s.Weights = p.relative(s.Weights)
	if s.Options.Duo != nil {
		s.Options.Duo.Heads = p.relative(s.Options.Duo.Heads)
	}
	switch s.Options.KV {
	case "f32", "f16", "bf16":
		s.Config.CacheElem = dtypes[s.Options.KV]
	}
	switch {
	case p.seen("family"):
		s.Described = true
		p.finishModel()
	case !p.seen("weights"):
		p.errorf("", "neither family nor weights, expected a family of %v and its sizes, or weights that describe themselves", decoder.Families())
	default:
		p.onlyBesideWeights()
	}
}

func (p *parser) onlyBesideWeights() {
	for _, path := range p.order {
		known := false
		for _, u := range undescribed {
			known = known || path == u || len(path) > len(u) && path[:len(u)+1] == u+"."
		}
		if !known {
			p.errorf(path, "given without family, expected the file of weights to describe the model alone")
		}
	}
}

// finishModel completes a described model with what its family implies.
func (p *parser) finishModel() {
	s, c := p.spec, &p.spec.Config
	f := decoder.LookupFamily(c.Family)
	for _, key := range required {
		if !p.seen(key) {
			p.errorf("family", "%s of %s is absent, expected a value", key, c.Family)
		}
	}
	if f == nil || len(p.errs) > 0 {
		return // the family is an error already
	}
	p.unless("act", func() { c.Act = f.Act })
	p.unless("qk_norm", func() { c.QKNorm = f.QKNorm })
	p.unless("bias.qkv", func() { c.Bias.QKV = f.QKVBias })
	p.unless("post_norms", func() { c.PostNorms = f.Gemma })
	p.unless("tied_embeddings", func() { c.TiedEmbeddings = f.Gemma })
	if f.Gemma {
		p.unless("embed_scale", func() { c.EmbedScale = decoder.EmbedScale(c.Hidden) })
		p.unless("norm_offset", func() { c.NormOffset = 1 })
	}
	p.unless("rope.base", func() { c.Rope.Base = 10000 })
	p.unless("window_layers", func() { p.familyWindows(f) })
	if p.seen("window_layers") && !p.seen("window") {
		p.errorf("window_layers", "without window, expected a window of some tokens")
		return
	}
	p.listedWindows()
	if c.Name == "" {
		base := filepath.Base(s.File)
		c.Name = base[:len(base)-len(filepath.Ext(base))]
	}
	if p.seen("query_scale") && !p.seen("attn_scale") {
		c.AttnScale = p.queryScale
	}
	s.styleGiven, s.offsetGiven = p.seen("rope.style"), p.seen("norm_offset")
	if !s.styleGiven {
		c.Rope.Style = ir.RopeHalf
	}
	c.Complete()
	p.fieldErrors(c.Validate())
	if len(p.errs) == 0 {
		p.finishWeights()
	}
}

// familyWindows is the rule for a window without window_layers.
func (p *parser) familyWindows(f *decoder.Family) {
	c := &p.spec.Config
	switch {
	case !p.seen("window"):
	case f.Name == "gemma2":
		c.Windows = decoder.EvenWindows
	case f.Name == "gemma3":
		c.Windows, c.WindowN = decoder.FullEvery, 6
	default:
		c.Windows = decoder.AllWindows
	}
}

// listedWindows takes the layers that window_layers lists.
func (p *parser) listedWindows() {
	c := &p.spec.Config
	if p.windowed == nil {
		return
	}
	if n := len(p.windowed); n > c.Layers {
		p.errorf("window_layers", "layer %d, expected 0 to %d", n-1, c.Layers-1)
		return
	}
	list := make([]bool, c.Layers)
	copy(list, p.windowed)
	c.ListWindows(list)
}

// finishWeights checks the encodings of random weights against the sizes.
func (p *parser) finishWeights() {
	s := p.spec
	if s.Weights != "" {
		if p.seen("quantisation") {
			p.errorf("quantisation", "beside weights, expected the file to say how they are encoded")
		}
		return
	}
	_, err := decoder.RandomBindings(s.Config, 0, s.Encodings)
	p.fieldErrors(err)
}
