// Package driver is the part of NVIDIA's driver that the runtime needs, libcuda, found by
// dlopen when it is first asked for: no toolkit, no cgo.
//
//	Library   calls of libcuda by number; Open finds the real one, tests bring their own
//	Device    a GPU with its primary context: memory, pools, streams, events, modules, graphs, tensor maps
//	Error     what a call said; a sticky one poisons the Device for good
//
// Contexts belong to OS threads: Device.Enter locks the goroutine to its thread and makes
// the context current, and every method is called between Enter and the function that it
// returned. A Device counts its memory; Close says what was not given back.
//
// Addresses of Go memory reach libcuda as words. Such memory is on the heap, where Go does
// not move it, and is kept alive by the Device or the caller until the call returned.
//
// Source of names, numbers and layouts: CUDA driver API reference and cuda.h, 12 and 13.
//
// Border law: a leaf; purego and the standard library.
package driver
