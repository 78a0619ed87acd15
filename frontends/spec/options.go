package spec

import (
	"slices"
	"strings"
)

// Options are the model options, which mean the same in a spec and on a command line. A nil field is an option that
// was not given.
type Options struct {
	AWQ   *AWQ
	Duo   *Duo
	Quest *Quest
	KV    string // elements of the cache: f32 f16 bf16 int8 int4; "": as activations
}

// AWQ rounds the linears to integers at load.
type AWQ struct {
	Bits  int // 4 or 3
	Group int // 32, 64 or 128 elements of a row share a scale; 0: the largest of these that divides
}

// Duo splits the KV heads of each layer into retrieval and streaming heads (DuoAttention).
type Duo struct {
	Heads        string   // path of the table of gates
	Sparsity     float64  // part of the heads that stream; used without Threshold
	Threshold    *float64 // gates from here on are retrieval heads
	Sink, Recent int      // tokens that a streaming head keeps
	Prefill      string   // "strict" or "chunked"
	Chunk        int      // tokens of a chunk, with chunked
}

// Quest reads only the most promising pages of a long cache.
type Quest struct {
	Budget       int // tokens that a row reads
	Page         int // tokens that one summary covers
	PhysicalPage int // tokens of a page in memory; a multiple of Page
	DenseLayers  int // first layers, which read everything
	Per          string
	Reselect     int // tokens from one selection to the next, a divisor of PhysicalPage
}

// Or returns o with what only other gives.
func (o Options) Or(other Options) Options {
	if o.AWQ == nil {
		o.AWQ = other.AWQ
	}
	if o.Duo == nil {
		o.Duo = other.Duo
	}
	if o.Quest == nil {
		o.Quest = other.Quest
	}
	if o.KV == "" {
		o.KV = other.KV
	}
	return o
}

// ParseOption reads a model option of the command line into o: name is awq, duo, quest or kv, text its value
// ("bits=4,group=64", "heads.tsv,sparsity=0.5", "f16").
func ParseOption(o *Options, name, text string) error {
	p := newParser("--"+name, nil)
	p.spec.Options = *o
	if !slices.Contains([]string{"awq", "duo", "quest", "kv"}, name) {
		return &Error{File: "--" + name, Msg: "no such model option, expected awq, duo, quest or kv"}
	}
	p.entry("", entry{key: name, node: &node{kind: scalar, text: text}})
	p.finishOptions()
	if len(p.errs) > 0 {
		return p.errs
	}
	*o = p.spec.Options
	return nil
}

// inline sees "a,k=v,k=v" as a mapping; a first part without "=" is the value of first, when that names a key.
func inline(v *node, first string) *node {
	out := &node{kind: mapping, pos: v.pos}
	if strings.TrimSpace(v.text) == "" {
		return out
	}
	for i, part := range strings.Split(v.text, ",") {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			key, value = part, ""
			if i == 0 && first != "" {
				key, value = first, part
			}
		}
		value = strings.TrimSpace(value)
		out.entries = append(out.entries, entry{strings.TrimSpace(key), v.pos, &node{kind: scalar, pos: v.pos, text: value}})
	}
	return out
}

func (s *Spec) awq() *AWQ {
	if s.Options.AWQ == nil {
		s.Options.AWQ = &AWQ{Bits: 4}
	}
	return s.Options.AWQ
}

func (s *Spec) duo() *Duo {
	if s.Options.Duo == nil {
		s.Options.Duo = &Duo{Sparsity: 0.5, Sink: 64, Recent: 256, Prefill: "strict"}
	}
	return s.Options.Duo
}

func (s *Spec) quest() *Quest {
	if s.Options.Quest == nil {
		s.Options.Quest = &Quest{Page: 16, PhysicalPage: 64, DenseLayers: 2, Per: "kv-group", Reselect: 1}
	}
	return s.Options.Quest
}

// finishOptions checks what no key can check alone.
func (p *parser) finishOptions() {
	if d := p.spec.Options.Duo; d != nil && p.seen("duo") {
		if d.Heads == "" {
			p.errorf("duo", "no heads, expected a table of gates: FILE.tsv")
		}
		if d.Threshold != nil && p.seen("duo.sparsity") {
			p.errorf("duo.threshold", "beside sparsity, expected one of them")
		}
		if (d.Prefill == "chunked") != (d.Chunk > 0) {
			p.errorf("duo.chunk", "%d with prefill %s, expected a chunk with chunked prefill and none without", d.Chunk, d.Prefill)
		}
	}
	if q := p.spec.Options.Quest; q != nil && p.seen("quest") {
		if q.Budget == 0 {
			p.errorf("quest", "no budget, expected budget=N tokens")
		}
		if q.Page > 0 && q.PhysicalPage%q.Page != 0 {
			p.errorf("quest.page", "%d, expected a divisor of the physical page %d", q.Page, q.PhysicalPage)
		}
		if q.Reselect > 0 && q.PhysicalPage%q.Reselect != 0 {
			p.errorf("quest.reselect", "%d, expected a divisor of the physical page %d", q.Reselect, q.PhysicalPage)
		}
	}
}
