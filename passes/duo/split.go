package duo

import (
	"fmt"
	"slices"

	"quire/ir"
	"quire/passes"
)

// Prefill says how streaming heads read a prompt.
type Prefill uint8

// Strict: as if token by token. Chunked: dense and causal within each Chunk tokens
// from the start of the text, on top of sink and recent of the chunks before.
const (
	Strict Prefill = iota
	Chunked
)

// Options of the split.
type Options struct {
	Mask         Mask // a row a layer, windowed layers included; nil: Alternating
	Sink, Recent int  // tokens that a streaming head keeps besides its own
	Prefill      Prefill
	Chunk        int // tokens, with Chunked
}

// Defaults are the sizes of the paper's evaluation; the mask is Alternating.
var Defaults = Options{Sink: 64, Recent: 256}

func (o Options) check() error {
	switch {
	case o.Sink < 0 || o.Recent < 0:
		return fmt.Errorf("sink %d and recent %d, expected no negative", o.Sink, o.Recent)
	case (o.Prefill == Chunked) != (o.Chunk > 0):
		return fmt.Errorf("chunk %d, expected a positive one with chunked prefill and none without", o.Chunk)
	}
	return nil
}

const (
	splitRule  = "split-heads"  // both classes in a layer
	streamRule = "stream-layer" // no retrieval head
	denseRule  = "keep-layer"   // no streaming head
)

// SplitHeads gives retrieval and streaming heads caches of their own.
func SplitHeads(o Options) passes.Pass {
	return passes.Pass{
		Name: "duo.split-heads",
		Doc: `Attention becomes a retrieval and a streaming group of heads (DuoAttention, arXiv 2410.10819).

Invariants: exact while recent covers the length (chunked: or the prompt is one
chunk and nothing follows that recent does not cover); else approximate. Caches
@kvN become @kvNr on their table and @kvNs on a table of sink and recent tokens,
parameters and results of the functions with them. A layer without streaming heads
stays as it is, one without retrieval heads changes its table. A layer with a
window is left alone. No weight changes.

	%a = attention %q, %kv1, %seq   =>   %qr = heads %q {kv = [0, 2], group = 4}
	                                     %ar = attention %qr, %r1, %seq
	                                     %as = attention %qs, %s1, %seq {sink = 64, recent = 256}
	                                     %a = heads.merge %ar, %as {kv = [[0, 2], [1, 3]], group = 4}`,
		Sets:     []passes.Prop{passes.HeadsSplit},
		Numerics: passes.Approximates,
		Run: func(c *passes.Context, m *ir.Module) error {
			if m.Has(passes.HeadsSplit) {
				return nil
			}
			s := &splitter{Context: c, m: m, o: o, layers: map[string]*layer{}}
			return s.run()
		},
	}
}

// layer is one cache with both classes of heads, or with streaming heads only.
type layer struct {
	kv    [2][]int // KV heads of the retrieval and of the streaming class
	cache [2]string
}

// group is how many heads of x a KV head has: 1 in keys and values.
func (l *layer) group(x *ir.Value) int {
	n, _ := x.Type.Shape[1].IsConst()
	return int(n) / (len(l.kv[0]) + len(l.kv[1]))
}

// both reports whether the layer has heads of both classes.
func (l *layer) both() bool { return len(l.kv[0]) > 0 && len(l.kv[1]) > 0 }

type splitter struct {
	*passes.Context
	m      *ir.Module
	o      Options
	layers map[string]*layer // by the cache that is replaced
}

func (s *splitter) run() error {
	if err := s.o.check(); err != nil {
		return err
	}
	if s.m.Has(passes.Specialised) {
		return fmt.Errorf("the module is specialised: nothing approximates any more")
	}
	if err := s.choose(); err != nil {
		return err
	}
	if err := s.declare(); err != nil {
		return err
	}
	for _, f := range s.m.Funcs {
		g := &rewriter{splitter: s, f: f, now: map[*ir.Value]versions{}, swap: map[*ir.Value]*ir.Value{}, taken: map[taken]*ir.Value{}}
		if err := g.rewrite(); err != nil {
			return fmt.Errorf("@%s: %w", f.Name, err)
		}
	}
	return nil
}

