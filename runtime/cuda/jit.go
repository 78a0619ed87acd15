package cuda

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"quire/runtime/cuda/driver"
)

// load loads code: a cubin as it is; PTX as what the driver's compiler makes of it, which is kept in
// Options.CacheDir where there is one.
func (m *Model) load(code []byte) (driver.Module, error) {
	if m.opts.CacheDir == "" || isCubin(code) {
		module, _, err := m.dev.LoadModule(code)
		return module, err
	}
	path := filepath.Join(m.opts.CacheDir, jitKey(code, m.dev.Info))
	if cubin := readKept(path); cubin != nil {
		module, _, err := m.dev.LoadModule(cubin)
		var refused *driver.JITError
		if !errors.As(err, &refused) || m.dev.Lost() != nil || outOfMemory(err) {
			return module, err
		}
	}
	cubin, _, err := m.dev.Assemble(code)
	if err != nil {
		return 0, err
	}
	writeKept(path, cubin)
	module, _, err := m.dev.LoadModule(cubin)
	return module, err
}

func isCubin(code []byte) bool { return bytes.HasPrefix(code, []byte("\x7fELF")) }

func outOfMemory(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && e.Code == driver.OutOfMemory
}

// jitKey is all that the driver's compiler looks at: the text, the driver, the device. It is given
// no options.
func jitKey(ptx []byte, i driver.Info) string {
	h := sha256.New()
	fmt.Fprintf(h, "driver %d\nsm_%d\noptions none\n", i.Driver, i.SM())
	h.Write(ptx)
	return hex.EncodeToString(h.Sum(nil)) + ".cubin"
}

// readKept is what writeKept kept: a digest, then the bytes; nil for nothing, or what is damaged.
func readKept(path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil || len(b) <= sha256.Size {
		return nil
	}
	if sum := sha256.Sum256(b[sha256.Size:]); !bytes.Equal(sum[:], b[:sha256.Size]) {
		return nil
	}
	return b[sha256.Size:]
}

// writeKept keeps bytes, all of them or nothing: a folder that cannot be written to costs the
// keeping alone.
func writeKept(path string, b []byte) {
	if os.MkdirAll(filepath.Dir(path), 0o755) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return
	}
	sum := sha256.Sum256(b)
	_, err1 := f.Write(sum[:])
	_, err2 := f.Write(b)
	err3 := f.Close()
	if errors.Join(err1, err2, err3) != nil || os.Rename(f.Name(), path) != nil {
		os.Remove(f.Name())
	}
}
