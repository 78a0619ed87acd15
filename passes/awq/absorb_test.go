package awq_test

import (
	"math"
	"strings"
	"testing"

	"quire/ir"
	"quire/ir/interp"
	"quire/passes"
	"quire/passes/awq"
)

// block is a layer with groups of two query heads a KV head.
const block = `props dequant-fused
dim N launch 0..8
dim S launch 1..4
dim C device 0..64
table @t {page = 8}
cache @kv: kv<f32>[2, 16] on @t
weight @g1: f32[32]
weight @wq: f32[64, 32]
weight @wk: f32[32, 32]
weight @wv: f32[32, 32]
weight @wo: f32[32, 64]
weight @g2: f32[32]
weight @wg: f32[64, 32]
weight @wu: f32[64, 32]
weight @wd: f32[32, 64]
func @step(%x: f32[N, 32], %seq: rows[N, S], %kv: @kv) -> (f32[N, 32], @kv) {
  %h: f32[N, 32] = rmsnorm %x, @g1 {eps = 1e-05}
  %0: f32[N, 64] = matmul %h, @wq
  %1: f32[N, 32] = matmul %h, @wk
  %2: f32[N, 32] = matmul %h, @wv
  %q: f32[N, 4, 16] = unflatten %0 {dim = 16}
  %k: f32[N, 2, 16] = unflatten %1 {dim = 16}
  %v: f32[N, 2, 16] = unflatten %2 {dim = 16}
  %kv1: @kv = kv.append %kv, %k, %v, %seq
  %a: f32[N, 4, 16] = attention %q, %kv1, %seq {scale = 0.25}
  %3: f32[N, 64] = flatten %a
  %o: f32[N, 32] = matmul %3, @wo
  %y: f32[N, 32] = add %x, %o
  %m: f32[N, 32] = rmsnorm %y, @g2 {eps = 1e-05}
  %4: f32[N, 64] = matmul %m, @wg
  %5: f32[N, 64] = silu %4
  %6: f32[N, 64] = matmul %m, @wu
  %7: f32[N, 64] = mul %5, %6
  %d: f32[N, 32] = matmul %7, @wd
  %z: f32[N, 32] = add %y, %d
  return %z, %kv1
}
`

func parse(t *testing.T) *ir.Module { return parseText(t, block) }

func parseText(t *testing.T, text string) *ir.Module {
	t.Helper()
	m, err := ir.Parse("block", text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Case 6.4, iii: scales folded into norms, rows and columns leave the block as it is: to the bit
// where each is a power of two, else to what its values' type rounds, about 1e-3 of float16.
func TestCase64Folding(t *testing.T) {
	powers := func(i int) float64 { return math.Exp2(float64(i*5%7 - 3)) }
	others := func(i int) float64 { return 0.3 + float64(i*5%7)/2 }
	for _, c := range []struct {
		name  string
		of    string // the type of weights and values
		scale func(i int) float64
		bound float64
	}{
		{"powers of two", "f32", powers, 0},
		{"others", "f32", others, 1e-5},
		{"powers of two", "f16", powers, 0},
		{"others", "f16", others, 2e-3}, // of the four, 1.3e-3 at most
	} {
		text := strings.ReplaceAll(block, "f32", c.of)
		plain, m := parseText(t, text), parseText(t, text)
		records, err := passes.Pipeline{awq.AbsorbScales(nil)}.Run(m, passes.Verify())
		if err != nil {
			t.Fatal(err)
		}
		if n := records[0].Counts["absorb-scale"]; n != 3 { // q k v, gate up, down
			t.Errorf("%d sites are scaled, expected 3", n)
		}
		for seed := range uint64(4) {
			data, err := interp.RandomCase(plain, plain.Func("step"), seed)
			if err != nil {
				t.Fatal(err)
			}
			weights := func(name string) ([]float32, error) {
				if !strings.HasSuffix(name, awq.ScaleSuffix) {
					return data.Weights(name)
				}
				n, _ := m.Weight(name).Type.Shape.Size().IsConst()
				out := make([]float32, n)
				for i := range out {
					out[i] = float32(c.scale(i))
				}
				return out, nil
			}
			a, b := interp.New(plain, data.Weights, interp.Options{}), interp.New(m, weights, interp.Options{})
			as, bs := interp.NewState(), interp.NewState()
			for _, s := range data.Steps {
				want, err := a.Run(plain.Func("step"), s.Bind, s.Inputs, as)
				if err != nil {
					t.Fatal(err)
				}
				got, err := b.Run(m.Func("step"), s.Bind, s.Inputs, bs)
				if err != nil {
					t.Fatal(err)
				}
				for r := range want[0].Rows() {
					if d := interp.RelL2(got[0].Row(r), want[0].Row(r)); !(d <= c.bound) {
						t.Errorf("%s of %s, seed %d: %.3g from the block without scales, expected at most %g", c.name, c.of, seed, d, c.bound)
					}
				}
			}
		}
	}
}

// Case 6.4, v: with fewer value heads than query heads o takes no scale.
func TestCase64Groups(t *testing.T) {
	why := map[string]string{}
	for _, s := range awq.Sites(parse(t).Func("step")) {
		why[s.Name()] = s.Why
	}
	if len(why) != 4 || !strings.Contains(why["wo"], "share") || why["wq"] != "" || why["wg"] != "" || why["wd"] != "" {
		t.Errorf("sites and why they take no scale: %v", why)
	}
}
