package graph

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gonum "gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/topo"

	"quire/ir"
)

var _ gonum.Directed = (*Graph)(nil)

const text = `dim N launch 0..8
dim S launch 1..2
table @t {page = 64}
cache @kv: kv<f32>[1, 16] on @t
weight @w: f32[16, 16]
func @f(%x: f32[N, 16], %seq: rows[N, S], %kv: @kv) -> (f32[N, 16], @kv) {
  %a: f32[N, 16] = matmul %x, @w
  %z: f32[N, 16] = silu %x
  %az: f32[N, 16] = mul %a, %z
  %h: f32[N, 1, 16] = unflatten %a {dim = 16}
  %old: f32[N, 1, 16] = attention %h, %kv, %seq {scale = 1}
  %kv1: @kv = kv.append %kv, %h, %h, %seq
  %new: f32[N, 1, 16] = attention %h, %kv1, %seq {scale = 1}
  %both: f32[N, 1, 16] = add %old, %new
  %y: f32[N, 16] = flatten %both
  return %y, %kv1
}
kernels @f.k of @f (%x: f32[N, 16], %seq: rows[N, S], %kv: @kv) -> (f32[N, 16], @kv) {
  buffer %a: f32[N, 16] {slot = 0}
  buffer %old: f32[N, 1, 16]
  buffer %y: f32[N, 16] {slot = 0}
  launch -> %a {
    %0: f32[N, 16] = matmul %x, @w
    yield %0
  }
  launch -> %old {
    %1: f32[N, 1, 16] = unflatten %a {dim = 16}
    %2: f32[N, 1, 16] = attention %1, %kv, %seq {scale = 1}
    yield %2
  }
  launch -> %kv {
    %3: f32[N, 1, 16] = unflatten %a {dim = 16}
    %4: @kv = kv.append %kv, %3, %3, %seq
    yield %4
  }
  launch -> %y {
    %5: f32[N, 16] = flatten %old
    yield %5
  }
  return %y, %kv
}
`

func load(t *testing.T, name string) (*ir.Func, map[string]*ir.Value) {
	t.Helper()
	m, err := ir.Parse("t", text)
	if err == nil {
		err = ir.Verify(m)
	}
	if err != nil {
		t.Fatal(err)
	}
	f := m.Func(name)
	by := map[string]*ir.Value{}
	for v, n := range ir.Names(f) {
		by[n] = v
	}
	return f, by
}

func TestEdges(t *testing.T) {
	f, v := load(t, "f")
	g := New(f)
	for _, c := range []struct {
		u, v string
		want bool
	}{
		{"%x", "%a", true}, {"@w", "%a", true}, {"%a", "%h", true}, {"%a", "%x", false}, {"%a", "%kv1", false},
		{"%old", "%kv1", true}, // reads the version that append consumes
		{"%kv1", "%new", true}, {"%new", "%kv1", false},
	} {
		if got := g.HasEdgeFromTo(int64(v[c.u].ID), int64(v[c.v].ID)); got != c.want {
			t.Errorf("%s -> %s: %v, expected %v", c.u, c.v, got, c.want)
		}
	}
	if !g.Reaches(v["%x"], v["%y"]) || g.Reaches(v["%y"], v["%x"]) || g.Reaches(v["%new"], v["%old"]) || !g.Reaches(v["%a"], v["%a"]) {
		t.Error("reachability is wrong")
	}
}

func TestOrderIsTheTextWhereItMayBe(t *testing.T) {
	for _, name := range []string{"f", "f.k"} {
		f, _ := load(t, name)
		order, err := New(f).Order()
		if err != nil {
			t.Fatal(err)
		}
		var body []*ir.Value
		for _, v := range order {
			if v.Op != ir.OpParam && v.Op != ir.OpWeight {
				body = append(body, v)
			}
		}
		if !slices.Equal(body, f.Body) {
			t.Errorf("@%s: order of %d values differs from the text", name, len(body))
		}
	}
}

