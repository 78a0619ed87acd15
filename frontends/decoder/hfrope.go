package decoder

import (
	"math"

	"quire/ir"
)

// rope reads rope_parameters (transformers 5: flat, or one object for full_attention and one for sliding_attention),
// or rope_theta, rope_scaling and rope_local_base_freq (transformers 4).
func (f *fields) rope(c *Config) {
	r := &c.Rope
	r.Style = hfStyle
	partial := f.number("partial_rotary_factor", 1)
	r.Base = f.number("rope_theta", 0)
	if p := f.object("rope_parameters"); p != nil {
		full := p
		if p.has("full_attention") || p.has("sliding_attention") {
			full = p.object("full_attention")
			r.LocalBase = p.localBase()
			if full == nil {
				p.errorf("full_attention", "absent, expected an object")
				return
			}
		}
		r.Base = full.number("rope_theta", r.Base)
		partial = full.number("partial_rotary_factor", partial)
		full.ropeScaling(c)
	} else {
		r.LocalBase = f.number("rope_local_base_freq", 0)
		if s := f.object("rope_scaling"); s != nil {
			s.ropeScaling(c)
		}
	}
	if !(partial > 0 && partial <= 1) {
		f.errorf("partial_rotary_factor", "%v, expected more than 0, at most 1", partial)
		return
	}
	if partial < 1 {
		dim := c.HeadDim
		if dim == 0 && c.Heads > 0 {
			dim = c.Hidden / c.Heads
		}
		r.RotaryDim = int(math.Trunc(float64(dim) * partial))
	}
}

// localBase reads sliding_attention, whose rotation has a base and no scaling.
func (p *fields) localBase() float64 {
	local := p.object("sliding_attention")
	if local == nil {
		return 0
	}
	if t := local.text("rope_type", "default"); t != "default" {
		local.errorf("rope_type", "%q, expected default in windowed layers", t)
	}
	return local.number("rope_theta", 0)
}

// ropeScaling reads rope_type (or type) and what belongs to it.
func (s *fields) ropeScaling(c *Config) {
	r := &c.Rope
	key := "rope_type"
	if !s.has(key) {
		key = "type"
	}
	switch t := s.text(key, "default"); t {
	case "default":
	case "linear":
		r.Scaling, r.Factor = ir.ScaleLinear, s.number("factor", 0)
	case "llama3":
		r.Scaling, r.Factor = ir.ScaleLlama3, s.number("factor", 0)
		r.Low, r.High = s.number("low_freq_factor", 0), s.number("high_freq_factor", 0)
		r.Original = s.integer("original_max_position_embeddings", c.MaxContext)
	default:
		s.errorf(key, "%q, expected default, linear or llama3", t)
	}
}
