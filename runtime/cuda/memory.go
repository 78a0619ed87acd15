package cuda

import (
	"unsafe"

	"quire/runtime/cuda/driver"
)

// block is device memory, of the pool or by itself.
type block struct {
	at     driver.Pointer
	n      int64
	pooled bool
}

// poolKeeps is how much of the pool's memory that is not in use stays there.
const poolKeeps = 32 << 20

// openPool makes the pool that step memory comes from, which grows without waiting for the
// device. Where a device has no pools each block is taken by itself.
func (m *Model) openPool() (err error) {
	if m.dev.Pools != 0 {
		m.pool, err = m.dev.NewPool(poolKeeps)
	}
	return err
}

// hostBlock is pinned host memory.
type hostBlock struct{ data []byte }

// alignBytes is what pieces of a block begin at a multiple of.
const alignBytes = 256

func up(n, to int64) int64 { return (n + to - 1) / to * to }

// take allocates a block that is not there yet.
func (m *Model) take(b *block, n int64) error {
	p, err := m.dev.Alloc(n)
	if err != nil {
		return err
	}
	*b = block{at: p, n: n}
	return nil
}

// takeStep is take of step memory.
func (m *Model) takeStep(b *block, n int64) error {
	if m.pool == 0 {
		return m.take(b, n)
	}
	p, err := m.dev.AllocIn(m.stream, m.pool, n)
	if err != nil {
		return err
	}
	*b = block{p, n, true}
	return nil
}

// free gives a block back.
func (m *Model) free(b block) error {
	if b.pooled {
		return m.dev.FreeIn(m.stream, b.at)
	}
	return m.dev.Free(b.at)
}

// need grows a block of step memory, whose contents are lost; between steps nothing uses
// it. What grows grows by a half at least.
func (m *Model) need(b *block, n int64) (grown bool, err error) {
	if n <= b.n {
		return false, nil
	}
	n = max(up(n, 1<<16), up(b.n+b.n/2, 1<<16))
	if err := m.free(*b); err != nil {
		return false, err
	}
	*b = block{}
	m.moves++
	return true, m.takeStep(b, n)
}

// needHost is need for pinned memory.
func (m *Model) needHost(b *[]byte, n int64) error {
	if n <= int64(len(*b)) {
		return nil
	}
	if err := m.dev.FreeHost(*b); err != nil {
		return err
	}
	*b = nil
	data, err := m.dev.AllocHost(up(n, 4096))
	if err != nil {
		return err
	}
	*b = data
	return nil
}

// view is memory as elements of another type.
func view[T any](b []byte, n int) []T {
	if n == 0 {
		return nil
	}
	var t T
	_ = b[:n*int(unsafe.Sizeof(t))]
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n)
}
