package dot

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"quire/ir"
	"quire/ir/types"
)

// decoder builds a step of n layers; odd layers have a window, as Gemma's.
func decoder(t *testing.T, name string, n int, alternate bool) *ir.Module {
	t.Helper()
	b := ir.NewBuilder(name)
	f32, i32 := types.Plain(types.F32), types.Plain(types.I32)
	rows, slots, out := b.Dim("N", ir.Launch, 0, 64), b.Dim("S", ir.Launch, 1, 8), b.Dim("M", ir.Launch, 0, 64)
	b.Table(ir.Table{Name: "t", Page: 64})
	f := b.Func("step")
	tok, pos := f.Param("tok", types.TensorOf(i32, rows)), f.Param("pos", types.TensorOf(i32, rows))
	seq, want := f.Param("seq", types.RowsOf(rows, slots)), f.Param("out", types.TensorOf(i32, out))
	emb, g := b.Weight("emb", f32, 40, 32), b.Weight("norm", f32, 32)
	f.Scope("embed")
	x := f.Embed(tok, f.Weight(emb), types.InvalidDType)
	cs := f.RopeTable(pos, ir.RopeTableAttrs{Dim: 16, Base: 10000})
	var results []*ir.Value
	for i := range n {
		kv := fmt.Sprintf("kv%d", i)
		b.Cache(ir.CacheDecl{Name: kv, Elem: f32, Heads: 1, Dim: 16, Table: "t"})
		w := func(s string, r int64) *ir.Weight {
			return b.Weight(fmt.Sprintf("layers.%d.%s", i, s), types.Quantised("q4_1"), r, 32)
		}
		f.Scope(fmt.Sprintf("layers.%d.attn", i))
		q := f.Rope(f.Unflatten(f.Linear(x, w("q", 32), 0), 16), cs, ir.RopeHalf)
		k := f.Rope(f.Unflatten(f.Linear(x, w("k", 16), 0), 16), cs, ir.RopeHalf)
		v := f.Unflatten(f.Linear(x, w("v", 16), 0), 16)
		cache := f.Append(f.Param(kv, types.CacheOf(kv)), k, v, seq)
		a := ir.AttentionAttrs{Scale: 0.25}
		if recent := 7; alternate && i%2 == 1 {
			a.Recent = &recent
		}
		x = f.Add(x, f.Flatten(f.Attention(q, cache, seq, a)))
		f.Scope(fmt.Sprintf("layers.%d.mlp", i))
		x = f.Add(x, f.SiLU(f.Linear(x, w("up", 32), 0)))
		results = append(results, cache)
	}
	f.Scope("head")
	y := f.RMSNorm(f.Gather(x, want), g, 1e-5, 0)
	f.Return(append([]*ir.Value{f.Named("logits", f.Linear(y, emb, 0))}, results...)...)
	m, err := b.Module()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func draw(t *testing.T, m *ir.Module, fn string, o Options) string {
	t.Helper()
	b, err := Draw(m, m.Func(fn), o)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := Draw(m, m.Func(fn), o); !bytes.Equal(b, again) {
		t.Errorf("%s: two drawings differ", o.Format)
	}
	return string(b)
}

func needGraphviz(t *testing.T) {
	if _, err := exec.LookPath("dot"); err != nil {
		t.Skip("graphviz is not installed")
	}
}

var (
	dotID  = regexp.MustCompile(`(?m)^\s*n\d+\[[^\n]*id="([^"]+)"`)
	svgID  = regexp.MustCompile(`<g id="([^"]+)" class="node"`)
	htmlID = regexp.MustCompile(`<div class="row \w+" id="([^"]+)"`)
)

// The same nodes with the same ids in all four formats, for both levels of detail.
func TestSameIDsInAllFormats(t *testing.T) {
	needGraphviz(t)
	m := decoder(t, "tiny", 4, true)
	for _, layers := range []Layers{OneLayer, AllLayers} {
		var want []string
		p := newPicture(m, m.Func("step"))
		if layers == OneLayer {
			p.collapse()
		}
		for _, n := range p.nodes {
			want = append(want, n.id)
		}
		slices.Sort(want)
		if d := slices.Compact(slices.Clone(want)); len(d) != len(want) {
			t.Errorf("ids are not unique: %d of %d", len(d), len(want))
		}
		for format, re := range map[Format]*regexp.Regexp{DOT: dotID, SVG: svgID, HTML: htmlID} {
			var got []string
			for _, s := range re.FindAllStringSubmatch(draw(t, m, "step", Options{format, layers}), -1) {
				got = append(got, strings.ReplaceAll(s[1], "&#45;", "-"))
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s, layers %d: %d ids, expected %d:\n%v\n%v", format, layers, len(got), len(want), got, want)
			}
		}
		var c collection
		if err := json.Unmarshal([]byte(draw(t, m, "step", Options{Explorer, layers})), &c); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range c.Graphs[0].Nodes {
			got = append(got, n.ID)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("json, layers %d: %v", layers, got)
		}
	}
}

func ids(p *picture, scope string) []string {
	var out []string
	for _, n := range p.nodes {
		if len(n.scope) > 0 && n.scope[0] == scope || n.id == scope {
			out = append(out, n.id)
		}
	}
	return out
}

func TestOneLayerAndABox(t *testing.T) {
	for _, c := range []struct {
		layers    int
		alternate bool
		shown     []string
		hidden    []string
		box, says string
	}{
		{5, false, []string{"layers.0"}, []string{"layers.1", "layers.4"}, "layers.1-4", "4 like layers.0"},
		{6, true, []string{"layers.0", "layers.1"}, []string{"layers.2", "layers.5"}, "layers.2-5", "2 like layers.0, 2 like layers.1"},
		{2, false, []string{"layers.0"}, nil, "layers.1", "1 like layers.0"},
		{1, false, []string{"layers.0"}, nil, "", ""},
	} {
		m := decoder(t, "tiny", c.layers, c.alternate)
		p := newPicture(m, m.Func("step"))
		p.collapse()
		for _, s := range c.shown {
			if len(ids(p, s)) < 10 {
				t.Errorf("%d layers: %s has nodes %v", c.layers, s, ids(p, s))
			}
		}
		for _, s := range c.hidden {
			if got := ids(p, s); got != nil {
				t.Errorf("%d layers: %s is drawn: %v", c.layers, s, got)
			}
		}
		if c.box == "" {
			continue
		}
		box := p.byID[c.box]
		if box == nil || box.typ != c.says {
			t.Errorf("%d layers: box %+v, expected %s: %s", c.layers, box, c.box, c.says)
			continue
		}
		// no edge hangs, and the box stands between the shown layers and the head
		var in, out bool
		for _, e := range p.edges {
			if p.byID[e.from] == nil || p.byID[e.to] == nil {
				t.Errorf("edge %+v hangs", e)
			}
			in = in || e.to == c.box && p.byID[e.from].kind == op
			out = out || e.from == c.box && len(p.byID[e.to].scope) > 0 && p.byID[e.to].scope[0] == "head"
		}
		if !in || !out {
			t.Errorf("%d layers: edges into the box %v, out of it %v", c.layers, in, out)
		}
		// caches of hidden layers are folded in, the others stay
		if p.byID[fmt.Sprintf("%%kv%d", c.layers-1)] != nil || p.byID["%kv0"] == nil || p.byID["%tok"] == nil {
			t.Errorf("%d layers: caches are folded wrongly", c.layers)
		}
	}
}

func TestWeightStandsWhereItsReadersDo(t *testing.T) {
	m := decoder(t, "tiny", 1, false)
	p := newPicture(m, m.Func("step"))
	for id, want := range map[string]string{"@layers.0.q": "layers.0 attn", "@norm": "head", "@emb": ""} {
		if got := strings.Join(p.byID[id].scope, " "); got != want {
			t.Errorf("%s stands in %q, expected %q", id, got, want)
		}
	}
}

// Names come from files: none may break out of its place.
func TestHostileNames(t *testing.T) {
	evil := `</script><script>alert(1)</script>"\n<b>&amp;` + "\x1b[31m"
	m := decoder(t, evil, 2, false)
	f := m.Func("step")
	for _, v := range f.Body {
		if v.Scope == "embed" {
			v.Scope = evil
		}
	}
	page := draw(t, m, "step", Options{HTML, AllLayers})
	if n := strings.Count(page, "<script"); n != 2 {
		t.Errorf("%d script elements, expected 2", n)
	}
	if strings.Contains(page, "<b>&amp;\x1b") || strings.Contains(page, "alert(1)</script>\"") {
		t.Error("the name stands in the page as it is")
	}
	if !strings.Contains(page, "default-src 'none'") || strings.Contains(page, "http://") || strings.Contains(page, "https://") {
		t.Error("the page may load something")
	}
	var c collection
	if err := json.Unmarshal([]byte(draw(t, m, "step", Options{Explorer, AllLayers})), &c); err != nil || c.Label != evil {
		t.Errorf("label %q, %v", c.Label, err)
	}
	needGraphviz(t)
	dec := xml.NewDecoder(strings.NewReader(draw(t, m, "step", Options{SVG, OneLayer})))
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && (e.Name.Local == "script" || e.Name.Local == "b") {
			t.Errorf("element %s in the drawing", e.Name.Local)
		}
	}
}