func TestLegal(t *testing.T) {
	f, v := load(t, "f")
	g := New(f)
	if err := g.Legal(f.Body); err != nil {
		t.Error(err)
	}
	bad := slices.Clone(f.Body)
	i, j := slices.Index(bad, v["%old"]), slices.Index(bad, v["%kv1"])
	bad[i], bad[j] = bad[j], bad[i]
	if err := g.Legal(bad); err == nil || err.Error() != "@f: %old stands after %kv1" {
		t.Errorf("got %v", err)
	}
	// the verifier draws the same line, on any permutation
	rng := rand.New(rand.NewPCG(1, 2))
	seen := map[bool]int{}
	for range 3000 {
		k := rng.IntN(len(f.Body) - 1)
		f.Body[k], f.Body[k+1] = f.Body[k+1], f.Body[k]
		legal := g.Legal(f.Body) == nil
		seen[legal]++
		m := &ir.Module{}
		parsed, _ := ir.Parse("t", text)
		*m = *parsed
		m.Funcs = []*ir.Func{f}
		if verified := ir.Verify(m) == nil; verified != legal {
			t.Fatalf("legal %v, verified %v:\n%s", legal, verified, ir.PrintFunc(f))
		}
		if !legal {
			f.Body[k], f.Body[k+1] = f.Body[k+1], f.Body[k]
		}
	}
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("tried %v", seen)
	}
}

func TestLaunches(t *testing.T) {
	f, _ := load(t, "f.k")
	g := New(f)
	var l []*ir.Value
	for _, v := range f.Body {
		if v.Op == ir.OpLaunch {
			l = append(l, v)
		}
	}
	for _, c := range []struct {
		u, v int
		want bool
		why  string
	}{
		{0, 1, true, "reads %a"},
		{0, 2, true, "reads %a"},
		{1, 2, true, "writes the cache that it reads"},
		{1, 3, true, "reads %old"},
		{2, 3, true, "overwrites slot 0, which it reads"},
		{0, 3, true, "writes slot 0 too"},
		{3, 2, false, "comes later"},
	} {
		if got := g.HasEdgeFromTo(int64(l[c.u].ID), int64(l[c.v].ID)); got != c.want {
			t.Errorf("launch %d -> %d (%s): %v", c.u, c.v, c.why, got)
		}
	}
}

func TestDominators(t *testing.T) {
	f, v := load(t, "f")
	d := New(f).Dominators()
	for of, want := range map[string]string{"%y": "%both", "%h": "%a"} {
		if d[v[of]] != v[want] {
			t.Errorf("dominator of %s is %v, expected %s", of, d[v[of]], want)
		}
	}
	// %a is reached from %x and from @w, %both from %h, %kv and %seq
	for _, of := range []string{"%a", "%x", "%both"} {
		if d[v[of]] != nil {
			t.Errorf("dominator of %s is %v, expected none", of, ir.Names(f)[d[v[of]]])
		}
	}
}

func TestCycleIsNamed(t *testing.T) {
	f, v := load(t, "f")
	v["%a"].Args[0] = v["%y"]
	_, err := New(f).Order()
	if err == nil || !strings.HasPrefix(err.Error(), "@f: cycle of ") || !strings.Contains(err.Error(), "%both") {
		t.Errorf("got %v", err)
	}
}

// The view is consistent with itself, as gonum's algorithms assume.
func TestViewIsConsistent(t *testing.T) {
	for _, name := range []string{"f", "f.k"} {
		f, _ := load(t, name)
		g := New(f)
		nodes := gonum.NodesOf(g.Nodes())
		for _, u := range nodes {
			if g.Node(u.ID()) != u {
				t.Errorf("node %d is not found", u.ID())
			}
			for _, w := range gonum.NodesOf(g.From(u.ID())) {
				e := g.Edge(u.ID(), w.ID())
				if e == nil || e.From().ID() != u.ID() || e.To().ID() != w.ID() || !slices.Contains(gonum.NodesOf(g.To(w.ID())), u) {
					t.Errorf("edge %d -> %d is seen from one side", u.ID(), w.ID())
				}
			}
		}
		if g.Node(10_000) != nil || g.Edge(0, 0) != nil {
			t.Error("nodes or edges that are not there")
		}
		if _, err := topo.Sort(g); err != nil {
			t.Error(err)
		}
	}
}
