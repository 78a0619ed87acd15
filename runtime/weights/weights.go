// Package weights fills a Program's weights as they lie in memory: it reads their rows
// from source files, or makes random ones, and re-packs them by quire/ir/types/layout.
//
// Rows are read with ReadAt into small buffers, not through a mapping: the file's pages do
// not count as memory of this process, and a file that shrinks meanwhile is an error and not
// a fault. Work is cut into pieces of whole tiles, so that threads share large weights.
//
// Border law: imports quire/runtime/program, quire/ir/types/... and the standard library.
package weights

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"quire/ir/types/block"
	"quire/ir/types/layout"
	"quire/ir/types/noise"
	"quire/ir/types/packed"
	"quire/runtime/program"
)

// pieceBytes is about how much a thread reads and packs at a time.
const pieceBytes = 1 << 20

// Sources are the open weight files of a Program.
type Sources struct {
	p     *program.Program
	files []*os.File
}

// Open opens the files that the weights name and checks their sizes.
func Open(p *program.Program) (*Sources, error) {
	s := &Sources{p: p, files: make([]*os.File, len(p.Sources))}
	used := make([]bool, len(p.Sources))
	for _, w := range p.Weights {
		for _, seg := range w.Segments {
			for _, source := range seg.Files() {
				used[source] = true
			}
		}
	}
	for i, src := range p.Sources {
		if !used[i] {
			continue
		}
		f, err := os.Open(src.Path)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("weights: %w", err)
		}
		s.files[i] = f
		st, err := f.Stat()
		if err == nil && (st.Size() != src.Bytes || !st.Mode().IsRegular()) {
			err = fmt.Errorf("%s has %d bytes, the program was compiled from %d", src.Path, st.Size(), src.Bytes)
		}
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("weights: %w", err)
		}
	}
	return s, nil
}

// Verify reads all of every source that has a digest and compares it.
func (s *Sources) Verify(ctx context.Context) error {
	for i, src := range s.p.Sources {
		if s.files[i] == nil || src.SHA256 == "" {
			continue
		}
		h := sha256.New()
		if _, err := io.Copy(h, reader{ctx, io.NewSectionReader(s.files[i], 0, src.Bytes)}); err != nil {
			return fmt.Errorf("weights: %s: %w", src.Path, err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != src.SHA256 {
			return fmt.Errorf("weights: %s has sha256 %s, the program was compiled from %s", src.Path, got, src.SHA256)
		}
	}
	return nil
}

type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// Close closes the files.
func (s *Sources) Close() error {
	var first error
	for i, f := range s.files {
		if f == nil {
			continue
		}
		if err := f.Close(); first == nil {
			first = err
		}
		s.files[i] = nil
	}
	return first
}

// piece is rows of one segment and where they go.
type piece struct {
	w           *program.Weight
	seg         *program.Segment
	first, rows int
	dst         []byte
}

// Fill packs weights on threads: dst gives the memory of weight i, its Bytes, or nil to
// leave it out. Progress, if set, is told about the bytes laid out so far and in all, from several
// goroutines.
func (s *Sources) Fill(ctx context.Context, dst func(i int) []byte, threads int, progress func(done, total int64)) error {
	var pieces []piece
	var total, done int64
	for i := range s.p.Weights {
		w := &s.p.Weights[i]
		if b := dst(i); b != nil {
			ps, err := cut(w, b)
			if err != nil {
				return err
			}
			pieces, total = append(pieces, ps...), total+w.Bytes
		}
	}
	buffers := sync.Pool{New: func() any { return &buffer{} }}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, threads))
	for _, p := range pieces {
		g.Go(func() error {
			if err := gctx.Err(); err != nil {
				return err
			}
			b := buffers.Get().(*buffer)
			defer buffers.Put(b)
			if err := s.fill(p, b); err != nil {
				return fmt.Errorf("weights: %s, tensor %s: %w", p.w.Name, p.seg.Tensor, err)
			}
			if n := atomic.AddInt64(&done, int64(len(p.dst))); progress != nil {
				progress(n, total)
			}
			return nil
		})
	}
	return g.Wait()
}

