package interp

import (
	"math"
	"strings"
	"testing"

	"quire/ir"
	"quire/ir/types"
)

// parse reads and verifies IR text.
func parse(t *testing.T, text string) *ir.Module {
	t.Helper()
	m, err := ir.Parse("t.ir", text)
	if err != nil {
		t.Fatal(err)
	}
	if err := ir.Verify(m); err != nil {
		t.Fatal(err)
	}
	return m
}

func weights(w map[string][]float32) Weights {
	return func(name string) ([]float32, error) { return w[name], nil }
}

// opCase is one op on numbers worked by hand.
type opCase struct {
	body string // of a function with the params below; the result is %y
	typ  string // of %y
	want []float64
}

// The params: x = [[1 2 3 4] [-1 0 2 0.5]], i = [1, 0].
const opHead = `dim N launch 0..8
weight @w: f32[2, 4]
weight @g: f32[4]
func @f(%x: f32[N, 4], %i: i32[N]) -> (`

var (
	opX = Floats([]float32{1, 2, 3, 4, -1, 0, 2, 0.5}, 2, 4)
	opW = map[string][]float32{"w": {1, 0, 0, 1, 0.5, 0.5, -1, 2}, "g": {1, 2, 1, -1}}
)

func silu(x float64) float64 { return x / (1 + math.Exp(-x)) }

func each(f func(float64) float64) []float64 {
	var out []float64
	for _, x := range opX.Data {
		out = append(out, f(x))
	}
	return out
}

