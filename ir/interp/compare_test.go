package interp

import (
	"strings"
	"testing"
)

// layerText is a decoder step of one layer; %s holds the middle.
const layerHead = `dim N launch 0..64
dim S launch 1..8
dim M launch 0..64
dim C device 0..4096
table @t {page = 64, recent = 5}
cache @kv: kv<f16>[1, 16] on @t
weight @emb: q8_0[40, 32]
weight @g: f32[32]
weight @wq: q4_1[32, 32]
weight @wk: q4_1[16, 32]
weight @wv: q4_1[16, 32]
weight @wqkv: q4_1[64, 32] = concat @wq, @wk, @wv
weight @wo: f16[32, 32]
`

const layerParams = "(%tok: i32[N], %pos: i32[N], %seq: rows[N, S], %out: i32[M], %c: @kv) -> (f32[M, 40], i32[M], @kv) {\n"

const layerTail = `  %qh: f32[N, 2, 16] = unflatten %q {dim = 16}
  %kh: f32[N, 1, 16] = unflatten %k {dim = 16}
  %vh: f32[N, 1, 16] = unflatten %v {dim = 16}
  %cs: f32[N, 8, 2] = rope.table %pos {dim = 16, base = 10000}
  %qr: f32[N, 2, 16] = rope %qh, %cs
  %kr: f32[N, 1, 16] = rope %kh, %cs
  %c1: @kv = kv.append %c, %kr, %vh, %seq
  %a: f32[N, 2, 16] = attention %qr, %c1, %seq {scale = 0.25, recent = 5}
  %af: f32[N, 32] = flatten %a
  %o: f32[N, 32] = matmul %af, @wo
  %x1: f32[N, 32] = add %x, %o
  %y: f32[M, 32] = gather %x1, %out
  %logits: f32[M, 40] = matmul %y, @emb
  %argmax: i32[M] = argmax %logits
  return %logits, %argmax, %c1
}
`

const apart = "func @step" + layerParams + `  %x: f32[N, 32] = embed %tok, @emb
  %h: f32[N, 32] = rmsnorm %x, @g {eps = 1e-05}
  %q: f32[N, 32] = matmul %h, @wq
  %k: f32[N, 16] = matmul %h, @wk
  %v: f32[N, 16] = matmul %h, @wv
` + layerTail

const merged = "func @step" + layerParams + `  %x: f32[N, 32] = embed %tok, @emb
  %h: f32[N, 32] = rmsnorm %x, @g {eps = 1e-05}
  %qkv: f32[N, 64] = matmul %h, @wqkv
  %q: f32[N, 32] = slice %qkv {count = 32}
  %k: f32[N, 16] = slice %qkv {first = 32, count = 16}
  %v: f32[N, 16] = slice %qkv {first = 48, count = 16}
` + layerTail

// decode is the kernel level of apart for one row: three launches.
const decode = `kernels @step.decode of @step when N = 1, M <= 1 ` + layerParams + `  buffer %b: f32[N, 32]
  buffer %h: f32[N, 32]
  buffer %q: f32[N, 2, 16]
  buffer %l: f32[M, 40]
  buffer %i: i32[M]
  launch {
    part -> %b {
      %0: f32[N, 32] = embed %tok, @emb
      yield %0
    }
    part -> %h {
      %1: f32[N, 32] = embed %tok, @emb
      %2: f32[N, 32] = rmsnorm %1, @g {eps = 1e-05}
      yield %2
    }
  }
  launch -> %q, %c {
    %3: f32[N, 8, 2] = rope.table %pos {dim = 16, base = 10000}
    %4: f32[N, 64] = matmul %h, @wqkv
    %5: f32[N, 32] = slice %4 {count = 32}
    %6: f32[N, 16] = slice %4 {first = 32, count = 16}
    %7: f32[N, 16] = slice %4 {first = 48, count = 16}
    %8: f32[N, 2, 16] = unflatten %5 {dim = 16}
    %9: f32[N, 1, 16] = unflatten %6 {dim = 16}
    %10: f32[N, 1, 16] = unflatten %7 {dim = 16}
    %11: f32[N, 2, 16] = rope %8, %3
    %12: f32[N, 1, 16] = rope %9, %3
    %13: @kv = kv.append %c, %12, %10, %seq
    yield %11, %13
  }
  launch -> %l, %i {
    %14: f32[N, 2, 16] = attention %q, %c, %seq {scale = 0.25, recent = 5}
    %15: f32[N, 32] = flatten %14
    %16: f32[N, 32] = matmul %15, @wo
    %17: f32[N, 32] = add %b, %16
    %18: f32[M, 32] = gather %17, %out
    %19: f32[M, 40] = matmul %18, @emb
    %20: i32[M] = argmax %19
    yield %19, %20
  }
  return %l, %i, %c
}
`