// choose decides which layers are split, and how: layer i has the i-th cache.
func (s *splitter) choose() error {
	if s.o.Mask != nil && len(s.o.Mask) != len(s.m.Caches) {
		return fmt.Errorf("the mask has %d layers, the module %d caches", len(s.o.Mask), len(s.m.Caches))
	}
	for i, c := range s.m.Caches {
		if c.Pick {
			return fmt.Errorf("cache @%s holds picked pages, expected heads to be split before pages are selected", c.Name)
		}
		mask := s.o.Mask
		if mask == nil {
			mask = Alternating(i+1, c.Heads)
		}
		if len(mask[i]) != c.Heads {
			return fmt.Errorf("layer %d of the mask has %d heads, cache @%s has %d", i, len(mask[i]), c.Name, c.Heads)
		}
		l := &layer{kv: [2][]int{mask.list(i, true), mask.list(i, false)}, cache: [2]string{c.Name + "r", c.Name + "s"}}
		windowed, err := s.windowed(c)
		switch {
		case err != nil:
			return err
		case windowed:
		case len(l.kv[1]) == 0:
			s.Count(denseRule)
		case len(l.kv[0]) == 0:
			s.layers[c.Name] = l
			s.Count(streamRule)
		default:
			s.layers[c.Name] = l
			s.Count(splitRule)
		}
	}
	return nil
}

// windowed reports whether a cache, or what reads it, has a window of its own.
func (s *splitter) windowed(c *ir.CacheDecl) (windowed bool, err error) {
	table := s.m.Table(c.Table)
	for _, f := range s.m.Funcs {
		for _, v := range f.Body {
			if len(v.Args) < 2 || v.Args[1].Type.Cache != c.Name {
				continue
			}
			if v.Op != ir.OpAttention {
				return false, fmt.Errorf("@%s: %s: pages of @%s are selected already, expected heads to be split before",
					f.Name, ir.PrintValue(v, ir.Names(f)), c.Name)
			}
			if a := v.Attrs.(ir.AttentionAttrs); table.Recent != nil || a.Recent != nil {
				windowed = true
				s.Missed(splitRule, f, v, "the layer has a window")
			}
		}
	}
	return windowed, nil
}

// declare replaces the caches of the layers that are split.
func (s *splitter) declare() error {
	streams := map[int]string{} // tables by page size
	left := map[string]bool{}   // tables that caches move away from
	var caches []*ir.CacheDecl
	for _, c := range s.m.Caches {
		l := s.layers[c.Name]
		if l == nil {
			caches = append(caches, c)
			continue
		}
		page := s.m.Table(c.Table).Page
		left[c.Table] = true
		if streams[page] == "" {
			streams[page] = s.stream(page)
		}
		for class, table := range []string{c.Table, streams[page]} {
			if len(l.kv[class]) == 0 {
				continue
			}
			name := l.cache[class]
			if s.m.Cache(name) != nil {
				return fmt.Errorf("cache @%s exists, expected the name free for heads of @%s", name, c.Name)
			}
			caches = append(caches, &ir.CacheDecl{Name: name, Elem: c.Elem, Heads: len(l.kv[class]), Dim: c.Dim, Table: table})
		}
	}
	s.m.Caches = caches
	s.m.Tables = slices.DeleteFunc(s.m.Tables, func(t *ir.Table) bool {
		return left[t.Name] && !slices.ContainsFunc(caches, func(c *ir.CacheDecl) bool { return c.Table == t.Name })
	})
	return nil
}

// stream declares a table of sink and recent tokens.
func (s *splitter) stream(page int) string {
	name := "stream"
	for n := 2; s.m.Table(name) != nil; n++ {
		name = fmt.Sprintf("stream%d", n)
	}
	recent := s.o.Recent
	s.m.Tables = append(s.m.Tables, &ir.Table{Name: name, Page: page, Sink: s.o.Sink, Recent: &recent, Chunk: s.o.Chunk})
	return name
}
