package driver

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"
)

// Module is loaded machine code, Kernel an entry of it.
type (
	Module uintptr
	Kernel struct {
		Name     string
		handle   uintptr
		Register int // registers of a thread
		Local    int // bytes of a thread's own memory: spills, stack
	}
)

// Options of cuModuleLoadDataEx (CUjit_option).
const (
	jitInfoLog       = 3
	jitInfoLogBytes  = 4
	jitErrorLog      = 5
	jitErrorLogBytes = 6
	jitVerbose       = 12
)

// JITError is code that the driver refused, with its log.
type JITError struct {
	Err error
	Log string
}

func (e *JITError) Error() string {
	if e.Log == "" {
		return "cuda: module: " + e.Err.Error()
	}
	return "cuda: module: " + e.Err.Error() + ":\n" + e.Log
}

// Unwrap is the call's error.
func (e *JITError) Unwrap() error { return e.Err }

// LoadModule loads PTX text or a cubin and returns what the driver's compiler said about it.
func (d *Device) LoadModule(code []byte) (Module, string, error) {
	image := heap(append(append(make([]byte, 0, len(code)+1), code...), 0)) // PTX ends with a zero
	l := newLogs()
	err := d.call(ModuleLoadDataEx, "", d.res(0), addr(&image[0]), uintptr(len(l.ids)), addr(&l.ids[0]), addr(&l.values[0]))
	runtime.KeepAlive(image)
	info, failure := l.info(), l.failure()
	runtime.KeepAlive(l)
	if err != nil {
		return 0, info, &JITError{err, failure}
	}
	d.live++
	return Module(d.out[0]), info, nil
}

func addr[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

func line(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return strings.TrimSpace(s)
}

// CloseModule unloads a module; 0 is nothing.
func (d *Device) CloseModule(m Module) error { return d.destroy(ModuleUnload, uintptr(m)) }

// Attributes of a function (CUfunction_attribute).
const (
	funcLocalBytes    = 3
	funcRegisters     = 4
	funcDynamicShared = 8
	funcCarveout      = 9
)

// Kernel finds an entry and lets its blocks have shared bytes of dynamic shared memory.
func (d *Device) Kernel(m Module, name string, shared int64) (Kernel, error) {
	k := Kernel{Name: name}
	symbol := heap(append([]byte(name), 0))
	err := d.call(ModuleGetFunction, name, d.res(0), uintptr(m), addr(&symbol[0]))
	runtime.KeepAlive(symbol)
	if err != nil {
		return k, err
	}
	k.handle = uintptr(d.out[0])
	if shared > int64(d.SharedBytes) {
		return k, fmt.Errorf("cuda: kernel %s needs %d bytes of shared memory, a block of %s has %d", name, shared, d.Name, d.SharedBytes)
	}
	if shared > 0 {
		if err := d.call(FuncSetAttribute, name, k.handle, funcDynamicShared, uintptr(shared)); err != nil {
			return k, err
		}
		if err := d.call(FuncSetAttribute, name, k.handle, funcCarveout, 100); err != nil { // percent: as much of it as there is
			return k, err
		}
	}
	for _, a := range []struct {
		id uintptr
		to *int
	}{{funcRegisters, &k.Register}, {funcLocalBytes, &k.Local}} {
		if err := d.call(FuncGetAttribute, name, d.res(0), a.id, k.handle); err != nil {
			return k, err
		}
		*a.to = int(int32(d.out[0]))
	}
	return k, nil
}

// Launch is one launch of a kernel, its words kept where the driver reads them.
type Launch struct {
	Kernel  Kernel
	config  *config
	attrs   *[2]attribute
	overlap bool
	cluster int
	words   []uint64  // values of the parameters
	pointer []uintptr // addresses of words
}

// config is CUlaunchConfig.
type config struct {
	grid, block [3]uint32
	shared      uint32
	_           uint32
	stream      uintptr
	attrs       uintptr
	count       uint32
	_           uint32
}

// attribute is CUlaunchAttribute.
type attribute struct {
	id    uint32
	_     uint32
	value [16]uint32
}

// The attributes (CUlaunchAttributeID).
const (
	attrCluster      = 4 // CLUSTER_DIMENSION
	attrProgrammatic = 6 // PROGRAMMATIC_STREAM_SERIALIZATION
)

// NewLaunch makes a launch of threads a block with n parameters of 8 bytes each.
func NewLaunch(k Kernel, threads int, shared int64, n int) *Launch {
	l := &Launch{Kernel: k, config: &config{}, attrs: &[2]attribute{}, words: make([]uint64, n), pointer: make([]uintptr, n)}
	l.config.grid, l.config.block = [3]uint32{1, 1, 1}, [3]uint32{uint32(threads), 1, 1}
	l.config.shared = uint32(shared)
	l.config.attrs = addr(&l.attrs[0])
	for i := range l.words {
		l.pointer[i] = addr(&l.words[i])
	}
	return l
}

// Words are the values of the parameters.
func (l *Launch) Words() []uint64 { return l.words }

// Blocks sets the size of the grid; 0 launches nothing.
func (l *Launch) Blocks(n int64) { l.config.grid[0] = uint32(n) }

// Overlaps lets the launch start before what it follows has ended, if that is a launch too
// (programmatic dependent launch).
func (l *Launch) Overlaps(on bool) {
	l.overlap = on
	l.describe()
}

// Clusters makes clusters of so many neighbouring blocks, of which the grid is a multiple; 1: none
// (compute capability 9.0).
func (l *Launch) Clusters(blocks int) {
	l.cluster = blocks
	l.describe()
}

// describe writes the attributes.
func (l *Launch) describe() {
	l.config.count = 0
	add := func(id uint32, value ...uint32) {
		a := &l.attrs[l.config.count]
		a.id = id
		copy(a.value[:], value)
		l.config.count++
	}
	if l.overlap {
		add(attrProgrammatic, 1)
	}
	if l.cluster > 1 {
		add(attrCluster, uint32(l.cluster), 1, 1)
	}
}

// Launch puts a launch into a stream.
func (d *Device) Launch(s Stream, l *Launch) error {
	if l.config.grid[0] == 0 {
		return nil
	}
	l.config.stream = uintptr(s)
	var params uintptr
	if len(l.pointer) > 0 {
		params = addr(&l.pointer[0])
	}
	err := d.call(LaunchKernelEx, "", addr(l.config), l.Kernel.handle, params, 0)
	runtime.KeepAlive(l)
	var e *Error
	if errors.As(err, &e) && e.What == "" {
		e.What = fmt.Sprintf("kernel %s, %d blocks of %d threads, %d bytes of shared memory, %d registers",
			l.Kernel.Name, l.config.grid[0], l.config.block[0], l.config.shared, l.Kernel.Register)
		if l.cluster > 1 {
			e.What += fmt.Sprintf(", clusters of %d", l.cluster)
		}
	}
	return err
}
