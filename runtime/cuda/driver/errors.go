package driver

import (
	"fmt"
	"unsafe"
)

// Error is a call that failed.
type Error struct {
	Call   string // "cuMemAlloc_v2"
	Code   int    // CUresult
	Name   string // "CUDA_ERROR_OUT_OF_MEMORY"
	What   string // what it was about: a kernel with its grid, a number of bytes
	Sticky bool   // the context is lost; every later call fails
}

func (e *Error) Error() string {
	s := e.Call + ": " + e.Name
	if e.Name == "" {
		s = fmt.Sprintf("%s: error %d", e.Call, e.Code)
	}
	if e.What != "" {
		s += " (" + e.What + ")"
	}
	if e.Sticky {
		s += "; the device is lost to this process"
	}
	return s
}

// Codes of CUresult that are told apart.
const (
	OutOfMemory = 2
	NotReady    = 600
	NoUpdate    = 910 // GRAPH_EXEC_UPDATE_FAILURE
)

// sticky are the codes after which a context is no use (cuda.h: "the context cannot be
// used", "must be terminated and relaunched").
var sticky = map[int]bool{
	214: true, // ECC_UNCORRECTABLE
	700: true, // ILLEGAL_ADDRESS
	702: true, // LAUNCH_TIMEOUT
	709: true, // CONTEXT_IS_DESTROYED
	710: true, // ASSERT
	714: true, // HARDWARE_STACK_ERROR
	715: true, // ILLEGAL_INSTRUCTION
	716: true, // MISALIGNED_ADDRESS
	717: true, // INVALID_ADDRESS_SPACE
	718: true, // INVALID_PC
	719: true, // LAUNCH_FAILED
	999: true, // UNKNOWN
}

// nameOf asks for a code's name.
func nameOf(l Library, code int) string {
	out := heap(make([]uintptr, 1))
	if l.Call(GetErrorName, uintptr(code), addr(&out[0])) != 0 {
		return ""
	}
	return text(out[0], 256)
}

// heap gives memory that a call is told the address of: its result never lies on a stack,
// which Go may move.
//
//go:noinline
func heap[T any](s []T) []T { return s }

// text reads a C string of at most n bytes.
func text(p uintptr, n int) string {
	if p == 0 {
		return ""
	}
	b := unsafe.Slice((*byte)(pointer(p)), n)
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// pointer is memory outside the Go heap by its address.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }
