package ir

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// badTexts are hostile texts; each must give a SyntaxError at the place, no
// panic, and cost little.
var badTexts = []struct {
	id, name string
	text     string
	want     string // file:line:col: message, or its beginning
}{
	{"I1", "unknown op", "func @f(%x: f32[8]) -> () {\n  %0: f32[8] = conv2d %x\n  return\n}\n", `t:2:16: unknown op "conv2d"`},
	{"I1", "op of structure", "func @f(%x: f32[8]) -> () {\n  %0: f32[8] = param\n  return\n}\n", `t:2:16: unknown op "param"`},
	{"I1", "cycle", "func @f(%x: f32[8]) -> () {\n  %a: f32[8] = add %x, %b\n  %b: f32[8] = add %a, %x\n  return\n}\n", "t:2:24: %b is used before it is defined"},
	{"I1", "own argument", "func @f(%x: f32[8]) -> () {\n  %a: f32[8] = add %a, %x\n  return\n}\n", "t:2:20: %a is used before it is defined"},
	{"I2", "1 MB identifier of a value", "func @f(%" + strings.Repeat("x", 1<<20) + ": f32[8]) -> () { return }", "t:1:"},
	{"I2", "1 MB identifier of a declaration", "weight @" + strings.Repeat("w", 1<<20) + ": f32[8]", "t:1:9: a name of 1048576 bytes, expected at most 256"},
	{"I2", "1 MB word at the top", strings.Repeat("a", 1<<20), "t:1:1: a declaration of 1048576 bytes"},
	{"I2", "1 MB of one symbol", "weight @w: f32[" + strings.Repeat("N", 1<<20) + "]", "t:1:15: shape without an end"},
	{"I2", "1 MB string", `module "` + strings.Repeat("m", 1<<20), "t:1:1048585: string without an end"},
	{"I3", "shape overflow", "weight @w: f32[1048576, 1048576, 1048576]", "t:1:15: shape [1048576, 1048576, 1048576] is out of range"},
	{"I3", "shape overflow that wraps to 0", "weight @w: f32[1099511627776, 1099511627776]", "t:1:15: shape [1099511627776, 1099511627776] is out of range"},
	{"I3", "shape overflow behind a symbol", "func @f(%x: f32[140737488355327*N, 16]) -> () { return }", "t:1:16: shape [140737488355327*N, 16] is out of range"},
	{"I3", "negative extent", "weight @w: f32[-4]", "t:1:15: shape [-4] is out of range"},
	{"I3", "integer beyond 64 bits", "weight @w: f32[99999999999999999999]", `t:1:15: dim "99999999999999999999": integer`},
	{"I3", "nine extents", "weight @w: f32[1,1,1,1,1,1,1,1,1]", "t:1:15: shape [1,1,1,1,1,1,1,1,1] is out of range"},
	{"I3", "polynomial of many terms", "weight @w: f32[" + strings.TrimSuffix(strings.Repeat("ceil(2*a+2*b+2*c+2*d+2*e/2)*", 8), "*") + "]", "t:1:15: dim "},
	{"I3", "deep ceil", "weight @w: f32[" + strings.Repeat("ceil(", 40) + "N" + strings.Repeat("/2)", 40) + "]", "t:1:15: dim "},
	{"I3", "deep attributes", "func @f(%x: f32[8]) -> () {\n  %0: f32[8] = scale %x {by = " + strings.Repeat("[", 1<<18) + "\n", "t:2:63: attributes nested more than 32 deep"},
	{"I3", "deep fields", "func @f(%x: f32[8]) -> () {\n  %0: f32[8] = scale %x " + strings.Repeat("{by = ", 1<<17) + "\n", "t:2:"},
	{"I3", "too many dims", strings.Repeat("dim N load 0..1\n", maxDecls+1), "t:16385:"},
	{"I3", "NUL and escapes", "module \x00\x1b[31m", "t:1:8: saw \"\\x00\", expected \"\\\"\""},
	{"I3", "text behind a NUL", "dim N load 0..1\n\x00weight", `t:2:1: saw "\x00", expected a declaration`},
	{"I3", "number as a name", "func @1(%x: f32[8]) -> () { return }", `t:1:7: saw "1", expected a name`},
	{"I3", "text ends in a function", "func @f(%x: f32[8]) -> () {", "t:1:28: saw the end of the text, expected a value"},
}

