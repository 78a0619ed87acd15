package runtime

import (
	"context"
	"fmt"
	"math"
	"slices"

	"quire/runtime/device"
	"quire/runtime/sample"
)

// ScoreOptions say what to report about each token.
type ScoreOptions struct {
	Top int // candidates of each position
	// Stepwise feeds one token at a time, as decoding does, instead of chunks.
	Stepwise bool
}

// Score is what the model says after one token.
type Score struct {
	LogSumExp float64 // ln of the sum of exp of all logits
	// Next is the logit of the token that follows; the last Score has none: NaN.
	Next float64
	Top  []sample.Candidate // the greatest logits in order
}

// NLL is minus the log-probability of the token that follows, in nats.
func (s Score) NLL() float64 { return s.LogSumExp - s.Next }

// Score feeds tokens and reports on every one of them. Steps are as long as memory for
// their logits allows.
func (s *Session) Score(ctx context.Context, tokens []int32, o ScoreOptions) ([]Score, error) {
	if err := s.enter("score"); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.check("score", tokens); err != nil {
		return nil, err
	}
	if o.Top < 0 {
		return nil, fmt.Errorf("runtime: score: %d candidates, expected at least 0", o.Top)
	}
	out := make([]Score, 0, len(tokens))
	r := &request{tokens: slices.Clone(tokens), all: true, want: device.Logits | s.prog.engine.gives&device.LogSumExp}
	if o.Stepwise {
		r.chunk = 1
	}
	r.take = func(v rows) ([]int32, error) {
		if v.logits == nil {
			return nil, fmt.Errorf("runtime: score: the program gives no logits")
		}
		for i := range v.n {
			x, err := score(v, i, r.tokens, o)
			if err != nil {
				return nil, fmt.Errorf("runtime: score: token %d: %w", v.first+i, err)
			}
			out = append(out, x)
		}
		return nil, nil
	}
	if err := s.run(ctx, r); err != nil {
		return nil, err
	}
	return out, nil
}

func score(v rows, i int, tokens []int32, o ScoreOptions) (Score, error) {
	row := v.logits[i*v.vocab:][:v.vocab]
	x := Score{Next: math.NaN()}
	if v.lse != nil {
		x.LogSumExp = float64(v.lse[i])
	} else {
		x.LogSumExp = sample.LogSumExp(row)
	}
	if math.IsNaN(x.LogSumExp) || math.IsInf(x.LogSumExp, 0) {
		return x, fmt.Errorf("%w: their sum is %v", sample.ErrNotFinite, x.LogSumExp)
	}
	if at := v.first + i + 1; at < len(tokens) {
		x.Next = float64(row[tokens[at]])
	}
	if o.Top > 0 {
		x.Top = sample.Top(row, o.Top)
	}
	return x, nil
}
