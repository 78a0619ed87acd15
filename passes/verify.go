package passes

import "quire/ir"

// Verify checks the module before the first pass and after every pass.
func Verify() Observer {
	return Observer{
		Before: func(e *Event) error {
			if e.Index > 0 {
				return nil
			}
			return ir.Verify(e.Module)
		},
		After: func(e *Event) error { return ir.Verify(e.Module) },
	}
}
