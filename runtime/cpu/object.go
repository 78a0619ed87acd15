package cpu

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"
)

// driverSymbol is the step loop of every object.
const driverSymbol = "quire_run"

// object is machine code in this process.
type object struct {
	handle uintptr
	run    uintptr
	bytes  int64
}

// load links an ELF shared object into the process, without a name in any file system
// where the kernel allows that.
func load(so []byte) (*object, error) {
	if err := checkELF(so); err != nil {
		return nil, err
	}
	h, err := loadMemory(so)
	if err != nil {
		if h, err = loadFile(so); err != nil {
			return nil, err
		}
	}
	o := &object{handle: h, bytes: int64(len(so))}
	if o.run, err = o.symbol(driverSymbol); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func checkELF(so []byte) error {
	f, err := elf.NewFile(bytes.NewReader(so))
	if err != nil {
		return fmt.Errorf("cpu: object: %w", err)
	}
	if f.Type != elf.ET_DYN || f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 {
		return fmt.Errorf("cpu: object: %s for %s, expected %s for %s", f.Type, f.Machine, elf.ET_DYN, elf.EM_X86_64)
	}
	return nil
}

func loadMemory(so []byte) (uintptr, error) {
	fd, err := unix.MemfdCreate("quire", unix.MFD_CLOEXEC)
	if err != nil {
		return 0, err
	}
	f := os.NewFile(uintptr(fd), "quire")
	defer f.Close()
	if _, err := f.Write(so); err != nil {
		return 0, err
	}
	return purego.Dlopen(fmt.Sprintf("/proc/self/fd/%d", fd), purego.RTLD_NOW|purego.RTLD_LOCAL)
}

func loadFile(so []byte) (uintptr, error) {
	dir, err := os.MkdirTemp("", "quire")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "program.so")
	if err := os.WriteFile(path, so, 0o700); err != nil {
		return 0, err
	}
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return 0, fmt.Errorf("cpu: object: %w", err)
	}
	return h, nil
}

// symbol finds a function's address.
func (o *object) symbol(name string) (uintptr, error) {
	p, err := purego.Dlsym(o.handle, name)
	if err != nil || p == 0 {
		return 0, fmt.Errorf("cpu: object: no symbol %q", name)
	}
	return p, nil
}

func (o *object) close() error {
	if o.handle == 0 {
		return nil
	}
	h := o.handle
	o.handle, o.bytes = 0, 0
	return purego.Dlclose(h)
}