// cut divides a weight into pieces of whole tiles.
func cut(w *program.Weight, dst []byte) ([]piece, error) {
	if int64(len(dst)) != w.Bytes {
		return nil, fmt.Errorf("weights: %s: memory of %d bytes, expected %d", w.Name, len(dst), w.Bytes)
	}
	var out []piece
	for i := range w.Segments {
		seg := &w.Segments[i]
		n, err := w.SegmentBytes(i)
		if err != nil {
			return nil, fmt.Errorf("weights: %s: %w", w.Name, err)
		}
		rows := (seg.Rows + layout.Lanes - 1) / layout.Lanes * layout.Lanes
		tile := n / int64(rows/layout.Lanes)
		if w.Layout == program.LayoutPlain {
			tile = int64(layout.Lanes * w.Cols * 4)
		}
		step := layout.Lanes * int(max(1, pieceBytes/tile))
		if seg.Packed != nil {
			step = (step + packed.Unit - 1) / packed.Unit * packed.Unit
		}
		for first := 0; first < seg.Rows; first += step {
			r := min(step, seg.Rows-first)
			size := int64((r+layout.Lanes-1)/layout.Lanes) * tile
			if w.Layout == program.LayoutPlain {
				size = int64(r * w.Cols * 4)
			}
			out = append(out, piece{w, seg, first, r, dst[:size:size]})
			dst = dst[size:]
		}
	}
	return out, nil
}

// buffer is a thread's memory.
type buffer struct {
	raw     []byte
	values  []float32
	coded   []byte
	windows [packed.Roles][]byte
}

func grow[T any](s *[]T, n int) []T {
	if cap(*s) < n {
		*s = make([]T, n)
	}
	return (*s)[:n]
}

func (s *Sources) fill(p piece, b *buffer) error {
	n := p.rows * p.w.Cols
	raw, err := s.read(p, b)
	if err != nil {
		return err
	}
	if p.w.Layout == program.LayoutPlain {
		v := grow(&b.values, n)
		if err := block.DecodeRows(p.seg.Elem, p.w.Cols, raw, v); err != nil {
			return err
		}
		for i, x := range v {
			binary.LittleEndian.PutUint32(p.dst[4*i:], math.Float32bits(x))
		}
		return nil
	}
	if p.seg.Elem != p.w.Elem {
		if raw, err = recode(p, b, raw, n); err != nil {
			return err
		}
	}
	if p.w.Layout == program.LayoutFrag {
		return layout.PackFrag(p.dst, layout.Enc(p.w.Elem), p.rows, p.w.Cols, raw)
	}
	return layout.Pack(p.dst, layout.Enc(p.w.Elem), p.rows, p.w.Cols, raw)
}

// read gives the rows of a piece in the segment's encoding.
func (s *Sources) read(p piece, b *buffer) ([]byte, error) {
	if p.seg.Packed != nil {
		return s.readPacked(p, b)
	}
	from, ok := block.Lookup(p.seg.Elem)
	if !ok {
		return nil, fmt.Errorf("encoding %q is not known", p.seg.Elem)
	}
	row, err := from.RowBytes(int64(p.w.Cols))
	if err != nil {
		return nil, err
	}
	raw := grow(&b.raw, p.rows*int(row))
	if p.seg.Source < 0 {
		v := grow(&b.values, p.rows*p.w.Cols)
		noise.Fill(v, p.seg.Seed, int64(p.first)*int64(p.w.Cols), p.seg.Mean, p.seg.Std)
		return raw, block.EncodeRows(p.seg.Elem, p.w.Cols, v, raw)
	}
	if _, err := s.files[p.seg.Source].ReadAt(raw, p.seg.Offset+int64(p.first)*row); err != nil {
		return nil, fmt.Errorf("%s: %w", s.p.Sources[p.seg.Source].Path, err)
	}
	return raw, nil
}

// recode changes the encoding of rows: segments of one weight share one.
func recode(p piece, b *buffer, raw []byte, n int) ([]byte, error) {
	to, ok := block.Lookup(p.w.Elem)
	if !ok {
		return nil, fmt.Errorf("encoding %q is not known", p.w.Elem)
	}
	row, err := to.RowBytes(int64(p.w.Cols))
	if err != nil {
		return nil, err
	}
	v := grow(&b.values, n)
	if err := block.DecodeRows(p.seg.Elem, p.w.Cols, raw, v); err != nil {
		return nil, err
	}
	out := grow(&b.coded, p.rows*int(row))
	return out, block.EncodeRows(p.w.Elem, p.w.Cols, v, out)
}
