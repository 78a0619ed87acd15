package cpu

import (
	"bytes"
	"debug/elf"
	"errors"
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
	// file is what the linker loaded by its number. It stays open as long as the code is
	// there: the linker knows objects by name, and would take the next one that got the
	// same number for this one.
	file  *os.File
	run   uintptr
	bytes int64
}

// load links an ELF shared object into the process, without a name in any file system
// where the kernel allows that.
func load(so []byte) (*object, error) {
	if err := checkELF(so); err != nil {
		return nil, err
	}
	h, f, err := loadMemory(so)
	if err != nil {
		if h, err = loadFile(so); err != nil {
			return nil, err
		}
	}
	o := &object{handle: h, file: f, bytes: int64(len(so))}
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

func loadMemory(so []byte) (uintptr, *os.File, error) {
	fd, err := unix.MemfdCreate("quire", unix.MFD_CLOEXEC)
	if err != nil {
		return 0, nil, err
	}
	f := os.NewFile(uintptr(fd), "quire")
	if _, err = f.Write(so); err == nil {
		var h uintptr
		if h, err = purego.Dlopen(fmt.Sprintf("/proc/self/fd/%d", fd), purego.RTLD_NOW|purego.RTLD_LOCAL); err == nil {
			return h, f, nil
		}
	}
	f.Close() // the first error is the cause
	return 0, nil, err
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
	err := purego.Dlclose(h)
	if o.file != nil {
		err = errors.Join(err, o.file.Close())
	}
	return err
}
