// Package codegen turns a planned module into a Program: for each kernel, build its
// LLVM IR, compile it, link (for a GPU: join the PTX to one module, and assemble it
// where NVIDIA's assembler is at hand); for each specialisation, write down its launches.
//
// Border law: imports quire/ir, quire/ir/work, quire/ir/target, quire/runtime/program and its own
// rooms (kernel: the DSL; kernels: the bodies; llc: the LLVM tools; simt, for tests, runs GPU kernels). It imports no
// pass and no frontend: the Kernel level of the IR is all it reads.
//
// Read build.go, then step.go, weights.go and cost.go.
package codegen
