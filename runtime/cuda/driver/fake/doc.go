// Package fake is a libcuda in Go for tests of what stands on package driver. Kernels are
// Go functions by their entries' names; memory is this process's own, so that copies copy.
//
// It is strict where a GPU is quiet: work in a stream runs as late as it may (when the
// stream is asked whether it is done, or something must wait for it), so that pinned memory
// that changes too early shows; an address outside of every allocation is an illegal
// address, which is sticky; a call on a thread without a current context fails; freeing what
// is not held fails. Faults are planted by FailAt, FaultAt and Hang.
//
// Border law: quire/runtime/cuda/driver and the standard library; imported by tests only.
package fake
