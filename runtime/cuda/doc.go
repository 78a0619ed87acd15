// Package cuda runs Programs on an NVIDIA GPU. It implements device.Model, as package cpu
// does: weights in one piece of device memory, slots, pages and inputs in others, a step as
// launches on one stream.
//
// A step with few rows is captured as a graph the first time that its dims are met and
// launched at once from then on: no launch of it depends on a length, only on the dims that
// name the graph (rows, slots, a page table's width, rounded up to a power of two, what is
// wanted). Memory that grows moves, and then a graph is updated before it is launched again.
//
// Step memory, which grows, comes from a pool: it is taken and given back in the order of the
// stream, without waiting for the device.
//
// Steps are synchronous: Step returns when the results are in host memory. A Model's calls
// come from one goroutine at a time; each locks itself to its thread and makes the device's
// context current there, which costs less than a hop to another thread.
//
// PTX is compiled by the driver where no cubin fits the device; what it makes is kept by content
// (jit.go).
//
// Random weights are made on the device, where the Program has kernels of family noise (random.go):
// the bytes that package weights makes on a host.
//
// After an error of the driver that loses the context every call returns that error, and
// Close still gives everything back.
//
// Tokens are chosen on the device where the Program has kernels of family sample (choose.go): by
// the numbers that package sample would draw, so that a seed gives the CPU's tokens of the same
// logits, but where a number lies within 2^-18 of a limit (work.Sample). Penalties are the host's.
//
// Run goes on by itself (ahead.go): a small kernel at a graph's end feeds each token to the
// step that follows, so that a few steps lie in the stream ahead of the host.
//
// Read model.go, bind.go, step.go, choose.go, ahead.go, then weights.go, random.go, profile.go and rate.go; driver is the binding.
//
// Border law: as package cpu: quire/runtime/..., quire/ir/types/..., quire/ir/work.
package cuda