// The policy admits the page's own script and style: their digests.
func TestPolicyMatches(t *testing.T) {
	m := decoder(t, "tiny", 1, false)
	page := draw(t, m, "step", Options{HTML, OneLayer})
	for open, end := range map[string]string{"<style>": "</style>", "\n<script>": "</script>"} {
		_, rest, ok := strings.Cut(page, open)
		body, _, _ := strings.Cut(rest, end)
		if !ok || !strings.Contains(page, "'"+digest(body)+"'") {
			t.Errorf("%s: digest %s is not in the policy", strings.TrimSpace(open), digest(body))
		}
	}
}

const kernelText = `dim N launch 0..8
weight @g: f32[16]
weight @w: f32[16, 16] layout lanes
func @f(%x: f32[N, 16]) -> (f32[N, 16]) {
  %0: f32[N, 16] = rmsnorm %x, @g {eps = 1e-05}
  %1: f32[N, 16] = matmul %0, @w
  return %1
}
kernels @f.k of @f (%x: f32[N, 16]) -> (f32[N, 16]) {
  buffer %h: f32[N, 16]
  buffer %z: f32[N, 16]
  buffer %y: f32[N, 16]
  launch {
    part norm {dim = 16, per = 16, rms = {eps = 1e-05}} on %x, @g, %h -> %h {
      %0: f32[N, 16] = rmsnorm %x, @g {eps = 1e-05}
      yield %0
    }
    part -> %z {
      %1: f32[N, 16] = silu %x
      yield %1
    }
  }
  launch -> %y {
    %2: f32[N, 16] = matmul %h, @w
    yield %2
  }
  return %y
}
`

