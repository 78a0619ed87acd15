package fake

import (
	"fmt"
	"sync"
	"syscall"
	"unsafe"

	"quire/runtime/cuda/driver"
)

// Results of calls (CUresult).
const (
	Success        = 0
	InvalidValue   = 1
	OutOfMemory    = 2
	InvalidContext = 201
	InvalidPTX     = 218
	NotFound       = 500
	NotReady       = 600
	NoUpdate       = 910
	IllegalAddress = 700
)

var names = map[int]string{
	InvalidValue: "CUDA_ERROR_INVALID_VALUE", OutOfMemory: "CUDA_ERROR_OUT_OF_MEMORY", InvalidContext: "CUDA_ERROR_INVALID_CONTEXT",
	InvalidPTX: "CUDA_ERROR_INVALID_PTX", NotFound: "CUDA_ERROR_NOT_FOUND", IllegalAddress: "CUDA_ERROR_ILLEGAL_ADDRESS",
	NoUpdate: "CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE",
}

// Kernel is an entry: Params words, and what a launch does with them.
type Kernel struct {
	Params int
	Run    func(l Launch)
}

// Launch is what a kernel is run with.
type Launch struct {
	Blocks, Threads int
	Shared          int
	Overlaps        bool // programmatic stream serialization
	Cluster         int  // blocks of a cluster, 0: none
	Words           []uint64
	d               *Driver
}

// Driver is the fake. Fields are set before the first call.
type Driver struct {
	Kernels map[string]Kernel
	SM      int    // compute capability as targets spell it, 0: 90
	Memory  int64  // bytes of the device, 0: 1 GiB
	Refuse  string // code that contains it is refused
	NoPools bool   // the device has no memory pools
	NoEdits bool   // graphs are not updated
	Hang    bool   // streams never come to their end
	FailAt  int    // the allocation, counted from 1, that fails
	FaultAt int    // the launch, counted from 1, that faults

	mu       sync.Mutex
	text     map[int][]byte // C strings of names
	ctx      int            // references to the primary context
	current  map[int]bool   // threads where it is current
	next     uintptr
	device   map[uintptr][]byte
	pinned   map[uintptr][]byte
	pooled   map[uintptr]bool // device memory of a pool; false: it was given back to a stream
	objects  map[uintptr]any
	entries  map[uintptr]*entry
	used     int64
	lost     int
	allocs   int
	launches int
	Log      []string // what streams ran: "kernel k0", "graph 3", "upload 64"
	Counts   map[driver.Function]int
}

type (
	stream struct {
		queue   []func()
		capture *graph // being made
		asked   bool
	}
	event struct{ passed bool }
	graph struct{ ops []func() }
	exec  struct{ ops []func() }
	pool  struct{}
	entry struct {
		Kernel
		name   string
		shared int
	}
	module struct{}
	linker struct {
		options []uintptr
		cubin   []byte
	}
)

// Allocations is how many allocations were asked for.
func (d *Driver) Allocations() int { d.mu.Lock(); defer d.mu.Unlock(); return d.allocs }

// Ledger is the bytes of device and pinned memory, the objects and the context references
// that are held.
func (d *Driver) Ledger() (device, pinned int64, objects, contexts int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.pinned {
		pinned += int64(len(b))
	}
	return d.used, pinned, len(d.objects), d.ctx
}

// free are the calls that need no current context.
var free = map[driver.Function]bool{
	driver.Init: true, driver.DriverGetVersion: true, driver.GetErrorName: true, driver.GetErrorString: true, driver.DeviceGetCount: true,
	driver.DeviceGet: true, driver.DeviceGetName: true, driver.DeviceGetAttribute: true, driver.DeviceTotalMem: true,
	driver.PrimaryCtxRetain: true, driver.PrimaryCtxRelease: true, driver.CtxSetCurrent: true,
}

// Call implements driver.Library.
func (d *Driver) Call(f driver.Function, a ...uintptr) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.objects == nil {
		d.text, d.current, d.next = map[int][]byte{}, map[int]bool{}, 1
		d.device, d.pinned, d.objects, d.pooled = map[uintptr][]byte{}, map[uintptr][]byte{}, map[uintptr]any{}, map[uintptr]bool{}
		d.entries = map[uintptr]*entry{}
		d.Counts = map[driver.Function]int{}
		if d.SM == 0 {
			d.SM = 90
		}
		if d.Memory == 0 {
			d.Memory = 1 << 30
		}
	}
	d.Counts[f]++
	if !free[f] {
		if d.lost != 0 {
			return d.lost
		}
		if d.ctx == 0 || !d.current[syscall.Gettid()] {
			return InvalidContext
		}
	}
	do, ok := calls[f]
	if !ok {
		panic(fmt.Sprintf("fake: %s is not simulated", f))
	}
	code := do(d, a)
	if d.lost != 0 && !free[f] {
		return d.lost
	}
	return code
}

// put writes a result where a call wants it.
func put[T any](at uintptr, v T) { *(*T)(pointer(at)) = v }

func get[T any](at uintptr) T { return *(*T)(pointer(at)) }

func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// object keeps an object and gives its handle.
func (d *Driver) object(v any) uintptr {
	d.next++
	d.objects[d.next] = v
	return d.next
}

// drop ends an object of type T.
func drop[T any](d *Driver, a []uintptr) int {
	if _, ok := d.objects[a[0]].(T); !ok {
		return InvalidValue
	}
	delete(d.objects, a[0])
	return Success
}

// allocation counts what may run out.
func (d *Driver) allocation() int {
	d.allocs++
	if d.allocs == d.FailAt {
		return OutOfMemory
	}
	return Success
}

// heap is memory that does not move and is 256-byte aligned.
func heap(n int) (base uintptr, all []byte) {
	all = make([]byte, n+256)
	p := uintptr(unsafe.Pointer(&all[0]))
	off := int(-p & 255)
	return p + uintptr(off), all[off : off+n : off+n]
}

// at is device memory, or nil after a fault.
func (d *Driver) at(p uintptr, n int) []byte {
	for base, b := range d.device {
		if p >= base && p+uintptr(n) <= base+uintptr(len(b)) {
			return b[p-base:][:n:n]
		}
	}
	if b := d.host(p, n); b != nil { // pinned memory has one address for all
		return b
	}
	d.lost = IllegalAddress
	return nil
}

// Slice is device memory as n values; nil, and the device lost, where it is not all inside
// of one allocation.
func Slice[T any](l Launch, address uint64, n int) []T {
	if n <= 0 {
		return nil
	}
	var t T
	b := l.d.at(uintptr(address), n*int(unsafe.Sizeof(t)))
	if b == nil {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n)
}
