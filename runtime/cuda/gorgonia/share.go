//go:build gorgonia

package gorgonia

import (
	"unsafe"

	"gorgonia.org/cu"

	"quire/runtime"
)

// Share is a Config whose Programs run in a context of the Config's GPU and on a stream of it. Both
// stay their owner's, who keeps them until the Runtime is closed.
func Share(c runtime.Config, context cu.CUContext, stream cu.Stream) runtime.Config {
	return c.WithCUDAContext(*(*uintptr)(unsafe.Pointer(&context)), *(*uintptr)(unsafe.Pointer(&stream)))
}

// The driver's handles are all that cu's types hold: another size does not compile.
var (
	_ [unsafe.Sizeof(uintptr(0))]byte = [unsafe.Sizeof(cu.CUContext{})]byte{}
	_ [unsafe.Sizeof(uintptr(0))]byte = [unsafe.Sizeof(cu.Stream{})]byte{}
)
