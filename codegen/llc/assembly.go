package llc

import (
	"context"
	"fmt"
	"slices"

	"quire/ir/target"
)

// Assembly compiles one module to assembly text: what people read, by the flags that Object has.
func (t Tools) Assembly(ctx context.Context, tgt target.Target, name, text string) ([]byte, error) {
	bc, err := pipe(ctx, t.Opt, optFlags(tgt), []byte(text))
	if err != nil {
		return nil, fmt.Errorf("llc: %s: opt: %w", name, err)
	}
	flags := slices.Clone(llcFlags(tgt))
	for i, f := range flags {
		if f == "-filetype=obj" {
			flags[i] = "-filetype=asm"
		}
	}
	out, err := pipe(ctx, t.Llc, flags, bc)
	if err != nil {
		return nil, fmt.Errorf("llc: %s: llc: %w", name, err)
	}
	return out, nil
}
