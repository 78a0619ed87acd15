package program

import "quire/ir/types"

// Guards are the guards of a Step, read.
type Guards []guard

type guard struct {
	lhs, rhs types.Dim
	atMost   bool
}

// Guards reads the guards.
func (s *Step) Guards() (Guards, error) {
	var out Guards
	for _, g := range s.When {
		l, err := types.ParseDim(g.Lhs)
		if err != nil {
			return nil, err
		}
		r, err := types.ParseDim(g.Rhs)
		if err != nil {
			return nil, err
		}
		out = append(out, guard{l, r, g.AtMost})
	}
	return out, nil
}

// Hold says whether the Step is made for these dims.
func (g Guards) Hold(b types.Bindings) bool {
	for _, c := range g {
		l, err := c.lhs.Eval(b)
		if err != nil {
			return false
		}
		r, err := c.rhs.Eval(b)
		if err != nil || l > r || !c.atMost && l != r {
			return false
		}
	}
	return true
}
