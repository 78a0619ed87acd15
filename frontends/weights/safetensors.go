package weights

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
)

// Limits of safetensors headers beyond Options.MaxHeader.
const (
	maxName = 64 << 10 // bytes of a tensor's name or a metadata key
	maxDims = 8
)

// entry is one tensor as the header states it.
type entry struct {
	name       string
	dtype      string
	shape      []int64
	begin, end int64
}

// readSafetensors lists the tensors of file i: an 8-byte little-endian length, a JSON object of that length, then
// the data, which the tensors must cover exactly: no overlap, no hole, nothing after the last (the format's README).
func (s *Source) readSafetensors(i int, o Options) error {
	f := s.Files[i]
	if f.Size < 8 {
		return at(f.Path, "%d bytes, expected the 8 of a safetensors header's length", f.Size)
	}
	n := binary.LittleEndian.Uint64(f.data)
	if limit := o.maxHeader(); n > uint64(limit) {
		return at(f.Path, "header of %d bytes, expected at most %d", n, limit)
	}
	if n > uint64(f.Size-8) {
		return at(f.Path, "header of %d bytes, expected at most the %d that follow in the file", n, f.Size-8)
	}
	entries, meta, err := parseHeader(f.Path, f.data[8:8+n])
	if err != nil {
		return err
	}
	base := 8 + int64(n)
	if err := tile(f.Path, entries, f.Size-base); err != nil {
		return err
	}
	for _, e := range entries {
		t, err := e.tensor(f.Path)
		if err != nil {
			return err
		}
		t.File, t.Offset = i, base+e.begin
		if err := s.add(t); err != nil {
			return err
		}
	}
	if i == 0 {
		s.KV, s.Keys = meta, slices.Sorted(maps.Keys(meta))
	}
	return nil
}

// parseHeader reads the JSON of a header, its entries sorted by offset.
func parseHeader(path string, header []byte) ([]entry, Metadata, error) {
	s := &scan{b: header}
	var entries []entry
	meta := Metadata{}
	var now string // the tensor being read
	if len(header) > 0 && header[0] != '{' {
		s.errorf("%s, expected '{'", s.seen())
	}
	s.object(func(key string) {
		if key == "__metadata__" {
			s.object(func(k string) { meta[k] = s.str(16 << 20) })
			return
		}
		now = key
		entries = append(entries, s.entry(key))
		if s.fail == nil {
			now = ""
		}
	})
	s.end()
	if s.fail != nil {
		return nil, nil, &Error{File: path, Tensor: now, Msg: "header", Err: s.fail}
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.name, b.name))
	})
	return entries, meta, nil
}

// entry reads one tensor's object: dtype, shape and data_offsets, each once and nothing else.
func (s *scan) entry(name string) entry {
	e := entry{name: name, shape: []int64{}}
	fields := 0
	s.object(func(key string) {
		fields++
		switch key {
		case "dtype":
			e.dtype = s.str(64)
		case "shape":
			s.array(func() {
				if len(e.shape) == maxDims {
					s.errorf("more than %d dimensions, expected 1 to %d", maxDims, maxDims)
					return
				}
				e.shape = append(e.shape, s.natural())
			})
		case "data_offsets":
			var at []int64
			s.array(func() {
				if n := s.natural(); len(at) < 3 {
					at = append(at, n)
				}
			})
			if len(at) != 2 {
				s.errorf("data_offsets of %d numbers, expected 2", len(at))
				return
			}
			e.begin, e.end = at[0], at[1]
		default:
			s.errorf("field %s, expected dtype, shape and data_offsets", brief(key))
		}
	})
	if fields != 3 {
		s.errorf("%d fields, expected dtype, shape and data_offsets", fields)
	}
	return e
}

// tile checks that entries, sorted by offset, cover size bytes exactly.
func tile(path string, entries []entry, size int64) error {
	var end int64
	for _, e := range entries {
		switch {
		case e.end < e.begin:
			return inTensor(e.name, at(path, "data from %d to %d, expected an end after the beginning", e.begin, e.end))
		case e.end > size:
			return inTensor(e.name, at(path, "data to %d, expected at most the file's %d", e.end, size))
		case e.begin < end:
			return inTensor(e.name, at(path, "data from %d, expected %d, where the tensor before it ends: they overlap", e.begin, end))
		case e.begin > end:
			return inTensor(e.name, at(path, "data from %d, expected %d, where the tensor before it ends: %d bytes belong to none", e.begin, end, e.begin-end))
		}
		end = e.end
	}
	if end != size {
		return at(path, "%d bytes of data, expected the %d that the tensors take", size, end)
	}
	return nil
}

// tensor checks dtype and shape against the extent.
func (e entry) tensor(path string) (*Tensor, *Error) {
	enc, ok := safetensorsTypes[e.dtype]
	if !ok {
		return nil, inTensor(e.name, at(path, "dtype %s, expected one of %v", brief(e.dtype), slices.Sorted(maps.Keys(safetensorsTypes))))
	}
	if len(e.shape) == 0 {
		return nil, inTensor(e.name, at(path, "no dimensions, expected 1 to %d", maxDims))
	}
	l := sized(layout{enc: enc})
	want, wrong := l.extent(e.shape)
	if wrong != "" {
		return nil, inTensor(e.name, at(path, "%s", wrong))
	}
	if e.end-e.begin != want {
		return nil, inTensor(e.name, at(path, "%d bytes, expected %d of %s%v", e.end-e.begin, want, e.dtype, e.shape))
	}
	return &Tensor{Name: e.name, Enc: enc, Shape: e.shape, Bytes: want, align: l.align}, nil
}
