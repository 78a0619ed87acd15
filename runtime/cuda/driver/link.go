package driver

import (
	"bytes"
	"errors"
	"runtime"
	"unsafe"
)

// logs are where the driver's compiler writes, as options of the calls that run it.
type logs struct {
	text   []byte
	ids    []int32
	values []uintptr
}

// logBytes is what is kept of each of two logs.
const logBytes = 64 << 10

func newLogs() *logs {
	l := &logs{text: heap(make([]byte, 2*logBytes)), ids: heap([]int32{jitInfoLog, jitInfoLogBytes, jitErrorLog, jitErrorLogBytes, jitVerbose})}
	l.values = heap([]uintptr{addr(&l.text[0]), logBytes, addr(&l.text[logBytes]), logBytes, 1})
	return l
}

func (l *logs) info() string    { return line(l.text[:logBytes]) }
func (l *logs) failure() string { return line(l.text[logBytes:]) }

// Assemble has the driver's compiler make a cubin of PTX text, for this device, and returns what
// the compiler said. LoadModule loads either; a cubin may be kept.
func (d *Device) Assemble(ptx []byte) (cubin []byte, info string, err error) {
	const inputPTX = 1 // CU_JIT_INPUT_PTX
	l, image := newLogs(), heap(append(bytes.Clone(ptx), 0))
	if err := d.call(LinkCreate, "", uintptr(len(l.ids)), addr(&l.ids[0]), addr(&l.values[0]), d.res(0)); err != nil {
		return nil, "", err
	}
	state := uintptr(d.out[0])
	name := heap(append([]byte("quire.ptx"), 0))
	err = d.call(LinkAddData, "", state, inputPTX, addr(&image[0]), uintptr(len(image)), addr(&name[0]), 0, 0, 0)
	if err == nil {
		err = d.call(LinkComplete, "", state, d.res(0), d.res(1))
	}
	if err == nil { // it is the linker's memory
		cubin = bytes.Clone(unsafe.Slice((*byte)(pointer(uintptr(d.out[0]))), int(d.out[1])))
	}
	if d.lost == nil {
		err = errors.Join(err, d.call(LinkDestroy, "", state))
	}
	runtime.KeepAlive(image)
	runtime.KeepAlive(name)
	info, failure := l.info(), l.failure()
	runtime.KeepAlive(l)
	if err != nil {
		return nil, info, &JITError{err, failure}
	}
	return cubin, info, nil
}