var opCases = map[ir.Op][]opCase{
	ir.OpEmbed:   {{"%y: f32[N, 4] = embed %i, @w", "f32[N, 4]", []float64{0.5, 0.5, -1, 2, 1, 0, 0, 1}}},
	ir.OpDequant: {{"%d: f32[2, 32] = dequant @q\n %t: f32[N, 32] = embed %i, @q\n %y: f32[N, 2] = matmul %t, %d", "f32[N, 2]", []float64{32, 128, 8, 32}}},
	ir.OpMatMul: {
		{"%y: f32[N, 2] = matmul %x, @w", "f32[N, 2]", []float64{5, 6.5, -0.5, -1.5}},
		// row 1: max 4, scale 4/127: 1, 2, 3, 4 are 31.75, 63.5, 95.25, 127 -> 32, 64, 95, 127
		// row 2: max 2, scale 2/127: -1, 0, 2, 0.5 are -63.5, 0, 127, 31.75 -> -64, 0, 127, 32
		{"%y: f32[N, 2] = matmul %x, @w {dot = i8}", "f32[N, 2]", []float64{159 * 4 / 127., (16 + 32 - 95 + 254) * 4 / 127., -32 * 2 / 127., (-32 - 127 + 64) * 2 / 127.}},
		{"%z: f32[N, 4] = scale %x {by = 1.001}\n %y: f32[N, 2] = matmul %z, @w {dot = bf16}", "f32[N, 2]", []float64{5, 6.5, -0.5, -1.5}},
	},
	ir.OpGather: {{"%y: f32[N, 4] = gather %x, %i", "f32[N, 4]", []float64{-1, 0, 2, 0.5, 1, 2, 3, 4}}},
	ir.OpAdd:    {{"%y: f32[N, 4] = add %x, @g", "f32[N, 4]", []float64{2, 4, 4, 3, 0, 2, 3, -0.5}}},
	ir.OpMul:    {{"%y: f32[N, 4] = mul %x, %x", "f32[N, 4]", each(func(x float64) float64 { return x * x })}},
	ir.OpSiLU:   {{"%y: f32[N, 4] = silu %x", "f32[N, 4]", each(silu)}},
	ir.OpGELU: {
		{"%y: f32[N, 4] = gelu %x", "f32[N, 4]", []float64{0.8413447, 1.9544997, 2.9959503, 3.9998733, -0.1586553, 0, 1.9544997, 0.3457312}},
		{"%y: f32[N, 4] = gelu %x {tanh = true}", "f32[N, 4]", []float64{0.8411920, 1.9545977, 2.9963627, 3.9999297, -0.1588080, 0, 1.9545977, 0.3457140}},
	},
	ir.OpScale:   {{"%y: f32[N, 4] = scale %x {by = 0.5}", "f32[N, 4]", each(func(x float64) float64 { return x / 2 })}},
	ir.OpSoftcap: {{"%y: f32[N, 4] = softcap %x {cap = 2}", "f32[N, 4]", each(func(x float64) float64 { return 2 * math.Tanh(x/2) })}},
	ir.OpCast: {{"%z: f32[N, 4] = scale %x {by = 1.0009}\n %c: bf16[N, 4] = cast %z {to = bf16}\n %y: f32[N, 4] = cast %c", "f32[N, 4]",
		each(func(x float64) float64 { return x })}},
	ir.OpRound: {
		{"%z: f32[N, 4] = scale %x {by = 1.001}\n %y: f32[N, 4] = round %z {to = bf16}", "f32[N, 4]", opX.Data},
		{"%y: f32[N, 4] = round %x {to = i8}", "f32[N, 4]", []float64{32 * 4 / 127., 64 * 4 / 127., 95 * 4 / 127., 4, -64 * 2 / 127., 0, 2, 32 * 2 / 127.}},
	},
	ir.OpRMSNorm: {{"%y: f32[N, 4] = rmsnorm %x, @g {eps = 0.5, offset = 1}", "f32[N, 4]",
		func() []float64 {
			a, b := math.Sqrt(8), math.Sqrt(5.25/4+0.5)
			return []float64{2 / a, 6 / a, 6 / a, 0, -2 / b, 0, 4 / b, 0}
		}()}},
	ir.OpSlice:     {{"%y: f32[N, 2] = slice %x {first = 1, count = 2}", "f32[N, 2]", []float64{2, 3, 0, 2}}},
	ir.OpConcat:    {{"%a: f32[N, 1] = slice %x {count = 1}\n %y: f32[N, 5] = concat %a, %x {axis = 1}", "f32[N, 5]", []float64{1, 1, 2, 3, 4, -1, -1, 0, 2, 0.5}}},
	ir.OpUnflatten: {{"%y: f32[N, 2, 2] = unflatten %x {dim = 2}", "f32[N, 2, 2]", opX.Data}},
	ir.OpFlatten:   {{"%a: f32[N, 2, 2] = unflatten %x {dim = 2}\n %y: f32[N, 4] = flatten %a", "f32[N, 4]", opX.Data}},
	ir.OpRopeTable: {{"%y: f32[N, 2, 2] = rope.table %i {dim = 4, base = 10000}", "f32[N, 2, 2]",
		[]float64{math.Cos(1), math.Sin(1), math.Cos(0.01), math.Sin(0.01), 1, 0, 1, 0}}},
	ir.OpRope: {
		{"%h: f32[N, 1, 4] = unflatten %x {dim = 4}\n %t: f32[N, 1, 2] = rope.table %i {dim = 2, base = 10000}\n %y: f32[N, 1, 4] = rope %h, %t", "f32[N, 1, 4]",
			[]float64{math.Cos(1) - 2*math.Sin(1), 2*math.Cos(1) + math.Sin(1), 3, 4, -1, 0, 2, 0.5}},
		{"%h: f32[N, 1, 4] = unflatten %x {dim = 4}\n %t: f32[N, 2, 2] = rope.table %i {dim = 4, base = 1}\n %y: f32[N, 1, 4] = rope %h, %t", "f32[N, 1, 4]",
			[]float64{math.Cos(1) - 3*math.Sin(1), 2*math.Cos(1) - 4*math.Sin(1), 3*math.Cos(1) + math.Sin(1), 4*math.Cos(1) + 2*math.Sin(1), -1, 0, 2, 0.5}},
		{"%h: f32[N, 1, 4] = unflatten %x {dim = 4}\n %t: f32[N, 2, 2] = rope.table %i {dim = 4, base = 1}\n %y: f32[N, 1, 4] = rope %h, %t {style = adjacent}", "f32[N, 1, 4]",
			[]float64{math.Cos(1) - 2*math.Sin(1), 2*math.Cos(1) + math.Sin(1), 3*math.Cos(1) - 4*math.Sin(1), 4*math.Cos(1) + 3*math.Sin(1), -1, 0, 2, 0.5}},
	},
	ir.OpArgMax:    {{"%y: i32[N] = argmax %x", "i32[N]", []float64{3, 2}}},
	ir.OpLogSumExp: {{"%y: f32[N] = logsumexp %x", "f32[N]", []float64{4.4401897, math.Log(math.Exp(-1) + 1 + math.Exp(2) + math.Exp(0.5))}}},
	ir.OpHeads: {
		{"%h: f32[N, 4, 1] = unflatten %x {dim = 1}\n %y: f32[N, 2, 1] = heads %h {kv = [1, 3], group = 1}", "f32[N, 2, 1]", []float64{2, 4, 0, 0.5}},
		{"%h: f32[N, 4, 1] = unflatten %x {dim = 1}\n %y: f32[N, 2, 1] = heads %h {kv = [1], group = 2}", "f32[N, 2, 1]", []float64{3, 4, 2, 0.5}},
	},
	ir.OpHeadsMerge: {
		{"%h: f32[N, 4, 1] = unflatten %x {dim = 1}\n %a: f32[N, 1, 1] = heads %h {kv = [2], group = 1}\n %b: f32[N, 3, 1] = heads %h {kv = [0, 1, 3], group = 1}\n" +
			" %y: f32[N, 4, 1] = heads.merge %b, %a {kv = [[0, 1, 3], [2]], group = 1}", "f32[N, 4, 1]", opX.Data},
		{"%h: f32[N, 2, 2] = unflatten %x {dim = 2}\n %y: f32[N, 4, 2] = heads.merge %h, %h {kv = [[1], [0]], group = 2}", "f32[N, 4, 2]",
			[]float64{1, 2, 3, 4, 1, 2, 3, 4, -1, 0, 2, 0.5, -1, 0, 2, 0.5}},
	},
	// append and attention: see attention_test.go; pages: see pages_test.go
	ir.OpPageEstimate:   nil,
	ir.OpPageTopK:       nil,
	ir.OpPageKeep:       nil,
	ir.OpSummarise:      nil,
	ir.OpAttentionPaged: nil,

	ir.OpAppend:    nil,
	ir.OpAttention: nil,
}

