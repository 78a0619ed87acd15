package cpu

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	lineBytes = 64
	hugeBytes = 2 << 20
)

// region is memory outside the Go heap. The zero region is empty.
type region struct{ data []byte }

// reserve maps zeroed memory that is taken when it is touched.
func reserve(n int64) (region, error) {
	if n == 0 {
		return region{}, nil
	}
	if n < 0 || n != int64(int(n)) {
		return region{}, fmt.Errorf("cpu: %d bytes of memory", n)
	}
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return region{}, fmt.Errorf("cpu: %d bytes of memory: %w", n, err)
	}
	return region{unsafe.Slice((*byte)(p), n)}, nil
}

// reserveHuge maps zeroed memory at a border of large pages, and asks for them: on a
// virtual machine a small page's address costs as much to find as a cache line to read.
func reserveHuge(n int64) (region, error) {
	if n < hugeBytes/2 {
		return reserve(n)
	}
	n = up(n, 4096)
	r, err := reserve(n + hugeBytes)
	if err != nil {
		return region{}, err
	}
	skip := up(r.base(), hugeBytes) - r.base()
	whole := r.data
	r.data = whole[skip : skip+n : skip+n]
	if err := errors.Join(unmap(whole[:skip]), unmap(whole[skip+n:])); err != nil {
		return region{}, err
	}
	r.huge(0)
	return r, nil
}

// unmap gives part of a mapping back, which unix.Munmap cannot.
func unmap(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if _, _, e := unix.Syscall(unix.SYS_MUNMAP, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0); e != 0 {
		return e
	}
	return nil
}

func (r region) size() int64 { return int64(len(r.data)) }

// base is the address, 0 for the empty region.
func (r region) base() int64 { return int64(uintptr(unsafe.Pointer(unsafe.SliceData(r.data)))) }

func (r *region) free() error {
	if r.data == nil {
		return nil
	}
	data := r.data
	r.data = nil
	return unmap(data)
}

// huge asks for large pages from byte `from` on, and for small ones before: a small cache
// must not take a large page for each layer. The kernel may decline.
func (r region) huge(from int64) {
	from = min(from, r.size())
	if from > 0 {
		_ = unix.Madvise(r.data[:from], unix.MADV_NOHUGEPAGE)
	}
	if from < r.size() {
		_ = unix.Madvise(r.data[from:], unix.MADV_HUGEPAGE)
	}
}

// discard gives the whole pages inside a range back.
func (r region) discard(at, n int64) error {
	const page = 4096
	first, end := (at+page-1)&^(page-1), (at+n)&^(page-1)
	if first >= end {
		return nil
	}
	return unix.Madvise(r.data[first:end], unix.MADV_DONTNEED)
}

// leave gives up the whole pages inside a file's mapping; they come back when they are read.
func (r region) leave() {
	const page = 4096
	skip := up(r.base(), page) - r.base()
	if n := (r.size() - skip) &^ (page - 1); n > 0 {
		_ = unix.Madvise(r.data[skip:skip+n], unix.MADV_DONTNEED)
	}
}

// view is the region from byte `at` on as n values of a type without pointers.
func view[T int64 | int32 | float32](r region, at int64, n int) []T {
	if n == 0 {
		return nil
	}
	var zero T
	_ = r.data[at+int64(n)*int64(unsafe.Sizeof(zero))-1] // in bounds
	return unsafe.Slice((*T)(unsafe.Pointer(&r.data[at])), n)
}

// growing is a region that is replaced by a larger one on demand.
type growing struct {
	region
	moves int // how often the address changed
}

// need makes at least n bytes; what was there is lost when it grows. Sizes grow by a
// quarter, so that a length that creeps up moves seldom.
func (g *growing) need(n int64) error {
	if n <= g.size() {
		return nil
	}
	n = (n + n/4 + 4095) &^ 4095
	fresh, err := reserveHuge(n)
	if err != nil {
		return err
	}
	if err := g.free(); err != nil {
		return err
	}
	g.region = fresh
	g.moves++
	return nil
}

func up(n, to int64) int64 { return (n + to - 1) / to * to }
