package model

import (
	"context"
	"fmt"
	"sync"

	"quire/ir/interp"
	"quire/passes/duo"
	"quire/runtime/device"
)

// GateOptions say what gates are measured by.
type GateOptions struct {
	Sink, Recent int // tokens that a streaming head would keep
	Window       int // tokens of a sequence; the text is cut into such, the last perhaps shorter
	Threads      int
}

// MeasureGates gives a gate to each KV head of a model that has none trained: the mean, over the query heads of the KV
// head and the tokens of the text, of the attention mass outside sink and recent. Queries and keys are those of the
// compiled model in float32, the masses are the oracle's. The same text gives the same gates.
func MeasureGates(ctx context.Context, ref Ref, o Options, g GateOptions, ids []int32) (duo.Gates, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	m, err := Source(ref, o.Frontend)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if len(ids) <= g.Sink+g.Recent+1 || g.Window <= g.Sink+g.Recent+1 {
		return nil, fmt.Errorf("%s: %d tokens in windows of %d, expected more than sink + recent = %d", m.Path, len(ids), g.Window, g.Sink+g.Recent)
	}
	if g.Window > m.Config.MaxContext {
		return nil, fmt.Errorf("%s: windows of %d tokens, expected at most the context's %d", m.Path, g.Window, m.Config.MaxContext)
	}
	m.Options.Duo, m.Options.Quest = nil, nil // what is measured reads everything
	w, err := o.watched(ctx, m, g.Window, g.Threads)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	layers := w.Layers
	sums := make([][]float64, len(layers))
	total := int64((len(ids) + g.Window - 1) / g.Window)
	for done, rest := int64(0), ids; len(rest) > 0; done++ {
		part := rest[:min(g.Window, len(rest))]
		rest = rest[len(part):]
		w.Reset()
		out, err := w.Feed(part, device.Taps)
		if err != nil {
			return nil, err
		}
		if err := addMass(ctx, layers, sums, out.Taps, len(part), g); err != nil {
			return nil, err
		}
		if o.Progress != nil {
			o.Progress("measuring", done+1, total)
		}
	}
	gates := make(duo.Gates, len(layers))
	for i, l := range layers {
		for h := range sums[i] {
			sums[i][h] /= float64(len(ids))
		}
		if gates[i], err = duo.Measured(sums[i], l.Heads); err != nil {
			return nil, err
		}
	}
	return gates, nil
}

// addMass adds what a sequence's heads give outside, layer by layer, several at once.
func addMass(ctx context.Context, layers []Attention, sums [][]float64, taps map[string][]float32, n int, g GateOptions) error {
	errs := make([]error, len(layers))
	var wg sync.WaitGroup
	turn := make(chan struct{}, max(1, g.Threads))
	for i, l := range layers {
		turn <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-turn }()
			q, k := taps["q."+l.Cache], taps["k."+l.Cache]
			if len(q) == 0 || len(k) == 0 {
				errs[i] = fmt.Errorf("layer %d: the compiled model shows no queries and keys", i)
				return
			}
			mass, err := interp.MassOutside(interp.Floats(q, n, len(q)/n/l.Dim, l.Dim), interp.Floats(k, n, l.Heads, l.Dim), l.Attrs, g.Sink, g.Recent)
			if err != nil {
				errs[i] = fmt.Errorf("layer %d: %w", i, err)
				return
			}
			if sums[i] == nil {
				sums[i] = make([]float64, len(mass))
			}
			for h, x := range mass {
				sums[i][h] += x
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