func TestOps(t *testing.T) {
	for op, cases := range opCases {
		for _, c := range cases {
			head := opHead
			w := map[string][]float32{"w": opW["w"], "g": opW["g"]}
			if op == ir.OpDequant { // rows of 32: all 0.5 and all 2
				head = strings.Replace(head, "weight @g", "weight @q: q8_0[2, 32]\nweight @g", 1)
				for i := range 64 {
					w["q"] = append(w["q"], []float32{0.5, 2}[i/32])
				}
			}
			m := parse(t, head+c.typ+") {\n "+c.body+"\n return %y\n}\n")
			out, err := New(m, weights(w), Options{}).Run(m.Func("f"), types.Bindings{"N": 2}, Inputs{"x": opX, "i": Ints(1, 0)}, nil)
			if err != nil {
				t.Errorf("%s: %v", op, err)
				continue
			}
			if e := RelL2(out[0].Data, c.want); len(out[0].Data) != len(c.want) || e > 2e-7 {
				t.Errorf("%s: %s:\n got %v\nwant %v", op, c.body, out[0].Data, c.want)
			}
		}
	}
}

func TestEveryOpHasAMeaningAndACase(t *testing.T) {
	for _, op := range ir.Ops() {
		_, has := evals[op]
		if want := op.Info().Effect != ir.Opaque; has != want {
			t.Errorf("%s: has a meaning: %v, expected %v", op, has, want)
		}
		if _, tested := opCases[op]; has && !tested {
			t.Errorf("%s: no case in opCases", op)
		}
	}
}

func TestArgMaxTakesTheFirst(t *testing.T) {
	if got := argmax([]float64{1, 3, 3}); got != 1 {
		t.Errorf("argmax is %v, expected 1", got)
	}
}

func TestErrorsNameTheValue(t *testing.T) {
	m := parse(t, opHead+"f32[N, 4]) {\n %y: f32[N, 4] = embed %i, @w\n return %y\n}\n")
	mach := New(m, weights(opW), Options{})
	f, two := m.Func("f"), types.Bindings{"N": 2}
	for _, c := range []struct {
		in   Inputs
		bind types.Bindings
		want string
	}{
		{Inputs{"x": opX, "i": Ints(1, 2)}, two, "@f: %y: f32[N, 4] = embed %i, @w: token 2 at row 1, expected 0 to 1"},
		{Inputs{"x": opX}, two, "@f: param %i: i32[N] is not given"},
		{Inputs{"x": opX, "i": Ints(1)}, two, "@f: param %i is given i32[1], expected i32[N] with N=2"},
		{Inputs{"x": opX, "i": Ints(1, 0)}, nil, "@f: dim N: symbol N is unbound"},
	} {
		_, err := mach.Run(f, c.bind, c.in, nil)
		if err == nil || err.Error() != c.want {
			t.Errorf("got %v\nwant %s", err, c.want)
		}
	}
	short := New(m, weights(map[string][]float32{"w": {1}}), Options{})
	_, err := short.Run(f, two, Inputs{"x": opX, "i": Ints(1, 0)}, nil)
	if err == nil || !strings.Contains(err.Error(), "weight @w has 1 values, expected 8") {
		t.Errorf("got %v", err)
	}
}

func TestDerivedWeight(t *testing.T) {
	m := parse(t, `dim N launch 0..8
weight @a: f32[1, 2]
weight @b: f32[2, 2]
weight @ab: f32[3, 2] = concat @a, @b
weight @abb: f32[5, 2] = concat @ab, @b
func @f(%x: f32[N, 2]) -> (f32[N, 5]) {
  %y: f32[N, 5] = matmul %x, @abb
  return %y
}
`)
	w := weights(map[string][]float32{"a": {1, 0}, "b": {0, 1, 1, 1}})
	out, err := New(m, w, Options{}).Run(m.Func("f"), types.Bindings{"N": 1}, Inputs{"x": Floats([]float32{3, 5}, 1, 2)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e := RelL2(out[0].Data, []float64{3, 5, 8, 5, 8}); e != 0 {
		t.Errorf("got %v", out[0].Data)
	}
}
