package runtime

import (
	"errors"

	"quire/runtime/kv"
	"quire/runtime/sample"
)

// What a caller may branch on, with errors.Is.
var (
	ErrNoDevice    = errors.New("no such device")
	ErrClosed      = errors.New("closed")
	ErrBusy        = errors.New("the session is in use by another call")
	ErrBroken      = errors.New("the session was in a step that failed")
	ErrNoTokenizer = errors.New("the program has no tokenizer")
	ErrContextFull = kv.ErrContextFull
	ErrOutOfPages  = kv.ErrOutOfPages
	ErrNotFinite   = sample.ErrNotFinite
)