func TestBadTexts(t *testing.T) {
	for _, b := range badTexts {
		start := time.Now()
		before := allocated()
		m, err := Parse("t", b.text)
		var e *SyntaxError
		if !errors.As(err, &e) || m != nil {
			t.Errorf("%s %s: %v, expected a SyntaxError", b.id, b.name, err)
			continue
		}
		if !strings.HasPrefix(err.Error(), b.want) {
			t.Errorf("%s %s: got %.200s\nwant %s", b.id, b.name, err, b.want)
		}
		if n := len(err.Error()) + len(e.Caret()); n > 1000 {
			t.Errorf("%s %s: %d bytes of message", b.id, b.name, n)
		}
		if strings.ContainsAny(e.Caret()+err.Error(), "\x00\x1b") {
			t.Errorf("%s %s: control bytes in the message", b.id, b.name)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("%s %s: took %v", b.id, b.name, d)
		}
		if n := allocated() - before; n > 64<<20 {
			t.Errorf("%s %s: allocated %d MB", b.id, b.name, n>>20)
		}
	}
}

// allocated is the number of bytes ever allocated.
func allocated() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.TotalAlloc
}

// I2: a million nodes parse, verify and print in linear time.
func TestMillionNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("a million nodes")
	}
	const n = 1_000_000
	var b strings.Builder
	b.WriteString("dim N launch 0..8\nfunc @f(%x: f32[N, 8]) -> (f32[N, 8]) {\n  %0: f32[N, 8] = silu %x\n")
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "  %%%d: f32[N, 8] = add %%%d, %%x\n", i, i-1)
	}
	fmt.Fprintf(&b, "  return %%%d\n}\n", n-1)
	start := time.Now()
	m, err := Parse("t", b.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(m); err != nil {
		t.Fatal(err)
	}
	if Print(m) != b.String() {
		t.Error("printed text differs")
	}
	t.Logf("%v", time.Since(start))
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("took %v", d)
	}
}

// I2: weights by the hundred thousand, each read once.
func TestManyWeights(t *testing.T) {
	const n = 100_000
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "weight @w%d: f32[8]\n", i)
	}
	b.WriteString("dim N launch 0..8\nfunc @f(%x: f32[N, 8]) -> () {\n  %v0: f32[N, 8] = silu %x\n")
	for i := range n {
		fmt.Fprintf(&b, "  %%v%d: f32[N, 8] = add %%v%d, @w%d\n", i+1, i, i)
	}
	b.WriteString("  return\n}\n")
	start := time.Now()
	m, err := Parse("t", b.String())
	if err == nil {
		err = Verify(m)
	}
	if d := time.Since(start); err != nil || d > 10*time.Second {
		t.Errorf("%v after %v", err, d)
	}
}

// I3: derived weights that double at each step would stand for 2^40 others.
func TestDoublingWeights(t *testing.T) {
	var b strings.Builder
	b.WriteString("weight @w0: f32[1, 8]\n")
	for i := range 40 {
		fmt.Fprintf(&b, "weight @w%d: f32[%d, 8] = concat @w%d, @w%d\n", i+1, int64(2)<<i, i, i)
	}
	m, err := Parse("t", b.String())
	if err == nil {
		err = Verify(m)
	}
	if err == nil || !strings.Contains(err.Error(), "weight @w13: stands for more than 4096 weights") {
		t.Errorf("got %v", err)
	}
}

// What a builder is given must be printable, or Verify says so.
func TestNamesThatCannotBePrinted(t *testing.T) {
	for _, name := range []string{"", "0w", "a b", "a..b", "a/b", "ключ", strings.Repeat("x", maxWord+1)} {
		m := &Module{Weights: []*Weight{{Name: name}}}
		if err := Verify(m); err == nil || !strings.Contains(err.Error(), "the name is not a letter") {
			t.Errorf("weight %q: %v", name, err)
		}
	}
	m := &Module{Dims: []*DimDecl{{Name: "a-b"}}}
	if err := Verify(m); err == nil || !strings.Contains(err.Error(), "the name of a dim") {
		t.Errorf("dim a-b: %v", err)
	}
}

// A report is bounded in errors and in bytes, whatever the module.
func TestVerifyReportIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("func @f(%x: f32[8]) -> () {\n")
	for i := range 200 {
		fmt.Fprintf(&b, "  %%%d: f32[9] = concat %%x%s\n", i, strings.Repeat(", %x", 10_000))
	}
	b.WriteString("  return\n}\n")
	m, err := Parse("t", b.String())
	if err != nil {
		t.Fatal(err)
	}
	err = Verify(m)
	var es VerifyErrors
	if !errors.As(err, &es) || len(es) != maxVerifyErrors || len(err.Error()) > 1<<16 {
		t.Errorf("%d errors, %d bytes", len(es), len(err.Error()))
	}
}
