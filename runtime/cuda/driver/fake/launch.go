package fake

import (
	"bytes"
	"fmt"
	"unsafe"
)

// text reads a C string.
func text(p uintptr) []byte {
	var out []byte
	for ; ; p++ {
		c := get[byte](p)
		if c == 0 {
			return out
		}
		out = append(out, c)
	}
}

func loadModule(d *Driver, a []uintptr) int {
	if d.Refuse == "" || !bytes.Contains(text(a[1]), []byte(d.Refuse)) {
		return d.create(a[0], &module{})
	}
	d.complain(a[2:])
	return InvalidPTX
}

// complain writes the error log among options: their number, names and values.
func (d *Driver) complain(a []uintptr) {
	const errorLog = 5 // CU_JIT_ERROR_LOG_BUFFER
	for i := range int(a[0]) {
		if get[int32](a[1]+uintptr(4*i)) == errorLog {
			log := unsafe.Slice((*byte)(pointer(get[uintptr](a[2]+uintptr(8*i)))), 256)
			copy(log, fmt.Sprintf("ptxas: line 1: unexpected %s\x00", d.Refuse))
		}
	}
}

// linkCreate keeps the options for the calls that follow.
func linkCreate(d *Driver, a []uintptr) int {
	return d.create(a[3], &linker{options: append([]uintptr(nil), a[:3]...)})
}

// linkAdd makes what LinkComplete gives of PTX text: the text behind an ELF file's first bytes.
func linkAdd(d *Driver, a []uintptr) int {
	l, ok := d.objects[a[0]].(*linker)
	if !ok || a[1] != 1 {
		return InvalidValue
	}
	code := text(a[2])
	if d.Refuse != "" && bytes.Contains(code, []byte(d.Refuse)) {
		d.complain(l.options)
		return InvalidPTX
	}
	l.cubin = append([]byte("\x7fELF of "), code...)
	return Success
}

func linkComplete(d *Driver, a []uintptr) int {
	l, ok := d.objects[a[0]].(*linker)
	if !ok || l.cubin == nil {
		return InvalidValue
	}
	put(a[1], uintptr(unsafe.Pointer(&l.cubin[0])))
	put(a[2], uintptr(len(l.cubin)))
	return Success
}

// getFunction gives a handle that is not counted: functions are their module's.
func getFunction(d *Driver, a []uintptr) int {
	if _, ok := d.objects[a[1]].(*module); !ok {
		return InvalidValue
	}
	name := string(text(a[2]))
	k, ok := d.Kernels[name]
	if !ok {
		return NotFound
	}
	d.next++
	d.entries[d.next] = &entry{Kernel: k, name: name, shared: 48 << 10}
	put(a[0], d.next)
	return Success
}

func setAttribute(d *Driver, a []uintptr) int {
	e, ok := d.entries[a[0]]
	if !ok {
		return InvalidValue
	}
	const maxDynamicShared = 8
	if a[1] == maxDynamicShared {
		e.shared = int(a[2])
	}
	return Success
}

// launch reads a CUlaunchConfig: grid and block, 3 x u32 each; shared bytes, u32; the
// stream; attributes and their number.
func launch(d *Driver, a []uintptr) int {
	config := a[0]
	e, ok := d.entries[a[1]]
	if !ok {
		return InvalidValue
	}
	l := Launch{d: d, Blocks: int(get[uint32](config)), Threads: int(get[uint32](config + 12)), Shared: int(get[uint32](config + 24))}
	if l.Blocks == 0 || l.Threads == 0 || l.Threads > 1024 || l.Shared > e.shared {
		return InvalidValue
	}
	const attributeBytes, cluster, programmatic = 72, 4, 6
	for i := range uintptr(get[uint32](config + 48)) {
		switch at := get[uintptr](config+40) + i*attributeBytes; get[uint32](at) {
		case programmatic:
			l.Overlaps = get[int32](at+8) != 0
		case cluster:
			l.Cluster = int(get[uint32](at + 8))
			if l.Cluster == 0 || l.Blocks%l.Cluster != 0 || get[uint32](at+12) != 1 || get[uint32](at+16) != 1 {
				return InvalidValue
			}
		default:
			return InvalidValue
		}
	}
	for i := range e.Params {
		l.Words = append(l.Words, get[uint64](get[uintptr](a[2]+uintptr(8*i))))
	}
	return d.enqueue(get[uintptr](config+32), func() {
		d.launches++
		d.note("kernel %s", e.name)
		if d.launches == d.FaultAt {
			d.lost = IllegalAddress
			return
		}
		e.Run(l)
	})
}
