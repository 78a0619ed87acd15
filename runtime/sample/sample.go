package sample

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

// ErrNotFinite is wrapped by errors about rows of logits that no token can be drawn from.
var ErrNotFinite = errors.New("logits are not finite")

// Options say how to choose. The zero value takes the greatest logit.
type Options struct {
	Temperature float64 // 0: greedy
	TopK        int     // 0: all
	TopP        float64 // 0 or 1: all
	MinP        float64 // 0: all

	Repetition float64 // 0 or 1: none
	Frequency  float64
	Presence   float64

	Seed uint64
}

// Validate names the option that is out of range.
func (o Options) Validate() error {
	for _, c := range []struct {
		name     string
		v        float64
		min, max float64
	}{
		{"temperature", o.Temperature, 0, 100},
		{"top-k", float64(o.TopK), 0, math.MaxInt32},
		{"top-p", o.TopP, 0, 1},
		{"min-p", o.MinP, 0, 1},
		{"repetition penalty", o.Repetition, 0, 100},
		{"frequency penalty", o.Frequency, -100, 100},
		{"presence penalty", o.Presence, -100, 100},
	} {
		if !(c.v >= c.min && c.v <= c.max) { // a NaN is outside
			return fmt.Errorf("sample: %s is %v, expected %v to %v", c.name, c.v, c.min, c.max)
		}
	}
	return nil
}

// Penalises says whether what came before changes the choice.
func (o Options) Penalises() bool {
	return o.Repetition != 0 && o.Repetition != 1 || o.Frequency != 0 || o.Presence != 0
}

// Greedy says that the choice is the greatest logit of the row as it is, so that a device
// may make it.
func (o Options) Greedy() bool { return (o.Temperature == 0 || o.TopK == 1) && !o.Penalises() }

// Sampler chooses the tokens of one reply. It is not safe for concurrent use.
type Sampler struct {
	o      Options
	source rand.PCG
	seen   map[int32]int // tokens of prompt and reply: times in the reply
	row    []float32     // penalised logits
	picked []Candidate
}

// stream tells our generators from others of the same seed.
const stream = 0x5175697265 // "Quire"

// New begins a reply.
func New(o Options) (*Sampler, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Sampler{o: o, source: *rand.NewPCG(o.Seed, stream), seen: map[int32]int{}}, nil
}

// Options is what the sampler was made with.
func (s *Sampler) Options() Options { return s.o }

// Prompt tells the repetition penalty about tokens before the reply.
func (s *Sampler) Prompt(tokens []int32) {
	if !s.o.Penalises() {
		return
	}
	for _, t := range tokens {
		if _, ok := s.seen[t]; !ok {
			s.seen[t] = 0
		}
	}
}

// Accept tells the penalties about a token of the reply that Sample did not choose.
func (s *Sampler) Accept(token int32) {
	if s.o.Penalises() {
		s.seen[token]++
	}
}

// Sample chooses from a row and remembers the choice. The row is not changed. Errors wrap
// ErrNotFinite.
func (s *Sampler) Sample(logits []float32) (int32, error) {
	id, err := s.Choose(logits, s.Draws(1)[0])
	if err != nil {
		return 0, err
	}
	s.Took(id)
	return id, nil
}

// Choose chooses from a row by a number drawn, from 0 on and below 1, and remembers nothing.
func (s *Sampler) Choose(logits []float32, u float64) (int32, error) {
	if s.o.Penalises() {
		logits = s.penalise(logits)
	}
	top, err := Greatest(logits)
	if err != nil || !s.draws() {
		return top.ID, err
	}
	return s.draw(logits, top, u), nil
}

// draws says whether a choice takes a number.
func (s *Sampler) draws() bool { return s.o.Temperature > 0 && s.o.TopK != 1 }

// Draws are the numbers of the next n choices, for a device that makes them: what it chose, Took
// is told one by one.
func (s *Sampler) Draws(n int) []float64 {
	ahead := s.source
	r, out := rand.New(&ahead), make([]float64, n)
	for i := range out {
		out[i] = r.Float64()
	}
	return out
}

// Took remembers a choice that was made by the next number of Draws.
func (s *Sampler) Took(token int32) {
	if s.draws() {
		s.source.Uint64() // what Float64 takes
	}
	s.Accept(token)
}

// penalise copies the row, with the logits of seen tokens changed.
func (s *Sampler) penalise(logits []float32) []float32 {
	s.row = append(s.row[:0], logits...)
	for id, times := range s.seen {
		if id < 0 || int(id) >= len(s.row) {
			continue
		}
		v := float64(s.row[id])
		if r := s.o.Repetition; r != 0 && v > 0 {
			v /= r
		} else if r != 0 {
			v *= r
		}
		if times > 0 {
			v -= float64(times)*s.o.Frequency + s.o.Presence
		}
		s.row[id] = float32(v)
	}
	return s.row
}

// draw narrows the row down and takes one token by chance.
func (s *Sampler) draw(logits []float32, top Candidate, u float64) int32 {
	all := s.o.TopK == 0 || s.o.TopK >= len(logits)
	if all && (s.o.TopP == 0 || s.o.TopP == 1) {
		return drawAll(logits, top, s.o, u)
	}
	if all {
		s.picked = nucleus(s.picked[:0], logits, top, s.o)
	} else {
		s.picked = topK(s.picked[:0], logits, s.o.TopK)
		s.picked = cutP(s.picked, s.o.TopP, top, s.o.Temperature, total(s.picked, top, s.o.Temperature))
	}
	sum := 0.0
	keep := s.picked[:0]
	for _, c := range s.picked {
		if w := weight(c.Logit, top, s.o.Temperature); w >= s.o.MinP {
			keep, sum = append(keep, c), sum+w
		}
	}
	u *= sum
	for _, c := range keep {
		if u -= weight(c.Logit, top, s.o.Temperature); u < 0 {
			return c.ID
		}
	}
	return keep[len(keep)-1].ID // rounding left a little of u
}

// drawAll draws in the order of ids: without top-k and top-p no order matters.
func drawAll(logits []float32, top Candidate, o Options, u float64) int32 {
	sum := 0.0
	for _, v := range logits {
		if w := weight(v, top, o.Temperature); w >= o.MinP {
			sum += w
		}
	}
	u *= sum
	last := top.ID
	for i, v := range logits {
		w := weight(v, top, o.Temperature)
		if w < o.MinP || w == 0 {
			continue
		}
		last = int32(i)
		if u -= w; u < 0 {
			break
		}
	}
	return last
}

// weight is a probability in units of the greatest one.
func weight(logit float32, top Candidate, temperature float64) float64 {
	return math.Exp((float64(logit) - float64(top.Logit)) / temperature)
}
