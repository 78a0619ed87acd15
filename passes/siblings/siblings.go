// Package siblings merges linears that read one input (q, k, v; gate, up) into one
// matmul of concatenated weights, so that one kernel reads one stream.
//
// Border law: imports quire/ir and quire/passes.
package siblings

import (
	"slices"
	"strings"

	"quire/ir"
	"quire/ir/types"
	"quire/passes"
)

// Merge merges sibling linears.
func Merge() passes.Pass {
	return passes.Pass{
		Name: "siblings.merge-linears",
		Doc: `Linears of one input become one matmul and slices.

Invariants: exact (rows of a matmul are independent). The weights of a group have
one encoding and one K, are used nowhere else, and either all or none have a bias;
a group of mixed encodings stays apart, and the miss says so.

	%q = matmul %h, @wq    =>   weight @wqkv = concat @wq, @wk, @wv
	%k = matmul %h, @wk         %qkv = matmul %h, @wqkv
	%v = matmul %h, @wv         %q = slice %qkv {first = 0, count = ...} ...`,
		Requires: []passes.Prop{passes.DequantFused},
		Sets:     []passes.Prop{passes.SiblingsMerged},
		Clears:   []passes.Prop{passes.Canonical},
		Numerics: passes.Exact,
		Run:      passes.OnFuncs(ir.Graph, merge),
	}
}

const rule = "merge-siblings"

// linear is a matmul by a weight, with the bias add that is its only user if there
// is one.
type linear struct {
	mat, out *ir.Value // out is the add, or mat itself
	bias     *ir.Value // weight reference, or nil
}

type groupKey struct {
	x     *ir.Value
	attrs ir.Attrs
	elem  types.Elem
	k     types.Dim
}

func merge(c *passes.Context, m *ir.Module, f *ir.Func) error {
	uses := f.Uses()
	groups := map[groupKey][]linear{}
	var order []groupKey
	for _, v := range f.Body {
		l, ok := asLinear(m, v, uses)
		if !ok {
			continue
		}
		wt := v.Args[1].Type
		k := groupKey{v.Args[0], v.Attrs, wt.Elem, wt.Shape[1]}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], l)
	}
	byInput := map[*ir.Value]int{}
	for _, k := range order {
		byInput[k.x]++
	}
	for _, k := range order {
		g := groups[k]
		if byInput[k.x] > 1 {
			c.Missed(rule, f, g[0].mat, "a sibling has another encoding than %s", k.elem)
			continue
		}
		if len(g) > 1 {
			if err := mergeGroup(c, m, f, g, uses); err != nil {
				return err
			}
		}
	}
	return nil
}

// asLinear recognises a matmul by a weight that nothing else reads.
func asLinear(m *ir.Module, v *ir.Value, uses map[*ir.Value][]*ir.Value) (linear, bool) {
	if v.Op != ir.OpMatMul || v.Args[1].Op != ir.OpWeight || len(uses[v.Args[1]]) != 1 {
		return linear{}, false
	}
	if w := m.Weight(ir.WeightName(v.Args[1])); w == nil || usedElsewhere(m, w.Name) {
		return linear{}, false
	}
	l := linear{mat: v, out: v}
	if u := uses[v]; len(u) == 1 && u[0] != nil && u[0].Op == ir.OpAdd && u[0].Args[0] == v {
		if b := u[0].Args[1]; b.Op == ir.OpWeight && len(b.Type.Shape) == 1 && len(uses[b]) == 1 {
			l.bias, l.out = b, u[0]
		}
	}
	return l, true
}

// usedElsewhere reports whether a derived weight already holds w's rows.
func usedElsewhere(m *ir.Module, name string) bool {
	return slices.ContainsFunc(m.Weights, func(w *ir.Weight) bool {
		return slices.Contains(w.Concat, name) || w.Scaled != nil && (w.Scaled.Of == name || w.Scaled.By == name)
	})
}

// declared is the place of l's weight among the module's: siblings are joined in
// that order, whatever the order of the body.
func declared(m *ir.Module, l linear) int {
	return slices.IndexFunc(m.Weights, func(w *ir.Weight) bool { return w.Name == ir.WeightName(l.mat.Args[1]) })
}

func mergeGroup(c *passes.Context, m *ir.Module, f *ir.Func, g []linear, uses map[*ir.Value][]*ir.Value) error {
	biased := 0
	for _, l := range g {
		if l.bias != nil {
			biased++
		}
	}
	if biased != 0 && biased != len(g) {
		c.Missed(rule, f, g[0].mat, "%d of %d siblings have a bias", biased, len(g))
		return nil
	}
	first := g[0].mat
	slices.SortStableFunc(g, func(a, b linear) int { return declared(m, a) - declared(m, b) })
	mats := make([]*ir.Value, len(g))
	for i, l := range g {
		mats[i] = l.mat.Args[1]
	}
	out, err := f.AddBefore(m, first, ir.OpMatMul, first.Attrs, first.Args[0], f.Weight(concat(m, mats)))
	if err != nil {
		return err
	}
	if biased > 0 {
		biases := make([]*ir.Value, len(g))
		for i, l := range g {
			biases[i] = l.bias
		}
		if out, err = f.AddBefore(m, first, ir.OpAdd, nil, out, f.Weight(concat(m, biases))); err != nil {
			return err
		}
	}
	row := 0
	for _, l := range g {
		n, _ := l.mat.Type.Last().IsConst()
		s, err := f.AddBefore(m, first, ir.OpSlice, ir.SliceAttrs{First: row, Count: int(n)}, out)
		if err != nil {
			return err
		}
		row += int(n)
		s.Name = l.out.Name
		f.Replace(l.out, s)
	}
	dead := map[*ir.Value]bool{}
	for _, l := range g {
		dead[l.mat], dead[l.out] = true, true
	}
	f.Remove(dead)
	c.Count(rule)
	return nil
}

// concat declares the derived weight of the given references, named by their
// common prefix and their tails: "layers.0.self_attn.q_proj-k_proj-v_proj".
func concat(m *ir.Module, refs []*ir.Value) *ir.Weight {
	names := make([]string, len(refs))
	rows := types.Const(0)
	for i, r := range refs {
		names[i] = ir.WeightName(r)
		rows = rows.Add(r.Type.Shape[0])
	}
	shape := append(types.Shape{rows}, refs[0].Type.Shape[1:]...)
	w := &ir.Weight{Name: joinNames(names), Type: refs[0].Type.With(shape...), Concat: names}
	m.Weights = append(m.Weights, w)
	return w
}

func joinNames(names []string) string {
	prefix := names[0][:strings.LastIndexByte(names[0], '.')+1]
	for _, n := range names {
		for !strings.HasPrefix(n, prefix) {
			prefix = prefix[:strings.LastIndexByte(strings.TrimSuffix(prefix, "."), '.')+1]
		}
	}
	tails := make([]string, len(names))
	for i, n := range names {
		tails[i] = n[len(prefix):]
	}
	return prefix + strings.Join(tails, "-")
}
