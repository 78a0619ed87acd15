package model

import (
	"fmt"

	"quire/frontends"
	"quire/ir"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/passes/duo"
)

// CacheFormula is what keys and values of a sequence of n tokens take in bytes under a model's
// own options: what runtime.CacheNeed says of its program, before there is one. It is an error
// when the table of gates cannot be read or is of another model.
func CacheFormula(m *frontends.Model, n int) (int64, error) {
	d, err := duoOptions(m.Options.Duo)
	if err != nil {
		return 0, err
	}
	if d != nil && len(d.Mask) != len(m.Module.Caches) {
		return 0, fmt.Errorf("duo: gates of %d layers, the model has %d", len(d.Mask), len(m.Module.Caches))
	}
	var bytes int64
	for i, c := range m.Module.Caches {
		kept := int64(c.Heads) * keptOf(n, m.Module.Table(c.Table))
		if d != nil && m.Module.Table(c.Table).Recent == nil { // no mask changes a window
			if kept, err = keptUnder(d, i, c.Heads, n); err != nil {
				return 0, err
			}
		}
		bytes += kept * tokenBytes(m, c)
	}
	return bytes, nil
}

// CacheToken is what a token's keys and values take in bytes where every head keeps them.
func CacheToken(m *frontends.Model) int64 {
	var bytes int64
	for _, c := range m.Module.Caches {
		bytes += int64(c.Heads) * tokenBytes(m, c)
	}
	return bytes
}

// tokenBytes is that of one head of a cache, in the encoding that the model's options give it.
func tokenBytes(m *frontends.Model, c *ir.CacheDecl) int64 {
	enc := c.Elem
	if bits := kvBits(m.Options.KV); bits > 0 {
		enc = bits.Elem()
	}
	return kvpage.TokenBytes(layout.Enc(enc.String()), c.Dim)
}

// keptOf is how many of n tokens a table keeps.
func keptOf(n int, t *ir.Table) int64 {
	if t.Recent == nil {
		return int64(n)
	}
	return int64(min(n, t.Sink+*t.Recent))
}

// keptUnder is how many of n tokens the heads of a layer keep together under a mask.
func keptUnder(d *duo.Options, layer, heads, n int) (int64, error) {
	if len(d.Mask[layer]) != heads {
		return 0, fmt.Errorf("duo: gates of %d heads in layer %d, the model has %d", len(d.Mask[layer]), layer, heads)
	}
	var kept int64
	for _, retrieval := range d.Mask[layer] {
		if retrieval {
			kept += int64(n)
		} else {
			kept += int64(min(n, d.Sink+d.Recent))
		}
	}
	return kept, nil
}
