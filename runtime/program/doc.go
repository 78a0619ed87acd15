// Package program is the executable that codegen writes and runtime reads: a
// machine-code object, guarded steps of launches, memory slots, a weight
// manifest, the tokenizer and generation defaults. It is data; it runs nothing.
//
// Border law: imports quire/ir/types/..., quire/ir/work, the standard library and what
// maps a file. No compiler package, so that a service which opens Programs links no
// compiler.
//
// Read program.go (the data), validate.go (what a device may rely on), then file.go and
// open.go (bytes on disk).
package program
