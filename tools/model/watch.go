package model

import (
	"context"
	"fmt"

	"quire/frontends"
	"quire/frontends/spec"
	"quire/ir"
	"quire/ir/interp"
	"quire/ir/types"
	"quire/ir/types/layout"
	"quire/passes/kvquant"
	"quire/runtime/cpu"
	"quire/runtime/device"
	"quire/runtime/program"
)

// Watched is a model on this processor that shows the queries and keys of each layer beside
// its logits, and takes one sequence.
type Watched struct {
	Layers  []Attention
	Program *program.Program

	dev    *cpu.Model
	tokens int // fed so far
}

// Attention is how a layer of a Watched model attends.
type Attention struct {
	Cache      string // of the model before any rewrite
	Heads, Dim int    // of keys
	Attrs      ir.AttentionAttrs
	Kept       interp.Kept // what decode rows read of it
	Enc        layout.Enc  // what the cache keeps of keys and values, by kvpage.Round
}

// Watch compiles ref with taps and binds it, with room for a sequence of so many tokens.
func Watch(ctx context.Context, ref Ref, o Options, tokens, threads int) (*Watched, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	m, err := Source(ref, o.Frontend)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if tokens > m.Config.MaxContext {
		return nil, fmt.Errorf("%s: %d tokens, expected at most the context's %d", m.Path, tokens, m.Config.MaxContext)
	}
	return o.watched(ctx, m, tokens, threads)
}

func (o Options) watched(ctx context.Context, m *frontends.Model, tokens, threads int) (*Watched, error) {
	w := &Watched{}
	for _, v := range m.Module.Func("step").Body {
		if v.Op == ir.OpAttention {
			c := m.Module.Cache(v.Args[1].Type.Cache)
			w.Layers = append(w.Layers, Attention{Cache: c.Name, Heads: c.Heads, Dim: c.Dim, Attrs: v.Attrs.(ir.AttentionAttrs), Enc: enc(c.Elem, kvBits(m.Options.KV))})
		}
	}
	if err := w.kept(m.Options); err != nil {
		return nil, err
	}
	o.taps = true
	module, _, err := o.pipeline(ctx, m)
	if err != nil {
		return nil, err
	}
	if w.Program, err = o.build(ctx, m, module); err != nil {
		return nil, err
	}
	pages := make([]int, len(w.Program.Tables))
	for i, t := range w.Program.Tables {
		pages[i] = (tokens + t.Page - 1) / t.Page
	}
	w.dev, err = cpu.Load(ctx, w.Program, cpu.Options{Threads: threads, Pages: pages})
	return w, err
}

// enc is how caches hold numbers: of the frontend's elements, unless they are quantised.
func enc(e types.Elem, bits kvquant.Bits) layout.Enc {
	if bits != 0 {
		return layout.Enc(bits.Elem().Quant)
	}
	return layout.Enc(e.DType.String())
}

// kept says of each layer what the rewrites leave of it; windows stay as they are.
func (w *Watched) kept(o spec.Options) error {
	heads, err := duoOptions(o.Duo)
	if err != nil {
		return err
	}
	pages := questOptions(o.Quest)
	for i := range w.Layers {
		l := &w.Layers[i]
		if l.Attrs.Recent != nil {
			continue
		}
		if heads != nil && i < len(heads.Mask) {
			l.Kept.Sink, l.Kept.Recent = heads.Sink, heads.Recent
			for _, retrieval := range heads.Mask[i] {
				l.Kept.Streams = append(l.Kept.Streams, !retrieval)
			}
		}
		if pages != nil && i >= pages.DenseLayers {
			l.Kept.Budget, l.Kept.Page, l.Kept.Summary, l.Kept.Per = pages.Pages(), pages.PhysicalPage, pages.Page, pages.Per
		}
	}
	return nil
}

// Feed appends tokens to the sequence in one step. Logits are the last token's; taps, "q." and
// "k." before the name of a layer's cache, have a row for each. What it returns is valid until
// the next Feed.
func (w *Watched) Feed(ids []int32, want device.Want) (device.Output, error) {
	n, before := len(ids), int32(w.tokens)
	b := &device.Batch{Tok: ids, RowSlot: make([]int32, n), SlotStart: []int32{0}, SlotNew: []int32{int32(n)}, SlotLen: []int32{before}, Want: want}
	for i := range int32(n) {
		b.Pos = append(b.Pos, before+i)
	}
	if want&^device.Taps != 0 {
		b.Out = []int32{int32(n) - 1}
	}
	w.tokens += n
	for _, t := range w.Program.Tables {
		p := device.Pages{Width: (w.tokens + t.Page - 1) / t.Page}
		for i := range int32(p.Width) {
			p.Entries = append(p.Entries, i)
		}
		b.Pages = append(b.Pages, p)
	}
	return w.dev.Step(b)
}

// Reset begins another sequence.
func (w *Watched) Reset() { w.tokens = 0 }

// Close frees the device.
func (w *Watched) Close() error { return w.dev.Close() }
