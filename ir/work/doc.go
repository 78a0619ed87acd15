// Package work describes kernels as data: what a launch computes, over how many
// items, from which operands, without saying how.
//
// Each kernel family is one parameter struct. Its exported fields are compile-time
// constants of the kernel (sizes, encodings, epilogue); what a step brings is Dims.
// A struct answers, for everyone who must agree about a launch:
//
//	Validate  is this a kernel that can exist
//	Key       canonical text: equal keys are equal machine code
//	Operands  the words of the launch's args, in order: pointers, then dims
//	Items     how many work items the launch has, under some Dims
//	Group     how many consecutive items share one Last phase; 0: no Last
//	Scratch   bytes that each worker needs to itself, 64-byte aligned
//	Temp      bytes of the Temp operand: memory of the launch, shared by its items
//
// and, for a GPU, GridOf says how its items lie over blocks and warps.
//
// passes/lower fills the structs, codegen/kernels writes their bodies, passes/plan
// and the runtime bind operands by the order of Operands.
//
// Border: a leaf. It imports ir/types/... and the standard library. No llir, no pointers.
//
// Shapes: activations are row-major float32, one row a token. A weight operand is in
// the lanes layout of ir/types/layout, for GEMV, GEMM and a GPU's Embed in the frag layout; a vector operand is plain float32. Row maps
// (row_slot and the like) are int32. All operands are 64-byte aligned.
package work
