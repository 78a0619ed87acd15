// Package rewrite drives rules over a Graph-level Func: match a pattern, build a
// replacement, repeat to a fixpoint.
//
// Border law: imports quire/ir and quire/passes. It knows no rule.
package rewrite

import (
	"fmt"

	"quire/ir"
	"quire/passes"
)

// Rule is one pattern => replacement.
type Rule struct {
	Name string // counted under this name
	Doc  string // one sentence and a tiny IR picture
	Ops  []ir.Op
	// Apply returns the value that takes v's place, or nil for no match. Why not
	// is told with Site.Missed where a reader could have expected a match.
	Apply func(s *Site, v *ir.Value) (*ir.Value, error)
}

// Site is where a rule is tried.
type Site struct {
	M    *ir.Module
	F    *ir.Func
	Uses map[*ir.Value][]*ir.Value

	ctx  *passes.Context
	rule *Rule
	at   *ir.Value
	miss map[missKey]bool
}

type missKey struct {
	rule string
	v    *ir.Value
}

// New makes a value in front of the one being rewritten, with its scope.
func (s *Site) New(op ir.Op, attrs ir.Attrs, args ...*ir.Value) (*ir.Value, error) {
	return s.F.AddBefore(s.M, s.at, op, attrs, args...)
}

// SingleUse reports whether v is read once, and not returned.
func (s *Site) SingleUse(v *ir.Value) bool { return len(s.Uses[v]) == 1 && s.Uses[v][0] != nil }

// Missed records why the rule did not fire, once a value and rule.
func (s *Site) Missed(v *ir.Value, format string, a ...any) {
	k := missKey{s.rule.Name, v}
	if !s.miss[k] {
		s.miss[k] = true
		s.ctx.Missed(s.rule.Name, s.F, v, format, a...)
	}
}

// maxRounds bounds the fixpoint: rules that undo each other are a bug.
const maxRounds = 1000

// Fixpoint applies rules, in order at each value, until none matches. Values
// whose last use a rule took are left for dce.
func Fixpoint(ctx *passes.Context, m *ir.Module, f *ir.Func, rules ...Rule) error {
	s := &Site{M: m, F: f, ctx: ctx, miss: map[missKey]bool{}}
	for range maxRounds {
		changed, err := s.round(rules)
		if err != nil {
			return err
		}
		if !changed {
			return nil
		}
	}
	return fmt.Errorf("BUG: rules did not settle in %d rounds", maxRounds)
}

func (s *Site) round(rules []Rule) (changed bool, err error) {
	s.Uses = s.F.Uses()
	body := append([]*ir.Value(nil), s.F.Body...)
	for _, v := range body {
		if len(s.Uses[v]) == 0 && v.Op.Info().Effect == ir.Pure {
			continue // dead
		}
		for i := range rules {
			r := &rules[i]
			if !matches(r, v.Op) {
				continue
			}
			s.rule, s.at = r, v
			w, err := r.Apply(s, v)
			if err != nil {
				return changed, fmt.Errorf("%s: %w", r.Name, err)
			}
			if w == nil || w == v {
				continue
			}
			if w.Name == "" {
				w.Name = v.Name
			}
			s.F.Replace(v, w)
			s.ctx.Count(r.Name)
			s.Uses = s.F.Uses()
			changed = true
			break
		}
	}
	return changed, nil
}

func matches(r *Rule, op ir.Op) bool {
	for _, o := range r.Ops {
		if o == op {
			return true
		}
	}
	return false
}
