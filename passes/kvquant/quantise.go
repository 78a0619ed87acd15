package kvquant

import (
	"fmt"

	"quire/ir"
	"quire/ir/types"
	"quire/passes"
)

// Bits is the size of a code.
type Bits int

// The widths.
const (
	KV8 Bits = 8
	KV4 Bits = 4
)

// Elem is the element type of a cache of such codes.
func (b Bits) Elem() types.Elem { return types.Quantised(fmt.Sprintf("q%d", int(b))) }

const rule = "quantise-cache"

// QuantiseCaches gives every cache of keys and values a quantised encoding.
func QuantiseCaches(b Bits) passes.Pass {
	return passes.Pass{
		Name: "kvquant.quantise-caches",
		Doc: `Keys and values are kept as codes of 8 or 4 bits (QServe, arXiv 2405.04532).

Invariants: approximates. A number of a head's vector moves by at most half of (max -
min) / (2^bits - 1) of that vector, and by what rounding scale and zero to float16 does;
exact where the numbers are the codes' own. Before or after heads are split and pages are
selected: caches that are split keep their encoding. Picks stay as they are.

	cache @kv0: kv<f16>[8, 128] on @full   =>   cache @kv0: kv<q4>[8, 128] on @full`,
		Sets:     []passes.Prop{passes.CachesQuantised},
		Numerics: passes.Approximates,
		Run: func(c *passes.Context, m *ir.Module) error {
			if b != KV8 && b != KV4 {
				return fmt.Errorf("codes of %d bits, expected 8 or 4", int(b))
			}
			if m.Has(passes.CachesQuantised) {
				return nil
			}
			if m.Has(passes.Specialised) {
				return fmt.Errorf("the module is specialised: nothing approximates any more")
			}
			for _, d := range m.Caches {
				if d.Pick || d.Elem.IsQuantised() {
					continue
				}
				d.Elem = b.Elem()
				c.Count(rule)
			}
			return nil
		},
	}
}
