package model

import (
	"fmt"
	"os"

	"quire/frontends/spec"
	"quire/passes/duo"
)

// duoOptions turns the option of a command line or spec into the pass's: it reads the table of gates and chooses the
// heads. nil stays nil.
func duoOptions(d *spec.Duo) (*duo.Options, error) {
	if d == nil {
		return nil, nil
	}
	text, err := os.ReadFile(d.Heads)
	if err != nil {
		return nil, fmt.Errorf("duo: %w", err)
	}
	gates, err := duo.ParseGates(d.Heads, string(text))
	if err != nil {
		return nil, err
	}
	o := &duo.Options{Sink: d.Sink, Recent: d.Recent}
	if d.Prefill == "chunked" {
		o.Prefill, o.Chunk = duo.Chunked, d.Chunk
	}
	if d.Threshold != nil {
		o.Mask, err = gates.ByThreshold(*d.Threshold)
	} else {
		o.Mask, err = gates.BySparsity(d.Sparsity)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Heads, err)
	}
	return o, nil
}
