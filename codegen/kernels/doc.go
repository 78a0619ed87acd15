// Package kernels holds the kernels, one file a family, written in codegen/kernel's
// language over the parameter structs of ir/work.
//
// Text makes the LLVM IR of one kernel for one target; DriverText that of the step loop.
// A body that uses portable verbs only serves CPUs and GPUs alike (norm, map, gather,
// the f32 matrix-vector product); the others are a CPU's.
//
// Weights are read in the lanes layout of ir/types/layout: one lane is one row, so that
// a dot product needs no sum across lanes. decode.go turns each encoding's column into
// codes, a scale and a min; linear_one.go, linear_many.go and embed.go use it.
//
// Arithmetic is float32 with fused multiply-add. Sums run in an order that depends on
// the parameters alone: never on the number of workers or on the batch.
//
// Border: imports codegen/kernel, ir/work, ir/target, ir/types/...; no llir, no passes.
package kernels
