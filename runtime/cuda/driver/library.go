package driver

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ebitengine/purego"
)

// Function is a function of libcuda.
type Function int

// The functions. Names end in the version that the ABI below is of.
const (
	Init Function = iota
	DriverGetVersion
	GetErrorName
	GetErrorString
	DeviceGetCount
	DeviceGet
	DeviceGetName
	DeviceGetAttribute
	DeviceTotalMem
	PrimaryCtxRetain
	PrimaryCtxRelease
	CtxSetCurrent
	MemGetInfo
	MemAlloc
	MemFree
	MemPoolCreate
	MemPoolDestroy
	MemPoolSetAttribute
	MemAllocFromPoolAsync
	MemFreeAsync
	MemHostAlloc
	MemFreeHost
	MemcpyHtoDAsync
	MemcpyDtoHAsync
	MemcpyDtoDAsync
	MemsetD8Async
	StreamCreate
	StreamDestroy
	StreamQuery
	EventCreate
	EventDestroy
	EventRecord
	EventElapsedTime
	ModuleLoadDataEx
	ModuleUnload
	ModuleGetFunction
	LinkCreate
	LinkAddData
	LinkComplete
	LinkDestroy
	FuncSetAttribute
	FuncGetAttribute
	LaunchKernelEx
	StreamBeginCapture
	StreamEndCapture
	GraphInstantiate
	GraphExecUpdate
	GraphLaunch
	GraphExecDestroy
	GraphDestroy
	TensorMapEncodeTiled
	functions
)

// symbols are the functions' names in libcuda.
var symbols = [functions]string{
	Init: "cuInit", DriverGetVersion: "cuDriverGetVersion", GetErrorName: "cuGetErrorName", GetErrorString: "cuGetErrorString",
	DeviceGetCount: "cuDeviceGetCount", DeviceGet: "cuDeviceGet", DeviceGetName: "cuDeviceGetName",
	DeviceGetAttribute: "cuDeviceGetAttribute", DeviceTotalMem: "cuDeviceTotalMem_v2",
	PrimaryCtxRetain: "cuDevicePrimaryCtxRetain", PrimaryCtxRelease: "cuDevicePrimaryCtxRelease_v2", CtxSetCurrent: "cuCtxSetCurrent",
	MemGetInfo: "cuMemGetInfo_v2", MemAlloc: "cuMemAlloc_v2", MemFree: "cuMemFree_v2", MemHostAlloc: "cuMemHostAlloc", MemFreeHost: "cuMemFreeHost",
	MemcpyHtoDAsync: "cuMemcpyHtoDAsync_v2", MemcpyDtoHAsync: "cuMemcpyDtoHAsync_v2", MemcpyDtoDAsync: "cuMemcpyDtoDAsync_v2", MemsetD8Async: "cuMemsetD8Async",
	MemPoolCreate: "cuMemPoolCreate", MemPoolDestroy: "cuMemPoolDestroy", MemPoolSetAttribute: "cuMemPoolSetAttribute",
	MemAllocFromPoolAsync: "cuMemAllocFromPoolAsync", MemFreeAsync: "cuMemFreeAsync",
	StreamCreate: "cuStreamCreate", StreamDestroy: "cuStreamDestroy_v2", StreamQuery: "cuStreamQuery",
	EventCreate: "cuEventCreate", EventDestroy: "cuEventDestroy_v2", EventRecord: "cuEventRecord", EventElapsedTime: "cuEventElapsedTime",
	ModuleLoadDataEx: "cuModuleLoadDataEx", ModuleUnload: "cuModuleUnload", ModuleGetFunction: "cuModuleGetFunction",
	LinkCreate: "cuLinkCreate_v2", LinkAddData: "cuLinkAddData_v2", LinkComplete: "cuLinkComplete", LinkDestroy: "cuLinkDestroy",
	FuncSetAttribute: "cuFuncSetAttribute", FuncGetAttribute: "cuFuncGetAttribute", LaunchKernelEx: "cuLaunchKernelEx",
	StreamBeginCapture: "cuStreamBeginCapture_v2", StreamEndCapture: "cuStreamEndCapture",
	GraphInstantiate: "cuGraphInstantiateWithFlags", GraphExecUpdate: "cuGraphExecUpdate_v2", GraphLaunch: "cuGraphLaunch", GraphExecDestroy: "cuGraphExecDestroy", GraphDestroy: "cuGraphDestroy",
	TensorMapEncodeTiled: "cuTensorMapEncodeTiled",
}

func (f Function) String() string {
	if f < 0 || f >= functions {
		return fmt.Sprintf("function %d", int(f))
	}
	return symbols[f]
}

// Library is libcuda. Call returns a CUresult, 0 for success.
type Library interface {
	Call(f Function, args ...uintptr) int
}

// ErrNoDriver is that no NVIDIA driver is installed.
var ErrNoDriver = errors.New("no NVIDIA driver")

type real [functions]uintptr

// Call implements Library.
func (r *real) Call(f Function, args ...uintptr) int {
	code, _, _ := purego.SyscallN(r[f], args...)
	return int(int32(code))
}

var open = sync.OnceValues(func() (Library, error) {
	h, err := purego.Dlopen("libcuda.so.1", purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("cuda: %w: libcuda.so.1 is not to be loaded: %v", ErrNoDriver, err)
	}
	r := &real{}
	for f, name := range symbols {
		if r[f], err = purego.Dlsym(h, name); err != nil {
			return nil, fmt.Errorf("cuda: %w: libcuda.so.1 has no %s: a driver of CUDA 12.0 or newer is needed", ErrNoDriver, name)
		}
	}
	if code := r.Call(Init, 0); code != 0 {
		return nil, fmt.Errorf("cuda: %w", &Error{Call: symbols[Init], Code: code, Name: nameOf(r, code)})
	}
	return r, nil
})

// Open finds libcuda and initialises it, once a process.
func Open() (Library, error) { return open() }
