package driver

import (
	"fmt"
	"unsafe"
)

// Pointer is an address on the device.
type Pointer uint64

// Alloc takes device memory; its bytes are anything.
func (d *Device) Alloc(n int64) (Pointer, error) {
	if n <= 0 {
		return 0, fmt.Errorf("cuda: %d bytes of memory", n)
	}
	if err := d.call(MemAlloc, fmt.Sprintf("%d bytes", n), d.res(0), uintptr(n)); err != nil {
		return 0, err
	}
	p := Pointer(d.out[0])
	d.bytes[uintptr(p)] = n
	return p, nil
}

// Free gives memory of Alloc back; 0 is nothing.
func (d *Device) Free(p Pointer) error {
	if p == 0 {
		return nil
	}
	delete(d.bytes, uintptr(p))
	if d.lost != nil { // it went with the context
		return nil
	}
	return d.call(MemFree, "", uintptr(p))
}

// Available is the device's free memory, in bytes.
func (d *Device) Available() (int64, error) {
	if err := d.call(MemGetInfo, "", d.res(0), d.res(1)); err != nil {
		return 0, err
	}
	return int64(d.out[0]), nil
}

// AllocHost takes host memory that the device copies from and to at full speed.
func (d *Device) AllocHost(n int64) ([]byte, error) {
	if n <= 0 {
		return nil, fmt.Errorf("cuda: %d bytes of pinned memory", n)
	}
	if err := d.call(MemHostAlloc, fmt.Sprintf("%d bytes", n), d.res(0), uintptr(n), 0); err != nil {
		return nil, err
	}
	p := uintptr(d.out[0])
	d.pinned[p] = n
	return unsafe.Slice((*byte)(pointer(p)), n), nil
}

// FreeHost gives memory of AllocHost back; nil is nothing.
func (d *Device) FreeHost(b []byte) error {
	if b == nil {
		return nil
	}
	p := uintptr(unsafe.Pointer(&b[0]))
	delete(d.pinned, p)
	if d.lost != nil {
		return nil
	}
	return d.call(MemFreeHost, "", p)
}

// Upload copies to the device, in the order of a stream; from is pinned memory that stays
// as it is until the stream has passed.
func (d *Device) Upload(s Stream, to Pointer, from []byte) error {
	if len(from) == 0 {
		return nil
	}
	return d.call(MemcpyHtoDAsync, "", uintptr(to), uintptr(unsafe.Pointer(&from[0])), uintptr(len(from)), uintptr(s))
}

// Download copies from the device, in the order of a stream, to pinned memory.
func (d *Device) Download(s Stream, to []byte, from Pointer) error {
	if len(to) == 0 {
		return nil
	}
	return d.call(MemcpyDtoHAsync, "", uintptr(unsafe.Pointer(&to[0])), uintptr(from), uintptr(len(to)), uintptr(s))
}

// Copy copies n bytes on the device, in the order of a stream.
func (d *Device) Copy(s Stream, to, from Pointer, n int64) error {
	return d.call(MemcpyDtoDAsync, "", uintptr(to), uintptr(from), uintptr(n), uintptr(s))
}

// Zero clears n bytes, in the order of a stream.
func (d *Device) Zero(s Stream, p Pointer, n int64) error {
	if n == 0 {
		return nil
	}
	return d.call(MemsetD8Async, "", uintptr(p), 0, uintptr(n), uintptr(s))
}
