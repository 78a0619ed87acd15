package program

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	goruntime "runtime"
	"runtime/debug"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// File is an open Program. Its weights, if the file holds them, are mapped: they are
// valid until Close. The Program itself outlives the File.
type File struct {
	Program *Program

	path    string
	data    []byte
	weights [][]byte
}

// Open maps a file that Write wrote and checks all of it: magic, version, digests, bounds,
// and what Validate checks. Errors wrap ErrNotProgram, ErrVersion or ErrCorrupt; nothing
// is allocated for a length that the file only claims.
func Open(path string) (*File, error) {
	data, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, data: data}
	if err := f.read(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Path is the name that the file was opened by.
func (f *File) Path() string { return f.path }

// Weight gives the bytes of weight i as laid out, 64-byte aligned, or nil when the file
// holds no weights.
func (f *File) Weight(i int) []byte {
	if f.weights == nil {
		return nil
	}
	return f.weights[i]
}

// Close unmaps the weights.
func (f *File) Close() error {
	if f.data == nil {
		return nil
	}
	data := f.data
	f.data, f.weights = nil, nil
	return unix.Munmap(data)
}

func mapFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", path, ErrNotProgram)
	}
	if st.Size() < prefix {
		return nil, fmt.Errorf("%s: %w: %d bytes, expected at least %d", path, ErrNotProgram, st.Size(), prefix)
	}
	if st.Size() != int64(int(st.Size())) {
		return nil, fmt.Errorf("%s: %d bytes do not fit this process", path, st.Size())
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("%s: mmap: %w", path, err)
	}
	return data, nil
}

// read checks and decodes. A file that shrinks meanwhile raises a fault, which is an
// error here and not the end of the process.
func (f *File) read() (err error) {
	defer faults(&err)()
	h, end, err := readHeader(f.data)
	if err != nil {
		return err
	}
	if err := checkSections(f.data, h, end); err != nil {
		return err
	}
	p := h.Program
	for _, s := range h.Sections {
		b := f.data[s.Offset : s.Offset+s.Bytes]
		switch s.Name {
		case sectionObject:
			p.Object = bytes.Clone(b)
		case sectionTokenizer:
			p.Tokenizer = bytes.Clone(b)
		case sectionCubin:
			p.Cubin = bytes.Clone(b)
		}
	}
	if len(p.Tokenizer) == 0 {
		p.Tokenizer = nil
	}
	if err := p.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	f.Program = p
	return f.findWeights(h)
}

// faults turns a page fault of the calling goroutine into an error.
func faults(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		switch r := recover().(type) {
		case nil:
		case interface {
			goruntime.Error
			Addr() uintptr
		}:
			*err = fmt.Errorf("%w: the file shrank while it was read", ErrCorrupt)
		default:
			panic(r)
		}
	}
}

// parseHeader gives the Program of a whole file without its object and tokenizer; it
// looks at no section.
func parseHeader(data []byte) (*Program, error) {
	h, _, err := readHeader(data)
	if err != nil {
		return nil, err
	}
	if err := h.Program.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return h.Program, nil
}

func readHeader(data []byte) (*header, int64, error) {
	if len(data) < prefix || string(data[:8]) != magic {
		return nil, 0, fmt.Errorf("%w: it does not begin with %q", ErrNotProgram, magic)
	}
	if v := binary.LittleEndian.Uint32(data[8:]); v != version {
		return nil, 0, fmt.Errorf("%w: version %d, expected %d", ErrVersion, v, version)
	}
	if z := binary.LittleEndian.Uint32(data[12:]); z != 0 {
		return nil, 0, fmt.Errorf("%w: byte 12 begins with %d, expected 0", ErrCorrupt, z)
	}
	n, size := binary.LittleEndian.Uint64(data[16:]), binary.LittleEndian.Uint64(data[24:])
	if size != uint64(len(data)) {
		return nil, 0, fmt.Errorf("%w: %d bytes, the header says %d", ErrCorrupt, len(data), size)
	}
	if n > maxHeader || n > size-prefix {
		return nil, 0, fmt.Errorf("%w: header of %d bytes, expected at most %d and the file's %d", ErrCorrupt, n, maxHeader, size-prefix)
	}
	text := data[prefix : prefix+n]
	if !bytes.Equal(headSum(data, text), data[32:prefix]) {
		return nil, 0, fmt.Errorf("%w: the header's digest differs", ErrCorrupt)
	}
	if c := bytes.Count(text, []byte{'{'}); c > maxObjects {
		return nil, 0, fmt.Errorf("%w: header of %d objects, expected at most %d", ErrCorrupt, c, maxObjects)
	}
	h := &header{}
	if err := strict(text, h); err != nil {
		return nil, 0, fmt.Errorf("%w: header: %w", ErrCorrupt, err)
	}
	if h.Program == nil {
		return nil, 0, fmt.Errorf("%w: header without a program", ErrCorrupt)
	}
	return h, int64(prefix + n), nil
}

