package cuda

import (
	"context"
	"errors"
	"fmt"

	"quire/runtime/cuda/driver"
	"quire/runtime/weights"
)

// stagingBytes is about how much of the weights is packed at a time, while what was packed
// before is on its way to the device.
const stagingBytes = 256 << 20

// fill makes random weights on the device, where the Program has kernels for them, and lays the
// others out on the host, in turns of two pinned buffers, and brings them there.
func (m *Model) fill(ctx context.Context) (err error) {
	ws := m.p.Weights
	if len(ws) == 0 {
		return nil
	}
	var size, total int64
	m.at = make([]driver.Pointer, len(ws))
	for i, w := range ws {
		m.at[i] = driver.Pointer(size)
		size += up(w.Bytes, alignBytes)
		total += w.Bytes
	}
	if err := m.take(&m.weights, size); err != nil {
		return fmt.Errorf("cuda: weights: %w", err)
	}
	for i := range ws {
		m.at[i] += m.weights.at
	}
	var onDevice onDevice
	var staging [2][]byte
	defer func() {
		if err != nil { // what is on its way comes from this memory
			err = errors.Join(err, m.settle())
		}
		for i := range staging {
			err = errors.Join(err, m.dev.FreeHost(staging[i]))
		}
		err = errors.Join(err, m.dev.Free(onDevice.how.at))
	}()
	if onDevice, err = m.random(); err != nil {
		return fmt.Errorf("cuda: weights: %w", err)
	}
	src, err := m.source(ctx)
	if err != nil {
		return err
	}
	defer src.close()
	done := onDevice.bytes
	for first, turn := 0, 0; first < len(ws); {
		if onDevice.is[first] {
			first++
			continue
		}
		next, n := first+1, up(ws[first].Bytes, alignBytes)
		for next < len(ws) && !onDevice.is[next] && n+ws[next].Bytes <= stagingBytes {
			n += up(ws[next].Bytes, alignBytes)
			next++
		}
		if turn >= 2 {
			if err := m.wait(); err != nil { // the buffer's last copy
				return err
			}
		}
		buf := &staging[turn%2]
		if err := m.needHost(buf, n); err != nil {
			return err
		}
		base := m.at[first]
		at := func(i int) []byte { return (*buf)[m.at[i]-base:][:ws[i].Bytes] }
		if err := src.fill(ctx, first, next, at, func(n int64) {
			if m.opts.Progress != nil {
				m.opts.Progress(done+n, total)
			}
		}); err != nil {
			return err
		}
		for i := first; i < next; i++ {
			done += ws[i].Bytes
		}
		if err := m.dev.Upload(m.stream, base, (*buf)[:n]); err != nil {
			return err
		}
		first, turn = next, turn+1
	}
	if err := m.wait(); err != nil {
		return err
	}
	if m.opts.Progress != nil && onDevice.bytes > 0 {
		m.opts.Progress(total, total)
	}
	return nil
}

// source is where packed weights come from.
type source struct {
	m     *Model
	files *weights.Sources // nil: Options.Packed
}

func (m *Model) source(ctx context.Context) (*source, error) {
	s := &source{m: m}
	if m.opts.Packed != nil {
		return s, nil
	}
	var err error
	if s.files, err = weights.Open(m.p); err != nil {
		return nil, err
	}
	if m.opts.Verify {
		if err := s.files.Verify(ctx); err != nil {
			return nil, errors.Join(err, s.files.Close())
		}
	}
	return s, nil
}

func (s *source) close() {
	if s.files != nil {
		s.files.Close()
	}
}

// fill packs the weights first to end-1.
func (s *source) fill(ctx context.Context, first, end int, at func(i int) []byte, progress func(int64)) error {
	if s.files != nil {
		dst := func(i int) []byte {
			if i < first || i >= end {
				return nil
			}
			return at(i)
		}
		return s.files.Fill(ctx, dst, s.m.opts.Threads, func(done, _ int64) { progress(done) })
	}
	var done int64
	for i := first; i < end; i++ {
		b := s.m.opts.Packed(i)
		if int64(len(b)) != s.m.p.Weights[i].Bytes {
			return fmt.Errorf("cuda: weight %s: %d bytes, expected %d", s.m.p.Weights[i].Name, len(b), s.m.p.Weights[i].Bytes)
		}
		copy(at(i), b)
		done += int64(len(b))
		progress(done)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
