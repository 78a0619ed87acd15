package fake

// take takes device memory.
func (d *Driver) take(to uintptr, n int64) int {
	if code := d.allocation(); code != Success {
		return code
	}
	if n <= 0 || n > d.Memory-d.used {
		return OutOfMemory
	}
	base, b := heap(int(n))
	for i := range b {
		b[i] = 0xa5 // memory is anything
	}
	d.device[base] = b
	d.used += n
	put(to, uint64(base))
	return Success
}

func (d *Driver) giveBack(p uintptr) {
	d.used -= int64(len(d.device[p]))
	delete(d.device, p)
	delete(d.pooled, p)
}

func (d *Driver) isPooled(p uintptr) bool {
	_, ok := d.pooled[p]
	return ok
}

func poolSet(d *Driver, a []uintptr) int {
	const releaseThreshold = 4
	if _, ok := d.objects[a[0]].(*pool); !ok || a[1] != releaseThreshold {
		return InvalidValue
	}
	return Success
}

// poolTake takes memory at once; it may be used by what its stream is given later.
func poolTake(d *Driver, a []uintptr) int {
	_, isPool := d.objects[a[2]].(*pool)
	s, isStream := d.objects[a[3]].(*stream)
	if !isPool || !isStream || s.capture != nil {
		return InvalidValue
	}
	code := d.take(a[0], int64(a[1]))
	if code == Success {
		d.pooled[uintptr(get[uint64](a[0]))] = true
	}
	return code
}

// poolGive gives memory back when the stream comes there.
func poolGive(d *Driver, a []uintptr) int {
	p := a[0]
	if s, ok := d.objects[a[1]].(*stream); !ok || s.capture != nil || !d.pooled[p] {
		return InvalidValue
	}
	d.pooled[p] = false
	return d.enqueue(a[1], func() { d.giveBack(p) })
}

// tensorMap checks what the driver checks, and keeps what it is told in the map's words: the type,
// the address, then dims, strides and box.
func tensorMap(d *Driver, a []uintptr) int {
	rank := a[2]
	if a[0]%64 != 0 || a[3]%16 != 0 || rank < 1 || rank > 5 {
		return InvalidValue
	}
	put(a[0], uint64(a[1]))
	put(a[0]+8, uint64(a[3]))
	for i := range rank {
		dim, box := get[uint64](a[4]+8*i), get[uint32](a[6]+4*i)
		if dim == 0 || box == 0 || box > 256 || get[uint32](a[7]+4*i) != 1 {
			return InvalidValue
		}
		put(a[0]+16+8*i, dim)
		put(a[0]+96+4*i, box)
		if i+1 == rank {
			break
		}
		stride := get[uint64](a[5] + 8*i)
		if stride%16 != 0 {
			return InvalidValue
		}
		put(a[0]+56+8*i, stride)
	}
	return Success
}