// checkSections proves that the sections follow each other, with zeros between, to the
// end of the file, and that each is what its digest says.
func checkSections(data []byte, h *header, end int64) error {
	want := []string{sectionObject, sectionTokenizer}
	for _, optional := range []string{sectionCubin, sectionWeights} {
		if h.section(optional) != nil {
			want = append(want, optional)
		}
	}
	if len(h.Sections) != len(want) {
		return fmt.Errorf("%w: %d sections, expected %d: %v", ErrCorrupt, len(h.Sections), len(want), want)
	}
	for i, s := range h.Sections {
		at := align(end, pageSize)
		if s.Name != want[i] || s.Offset != at || s.Bytes < 0 || at > int64(len(data)) || s.Bytes > int64(len(data))-at {
			return fmt.Errorf("%w: section %.32q of %d bytes at %d, expected %s at %d in %d bytes", ErrCorrupt, s.Name, s.Bytes, s.Offset, want[i], at, len(data))
		}
		if bytes.Count(data[end:at], []byte{0}) != int(at-end) {
			return fmt.Errorf("%w: bytes before section %s are not zero", ErrCorrupt, s.Name)
		}
		end = at + s.Bytes
	}
	if end != int64(len(data)) {
		return fmt.Errorf("%w: %d bytes after the last section", ErrCorrupt, int64(len(data))-end)
	}
	for _, s := range h.Sections {
		sum, err := digest(data[s.Offset : s.Offset+s.Bytes])
		if err != nil {
			return err
		}
		if sum != s.SHA256 {
			return fmt.Errorf("%w: section %s has digest %s, expected %.64s", ErrCorrupt, s.Name, sum, s.SHA256)
		}
	}
	return nil
}

// digest is the digest of a section, its pieces on several threads.
func digest(data []byte) (string, error) {
	n := (len(data) + piece - 1) / piece
	sums := make([]byte, n*sha256.Size)
	g, _ := errgroup.WithContext(context.Background())
	g.SetLimit(goruntime.GOMAXPROCS(0))
	for i := range n {
		g.Go(func() (err error) {
			defer faults(&err)()
			part := data[i*piece : min((i+1)*piece, len(data))]
			s := sha256.Sum256(part)
			copy(sums[i*sha256.Size:], s[:])
			if len(part) == piece { // it need not count as memory of this process yet
				_ = unix.Madvise(part, unix.MADV_DONTNEED)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	s := sha256.Sum256(sums)
	return hex.EncodeToString(s[:]), nil
}

func (f *File) findWeights(h *header) error {
	s := h.section(sectionWeights)
	if s == nil {
		if len(h.Packed) != 0 {
			return fmt.Errorf("%w: %d packed weights without their section", ErrCorrupt, len(h.Packed))
		}
		return nil
	}
	p := h.Program
	if len(h.Packed) != len(p.Weights) {
		return fmt.Errorf("%w: %d packed weights, expected %d", ErrCorrupt, len(h.Packed), len(p.Weights))
	}
	at := int64(0)
	f.weights = make([][]byte, 0, len(p.Weights))
	for i, w := range p.Weights {
		if h.Packed[i] != at || w.Bytes > s.Bytes-at {
			return fmt.Errorf("%w: weight %d of %d bytes at %d, expected it at %d of %d", ErrCorrupt, i, w.Bytes, h.Packed[i], at, s.Bytes)
		}
		b := f.data[s.Offset+at:]
		f.weights = append(f.weights, b[:w.Bytes:w.Bytes])
		at += align(w.Bytes, lineSize)
	}
	if at != s.Bytes {
		return fmt.Errorf("%w: section %s of %d bytes, its weights take %d", ErrCorrupt, s.Name, s.Bytes, at)
	}
	return nil
}
