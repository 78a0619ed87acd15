package weights

import (
	"fmt"

	"quire/ir/types/packed"
)

// readPacked gathers the rows of a piece from the arrays of a checkpoint: the bytes that they need of each array, and
// no others, decoded into the grouped encoding.
func (s *Sources) readPacked(p piece, b *buffer) ([]byte, error) {
	m := p.seg.Packed
	first := m.First + p.first
	from, count := m.Around(first, p.rows)
	var src [packed.Roles][]byte
	for r := range packed.Roles {
		if m.Parts[r].Elem == "" {
			continue
		}
		w, place := m.Window(r, from, count), m.Places[r]
		data := grow(&b.windows[r], int(w.Size()))
		if err := s.window(data, w, place.Source, place.Offset); err != nil {
			return nil, err
		}
		src[r] = data
	}
	size, err := m.Encoding().RowBytes(int64(m.Cols))
	if err != nil {
		return nil, err
	}
	raw := grow(&b.raw, count*int(size))
	if err := m.Decode(raw, from, count, src); err != nil {
		return nil, err
	}
	return raw[(first-from)*int(size):][:p.rows*int(size)], nil
}

// window reads a window of the array that begins at offset of a source.
func (s *Sources) window(data []byte, w packed.Window, source int, offset int64) error {
	rows, wide := w.Rows, w.Wide
	if w.Wide == w.Stride {
		rows, wide = 1, w.Size()
	}
	for r := range rows {
		if _, err := s.files[source].ReadAt(data[r*wide:][:wide], offset+(w.Row+r)*w.Stride+w.At); err != nil {
			return fmt.Errorf("%s: %w", s.p.Sources[source].Path, err)
		}
	}
	return nil
}
