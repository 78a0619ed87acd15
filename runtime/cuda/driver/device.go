package driver

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

// Attributes of a device (CUdevice_attribute).
const (
	attrMultiprocessors = 16
	attrSharedOptin     = 97
	attrMajor           = 75
	attrMinor           = 76
	attrL2              = 38
	attrPools           = 115
)

// Info is what a GPU is.
type Info struct {
	Ordinal         int
	Name            string
	Major, Minor    int // compute capability
	Multiprocessors int
	SharedBytes     int // most dynamic shared memory of a block
	L2Bytes         int
	Memory          int64 // bytes
	Pools           int   // 1: the device has memory pools
	Driver          int   // CUDA version of the driver: 1000*major + 10*minor
}

// SM is the compute capability as targets spell it: 90 for 9.0.
func (i Info) SM() int { return 10*i.Major + i.Minor }

func (i Info) String() string {
	return fmt.Sprintf("cuda:%d %s, sm_%d, %d multiprocessors, %.0f GB", i.Ordinal, i.Name, i.SM(), i.Multiprocessors, float64(i.Memory)/1e9)
}

// Device is an open GPU. One goroutine at a time may use it.
type Device struct {
	Info
	lib  Library
	ctx  uintptr
	dev  int32
	out  *[64]uint64       // results of calls; on the heap
	args *[maxArgs]uintptr // of the running call
	lost *Error            // the sticky error
	lent bool              // the context is its user's
	left bool              // with work that never ended: the context is not to be touched

	bytes, pinned map[uintptr]int64 // allocations
	live          int               // streams, events, modules, graphs
}

// maxArgs is the most arguments of a call.
const maxArgs = 12

// Count is the number of GPUs that the driver shows.
func Count(l Library) (int, error) {
	d := &Device{lib: l, out: new([64]uint64), args: new([maxArgs]uintptr)}
	if err := d.call(DeviceGetCount, "", d.res(0)); err != nil {
		return 0, err
	}
	return int(int32(d.out[0])), nil
}

// Inspect says what a GPU is; it makes no context there.
func Inspect(l Library, ordinal int) (Info, error) {
	d, err := find(l, ordinal)
	if err != nil {
		return Info{}, err
	}
	return d.Info, nil
}

// New opens a GPU by its number.
func New(l Library, ordinal int) (*Device, error) {
	d, err := find(l, ordinal)
	if err != nil {
		return nil, err
	}
	if err := d.call(PrimaryCtxRetain, d.Name, d.res(0), uintptr(d.dev)); err != nil {
		return nil, err
	}
	d.ctx = uintptr(d.out[0])
	return d, nil
}

// Share opens a GPU by its number in a context that somebody else made there, and keeps.
func Share(l Library, ordinal int, context uintptr) (*Device, error) {
	d, err := find(l, ordinal)
	if err != nil {
		return nil, err
	}
	d.ctx, d.lent = context, true
	return d, nil
}

func find(l Library, ordinal int) (*Device, error) {
	n, err := Count(l)
	if err != nil {
		return nil, err
	}
	if ordinal < 0 || ordinal >= n {
		return nil, fmt.Errorf("cuda: device %d, the driver shows %d", ordinal, n)
	}
	d := &Device{lib: l, out: new([64]uint64), args: new([maxArgs]uintptr), bytes: map[uintptr]int64{}, pinned: map[uintptr]int64{}}
	d.Ordinal = ordinal
	if err := d.call(DeviceGet, "", d.res(0), uintptr(ordinal)); err != nil {
		return nil, err
	}
	d.dev = int32(d.out[0])
	return d, d.inform()
}

func (d *Device) inform() error {
	if err := d.call(DriverGetVersion, "", d.res(0)); err != nil {
		return err
	}
	d.Driver = int(int32(d.out[0]))
	clear(d.out[:])
	if err := d.call(DeviceGetName, "", d.res(0), 256, uintptr(d.dev)); err != nil {
		return err
	}
	d.Name = text(d.res(0), 256)
	if err := d.call(DeviceTotalMem, "", d.res(0), uintptr(d.dev)); err != nil {
		return err
	}
	d.Memory = int64(d.out[0])
	for _, a := range []struct {
		id int
		to *int
	}{{attrMajor, &d.Major}, {attrMinor, &d.Minor}, {attrMultiprocessors, &d.Multiprocessors}, {attrSharedOptin, &d.SharedBytes}, {attrL2, &d.L2Bytes}, {attrPools, &d.Pools}} {
		if err := d.call(DeviceGetAttribute, "", d.res(0), uintptr(a.id), uintptr(d.dev)); err != nil {
			return err
		}
		*a.to = int(int32(d.out[0]))
	}
	return nil
}

// res is the address of result word i.
func (d *Device) res(i int) uintptr { return uintptr(unsafe.Pointer(&d.out[i])) }

// call makes a call; what says what it is about.
func (d *Device) call(f Function, what string, args ...uintptr) error {
	if d.lost != nil {
		return d.lost
	}
	n := copy(d.args[:], args) // memory of its own: a call allocates nothing
	return d.outcome(f, what, d.lib.Call(f, d.args[:n]...))
}

// outcome is the error of a call that returned a code; a sticky one loses the device.
func (d *Device) outcome(f Function, what string, code int) error {
	if code == 0 {
		return nil
	}
	e := &Error{Call: f.String(), Code: code, Name: nameOf(d.lib, code), What: what, Sticky: sticky[code]}
	if e.Sticky {
		d.lost = e
	}
	return e
}

// Enter locks the goroutine to its thread and makes the device's context current there;
// the function that it returns ends that.
func (d *Device) Enter() (leave func(), err error) {
	runtime.LockOSThread()
	if err := d.call(CtxSetCurrent, "", d.ctx); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return runtime.UnlockOSThread, nil
}

// Abandon gives the device up: work that was put into it does not end. Later calls fail, and
// nothing is given back to the driver, which would wait.
func (d *Device) Abandon() {
	d.left = true
	if d.lost == nil {
		d.lost = &Error{Call: StreamQuery.String(), Code: NotReady, Name: "CUDA_ERROR_NOT_READY", What: "work that does not end", Sticky: true}
	}
}

// Lost is the sticky error, nil while the device works.
func (d *Device) Lost() error {
	if d.lost == nil {
		return nil
	}
	return d.lost
}

// Ledger is the bytes of device memory and of pinned host memory that are held, and the
// number of other objects.
func (d *Device) Ledger() (device, pinned int64, objects int) {
	for _, n := range d.bytes {
		device += n
	}
	for _, n := range d.pinned {
		pinned += n
	}
	return device, pinned, d.live
}

// Close gives the context back. Memory and objects that are still held are an error that
// counts them.
func (d *Device) Close() error {
	if d.ctx == 0 {
		return nil
	}
	var errs []error
	if dev, host, n := d.Ledger(); (dev != 0 || host != 0 || n != 0) && d.lost == nil {
		errs = append(errs, fmt.Errorf("cuda: %d bytes of device memory, %d of pinned memory and %d objects are still held at close", dev, host, n))
	}
	d.ctx = 0
	if d.left || d.lent {
		return errors.Join(errs...)
	}
	if code := d.lib.Call(PrimaryCtxRelease, uintptr(d.dev)); code != 0 && d.lost == nil {
		errs = append(errs, &Error{Call: PrimaryCtxRelease.String(), Code: code, Name: nameOf(d.lib, code)})
	}
	return errors.Join(errs...)
}
