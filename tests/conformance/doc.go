// Package conformance holds devices against the oracle: every case is a small model
// whose steps (a ragged prefill, chunks, batches, single tokens) run compiled on the
// device and in quire/ir/interp, on shuffled pages, and whose results must agree. Devices
// are the CPU and a simulated GPU (simt_test.go, over quire/codegen/simt).
//
// The kernels' own tests, beside their code, hold each against plain loops; here the
// whole way is under test: passes, buffer plan, operand binding, page tables, the
// step loop.
//
// Border law: tests only.
package conformance
