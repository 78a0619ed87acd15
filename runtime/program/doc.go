// Package program is the executable that codegen writes and runtime reads: a
// machine-code object, guarded steps of launches, memory slots, a weight
// manifest, the tokenizer and generation defaults. It is data; it runs nothing.
//
// Border law: imports quire/ir/types/..., quire/ir/work and the standard library. No
// compiler package, so that a service which opens Programs links no compiler.
//
// Read program.go (the data), then file.go (bytes on disk).
package program
