package driver

import (
	"fmt"
	"runtime"
)

// Pool is device memory that is taken and given back in the order of a stream: neither waits for
// the device, and what was given back serves again.
type Pool uintptr

// poolProps is CUmemPoolProps.
type poolProps struct {
	kind, handles int32
	place, device int32
	security      uintptr
	most          uint64
	usage         uint16
	_             [54]byte
}

// NewPool makes a pool that keeps at most so many bytes that nobody uses. The device must have
// Pools.
func (d *Device) NewPool(keep int64) (Pool, error) {
	if d.Pools == 0 {
		return 0, fmt.Errorf("cuda: %s has no memory pools", d.Name)
	}
	const pinned, device, releaseThreshold = 1, 1, 4
	props := heap([]poolProps{{kind: pinned, place: device, device: d.dev}})
	err := d.call(MemPoolCreate, "", d.res(0), addr(&props[0]))
	runtime.KeepAlive(props)
	if err != nil {
		return 0, err
	}
	p := Pool(d.out[0])
	d.live++
	d.out[0] = uint64(keep)
	if err := d.call(MemPoolSetAttribute, "", uintptr(p), releaseThreshold, d.res(0)); err != nil {
		if free := d.ClosePool(p); free != nil {
			err = fmt.Errorf("%w; %w", err, free)
		}
		return 0, err
	}
	return p, nil
}

// ClosePool ends a pool whose memory was given back; 0 is nothing.
func (d *Device) ClosePool(p Pool) error { return d.destroy(MemPoolDestroy, uintptr(p)) }

// AllocIn takes memory of a pool, in the order of a stream; its bytes are anything. It is not part
// of what a graph captures.
func (d *Device) AllocIn(s Stream, p Pool, n int64) (Pointer, error) {
	if n <= 0 {
		return 0, fmt.Errorf("cuda: %d bytes of memory", n)
	}
	if err := d.call(MemAllocFromPoolAsync, fmt.Sprintf("%d bytes", n), d.res(0), uintptr(n), uintptr(p), uintptr(s)); err != nil {
		return 0, err
	}
	at := Pointer(d.out[0])
	d.bytes[uintptr(at)] = n
	return at, nil
}

// FreeIn gives memory of AllocIn back when the stream has come there; 0 is nothing.
func (d *Device) FreeIn(s Stream, p Pointer) error {
	if p == 0 {
		return nil
	}
	delete(d.bytes, uintptr(p))
	if d.lost != nil { // it went with the context
		return nil
	}
	return d.call(MemFreeAsync, "", uintptr(p), uintptr(s))
}