func TestKernelLevel(t *testing.T) {
	m, err := ir.Parse("t", kernelText)
	if err != nil {
		t.Fatal(err)
	}
	p := newPicture(m, m.Func("f.k"))
	want := []string{"%x>launch.0.0", "@g>launch.0.0", "%x>launch.0.1", "launch.0.0>launch.1", "@w>launch.1", "launch.1>return"}
	var got []string
	for _, e := range p.edges {
		got = append(got, e.from+">"+e.to)
	}
	if !slices.Equal(got, want) {
		t.Errorf("edges %v\nexpected %v", got, want)
	}
	if n := p.byID["launch.0.0"]; n.title != "norm" || n.typ != "%h: f32[N, 16]" || len(n.text) != 1 {
		t.Errorf("launch %+v", n)
	}
	if a := p.byID["@w"].attrs; len(a) != 1 || a[0] != (ir.Attribute{Name: "layout", Value: "lanes"}) {
		t.Errorf("weight attributes %v", a)
	}
}

// One small drawing as text: what a reader of .dot and .json sees.
func TestGoldenDrawings(t *testing.T) {
	m, err := ir.Parse("t", kernelText)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []Format{DOT, Explorer} {
		path := "testdata/small." + string(format)
		got := draw(t, m, "f", Options{Format: format})
		if os.Getenv("REWRITE") != "" {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs (REWRITE=1 go test ./ir/dot writes it):\n%s", path, got)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for file, want := range map[string]Format{"a.svg": SVG, "x/y.html": HTML, "g.dot": DOT, "m.json": Explorer} {
		if got, err := FormatOf(file); got != want || err != nil {
			t.Errorf("%s: %s, %v", file, got, err)
		}
	}
	for _, file := range []string{"a.png", "a", ""} {
		if _, err := FormatOf(file); err == nil || !strings.Contains(err.Error(), "expected .dot, .svg, .html or .json") {
			t.Errorf("%s: %v", file, err)
		}
	}
	m := decoder(t, "tiny", 1, false)
	if _, err := Draw(m, m.Func("step"), Options{Format: "png"}); err == nil {
		t.Error("png: no error")
	}
}

func TestMissingGraphvizIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	m := decoder(t, "tiny", 1, false)
	_, err := Draw(m, m.Func("step"), Options{Format: SVG})
	if err == nil || !strings.Contains(err.Error(), "apt-get install graphviz") {
		t.Errorf("got %v", err)
	}
}

func TestScopePath(t *testing.T) {
	for s, want := range map[string][]string{"layers.3.attn": {"layers.3", "attn"}, "": nil, "head": {"head"}, "a.1.2.b": {"a.1.2", "b"}, "3": {"3"}} {
		if got := scopePath(s); !slices.Equal(got, want) {
			t.Errorf("%q: %q", s, got)
		}
	}
}
