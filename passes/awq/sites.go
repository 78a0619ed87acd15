package awq

import (
	"fmt"

	"quire/ir"
)

// Site is the linears that read one input, and what can take the inverse of a scale of that input's channels: the
// scale of a site is shared by its linears (AWQ, section 3.2; llm-awq's auto_scale).
type Site struct {
	Input   *ir.Value
	Linears []*ir.Value // the matmuls, in the order of the body

	Norm *ir.Value // a norm makes the input: its gain takes the inverse
	Up   *ir.Value // a matmul is linear in the input's channels: its rows take it, and Bias's elements
	Bias *ir.Value // weight added to Up's result, nil without one
	Why  string    // neither: why not
}

// Name is the site's: its first linear's weight.
func (s *Site) Name() string { return ir.WeightName(s.Linears[0].Args[1]) }

// Weights are the names of its linears' weights.
func (s *Site) Weights() []string {
	var out []string
	for _, l := range s.Linears {
		out = append(out, ir.WeightName(l.Args[1]))
	}
	return out
}

// Sites lists the inputs of matmuls by weights, in the order of the body.
func Sites(f *ir.Func) []Site {
	f2 := &finder{f: f, uses: f.Uses()}
	var out []Site
	at := map[*ir.Value]int{}
	for _, v := range f.Body {
		if v.Op != ir.OpMatMul || v.Args[1].Op != ir.OpWeight {
			continue
		}
		x := v.Args[0]
		i, ok := at[x]
		if !ok {
			i = len(out)
			at[x] = i
			out = append(out, Site{Input: x})
		}
		out[i].Linears = append(out[i].Linears, v)
	}
	for i := range out {
		f2.absorber(&out[i])
	}
	return out
}

type finder struct {
	f    *ir.Func
	uses map[*ir.Value][]*ir.Value
}

// only reports whether v is read once, by a value.
func (f *finder) only(v *ir.Value) bool { return len(f.uses[v]) == 1 && f.uses[v][0] != nil }

// absorber finds what takes the inverse, or says why nothing can.
func (f *finder) absorber(s *Site) {
	for _, u := range f.uses[s.Input] {
		if u == nil {
			s.Why = "the input is returned"
			return
		}
		if u.Op != ir.OpMatMul || u.Args[1] == s.Input || u.Args[1].Op != ir.OpWeight {
			s.Why = fmt.Sprintf("the input is read by %s too", u.Op)
			return
		}
	}
	for _, l := range s.Linears {
		if !f.only(l.Args[1]) {
			s.Why = fmt.Sprintf("@%s has other readers", ir.WeightName(l.Args[1]))
			return
		}
	}
	switch x := s.Input; x.Op {
	case ir.OpRMSNorm:
		f.norm(s, x)
	case ir.OpMul:
		f.product(s, x)
	case ir.OpFlatten:
		f.values(s, x)
	default:
		s.Why = fmt.Sprintf("the input is made by %s, which no scale passes", x.Op)
	}
}

func (f *finder) norm(s *Site, x *ir.Value) {
	if g := x.Args[1]; g.Op != ir.OpWeight || !f.only(g) {
		s.Why = "the norm's gain has other readers"
		return
	}
	s.Norm = x
}

// product is act(gate) * up, which is linear in up; either way round.
func (f *finder) product(s *Site, x *ir.Value) {
	for _, a := range x.Args {
		if mat, bias, _ := f.linear(a); mat != nil && x.Args[0] != x.Args[1] {
			s.Up, s.Bias = mat, bias
			return
		}
	}
	_, _, why := f.linear(x.Args[1])
	s.Why = "of the product " + why
}

// values is attention, whose result is linear in the values: channel d of head h comes from channel d of the KV head
// that h reads. With one query head a KV head each channel has a scale of its own; with more they would have to share.
func (f *finder) values(s *Site, x *ir.Value) {
	a := x.Args[0]
	if a.Op != ir.OpAttention || !f.only(a) {
		s.Why = fmt.Sprintf("the input is made by %s, which no scale passes", a.Op)
		return
	}
	kv := a.Args[1]
	if kv.Op != ir.OpAppend {
		s.Why = "attention reads a cache that is not appended to here"
		return
	}
	v := kv.Args[2]
	if a.Type.Shape[1] != v.Type.Shape[1] {
		s.Why = fmt.Sprintf("%s query heads share %s value heads", a.Type.Shape[1], v.Type.Shape[1])
		return
	}
	if v.Op != ir.OpUnflatten || !f.only(v) {
		s.Why = "values are not those of a linear alone"
		return
	}
	mat, bias, why := f.linear(v.Args[0])
	if mat == nil {
		s.Why = "of the values " + why
		return
	}
	s.Up, s.Bias = mat, bias
}

// linear sees v, read once, as a matmul by a weight of its own, with or without a bias.
func (f *finder) linear(v *ir.Value) (mat, bias *ir.Value, why string) {
	if !f.only(v) {
		return nil, nil, "a factor has other readers"
	}
	if v.Op == ir.OpAdd && v.Args[1].Op == ir.OpWeight {
		if bias = v.Args[1]; !f.only(bias) {
			return nil, nil, fmt.Sprintf("@%s has other readers", ir.WeightName(bias))
		}
		v = v.Args[0]
		if !f.only(v) {
			return nil, nil, "a factor has other readers"
		}
	}
	if v.Op != ir.OpMatMul || v.Args[1].Op != ir.OpWeight {
		return nil, nil, fmt.Sprintf("a factor is made by %s, expected a linear", v.Op)
	}
	if !f.only(v.Args[1]) {
		return nil, nil, fmt.Sprintf("@%s has other readers", ir.WeightName(v.Args[1]))
	}
	return v, bias, ""
}
