// Package cpu runs Programs on this machine's processors. A Model loads the Program's
// shared object, lays its weights out, and runs a step as one call of the object's own
// loop, quire_run, on each of its threads.
//
// The contract with the code, in words of 8 bytes (codegen/kernel's driver.go has the
// other half): a step's context, its launch records, and each launch's args: operand
// addresses, then dims, in the order that quire/ir/work states.
//
// All memory that code sees is mapped outside the Go heap: 64-byte aligned, taken by
// the page when it is touched. Between steps only what changed is written: dims, numbers of
// items, counters. A step allocates nothing once its sizes have been seen.
//
// Border law: imports quire/runtime/{program,device,weights}, quire/ir/work,
// quire/ir/types and purego. It knows no session.
//
// Reading order: memory.go, object.go, pool.go, bind.go, model.go, fill.go, check.go, profile.go.
package cpu
