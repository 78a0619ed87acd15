package program

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A file is, in little-endian order:
//
//	0   8 bytes   magic "QUIREPRG"
//	8   u32       version
//	12  u32       0
//	16  u64       bytes of the header
//	24  u64       bytes of the file
//	32  32 bytes  sha256 of bytes 0 to 31 and of the header
//	64  header    JSON: the Program, and the sections with their digests
//	    sections  each at a multiple of 4096, zeros between: object, tokenizer, cubin, weights
//
// A section's digest is the sha256 of the sha256s of its pieces of 4 MiB, so that
// several threads can check it. The last two sections are optional; weights holds each weight
// as laid out, at a multiple of 64, so that a device can map it.
const (
	magic    = "QUIREPRG"
	version  = 1
	prefix   = 64
	pageSize = 4096
	lineSize = 64
	piece    = 4 << 20

	maxHeader  = 16 << 20 // bytes; a model of 126 layers takes about 3 MiB
	maxObjects = 1 << 18  // JSON objects in it
)

// What a caller may branch on: a cache treats all of them as a miss.
var (
	ErrNotProgram = errors.New("not a Quire program")
	ErrVersion    = errors.New("program of another version")
	ErrCorrupt    = errors.New("damaged program")
)

// header is the JSON of a file.
type header struct {
	Program  *Program
	Sections []section
	Packed   []int64 `json:",omitempty"` // offset of each weight in its section
}

// section says where bytes lie in the file.
type section struct {
	Name   string
	Offset int64
	Bytes  int64
	SHA256 string
}

// section finds a section by its name, or nil.
func (h *header) section(name string) *section {
	for i := range h.Sections {
		if h.Sections[i].Name == name {
			return &h.Sections[i]
		}
	}
	return nil
}

const (
	sectionObject    = "object"
	sectionTokenizer = "tokenizer"
	sectionCubin     = "cubin"
	sectionWeights   = "weights"
)

// Write stores p at path: all of it or nothing. With a packed function the file also
// holds the weights as laid out: packed(i) gives those of weight i, exactly its Bytes; it is
// called once for each weight, in order, and its result is not kept.
func Write(path string, p *Program, packed func(i int) ([]byte, error)) (err error) {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := writeTo(f, p, packed); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// writeTo lays the file out with empty digests (all digests are equally long), writes the
// sections, then the header that names what they came to.
func writeTo(f *os.File, p *Program, packed func(i int) ([]byte, error)) error {
	small := *p
	small.Object, small.Cubin, small.Tokenizer = nil, nil, nil
	h := header{Program: &small, Sections: []section{
		{Name: sectionObject, Bytes: int64(len(p.Object))},
		{Name: sectionTokenizer, Bytes: int64(len(p.Tokenizer))},
	}}
	if len(p.Cubin) > 0 {
		h.Sections = append(h.Sections, section{Name: sectionCubin, Bytes: int64(len(p.Cubin))})
	}
	if packed != nil {
		w := section{Name: sectionWeights}
		for i := range p.Weights {
			h.Packed = append(h.Packed, w.Bytes)
			w.Bytes += align(p.Weights[i].Bytes, lineSize)
		}
		h.Sections = append(h.Sections, w)
	}
	size, err := h.place()
	if err != nil {
		return err
	}
	for i := range h.Sections {
		s := &h.Sections[i]
		if _, err := f.Seek(s.Offset, io.SeekStart); err != nil {
			return err
		}
		d := &digester{out: f}
		switch s.Name {
		case sectionObject:
			err = d.write(p.Object)
		case sectionTokenizer:
			err = d.write(p.Tokenizer)
		case sectionCubin:
			err = d.write(p.Cubin)
		case sectionWeights:
			err = writeWeights(d, p, packed)
		}
		if err != nil {
			return err
		}
		s.SHA256 = d.sum()
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	start := make([]byte, prefix, prefix+len(text))
	copy(start, magic)
	binary.LittleEndian.PutUint32(start[8:], version)
	binary.LittleEndian.PutUint64(start[16:], uint64(len(text)))
	binary.LittleEndian.PutUint64(start[24:], uint64(size))
	copy(start[32:], headSum(start, text))
	_, err = f.WriteAt(append(start, text...), 0)
	return err
}

func headSum(start, text []byte) []byte {
	h := sha256.New()
	h.Write(start[:32])
	h.Write(text)
	return h.Sum(nil)
}

func writeWeights(d *digester, p *Program, packed func(i int) ([]byte, error)) error {
	for i := range p.Weights {
		w := &p.Weights[i]
		b, err := packed(i)
		if err != nil {
			return err
		}
		if int64(len(b)) != w.Bytes {
			return fmt.Errorf("weight %q: %d bytes, expected %d", w.Name, len(b), w.Bytes)
		}
		if err := d.write(b); err != nil {
			return err
		}
		if err := d.write(make([]byte, align(w.Bytes, lineSize)-w.Bytes)); err != nil {
			return err
		}
	}
	return nil
}

// place gives the sections their offsets, after a header whose length depends on them,
// and returns the size of the file.
func (h *header) place() (int64, error) {
	none := hex.EncodeToString(make([]byte, sha256.Size))
	for i := range h.Sections {
		h.Sections[i].SHA256 = none
	}
	for range 8 { // longer offsets make a longer header, at most a few times
		text, err := json.Marshal(h)
		if err != nil {
			return 0, err
		}
		if len(text) > maxHeader {
			return 0, fmt.Errorf("header of %d bytes, expected at most %d", len(text), maxHeader)
		}
		end, moved := int64(prefix+len(text)), false
		for i := range h.Sections {
			s := &h.Sections[i]
			at := align(end, pageSize)
			moved = moved || at != s.Offset
			s.Offset, end = at, at+s.Bytes
		}
		if !moved {
			return end, nil
		}
	}
	return 0, fmt.Errorf("header of no stable length")
}

func align(n, to int64) int64 { return (n + to - 1) &^ (to - 1) }

// digester writes and hashes.
type digester struct {
	out  io.Writer
	sums []byte
	part bytes.Buffer // less than a piece
}

func (d *digester) write(b []byte) error {
	if _, err := d.out.Write(b); err != nil {
		return err
	}
	for len(b) > 0 {
		n := min(piece-d.part.Len(), len(b))
		d.part.Write(b[:n])
		b = b[n:]
		if d.part.Len() == piece {
			d.flush()
		}
	}
	return nil
}

func (d *digester) flush() {
	s := sha256.Sum256(d.part.Bytes())
	d.sums = append(d.sums, s[:]...)
	d.part.Reset()
}

func (d *digester) sum() string {
	if d.part.Len() > 0 {
		d.flush()
	}
	s := sha256.Sum256(d.sums)
	return hex.EncodeToString(s[:])
}
