package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// readOnly opens a file for reading and does not wait for the other end of a pipe.
const readOnly = os.O_RDONLY | unix.O_NONBLOCK

// File is an open file of a Source.
type File struct {
	Path string
	Size int64

	data    []byte // the mapping, or private memory under NoMmap
	f       *os.File
	modTime time.Time
	sum     func() (string, error)
}

// newFile takes over f, mapped whole (or read whole). On error f is closed.
func newFile(path string, f *os.File, o Options) (*File, error) {
	file, err := mapFile(path, f, o)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	file.sum = sync.OnceValues(file.hash)
	return file, nil
}

func mapFile(path string, f *os.File, o Options) (*File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, &Error{File: path, Err: cause(err)}
	}
	if !info.Mode().IsRegular() {
		return nil, at(path, "%s, expected a regular file", info.Mode().Type())
	}
	size := info.Size()
	if size == 0 || size > math.MaxInt {
		return nil, at(path, "%d bytes, expected a model", size)
	}
	// A shared lock keeps out those who lock too; disks without locks are as good as unlocked.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil, at(path, "locked by a process that writes it, expected a finished file")
	}
	file := &File{Path: path, Size: size, f: f, modTime: info.ModTime()}
	if !o.NoMmap {
		file.data, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return nil, &Error{File: path, Msg: fmt.Sprintf("mapping %d bytes", size), Err: err}
		}
		return file, nil
	}
	// Private pages outside Go's heap: the collector neither scans nor counts them.
	file.data, err = unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, &Error{File: path, Msg: fmt.Sprintf("memory for %d bytes", size), Err: err}
	}
	if n, err := io.ReadFull(f, file.data); err != nil {
		return nil, errors.Join(&Error{File: path, Msg: fmt.Sprintf("read %d bytes of %d", n, size), Err: cause(err)}, unix.Munmap(file.data))
	}
	return file, nil
}

func (f *File) close() error {
	if f.data == nil {
		return nil
	}
	err := errors.Join(unix.Munmap(f.data), f.f.Close())
	f.data = nil
	return err
}

// SHA256 is the hash of the file's bytes in hexadecimal, computed at the first call.
func (f *File) SHA256() (string, error) { return f.sum() }

func (f *File) hash() (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(f.f, 0, f.Size)) // through the descriptor: a lost page is an error, not a fault
	if err != nil {
		return "", &Error{File: f.Path, Err: cause(err)}
	}
	if n != f.Size {
		return "", at(f.Path, "%d bytes, expected the %d of when it was opened", n, f.Size)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// check compares the file with what it was at opening.
func (f *File) check() error {
	info, err := f.f.Stat()
	if err != nil {
		return &Error{File: f.Path, Err: cause(err)}
	}
	if info.Size() != f.Size {
		return at(f.Path, "%d bytes, expected the %d of when it was opened: another process changed it", info.Size(), f.Size)
	}
	if !info.ModTime().Equal(f.modTime) {
		return at(f.Path, "written at %s, expected no change since it was opened", info.ModTime().UTC().Format(time.RFC3339))
	}
	return nil
}

// readAt copies from the mapping; a fault becomes an error.
func (f *File) readAt(p []byte, off int64) (n int, failed *Error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			n, failed = 0, at(f.Path, "bytes %d to %d cannot be read (%v), expected the file as it was opened", off, off+int64(len(p)), r)
		}
	}()
	return copy(p, f.data[off:]), nil
}
