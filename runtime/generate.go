package runtime

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"

	"quire/runtime/device"
	"quire/runtime/sample"
	"quire/runtime/token"
)

// GenerateOptions say what to generate. The zero value of all but Prompt takes the greatest
// logit until an end token comes or the context is full.
type GenerateOptions struct {
	Prompt    []int32 // tokens to feed first, at least one
	Sample    sample.Options
	MaxTokens int      // 0: no limit but the context's
	Stop      []string // text that ends the reply and is not part of it
	IgnoreEnd bool     // end tokens are tokens like others
	Special   bool     // control tokens show in Text as they are spelled
}

// Finish says why a reply ended; it is "" while it goes on.
type Finish string

// A reply ends by an end token or a stop string, or because MaxTokens or the context is
// reached.
const (
	FinishStop   Finish = "stop"
	FinishLength Finish = "length"
)

// Piece is one token of a reply. Text is what it adds to the text that is shown: whole
// characters, without what may turn out to be a stop string. The last Piece has Finish
// set; its Token may be an end token, which has no Text.
type Piece struct {
	Token  int32
	Text   string
	Finish Finish
}

// Generate feeds a prompt and yields the reply as it comes, one Piece a token. After an error
// it yields nothing more; leaving the loop cancels the rest.
//
// The session then holds the prompt and all of the reply but its last token. The reply
// may have been a few tokens ahead of a caller who left early: see Rewind.
func (s *Session) Generate(ctx context.Context, o GenerateOptions) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		if err := s.enter("generate"); err != nil {
			yield(Piece{}, err)
			return
		}
		defer s.leave()
		g, err := s.newGeneration(o)
		if err == nil {
			err = s.check("generate", o.Prompt)
		}
		if err != nil {
			yield(Piece{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- s.run(ctx, g.request(o)) }()
		ended := false
		defer func() {
			cancel()
			if !ended {
				<-done
			}
		}()
		for {
			select {
			case <-g.news:
			case err = <-done:
				ended = true
			}
			for _, p := range g.drain() {
				if !yield(p, nil) {
					return
				}
			}
			if ended {
				if err != nil {
					yield(Piece{}, err)
				}
				return
			}
		}
	}
}

// generation is a reply in the making. The engine calls take; the caller drains.
type generation struct {
	sess    *Session
	o       GenerateOptions
	sampler *sample.Sampler
	greedy  bool // the device finds the greatest logit
	chosen  bool // the device chooses
	stream  *token.Stream
	stops   *sample.Stops
	count   int

	mu     sync.Mutex
	pieces []Piece
	news   chan struct{}
}

func (s *Session) newGeneration(o GenerateOptions) (*generation, error) {
	if o.MaxTokens < 0 {
		return nil, fmt.Errorf("runtime: generate: %d tokens at most, expected at least 0", o.MaxTokens)
	}
	sampler, err := sample.New(o.Sample)
	if err != nil {
		return nil, fmt.Errorf("runtime: generate: %w", err)
	}
	g := &generation{sess: s, o: o, sampler: sampler, stops: sample.NewStops(o.Stop), news: make(chan struct{}, 1)}
	g.greedy = o.Sample.Greedy() && s.prog.engine.gives&device.ArgMax != 0
	g.chosen = !o.Sample.Penalises() && s.prog.engine.gives&device.Chosen != 0
	if t := s.prog.tok; t != nil {
		g.stream = t.NewStream(token.DecodeOptions{Special: o.Special, Continue: true})
	} else if len(o.Stop) > 0 {
		return nil, fmt.Errorf("runtime: generate: stop strings: %w", ErrNoTokenizer)
	}
	sampler.Prompt(s.Tokens())
	sampler.Prompt(o.Prompt)
	return g, nil
}

func (g *generation) request(o GenerateOptions) *request {
	r := &request{tokens: slices.Clone(o.Prompt), want: device.Logits, take: g.take}
	switch {
	case g.chosen:
		r.want, r.choose = device.Chosen, g.choice
	case g.greedy:
		r.want, r.choose = r.want|device.ArgMax, g.choice
	}
	return r
}

// take chooses the next token and says whether to go on.
func (g *generation) take(v rows) ([]int32, error) {
	id, err := g.choose(v)
	if err != nil {
		return nil, fmt.Errorf("runtime: generate: %w", err)
	}
	g.count++
	p := Piece{Token: id}
	switch {
	case !g.o.IgnoreEnd && g.sess.prog.EndsGeneration(id):
		p.Finish = FinishStop
		p.Text = g.flush()
	case g.stopped(&p):
		p.Finish = FinishStop
	case g.count == g.o.MaxTokens || g.sess.Len() >= g.sess.prog.limits.context:
		p.Finish = FinishLength
		p.Text += g.flush()
	}
	g.push(p)
	if p.Finish != "" {
		return nil, nil
	}
	return []int32{id}, nil
}

// choice is how a device chooses the next n tokens.
func (g *generation) choice(n int) device.Choice {
	s := g.o.Sample
	c := device.Choice{Temperature: s.Temperature, TopK: s.TopK, TopP: s.TopP, MinP: s.MinP}
	if c.Draw() {
		c.Draws = g.sampler.Draws(n)
	}
	return c
}

func (g *generation) choose(v rows) (int32, error) {
	if g.chosen && v.chosen != nil { // a step that others share may have chosen for this one too
		if v.chosen[0] < 0 {
			return 0, fmt.Errorf("%w: no greatest of %d can be told", sample.ErrNotFinite, g.sess.prog.p.Vocab)
		}
		g.sampler.Took(v.chosen[0])
		return v.chosen[0], nil
	}
	if !g.greedy || v.argmax == nil {
		if v.logits == nil {
			return 0, fmt.Errorf("the program gives no logits")
		}
		return g.sampler.Sample(v.logits)
	}
	id := v.argmax[0]
	if id < 0 { // of a device that went on by itself
		return 0, fmt.Errorf("%w: no greatest of %d can be told", sample.ErrNotFinite, g.sess.prog.p.Vocab)
	}
	if v.logits != nil {
		if l := float64(v.logits[id]); math.IsNaN(l) || math.IsInf(l, 0) {
			return 0, fmt.Errorf("%w: the greatest of %d is %v", sample.ErrNotFinite, v.vocab, l)
		}
	}
	return id, nil
}

// stopped adds the token's text and looks for stop strings.
func (g *generation) stopped(p *Piece) bool {
	if g.stream == nil {
		return false
	}
	text, stop := g.stops.Push(g.stream.Push(p.Token))
	p.Text = text
	return stop
}

// flush is the text that was held back when the reply ends.
func (g *generation) flush() string {
	if g.stream == nil {
		return ""
	}
	text, stop := g.stops.Push(g.stream.Flush())
	if !stop {
		text += g.stops.Flush()
	}
	return text
}

func (g *generation) push(p Piece) {
	g.mu.Lock()
	g.pieces = append(g.pieces, p)
	g.mu.Unlock()
	select {
	case g.news <- struct{}{}:
	default:
	}
}

func (g *generation) drain() []Piece {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := g.pieces
	g.pieces = nil
	return out
}