func TestCompareAgrees(t *testing.T) {
	a, b := parse(t, layerHead+apart), parse(t, layerHead+merged)
	for seed := range uint64(5) {
		if err := Compare(a, a.Func("step"), b, b.Func("step"), CompareOptions{Seed: seed}); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

func TestCompareKernelLevel(t *testing.T) {
	m := parse(t, layerHead+apart+decode)
	for seed := range uint64(5) {
		if err := Compare(m, m.Func("step"), m, m.Func("step.decode"), CompareOptions{Seed: seed}); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// A wrong rewrite must be seen, whatever it breaks.
func TestCompareSees(t *testing.T) {
	a := parse(t, layerHead+apart)
	for _, c := range []struct{ name, from, to, want string }{
		{"keys and values swapped", "kv.append %c, %kr, %vh", "kv.append %c, %vh, %kr", "relative L2"},
		{"window off by one", "{scale = 0.25, recent = 5}", "{scale = 0.25, recent = 4}", "relative L2"},
		{"rope style", "rope %kh, %cs", "rope %kh, %cs {style = adjacent}", "relative L2"},
		{"residual lost", "add %x, %o", "add %o, %o", "relative L2"},
		{"wrong index", "argmax %logits", "argmax %y", "result 2: row 0, element"},
	} {
		b := parse(t, layerHead+strings.Replace(apart, c.from, c.to, 1))
		err := Compare(a, a.Func("step"), b, b.Func("step"), CompareOptions{Seed: 1, Tolerance: 1e-4})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, expected %q", c.name, err, c.want)
		}
	}
	// one token of one cache is enough, even when no result shows it
	b := parse(t, layerHead+strings.Replace(apart, "%v: f32[N, 16] = matmul %h, @wv", "%v0: f32[N, 16] = matmul %h, @wv\n%v: f32[N, 16] = scale %v0 {by = 1.01}", 1))
	if err := Compare(a, a.Func("step"), b, b.Func("step"), CompareOptions{Seed: 1, Tolerance: 5e-3}); err == nil {
		t.Error("values scaled by 1.01: no error")
	}
}

func TestRandomCase(t *testing.T) {
	m := parse(t, layerHead+apart+decode)
	f := m.Func("step")
	var ragged, chunk, several bool
	for seed := range uint64(8) {
		c, err := RandomCase(m, f, seed)
		if err != nil {
			t.Fatal(err)
		}
		again, err := RandomCase(m, f, seed)
		if err != nil {
			t.Fatal(err)
		}
		lengths := map[int]int{}
		for i, s := range c.Steps {
			if s.Bind.Key() != again.Steps[i].Bind.Key() {
				t.Fatalf("seed %d: step %d is %s, then %s", seed, i, s.Bind.Key(), again.Steps[i].Bind.Key())
			}
			rows, busy := s.Inputs["seq"].(*RowMap), 0
			if err := rows.check(); err != nil {
				t.Fatal(err)
			}
			for n, sl := range rows.Slots {
				if sl.Before != lengths[n] {
					t.Fatalf("seed %d: step %d: slot %d is at %d, the map says %d", seed, i, n, lengths[n], sl.Before)
				}
				lengths[n] += sl.New
				for k := range sl.New {
					if pos := s.Inputs["pos"].(*Tensor).Data[sl.Start+k]; int(pos) != sl.Before+k {
						t.Fatalf("seed %d: position %v of index %d", seed, pos, sl.Before+k)
					}
				}
				if sl.New > 0 {
					busy++
				}
				chunk = chunk || sl.New > 2 && sl.Before > 0
			}
			several = several || busy > 1
			ragged = ragged || busy > 0 && busy < len(rows.Slots)
		}
		d, err := RandomCase(m, f, seed, m.Func("step.decode"))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range d.Steps {
			if s.Bind["N"] != 1 || s.Bind["M"] > 1 {
				t.Fatalf("seed %d: bindings %s break the guards", seed, s.Bind.Key())
			}
		}
	}
	if !ragged || !chunk || !several {
		t.Errorf("ragged steps %v, later chunks %v, several slots %v: expected all in 8 seeds", ragged, chunk, several)
	}
}

func TestImpossibleGuards(t *testing.T) {
	m := parse(t, layerHead+apart+strings.Replace(decode, "when N = 1", "when N = 1, N = 2", 1))
	_, err := RandomCase(m, m.Func("step"), 1, m.Func("step.decode"))
	if err == nil || !strings.Contains(err.Error(), "no small bindings") {
		t.Errorf("got %v", err)
	}
}

func TestGuardIsChecked(t *testing.T) {
	m := parse(t, layerHead+apart+decode)
	c, err := RandomCase(m, m.Func("step"), 3)
	if err != nil {
		t.Fatal(err)
	}
	mach := New(m, c.Weights, Options{})
	bind, in := StepOf(NewState(), 2, Turn{Slot: 1, Tokens: []int32{1, 2, 3}, Logits: 1})
	_, err = mach.Run(m.Func("step.decode"), bind, in, nil)
	if err == nil || err.Error() != "@step.decode: guard N = 1 does not hold: 3 and 1" {
		t.Errorf("got %v", err)
	}
	out, err := mach.Run(m.Func("step"), bind, in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := Named(m.Func("step"), out)["logits"].String(); got != "f32[1, 40]" {
		t.Errorf("logits %s", got)
	}
}

// Buffers that share a slot while both are alive overwrite each other.
func TestSharedSlots(t *testing.T) {
	slots := func(b, h string) string {
		s := strings.Replace(decode, "buffer %b: f32[N, 32]", "buffer %b: f32[N, 32] {slot = "+b+"}", 1)
		return layerHead + apart + strings.Replace(s, "buffer %q: f32[N, 2, 16]", "buffer %q: f32[N, 2, 16] {slot = "+h+"}", 1)
	}
	for text, want := range map[string]string{slots("0", "1"): "", slots("0", "0"): "%b is read after %q has overwritten slot 0"} {
		m := parse(t, text)
		err := Compare(m, m.Func("step"), m, m.Func("step.decode"), CompareOptions{Seed: 1})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, expected %q", err, want)
		}
	}
}

func TestRandomWeightsHold(t *testing.T) {
	m := parse(t, layerHead+apart)
	w := RandomWeights(m, 9)
	for _, name := range []string{"emb", "wq", "wo", "g"} {
		x, err := w(name)
		if err != nil {
			t.Fatal(err)
		}
		y := make([]float64, len(x))
		for i := range x {
			y[i] = float64(x[i])
		}
		decl := m.Weight(name)
		holdRows(decl.Type.Elem, 32, y)
		e := 0.0
		for i := range x {
			e = max(e, abs(y[i]-float64(x[i])))
		}
		if e > 1e-6 {
			t.Errorf("%s: encoding again moves a value by %g", name, e)
		}
	}
	if _, err := w("wqkv"); err == nil {
		t.Error("derived weight: no error")
	}
}

func abs(x float64) float64 { return max(x, -x) }
