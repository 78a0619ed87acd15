package weights

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// Limits of GGUF metadata, beyond what the file's size bounds already.
const (
	maxGGUFDims    = 4
	maxString      = 16 << 20 // bytes
	maxArray       = 64 << 20 // numbers of an array
	maxStrings     = 8 << 20  // strings of an array (a Go string's header alone is 16 bytes)
	maxKeys        = 1 << 20
	maxGGUFTensors = 1 << 20
	maxAlignment   = 1 << 20
)

// readGGUF lists the keys and tensors of a GGUF file, versions 2 and 3 (ggml/include/gguf.h states the layout).
func (s *Source) readGGUF(f *File) error {
	r := &cursor{path: f.Path, b: f.data, at: 4}
	switch version := r.u32(); {
	case r.fail != nil:
		return r.fail
	case version != 2 && version != 3 && bits.ReverseBytes32(version) <= 0xffff:
		return at(f.Path, "version %#x, a big-endian GGUF, expected a little-endian one", version)
	case version != 2 && version != 3:
		return at(f.Path, "GGUF version %d, expected 2 or 3", version)
	}
	tensors := r.count("tensors", 24, maxGGUFTensors) // no tensor's entry is shorter: name 8, dims 4, type 4, offset 8
	keys := r.count("keys", 13, maxKeys)              // 8, type 4 and a byte
	s.KV = Metadata{}
	for range keys {
		if err := s.key(r); err != nil {
			return err
		}
	}
	align, err := alignment(f.Path, s.KV)
	if err != nil {
		return err
	}
	list := make([]*Tensor, 0, min(tensors, 4096))
	for range tensors {
		t, err := r.tensor(align)
		if err != nil {
			return err
		}
		list = append(list, t)
	}
	if r.fail != nil {
		return r.fail
	}
	return s.place(f, list, int64(r.at), align)
}

// key reads one key and its value.
func (s *Source) key(r *cursor) error {
	name := r.str(maxName)
	if r.fail != nil {
		return r.fail
	}
	if name == "" {
		return at(r.path, "key %d has no name", len(s.Keys))
	}
	if _, ok := s.KV[name]; ok {
		return inKey(name, at(r.path, "twice, expected once"))
	}
	v := r.value()
	if r.fail != nil {
		return inKey(name, r.fail)
	}
	s.KV[name] = v
	s.Keys = append(s.Keys, name)
	return nil
}

// alignment is general.alignment: a power of two, 32 when the file does not say.
func alignment(path string, kv Metadata) (int64, error) {
	v, ok := kv["general.alignment"]
	if !ok {
		return 32, nil
	}
	a, ok := v.(uint32)
	if !ok || a == 0 || a&(a-1) != 0 || a > maxAlignment {
		return 0, inKey("general.alignment", at(path, "%v (%T), expected a uint32 power of two up to %d", v, v, maxAlignment))
	}
	return int64(a), nil
}

// tensor reads one entry of the list; its offset is still from the start of the data.
func (r *cursor) tensor(align int64) (*Tensor, error) {
	name := r.str(maxName)
	dims := r.u32()
	if r.fail != nil {
		return nil, r.fail
	}
	if dims < 1 || dims > maxGGUFDims {
		return nil, inTensor(name, at(r.path, "%d dimensions, expected 1 to %d", dims, maxGGUFDims))
	}
	shape := make([]int64, dims)
	for i := range shape {
		shape[len(shape)-1-i] = int64(r.u64()) // GGUF counts from the innermost
	}
	typ, offset := r.u32(), r.u64()
	if r.fail != nil {
		return nil, inTensor(name, r.fail)
	}
	l, ok := ggmlTypes[typ]
	if !ok {
		return nil, inTensor(name, at(r.path, "ggml type %d, expected one of ggml's (0 to 42)", typ))
	}
	l = sized(l)
	size, wrong := l.extent(shape)
	if wrong != "" {
		return nil, inTensor(name, at(r.path, "%s", wrong))
	}
	if offset > math.MaxInt64 || int64(offset)%align != 0 {
		return nil, inTensor(name, at(r.path, "offset %d, expected a multiple of the alignment %d", offset, align))
	}
	return &Tensor{Name: name, Enc: l.enc, Shape: shape, Offset: int64(offset), Bytes: size, align: l.align}, nil
}

// place turns offsets into the file's, checking extents and overlaps, and adds the tensors in the list's order.
func (s *Source) place(f *File, list []*Tensor, head, align int64) error {
	base := (head + align - 1) / align * align
	for _, t := range list {
		if t.Offset > f.Size-base || t.Bytes > f.Size-base-t.Offset {
			return inTensor(t.Name, at(f.Path, "%d bytes at offset %d, expected within the %d of the file's data", t.Bytes, t.Offset, max(0, f.Size-base)))
		}
		t.Offset += base
		if err := s.add(t); err != nil {
			return err
		}
	}
	byOffset := slices.Clone(list)
	slices.SortStableFunc(byOffset, func(a, b *Tensor) int { return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Bytes, b.Bytes)) })
	for i := 1; i < len(byOffset); i++ {
		if a, b := byOffset[i-1], byOffset[i]; a.Offset+a.Bytes > b.Offset {
			return inTensor(b.Name, at(f.Path, "begins at %d inside tensor %s, expected no overlap", b.Offset, brief(a.Name)))
		}
	}
	return nil
}

// cursor reads little-endian values; after the first error every read returns zero.
type cursor struct {
	path string
	b    []byte
	at   int
	fail *Error
}

// take returns the next n bytes, nil when the file has fewer.
func (r *cursor) take(n uint64) []byte {
	if r.fail != nil {
		return nil
	}
	if n > uint64(len(r.b)-r.at) {
		r.fail = at(r.path, "%d bytes at %d, expected at most the %d left in the file", n, r.at, len(r.b)-r.at)
		return nil
	}
	p := r.b[r.at : r.at+int(n)]
	r.at += int(n)
	return p
}

func (r *cursor) u32() uint32 {
	if p := r.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (r *cursor) u64() uint64 {
	if p := r.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

// count reads a number of things of at least size bytes each, and checks that the rest of the file could hold them.
func (r *cursor) count(what string, size, limit uint64) uint64 {
	n := r.u64()
	if left := uint64(len(r.b)-r.at) / size; r.fail == nil && n > min(left, limit) {
		r.fail = at(r.path, "%d %s, expected at most %d in a file of this size", n, what, min(left, limit))
		return 0
	}
	return n
}

func (r *cursor) str(limit uint64) string {
	n := r.u64()
	if r.fail == nil && n > limit {
		r.fail = at(r.path, "string of %d bytes, expected at most %d", n, limit)
	}
	return string(r.take(n))
}
