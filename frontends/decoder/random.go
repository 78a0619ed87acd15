package decoder

import (
	"fmt"
	"math"

	"quire/ir/types/block"
	"quire/ir/types/noise"
)

// Encodings says how weights without a file are held, by kind; a kind that is absent is f32. Vectors are f32 always.
type Encodings map[Kind]string

// RandomBindings binds every weight to random values: linears and embeddings of standard deviation 1/sqrt(columns),
// norms near 1, biases small. The values depend on the seed and the weight's name alone.
func RandomBindings(c Config, seed int64, enc Encodings) (Bindings, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	out := Bindings{}
	for _, n := range c.Needs() {
		b := Binding{Rows: int64(n.Rows), Cols: int64(n.Cols), Enc: "f32", Vector: n.Vector()}
		b.Random = Random{Seed: noise.Seed(seed, n.Name), Std: 1 / math.Sqrt(float64(n.Cols))}
		switch {
		case n.Kind == KindNorm:
			b.Random.Mean, b.Random.Std = 1-c.NormOffset, 0.05
		case n.Kind == KindBias:
			b.Random.Std = 0.05
		case enc[n.Kind] != "":
			b.Enc = enc[n.Kind]
		}
		e, ok := block.Lookup(b.Enc)
		if !ok {
			return nil, &FieldError{"quantisation." + string(n.Kind), fmt.Sprintf("%q for %s, expected one of %v, or integers in groups such as q4g128", b.Enc, n.Kind, block.Names())}
		}
		if _, err := e.RowBytes(b.Cols); err != nil {
			return nil, &FieldError{"quantisation." + string(n.Kind), fmt.Sprintf("%s: rows of %d elements, expected a multiple of %s's block of %d", n.Name, n.Cols, b.Enc, e.Block)}
		}
		out[n.Name] = b
	}
	return out, nil
}
