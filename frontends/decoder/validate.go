package decoder

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"quire/ir"
	"quire/ir/types"
)

// FieldError says that a field of a Config has a value which no model can have. Field is spelled as in specs
// ("kv_heads", "rope.base"); readers of other files replace it by their own key.
type FieldError struct {
	Field string
	Msg   string // what was seen, what was expected
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Msg }

// Limits of a model, far beyond any that exists: a file that asks for more is broken, and is refused before anything
// is allocated by its numbers.
const (
	maxLayers   = 1024    // a step has about 30 values a layer
	maxElements = 1 << 44 // of all weights
)

// sizes lists the whole numbers with their bounds.
var sizes = []struct {
	field string
	get   func(*Config) int
	max   int
}{
	{"layers", func(c *Config) int { return c.Layers }, maxLayers},
	{"hidden", func(c *Config) int { return c.Hidden }, 1 << 18},
	{"heads", func(c *Config) int { return c.Heads }, 1 << 12},
	{"kv_heads", func(c *Config) int { return c.KVHeads }, 1 << 12},
	{"head_dim", func(c *Config) int { return c.HeadDim }, 1 << 12},
	{"ffn", func(c *Config) int { return c.FFN }, 1 << 20},
	{"vocab", func(c *Config) int { return c.Vocab }, 1 << 24},
	{"context", func(c *Config) int { return c.MaxContext }, 1 << 27},
	{"page", func(c *Config) int { return c.Page }, 1 << 12},
}

// reals lists the numbers that must be finite and not negative; positive says not 0 either.
var reals = []struct {
	field    string
	get      func(*Config) float64
	positive bool
}{
	{"norm_eps", func(c *Config) float64 { return c.NormEps }, false},
	{"rope.base", func(c *Config) float64 { return c.Rope.Base }, true},
	{"rope.local_base", func(c *Config) float64 { return c.Rope.LocalBase }, false},
	{"attn_scale", func(c *Config) float64 { return c.AttnScale }, true},
	{"attn_softcap", func(c *Config) float64 { return c.AttnCap }, false},
	{"final_softcap", func(c *Config) float64 { return c.FinalCap }, false},
	{"embed_scale", func(c *Config) float64 { return c.EmbedScale }, false},
}

// Validate returns every FieldError of the configuration, joined, or nil.
func (c *Config) Validate() error {
	v := &validator{}
	for _, s := range sizes {
		if n := s.get(c); n < 1 || n > s.max {
			v.errorf(s.field, "%d, expected 1 to %d", n, s.max)
		}
	}
	for _, r := range reals {
		switch x := r.get(c); {
		case math.IsNaN(x) || math.IsInf(x, 0):
			v.errorf(r.field, "%v, expected a finite number", x)
		case x < 0 || r.positive && x == 0:
			v.errorf(r.field, "%v, expected more than 0", x)
		}
	}
	if len(v.errs) > 0 {
		return errors.Join(v.errs...) // the rest divides by these
	}
	if c.Heads%c.KVHeads != 0 {
		v.errorf("kv_heads", "%d, expected a divisor of the %d query heads", c.KVHeads, c.Heads)
	}
	if r := c.Rope.RotaryDim; r < 2 || r > c.HeadDim || r%2 != 0 {
		v.errorf("rope.dim", "%d, expected an even number up to the head size %d", r, c.HeadDim)
	}
	c.validateRope(v)
	c.validateWindows(v)
	for _, d := range []struct {
		field string
		t     types.DType
	}{{"compute", c.Compute}, {"kv", c.CacheElem}} {
		if !slices.Contains([]types.DType{types.F32, types.F16, types.BF16}, d.t) {
			v.errorf(d.field, "%s, expected f32, f16 or bf16", d.t)
		}
	}
	if LookupFamily(c.Family) == nil {
		v.errorf("family", "%q, expected one of %v", c.Family, Families())
	}
	c.validatePlan(v)
	return errors.Join(v.errs...)
}

func (c *Config) validateRope(v *validator) {
	r := &c.Rope
	positive := func(field string, x float64) {
		if !(x > 0) || math.IsInf(x, 0) {
			v.errorf(field, "%v, expected a number above 0", x)
		}
	}
	if r.Scaling != ir.ScaleNone {
		positive("rope.factor", r.Factor)
	}
	if r.Scaling == ir.ScaleLlama3 {
		positive("rope.low", r.Low)
		positive("rope.original", float64(r.Original))
		if !(r.High > r.Low) || math.IsInf(r.High, 0) {
			v.errorf("rope.high", "%v, expected more than rope.low %v", r.High, r.Low)
		}
	}
	if n := len(r.Factors); n != 0 && n != r.RotaryDim/2 {
		v.errorf("rope.factors", "%d factors, expected %d, one a rotated pair", n, r.RotaryDim/2)
	}
	for i, f := range r.Factors {
		if !(f > 0) || math.IsInf(float64(f), 0) {
			v.errorf("rope.factors", "factor %d is %v, expected a number above 0", i, f)
			return
		}
	}
}

func (c *Config) validateWindows(v *validator) {
	if c.Windows == NoWindows {
		return
	}
	if c.Window < 1 {
		v.errorf("window", "%d, expected 1 or more tokens", c.Window)
	}
	switch {
	case c.Windows == FullEvery && c.WindowN < 1:
		v.errorf("window_layers", "every layer of %d full, expected 1 or more", c.WindowN)
	case c.Windows == WindowsFrom && c.WindowN < 0:
		v.errorf("window_layers", "from layer %d, expected 0 or more", c.WindowN)
	case c.Windows == ListedWindows && len(c.WindowList) != c.Layers:
		v.errorf("window_layers", "%d layers listed, expected %d", len(c.WindowList), c.Layers)
	}
}

// validatePlan estimates the weights: a product of sizes that are each plausible may still be absurd.
func (c *Config) validatePlan(v *validator) {
	attn := float64(c.Hidden) * float64(2*c.Heads+2*c.KVHeads) * float64(c.HeadDim)
	total := 2*float64(c.Vocab)*float64(c.Hidden) + float64(c.Layers)*(attn+3*float64(c.Hidden)*float64(c.FFN))
	if total > maxElements {
		v.errorf("hidden", "the sizes make %.3g weights, expected at most %.3g", total, float64(maxElements))
	}
}

type validator struct{ errs []error }

func (v *validator) errorf(field, format string, a ...any) {
	v.errs = append(v.errs, &FieldError{field, fmt.Sprintf(format, a...)})
}
